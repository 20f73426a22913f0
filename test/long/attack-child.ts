/**
 * One group of attacks in a process of its own, on Bun or Deno: `attack-child.ts GROUP TIMES LOADS`. Prints a line of JSON for each
 * attack: what came of it, and resident memory after collection when it was warm and at the end.
 */
import process from "node:process";
import { attacksOf } from "../kit/attack-groups.ts";
import { Bystander, repeat } from "../kit/attacks.ts";

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

const bystander = new Bystander();
for (const attack of attacksOf(group)) {
  const count = attack.kind === "load" ? Number(loads) : Number(times);
  // Warm: compiled by the engine's best compiler, pools filled, as many instances gone as are freed late.
  await repeat(attack, attack.kind === "load" ? count : Math.ceil(count / 4), bystander);
  const warmBytes = await settledBytes();
  const outcomes = await repeat(attack, count, bystander);
  let afterBytes = await settledBytes();
  // Engines look for what is used on their stack as well, where the last time may have left its module: what is kept stays, however
  // often it comes again.
  for (let i = 0; i < 5 && afterBytes > warmBytes * 1.05; i++) {
    await repeat(attack, 1, bystander);
    afterBytes = Math.min(afterBytes, await settledBytes());
  }
  const { name, kind } = attack;
  process.stdout.write(
    `${JSON.stringify({ group, name, kind, count, outcomes: Object.fromEntries(outcomes), warmBytes, afterBytes })}\n`,
  );
}
process.exit(0);
