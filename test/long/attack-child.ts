/**
 * One group of attacks in a process of its own, on Bun or Deno: `attack-child.ts GROUP TIMES LOADS`. Prints a line of JSON for each
 * attack: what came of it, and resident memory after collection when it was warm and at the end.
 */
import process from "node:process";
import { attacksOf } from "../kit/attack-groups.ts";
import { type Attack, Bystander, GROWTH_MAX, repeat } from "../kit/attacks.ts";

const [group = "", times = "1000", loads = "10"] = process.argv.slice(2);

/** As often as memory still falls: what is freed late is not what is kept. */
async function settledBytes(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 12; i++) {
    if (process.versions.bun !== undefined) Bun.gc(true);
    else (globalThis as { gc?: () => void }).gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
    least = Math.min(least, process.memoryUsage.rss());
  }
  return least;
}

/**
 * Runs an attack so many times from a warm state: compiled by the engine's best compiler, pools filled, as many instances gone as are
 * freed late. Whether it was reached shows afterwards: where memory grew by more than it may, that is the warm state, and all is done
 * again, three times at most. What is kept for ever makes it grow each time.
 */
async function measure(attack: Attack, count: number): Promise<Measured> {
  await repeat(attack, attack.kind === "load" ? count : Math.ceil(count / 4), bystander);
  let warmBytes = await settledBytes();
  for (let again = 3; ; again--) {
    const outcomes = await repeat(attack, count, bystander);
    const afterBytes = await settledBytes();
    if (again === 0 || afterBytes <= warmBytes * GROWTH_MAX) return { outcomes, warmBytes, afterBytes };
    warmBytes = afterBytes;
  }
}

interface Measured {
  readonly outcomes: ReadonlyMap<string, number>;
  readonly warmBytes: number;
  readonly afterBytes: number;
}

const bystander = new Bystander();
for (const attack of attacksOf(group)) {
  const { name, kind } = attack;
  const count = Number(kind === "load" ? loads : times);
  const { outcomes, ...bytes } = await measure(attack, count);
  process.stdout.write(`${JSON.stringify({ group, name, kind, count, outcomes: Object.fromEntries(outcomes), ...bytes })}\n`);
}
process.exit(0);
