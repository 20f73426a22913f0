/**
 * Takes the checks out of the codec, one at a time: each `if` that refuses something is made false in a copy of the folder, and
 * at least one golden case must then come out differently. Then each single entry of the tables by byte is flipped, and a probe
 * of that byte (test/kit/http1-bytes.ts) must fail. `bun scripts/mutate-codec.ts` prints what nothing misses.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as chars from "../src/proxy/codec/chars.ts";
import { Http1Codec } from "../src/proxy/codec/http1.ts";
import * as names from "../src/proxy/codec/names.ts";
import { PLACES } from "../test/kit/http1-bytes.ts";
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
    const rooted = text.replaceAll('"../../', `"${SOURCE}`).replaceAll('"../', `"${SOURCE}proxy/`);
    writeFileSync(join(folder, file), rooted);
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

/** One entry of a table, with another value. */
export interface Flip {
  readonly table: string;
  readonly byte: number;
  readonly value: number;
}

/** Every table that the codec exports: those that others are made of when the program starts are here together with these. */
function codecTables(): [string, Uint8Array][] {
  const tables: [string, Uint8Array][] = [];
  for (const [name, table] of Object.entries({ ...chars, ...names })) {
    if (table instanceof Uint8Array) tables.push([name, table]);
  }
  return tables;
}

export function findFlips(): Flip[] {
  const flips: Flip[] = [];
  for (const [table, values] of codecTables()) {
    for (let byte = 0; byte < 256; byte++) {
      const value = values[byte] as number;
      // 255 is "no digit" in HEX; entries of the others are 0, or 1 and more.
      if (table === "HEX") flips.push({ table, byte, value: value === 255 ? 0 : 255 });
      else flips.push({ table, byte, value: value === 0 ? 1 : 0 });
      if (value === 2 && Math.max(...values) === 2) flips.push({ table, byte, value: 1 });
    }
  }
  return flips;
}

/** The flips that no probe of their byte sees. The live tables are changed, and changed back. */
export function findSurvivingFlips(flips: readonly Flip[]): Flip[] {
  const tables = new Map(codecTables());
  return flips.filter((flip) => {
    const table = tables.get(flip.table) as Uint8Array;
    const before = table[flip.byte] as number;
    table[flip.byte] = flip.value;
    try {
      return PLACES.every((place) => isAsExpected(place, flip.byte));
    } finally {
      table[flip.byte] = before;
    }
  });
}

function isAsExpected(place: (typeof PLACES)[number], byte: number): boolean {
  try {
    return place.probe(byte) === place.expected(byte);
  } catch {
    return false;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mutants = findMutants();
  const survivors = await findSurvivors(mutants);
  for (const { file, line, check } of survivors) process.stdout.write(`${file}:${line}: nothing misses \`${check}\`\n`);
  process.stdout.write(`${mutants.length} checks taken out, ${survivors.length} not missed\n`);
  const flips = findFlips();
  const unseen = findSurvivingFlips(flips);
  for (const { table, byte, value } of unseen)
    process.stdout.write(`${table}[0x${byte.toString(16)}] = ${value}: nothing misses it\n`);
  process.stdout.write(`${flips.length} table entries flipped, ${unseen.length} not seen\n`);
}
