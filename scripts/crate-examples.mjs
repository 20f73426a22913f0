// Builds examples that come inside crates, unmodified, by an ordinary cargo; nothing of them is kept here. By itself it builds the two that
// are examples of this project as well: `node scripts/crate-examples.mjs [--into FOLDER] [NAME …]` makes FOLDER/NAME/dist/NAME.wasm
// (FOLDER: examples/filters). Needs Rust with the target wasm32-unknown-unknown.
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ROOT, run } from "./run.mjs";

/** By the folder in examples/filters. `sha256`: of the source that was looked at; another one is not built. */
const UNMODIFIED = {
  "count-vowels": {
    ...{ name: "extism-pdk", version: "1.4.1", example: "count_vowels" },
    sha256: "b6ef55484941c4d5b4d56194dd09d6f33982d804d821ba9eaa4c865cea655758",
    dependencies: 'serde = { version = "1", features = ["derive"] }\n',
  },
  "auth-random": {
    ...{ name: "proxy-wasm", version: "0.2.0", example: "http_auth_random" },
    sha256: "faa7d9c471be73fc214ac0412c58db5a71a3b90031f5e7ca913928fb3635a4f5",
    dependencies: 'log = "0.4"\n',
  },
};

/** Runs a program; rejects with the end of what it said when it fails. */
export async function must(command, args, options) {
  const { code, output } = await run(command, args, { capture: true, ...options });
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${output.trim().split("\n").slice(-5).join("\n")}`);
  return output;
}

/**
 * Builds examples of a crate in `work`; `dependencies`: lines of Cargo.toml, what the crate has for development. With `example` only
 * that one, and only from a source with this `sha256`. Answers where each module is.
 */
export async function buildCrateExamples({ name: crate, version, edition = "2021", dependencies, example, sha256 }, work) {
  mkdirSync(join(work, "src"), { recursive: true });
  mkdirSync(join(work, "examples"));
  writeFileSync(join(work, "src/lib.rs"), "");
  const head = `[package]\nname = "examples"\nversion = "0.1.0"\nedition = "${edition}"\n\n[dependencies]\n${crate} = "=${version}"\n${dependencies}`;
  writeFileSync(join(work, "Cargo.toml"), head);
  const metadata = await must("cargo", ["metadata", "--format-version", "1", "--quiet"], { cwd: work });
  const { packages } = JSON.parse(metadata.replace(/^[^{]*/, ""));
  const examples = join(packages.find(({ name }) => name === crate).manifest_path, "..", "examples");
  const all = readdirSync(examples).flatMap((file) => (file.endsWith(".rs") ? [file.slice(0, -3)] : []));
  const names = example === undefined ? all : [example];
  for (const name of names) {
    const source = readFileSync(join(examples, `${name}.rs`));
    const digest = createHash("sha256").update(source).digest("hex");
    if (sha256 !== undefined && digest !== sha256)
      throw new Error(`${name} of ${crate} ${version} is not what it was: sha256 ${digest}`);
    writeFileSync(join(work, "examples", `${name}.rs`), source);
  }
  const targets = names.map((name) => `\n[[example]]\nname = "${name}"\ncrate-type = ["cdylib"]\n`);
  writeFileSync(join(work, "Cargo.toml"), head + targets.join(""));
  const target = "wasm32-unknown-unknown";
  await must("cargo", ["build", "--release", "--quiet", "--target", target, "--examples"], { cwd: work });
  return names.map((name) => ({ name, wasm: join(work, "target", target, "release/examples", `${name}.wasm`) }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2);
  const into = args[0] === "--into" ? args.splice(0, 2)[1] : join(ROOT, "examples/filters");
  for (const name of args.length > 0 ? args : Object.keys(UNMODIFIED)) {
    if (UNMODIFIED[name] === undefined) throw new Error(`there is no ${name}: ${Object.keys(UNMODIFIED).join(", ")}`);
    const work = mkdtempSync(join(tmpdir(), "crate-example-"));
    try {
      const [built] = await buildCrateExamples(UNMODIFIED[name], work);
      const file = join(into, name, "dist", `${name}.wasm`);
      mkdirSync(join(file, ".."), { recursive: true });
      cpSync(built.wasm, file);
      process.stdout.write(`${file}\n`);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
}
