// `npm run build:binary`: one executable with the built-in filters inside, dist/selvedge. Built again only when something changed.
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { binary, ensurePackages, ROOT, run, step } from "./run.mjs";

const TARGET = join(ROOT, "dist", "selvedge");
const MARK = `${TARGET}.source`;
// The program, and what its thread for large modules starts with.
const ENTRIES = ["src/app/binary.ts", "src/filters/guest/prepare-thread.ts"];
// The executable reads no .env and no bunfig.toml of the folder that it happens to be started in.
const FLAGS = [
  "--compile",
  "--target=bun",
  "--minify-syntax",
  "--minify-whitespace",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];

/** Everything that the executable depends on. */
function fingerprint() {
  const hash = createHash("sha256").update(JSON.stringify([ENTRIES, FLAGS, process.platform, process.arch]));
  const files = readdirSync(join(ROOT, "src"), { recursive: true })
    .map((name) => join("src", name))
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"));
  const filters = readdirSync(join(ROOT, "dist", "filters")).map((name) => join("dist", "filters", name));
  for (const path of [...files, ...filters, "package.json", "package-lock.json"].sort()) {
    hash.update(`\0${path}\0`);
    hash.update(readFileSync(join(ROOT, path)));
  }
  return hash.digest("hex");
}

await ensurePackages();
await step("built-in filters", process.execPath, ["scripts/build.mjs"]);
const source = fingerprint();
const isFresh = existsSync(TARGET) && existsSync(MARK) && readFileSync(MARK, "utf8") === source;
if (!isFresh) {
  // Made in a folder of its own and renamed: nobody starts half an executable, and one that runs is not overwritten.
  const folder = mkdtempSync(join(ROOT, "dist", "binary-"));
  try {
    const out = join(folder, "selvedge");
    const { code, output } = await run(binary("bun"), ["build", ...ENTRIES, ...FLAGS, "--outfile", out], { capture: true });
    if (code !== 0) {
      process.stderr.write(output);
      process.exit(code);
    }
    chmodSync(out, 0o755);
    renameSync(out, TARGET);
    writeFileSync(MARK, source);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
const megabytes = Math.round(statSync(TARGET).size / 1e6);
process.stdout.write(`  dist/selvedge ${megabytes} MB${isFresh ? ", unchanged" : ""}\n`);
