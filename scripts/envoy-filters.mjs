// Builds filters that others wrote for Envoy, from the packages of their registries and with plain toolchains; nothing of them is kept here.
// The sources are unmodified. Those in Go were written for TinyGo: they are compiled by Go itself (1.24 or later, a reactor of WASI
// preview 1) with the SDK's successor under the name that they import, and a file beside them that calls their main, which a reactor
// does not run.
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { buildCrateExamples, must } from "./crate-examples.mjs";
import { cacheFolder } from "./nats.mjs";

const RUST_SDK = {
  ...{ name: "proxy-wasm", version: "0.2.0", edition: "2018" },
  dependencies: 'log = "0.4"\nchrono = { version = "0.4", default-features = false, features = ["std"] }\ncfg-if = "1"\n',
};
const GO_SDK = "github.com/tetratelabs/proxy-wasm-go-sdk";
const GO_SDK_SUCCESSOR = "github.com/proxy-wasm/proxy-wasm-go-sdk@v0.0.0-20250212164326-ab4161dcf924";
const GO_EXAMPLES = `${GO_SDK}@v0.14.0`;
const CORAZA = "github.com/corazawaf/coraza-proxy-wasm@v0.0.0-20260824140537-b1770f5b0be3";
/** Change it when what is built changes. */
const GENERATION = "2";

/**
 * Builds what is missing. Rejects with what a toolchain said.
 * @param {(line: string) => void} print
 * @returns {Promise<string>} the folder of `rust-NAME.wasm`, `go-NAME.wasm` and `coraza.wasm`
 */
export async function obtainEnvoyFilters(print) {
  const folder = join(cacheFolder(), `envoy-filters-${GENERATION}`);
  if (existsSync(join(folder, "complete"))) return folder;
  mkdirSync(folder, { recursive: true });
  const work = join(folder, "work");
  rmSync(work, { recursive: true, force: true });
  print(`building the examples of ${RUST_SDK.name} ${RUST_SDK.version} (crates.io)`);
  await buildRust(join(work, "rust"), folder);
  const sdk = await makeGoSdk(join(work, "sdk"));
  print(`building the examples of ${GO_EXAMPLES} (Go modules)`);
  await buildGoExamples(join(work, "examples"), sdk, folder);
  print(`building ${CORAZA} (Go modules; some minutes)`);
  await buildCoraza(join(work, "coraza"), sdk, folder);
  rmSync(work, { recursive: true, force: true });
  writeFileSync(join(folder, "complete"), "");
  return folder;
}

async function buildRust(work, folder) {
  for (const { name, wasm } of await buildCrateExamples(RUST_SDK, work)) cpSync(wasm, join(folder, `rust-${name}.wasm`));
}

/** Where Go keeps a module; it may not be written to there. */
async function goModule(module, work) {
  const said = await must("go", ["mod", "download", "-json", module], { cwd: work });
  return JSON.parse(said.slice(said.indexOf("{"))).Dir;
}

function copyWritable(from, to) {
  cpSync(from, to, { recursive: true });
  for (const path of ["", ...readdirSync(to, { recursive: true, encoding: "utf8" })]) {
    const full = join(to, path);
    chmodSync(full, statSync(full).isDirectory() ? 0o755 : 0o644);
  }
}

/** The SDK for plain Go under the name of the one for TinyGo; older filters leave the gRPC status of local answers out. */
async function makeGoSdk(work) {
  mkdirSync(work, { recursive: true });
  writeFileSync(join(work, "go.mod"), "module fetch\n\ngo 1.24\n");
  const from = await goModule(GO_SDK_SUCCESSOR, work);
  const [successor] = GO_SDK_SUCCESSOR.split("@");
  for (const part of ["go.mod", "proxywasm", "properties"]) {
    if (statSync(join(from, part)).isDirectory()) copyWritable(join(from, part), join(work, part));
    else writeFileSync(join(work, part), readFileSync(join(from, part)));
  }
  for (const path of readdirSync(work, { recursive: true, encoding: "utf8" })) {
    const full = join(work, path);
    if (!statSync(full).isFile()) continue;
    writeFileSync(full, readFileSync(full, "utf8").replaceAll(successor, GO_SDK));
  }
  const calls = join(work, "proxywasm/hostcall.go");
  writeFileSync(calls, readFileSync(calls, "utf8").replace("func SendHttpResponse(", "func sendHttpResponse("));
  writeFileSync(
    join(work, "proxywasm/older.go"),
    `package proxywasm

func SendHttpResponse(status uint32, headers [][2]string, body []byte, grpcStatus ...int32) error {
	if len(grpcStatus) > 0 {
		return sendHttpResponse(status, headers, body, grpcStatus[0])
	}
	return sendHttpResponse(status, headers, body, -1)
}
`,
  );
  return work;
}

const REACTOR = "package main\n\nfunc init() { main() }\n";
const GO_ENV = { GOOS: "wasip1", GOARCH: "wasm", GOFLAGS: "-mod=mod" };

async function buildGo(work, what, file, tags = "") {
  await must("go", ["build", "-buildmode=c-shared", `-tags=${tags}`, "-o", `${file}.new`, what], { cwd: work, env: GO_ENV });
  renameSync(`${file}.new`, file);
}

async function buildGoExamples(work, sdk, folder) {
  mkdirSync(work, { recursive: true });
  writeFileSync(join(work, "go.mod"), `module examples\n\ngo 1.24\n\nrequire ${GO_SDK} v0.24.0\n\nreplace ${GO_SDK} => ${sdk}\n`);
  const examples = join(await goModule(GO_EXAMPLES, work), "examples");
  for (const entry of readdirSync(examples, { recursive: true, encoding: "utf8" })) {
    if (!entry.endsWith("main.go")) continue;
    const name = entry.slice(0, -"/main.go".length).replace("/", "_");
    mkdirSync(join(work, name));
    writeFileSync(join(work, name, "main.go"), readFileSync(join(examples, entry)));
    writeFileSync(join(work, name, "reactor.go"), REACTOR);
    await buildGo(work, `./${name}`, join(folder, `go-${name}.wasm`));
  }
}

async function buildCoraza(work, sdk, folder) {
  mkdirSync(work, { recursive: true });
  writeFileSync(join(work, "go.mod"), "module fetch\n\ngo 1.24\n");
  copyWritable(await goModule(CORAZA, work), work);
  rmSync(join(work, "go.work"), { force: true });
  writeFileSync(join(work, "reactor.go"), REACTOR);
  await must("go", ["mod", "edit", "-go=1.24", `-replace=${GO_SDK}=${sdk}`], { cwd: work });
  // It tries whether it may write files, unless it is told that there are none; the other tag is what its own builds have.
  await buildGo(work, ".", join(folder, "coraza.wasm"), "no_fs_access,coraza.rule.multiphase_evaluation");
}
