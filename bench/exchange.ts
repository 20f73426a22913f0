/**
 * What an exchange costs without the kernel: the whole data plane over pipes in memory. Prints nanoseconds per exchange;
 * profile it with `bun --cpu-prof-md --cpu-prof-interval=100 bench/exchange.ts`. Options: `--log` writes an access log to a
 * temporary file, `--rounds N`, `--exchanges N`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { RunningProxy } from "../src/app/proxy.ts";
import { SystemClock } from "../src/core/clock.ts";
import { SILENT_LOG } from "../src/core/log.ts";
import { SeededRng } from "../src/core/rng.ts";
import { FilterRegistry } from "../src/filters/store.ts";
import { ProxyObserver } from "../src/proxy/observe/observer.ts";
import { MemoryNet } from "../src/runtime/memory.ts";
import type { Socket, SocketHandler } from "../src/runtime/net.ts";
import { forwardTo, listenerOf, routeOf, serviceOf, snapshotOf } from "../test/kit/snapshot.ts";

const { values } = parseArgs({
  options: {
    log: { type: "boolean", default: false },
    rounds: { type: "string", default: "9" },
    exchanges: { type: "string", default: "40000" },
  },
});
const EXCHANGES = Number(values.exchanges);

const REQUEST = Buffer.from(
  "GET /catalogue/items?page=2 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\n\r\n",
);
const ANSWER = Buffer.from(
  "HTTP/1.1 200 OK\r\nserver: up\r\ndate: Sat, 21 Nov 2026 08:00:00 GMT\r\ncontent-type: text/plain\r\ncontent-length: 56\r\n\r\n0123456789abcdef0123456789abcdef0123456789abcdef01234567",
);

const quiet = { onOpen() {}, onEnd() {}, onDrain() {}, onClose() {} };
const net = new MemoryNet();
const upstream: SocketHandler = { ...quiet, onData: (socket) => void socket.write(ANSWER) };
await net.listen(
  { address: { kind: "tcp", host: "10.0.0.2", port: 80 }, tls: undefined, reusePort: false, deferTls: false },
  () => upstream,
);

const clock = new SystemClock();
const rng = new SeededRng(1);
const folder = mkdtempSync(join(tmpdir(), "selvedge-bench-"));
const observer = new ProxyObserver(clock, rng, SILENT_LOG);
const proxy = new RunningProxy({
  net,
  clock,
  rng,
  log: SILENT_LOG,
  observer,
  filters: new FilterRegistry({ load: () => Promise.reject(new Error("no filters here")) }),
  createAuthenticator: () => Promise.reject(new Error("no authentication here")),
  reusePort: false,
});
const base = snapshotOf();
const snapshot = {
  ...base,
  mesh: { ...base.mesh, accessLog: { ...base.mesh.accessLog, enabled: values.log, path: join(folder, "access.log") } },
  listeners: [listenerOf({ address: { kind: "tcp", host: "10.0.0.1", port: 80 } })],
  routes: [routeOf("all", [forwardTo("up")])],
  services: [serviceOf("up")],
  endpoints: [
    {
      service: "default/up",
      endpoints: [{ address: { kind: "tcp" as const, host: "10.0.0.2", port: 80 }, labels: {}, weight: 1 }],
    },
  ],
};
const issues = await proxy.apply({ snapshot, modules: new Map(), publishedAtMs: undefined });
if (issues.length > 0) throw new Error(JSON.stringify(issues));
observer.configure(snapshot.mesh);

/** One connection that asks again as soon as it is answered. */
function run(exchanges: number): Promise<void> {
  return new Promise((resolve) => {
    let left = exchanges;
    const downstream: SocketHandler = {
      ...quiet,
      onOpen: (socket: Socket) => void socket.write(REQUEST),
      onData(socket) {
        if (--left > 0) {
          socket.write(REQUEST);
          return;
        }
        socket.destroy();
        resolve();
      },
    };
    net.connect({ address: { kind: "tcp", host: "10.0.0.1", port: 80 }, tls: undefined }, downstream);
  });
}

await run(EXCHANGES);
const times: number[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  const startMs = performance.now();
  await run(EXCHANGES);
  times.push(((performance.now() - startMs) * 1e6) / EXCHANGES);
}
times.sort((a, b) => a - b);
const report = { best: Math.round(times[0] as number), median: Math.round(times[times.length >> 1] as number) };
process.stdout.write(`${report.best} ns per exchange at best, ${report.median} at the median (pipes in memory included)\n`);
await proxy.stop();
await observer.accessLog.close();
rmSync(folder, { recursive: true, force: true });
