// Builds the prebuilt guests again: `node test/guests/build.mjs [NAME …]`. Needs Rust with the targets wasm32-wasip2 and, for
// plug-ins of Extism, wasm32-unknown-unknown. A test
// compares the digests in component.json with the files beside it, so that a binary and its source do not drift apart.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const guests = dirname(fileURLToPath(import.meta.url));
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Everything that a binary is made of, from its folder. */
const OWN = ["Cargo.toml", "Cargo.lock", "src/lib.rs"];
const SOURCES = [...OWN, "../../../filters-wasm/wit/filter.wit"];

function build(name, target) {
  const folder = join(guests, name);
  const isPlugin = name.startsWith("extism-");
  const platform = isPlugin ? "wasm32-unknown-unknown" : "wasm32-wasip2";
  const sources = isPlugin ? OWN : SOURCES;
  // Places of this machine have no business in the binary.
  const flags = [`--remap-path-prefix=${homedir()}=home`, `--remap-path-prefix=${folder}=guest`];
  const { status } = spawnSync("cargo", ["build", "--release", "--target", platform], {
    cwd: folder,
    env: { ...process.env, CARGO_TARGET_DIR: target, RUSTFLAGS: flags.join(" ") },
    stdio: "inherit",
  });
  if (status !== 0) process.exit(status ?? 1);
  const wasm = readFileSync(join(target, platform, "release", `${name.replaceAll("-", "_")}.wasm`));
  writeFileSync(join(folder, "component.wasm.gz"), gzipSync(wasm, { level: 9 }));
  const source = Buffer.concat(sources.map((path) => readFileSync(join(folder, path))));
  const digests = { sources: sources.join(" "), source: sha256(source), wasm: sha256(wasm) };
  writeFileSync(join(folder, "component.json"), `${JSON.stringify(digests, undefined, 2)}\n`);
  process.stdout.write(`${name}: ${wasm.byteLength} bytes of WebAssembly\n`);
}

const target = mkdtempSync(join(tmpdir(), "guests-"));
const named = process.argv.slice(2);
try {
  for (const name of named.length > 0
    ? named
    : ["component-actor", "component-typical", "extism-actor", "extism-caller", "extism-script"])
    build(name, target);
} finally {
  rmSync(target, { recursive: true, force: true });
}
