/**
 * The table of attacks: those in callbacks 1,000 times, those at load 10 times, on Bun and Deno, other requests in between. Each group
 * has a process of its own; resident memory after collection stays within 10 % of the warm state. SELVEDGE_ATTACKS makes it shorter.
 */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { GROUP_NAMES } from "../kit/attack-groups.ts";
import { GROWTH_MAX } from "../kit/attacks.ts";

setDefaultTimeout(15 * 60_000);

const TIMES = Number(process.env.SELVEDGE_ATTACKS ?? 1_000);
const LOADS = Math.min(10, TIMES);

interface Row {
  readonly group: string;
  readonly name: string;
  readonly kind: string;
  readonly count: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly warmBytes: number;
  readonly afterBytes: number;
}

const ROOT = join(import.meta.dir, "../..");
const CHILD = join(import.meta.dir, "attack-child.ts");
const RUNTIMES: Readonly<Record<string, readonly string[]>> = {
  Bun: [process.execPath, "run", CHILD],
  Deno: [join(ROOT, "node_modules/deno/deno"), "run", "-A", "--no-lock", "--v8-flags=--expose-gc", CHILD],
};
const table: string[] = [];

function run(runtime: string, group: string): Promise<Row[]> {
  const [program = "", ...args] = RUNTIMES[runtime] ?? [];
  const child = spawn(program, [...args, group, String(TIMES), String(LOADS)], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0)
        resolve(
          out
            .trim()
            .split("\n")
            .map((line) => JSON.parse(line) as Row),
        );
      else reject(new Error(`${runtime} ${group} ended with ${code}:\n${out}`));
    });
  });
}

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

/** Notes what came, and answers the rows whose memory grew. */
function judge(runtime: string, rows: readonly Row[]): Row[] {
  expect(rows.length).toBeGreaterThan(0);
  for (const { name, count, outcomes, warmBytes, afterBytes } of rows) {
    const came = Object.entries(outcomes)
      .map(([outcome, times]) => `${times} ${outcome}`)
      .join(", ");
    table.push(`| ${runtime} | ${name} | ${count} | ${came} | ${mib(warmBytes)} | ${mib(afterBytes)} |`);
    expect(Object.values(outcomes).reduce((sum, each) => sum + each, 0)).toBe(count);
  }
  return rows.filter(({ warmBytes, afterBytes }) => afterBytes > warmBytes * GROWTH_MAX);
}

describe("attacks on Bun and Deno", () => {
  test.each([...GROUP_NAMES])("%s", async (group) => {
    // Beside each other: they take minutes, and neither is timed.
    const grown = Object.keys(RUNTIMES).map(async (runtime) => judge(runtime, await run(runtime, group)));
    expect((await Promise.all(grown)).flat()).toEqual([]);
  });
});

afterAll(() => {
  const head = "| runtime | attack | times | what came of the exchange | RSS warm, MiB | after |\n|---|---|---|---|---|---|";
  process.stdout.write(`${head}\n${table.join("\n")}\n`);
});
