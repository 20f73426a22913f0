/**
 * What observing costs one exchange: metrics alone, and with the line of the access log (to a file in a temporary folder).
 * Run: `bun bench/observe.ts`. Prints microseconds per exchange, the best of several rounds.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { SystemClock } from "../src/core/clock.ts";
import { SILENT_LOG } from "../src/core/log.ts";
import { SeededRng } from "../src/core/rng.ts";
import { ProxyObserver } from "../src/proxy/observe/observer.ts";
import { makeHead, makeRecord } from "../test/kit/record.ts";

const ROUNDS = 7;
const EXCHANGES = 100_000;
const ROUTES = 50;

const folder = mkdtempSync(join(tmpdir(), "selvedge-bench-"));
const clock = new SystemClock();

const records = Array.from({ length: 1000 }, (_, i) =>
  makeRecord({
    request: makeHead({ path: `/items/${i}`, query: i % 3 === 0 ? `page=${i}&sort=name` : undefined }),
    originalPath: `/items/${i}`,
    routeName: `default/route-${i % ROUTES}`,
    serviceName: `default/service-${(i % ROUTES) % 7}`,
    requestId: `${i}`.padStart(32, "0"),
    startMs: 1000 + i,
    endMs: 1002.123 + i,
  }),
);

async function measure(name: string, once: (i: number) => void, between: () => Promise<void> = async () => {}): Promise<void> {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    // Processor time, not wall time: what other threads do for us (writing the file) costs as well.
    const before = process.cpuUsage();
    for (let i = 0; i < EXCHANGES; i++) {
      once(i);
      if (i % 2000 === 1999) await between();
    }
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / EXCHANGES);
  }
  process.stdout.write(`${name.padEnd(44)} ${best.toFixed(3)} us\n`);
}

const recordOf = (i: number) => records[i % records.length] as (typeof records)[number];
const plain = new ProxyObserver(clock, new SeededRng(1), SILENT_LOG);
const logging = new ProxyObserver(clock, new SeededRng(1), SILENT_LOG);
logging.configure({
  accessLog: {
    enabled: true,
    path: join(folder, "access.log"),
    sample: 1,
    filter: undefined,
    requestHeaders: ["user-agent"],
    responseHeaders: [],
  },
  tracing: { start: false, sample: 1 },
});

await measure("metrics of one exchange", (i) => {
  plain.onExchangeStart();
  plain.onExchangeEnd(recordOf(i));
});
await measure(
  "metrics and access log of one exchange",
  (i) => {
    logging.onExchangeStart();
    logging.onExchangeEnd(recordOf(i));
  },
  () => logging.accessLog.flush(),
);
await measure("JSON.stringify, 32 characters", (i) => void JSON.stringify(recordOf(i).requestId));
await measure("looking at 32 characters ourselves", (i) => void isPlain(recordOf(i).requestId));
const { lines, dropped } = logging.accessLog.takeCounts();
process.stdout.write(`${lines} lines, ${dropped} dropped\n`);
await logging.accessLog.close();
rmSync(folder, { recursive: true, force: true });

/** The alternative to `JSON.stringify` for texts that need no escaping, for comparison. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x22 || code === 0x5c || (code >= 0xd800 && code <= 0xdfff)) return false;
  }
  return true;
}
