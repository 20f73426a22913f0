/**
 * Takes the checks out of the codec, one at a time: each `if` that refuses something is made false in a copy of the folder, and
 * at least one golden case must then come out differently. `bun scripts/mutate-codec.ts` prints the checks that nothing misses.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Http1Codec } from "../src/proxy/codec/http1.ts";
import { type CodecClass, cutsOf, type GoldenCase, loadGoldens, runCase } from "../test/kit/http1-golden.ts";

const FOLDER = fileURLToPath(new URL("../src/proxy/codec/", import.meta.url));
const SOURCE = pathToFileURL(fileURLToPath(new URL("../src/", import.meta.url))).pathname;

export interface Mutant {
  readonly file: string;
  readonly line: number;
  readonly check: string;
  readonly text: string;
}

/** What the statement behind a check does when it refuses. */
const REFUSES =
  /^\s*\{?\s*(return (new Failure|bad\(|refused\(|unwritable\(|mismatch\(|false|-1|this\.#(refuse|fail|cut)|SCAN\.(bad|line|section|tooMany))|this\.#(fail|judgeRest))/;

export function findMutants(): Mutant[] {
  const mutants: Mutant[] = [];
  for (const file of codecFiles()) {
    const text = readFileSync(join(FOLDER, file), "utf8");
    for (const match of text.matchAll(/\bif \(/g)) {
      const open = match.index + match[0].length - 1;
      const close = closingOf(text, open);
      if (!REFUSES.test(text.slice(close + 1))) continue;
      const check = text.slice(open + 1, close);
      // Guards of the seam itself say so.
      if (text.slice(0, open).split("\n").at(-2)?.includes("Not reachable through the codec")) continue;
      mutants.push({
        file,
        line: text.slice(0, open).split("\n").length,
        check,
        text: `${text.slice(0, open)}(false && (${check}))${text.slice(close + 1)}`,
      });
    }
  }
  return mutants;
}

const codecFiles = (): string[] => readdirSync(FOLDER).filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"));

function closingOf(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === "(") depth++;
    if (text[i] === ")" && --depth === 0) return i;
  }
  return text.length;
}

/** The mutants that every golden case lets pass. */
export async function findSurvivors(mutants: readonly Mutant[]): Promise<Mutant[]> {
  const goldens = loadGoldens();
  const wrong = goldens.find((golden) => isKilledBy(golden, Http1Codec));
  // A golden that fails anyway would miss nothing.
  if (wrong !== undefined) throw new Error(`golden case fails without a mutation: ${wrong.name}`);
  const root = mkdtempSync(join(tmpdir(), "selvedge-mutants-"));
  const survivors: Mutant[] = [];
  try {
    for (const [i, mutant] of mutants.entries()) {
      const Codec = await loadMutant(join(root, String(i)), mutant);
      if (!goldens.some((golden) => isKilledBy(golden, Codec))) survivors.push(mutant);
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  return survivors;
}

async function loadMutant(folder: string, mutant: Mutant): Promise<CodecClass> {
  mkdirSync(folder);
  for (const file of codecFiles()) {
    const text = file === mutant.file ? mutant.text : readFileSync(join(FOLDER, file), "utf8");
    writeFileSync(join(folder, file), text.replaceAll('"../../', `"${SOURCE}`));
  }
  const module = (await import(pathToFileURL(join(folder, "http1.ts")).href)) as { Http1Codec: CodecClass };
  return module.Http1Codec;
}

function isKilledBy(golden: GoldenCase, Codec: CodecClass): boolean {
  try {
    const isWhole = golden.options.some(([key]) => key === "whole");
    return (
      runCase(golden, Codec, cutsOf(golden.input.length, "whole")) !== golden.expected ||
      (!isWhole && golden.input.length < 200 && runCase(golden, Codec, cutsOf(golden.input.length, "bytes")) !== golden.expected)
    );
  } catch {
    return true;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mutants = findMutants();
  const survivors = await findSurvivors(mutants);
  for (const { file, line, check } of survivors) process.stdout.write(`${file}:${line}: nothing misses \`${check}\`\n`);
  process.stdout.write(`${mutants.length} checks taken out, ${survivors.length} not missed\n`);
}
