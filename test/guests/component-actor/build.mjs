// Builds actor.wasm.gz again: `node test/guests/component-actor/build.mjs`. Needs Rust with the target wasm32-wasip2. A test
// compares the digests in actor.json with the files beside it, so that the binary and its source do not drift apart.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const folder = dirname(fileURLToPath(import.meta.url));
const target = mkdtempSync(join(tmpdir(), "actor-"));
/** Everything that the binary is made of. */
const SOURCES = ["Cargo.toml", "Cargo.lock", "src/lib.rs", "../../../filters-wasm/wit/filter.wit"];

try {
  // Places of this machine have no business in the binary.
  const flags = [`--remap-path-prefix=${homedir()}=home`, `--remap-path-prefix=${folder}=actor`];
  const { status } = spawnSync("cargo", ["build", "--release", "--target", "wasm32-wasip2"], {
    cwd: folder,
    env: { ...process.env, CARGO_TARGET_DIR: target, RUSTFLAGS: flags.join(" ") },
    stdio: "inherit",
  });
  if (status !== 0) process.exit(status ?? 1);
  const wasm = readFileSync(join(target, "wasm32-wasip2", "release", "component_actor.wasm"));
  writeFileSync(join(folder, "actor.wasm.gz"), gzipSync(wasm, { level: 9 }));
  const hash = createHash("sha256");
  for (const name of SOURCES) hash.update(readFileSync(join(folder, name)));
  const digests = {
    sources: SOURCES.join(" "),
    source: hash.digest("hex"),
    wasm: createHash("sha256").update(wasm).digest("hex"),
  };
  writeFileSync(join(folder, "actor.json"), `${JSON.stringify(digests, undefined, 2)}\n`);
  process.stdout.write(`actor.wasm.gz: ${wasm.byteLength} bytes of WebAssembly\n`);
} finally {
  rmSync(target, { recursive: true, force: true });
}
