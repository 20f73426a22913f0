// One of several processes that hammer one rate-limit table: see rate-limit-processes.test.ts.
import process from "node:process";
import { SystemClock } from "../../src/core/clock.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { type RateLimitQuestion, RateLimitTable, tableBytes } from "../../src/filters/rate-limit/table.ts";

const [path, id, slots, keys, mode] = process.argv.slice(2) as [string, string, string, string, string];
const bytes = Bun.mmap(path, { shared: true });
const table = new RateLimitTable(new BigInt64Array(bytes.buffer, bytes.byteOffset, tableBytes(Number(slots)) / 8), {
  clock: new SystemClock(),
});
// Behind the table: a start flag, what each worker is at, and how often each allowed each key.
const counts = new Int32Array(bytes.buffer, bytes.byteOffset + tableBytes(Number(slots)));
const keyCount = Number(keys);
const own = 16 + Number(id) * keyCount;
/** In which the limits are given: so long that nothing is refilled while a test lasts. */
const window = 24 * 3600 * 1e7;

function questionFor(key: number): RateLimitQuestion {
  const rng = new SeededRng(key + 1);
  const hash = new Uint32Array([rng.below(2 ** 32), rng.below(2 ** 32), rng.below(2 ** 32), rng.below(2 ** 32)]);
  return { hash, increment: 0, capacity: 0, shadow: false, outcome: 0, level: 0 };
}
const questions = Array.from({ length: keyCount }, (_, key) => questionFor(key));

function tryOnce(key: number, limit: number): void {
  const question = questions[key] as RateLimitQuestion;
  question.increment = window / limit;
  question.capacity = window;
  Atomics.store(counts, 1 + Number(id), key + 1);
  if (table.decide([question], 1)) Atomics.add(counts, own + key, 1);
  Atomics.store(counts, 1 + Number(id), 0);
}

// Ready; begin together.
Atomics.add(counts, 6, 1);
while (Atomics.load(counts, 0) === 0) Bun.sleepSync(0.1);
if (mode === "skewed") {
  const rng = new SeededRng(100 + Number(id));
  for (let i = 0; ; i++) {
    // Squaring twice makes low keys far likelier.
    tryOnce(Math.floor(rng.next() ** 4 * keyCount), 50);
    Atomics.store(counts, 8 + Number(id), i + 1);
    if (Atomics.load(counts, 0) === 2) break;
  }
} else {
  // Everybody wants the same new keys in the same order, and every slot is an idle one that must be taken over.
  for (let key = 0; key < keyCount; key++) tryOnce(key, 1);
}
process.exit(0);
