// `npm run build`: compiles the built-in filters (filters-wasm/) to dist/filters/*.wasm, and puts what `selvedge filter new` writes
// (filters-wasm/templates/) into dist/filters/templates.bundle. Only what changed is compiled again.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { ROOT } from "./run.mjs";

const SOURCES = join(ROOT, "filters-wasm");
const TARGET = join(ROOT, "dist", "filters");
const FILTERS = ["rate-limit", "authz", "transform"];
const FLAGS = [
  "-O3",
  "--runtime",
  "minimal",
  "--exportRuntime",
  "--exportStart",
  "_initialize",
  "--use",
  "abort=sdk/abi/abortFilter",
];

/** Sources of one folder, in a fixed order. */
function sourcesOf(folder) {
  return readdirSync(join(SOURCES, folder))
    .filter((name) => name.endsWith(".ts"))
    .sort()
    .map((name) => `${folder}/${name}`);
}

/** Everything that the module depends on: its sources, the SDK, the compiler and how it is called. */
function fingerprint(filter) {
  const hash = createHash("sha256");
  hash.update(readFileSync(join(ROOT, "node_modules", "assemblyscript", "package.json")));
  hash.update(readFileSync(join(ROOT, "node_modules", "binaryen", "package.json")));
  hash.update(JSON.stringify(FLAGS));
  for (const path of [...sourcesOf("sdk"), ...sourcesOf(filter)]) {
    hash.update(`\0${path}\0`);
    hash.update(readFileSync(join(SOURCES, path)));
  }
  return hash.digest("hex");
}

async function compile(filter) {
  const { default: asc } = await import("assemblyscript/asc");
  let wasm;
  const { error, stderr } = await asc.main([`${filter}/index.ts`, "--outFile", "module.wasm", ...FLAGS], {
    readFile: (name, base) => {
      const path = join(base === "." ? SOURCES : base, name);
      return existsSync(path) ? readFileSync(path, "utf8") : null;
    },
    writeFile: (_name, contents) => {
      wasm = contents;
    },
    listFiles: () => [],
  });
  if (error || wasm === undefined)
    throw new Error(`filters-wasm/${filter}: ${error?.message ?? "no output"}\n${stderr.toString()}`);
  return wasm;
}

mkdirSync(TARGET, { recursive: true });
for (const filter of FILTERS) {
  const target = join(TARGET, `${filter}.wasm`);
  const mark = `${target}.source`;
  const source = fingerprint(filter);
  if (existsSync(target) && existsSync(mark) && readFileSync(mark, "utf8") === source) continue;
  const startedMs = Date.now();
  const wasm = await compile(filter);
  // Written beside and renamed, so that a reader never sees half a module; the mark comes last.
  writeFileSync(`${target}.new`, wasm);
  renameSync(`${target}.new`, target);
  writeFileSync(mark, source);
  const digest = createHash("sha256").update(wasm).digest("hex");
  process.stdout.write(`  ${filter}.wasm ${wasm.length} bytes, sha256:${digest.slice(0, 16)}…, ${Date.now() - startedMs} ms\n`);
}

// One file, so that the single executable can hold it: path → text.
const templates = {};
for (const entry of readdirSync(join(SOURCES, "templates"), { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const path = join(entry.parentPath, entry.name);
  templates[relative(join(SOURCES, "templates"), path).replaceAll("\\", "/")] = readFileSync(path, "utf8");
}
// What projects get a copy of, so that they build wherever they are: from its one place.
const wit = readFileSync(join(SOURCES, "wit", "filter.wit"), "utf8");
for (const folder of ["rust-component", "python"]) templates[`${folder}/wit/filter.wit`] = wit;
const sdk = JSON.parse(readFileSync(join(ROOT, "packages/filter/package.json"), "utf8"));
for (const path of ["package.json", "wit/filter.wit", ...sdk.files.filter((name) => name !== "wit")]) {
  const text = readFileSync(join(ROOT, "packages/filter", path), "utf8");
  for (const folder of ["javascript", "typescript"]) templates[`${folder}/sdk/${path}`] = text;
}
const sorted = Object.fromEntries(Object.entries(templates).sort(([one], [other]) => (one < other ? -1 : 1)));
writeFileSync(join(TARGET, "templates.bundle.new"), JSON.stringify(sorted));
renameSync(join(TARGET, "templates.bundle.new"), join(TARGET, "templates.bundle"));
