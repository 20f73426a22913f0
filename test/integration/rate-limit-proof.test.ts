// The proof: four workers, skewed keys against hourly limits, one worker killed and one reload: exactly the limit per key.
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { SeededRng } from "../../src/core/rng.ts";
import { TEST_MS } from "../kit/patience.ts";
import { connectRaw, okText, type RawConnection, startUpstream } from "../kit/raw.ts";
import { freePort, newFolder, startSelvedge, until } from "../kit/selvedge.ts";

const WORKERS = 4;
const CONNECTIONS = 400;
const REQUESTS = 10_000;
const KEYS = 200;
/** An hour's: a key is let in once more two minutes after its first, long after the test is over on any usual machine. */
const LIMIT = 30;
const REFILL_MS = 3_600_000 / LIMIT;
const SHARE_MIN = 0.15;

const config = (port: number, upstream: number, mark: string): string => `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: main }
spec: { listeners: [{ port: ${port}, address: 127.0.0.1 }] }
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: limit }
spec:
  module: { builtin: rate-limit }
  settings: { limits: [{ name: hourly, requests: ${LIMIT}, per: hour, key: ["header:x-key"] }] }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec: { rules: [{ backends: [up], filters: [limit], responseHeaders: { set: { x-mark: ${mark} } } }] }
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: up }
spec: { endpoints: ["127.0.0.1:${upstream}"] }
---
apiVersion: selvedge.dev/v1
kind: Mesh
metadata: { name: mesh }
spec: { accessLog: { enabled: false } }
`;

interface Status {
  readonly appliedRevision: number;
  readonly workers: readonly {
    readonly pid: number;
    readonly running: boolean;
    readonly revision: number;
    readonly inFlight: number;
    readonly dataPlane: { readonly listeners: readonly { readonly connections: number }[] } | undefined;
  }[];
}

/** Zipf: the k-th key is asked for in proportion to 1/k. */
function drawKeys(rng: SeededRng, count: number): number[] {
  const weights = Array.from({ length: KEYS }, (_, key) => 1 / (key + 1));
  const sum = weights.reduce((a, b) => a + b, 0);
  return Array.from({ length: count }, () => {
    let left = rng.next() * sum;
    let key = 0;
    for (; key < KEYS - 1; key++) {
      left -= weights[key] as number;
      if (left <= 0) break;
    }
    return key;
  });
}

test(
  "10,000 requests by four workers, one killed, one reload: exactly the limit, for every key",
  async () => {
    const rng = new SeededRng(7);
    const reached = new Array<number>(KEYS).fill(0);
    const upstream = await startUpstream(({ head }) => {
      const key = Number(/\r\nx-key: (\d+)/.exec(head)?.[1]);
      reached[key] = (reached[key] as number) + 1;
      return okText("ok");
    });
    const [folder, port, admin] = [newFolder(), await freePort(), await freePort()];
    const file = join(folder.path, "gateway.yaml");
    writeFileSync(file, config(port, upstream.port, "before"));
    const program = startSelvedge(["proxy", "-f", file, "--workers", String(WORKERS), "--admin", `127.0.0.1:${admin}`]);
    try {
      await program.saw("selvedge proxy");
      const status = async (): Promise<Status> => (await (await fetch(`http://127.0.0.1:${admin}/status`)).json()) as Status;
      const sent = new Array<number>(KEYS).fill(0);
      const [admitted, refused] = [new Array<number>(KEYS).fill(0), new Array<number>(KEYS).fill(0)];
      const marks = new Map<string, number>();
      const connectAll = (): Promise<RawConnection[]> => Promise.all(Array.from({ length: CONNECTIONS }, () => connectRaw(port)));

      /** How many of the open connections each worker has; all of them will ask equally often. */
      const shares = async (): Promise<number[]> => {
        let counts: number[] = [];
        await until(async () => {
          counts = (await status()).workers.map(({ dataPlane }) => dataPlane?.listeners[0]?.connections ?? 0);
          return counts.reduce((a, b) => a + b, 0) === CONNECTIONS;
        });
        for (const count of counts) expect(count / CONNECTIONS).toBeGreaterThanOrEqual(SHARE_MIN);
        return counts;
      };

      /** Every connection asks the same number of times; each waits for its answer, so nothing is in flight afterwards. */
      const ask = async (connections: readonly RawConnection[], each: number): Promise<void> => {
        const keys = drawKeys(rng, connections.length * each);
        await Promise.all(
          connections.map(async (connection, index) => {
            for (let i = 0; i < each; i++) {
              const key = keys[index * each + i] as number;
              sent[key] = (sent[key] as number) + 1;
              const from = connection.heard.length;
              connection.send(`GET / HTTP/1.1\r\nhost: a\r\nx-key: ${key}\r\n\r\n`);
              await connection.when((heard) => isWhole(heard.slice(from)));
              const answer = connection.heard.slice(from);
              const code = Number(answer.slice(9, 12));
              const mark = /\r\nx-mark: (\w+)/.exec(answer)?.[1] ?? "";
              marks.set(mark, (marks.get(mark) ?? 0) + 1);
              if (code === 200) admitted[key] = (admitted[key] as number) + 1;
              else if (code === 429) refused[key] = (refused[key] as number) + 1;
              else throw new Error(`key ${key}: ${answer}`);
            }
          }),
        );
      };

      const startMs = Date.now();
      const first = await connectAll();
      await shares();
      await ask(first, 9);
      // Nothing is in flight: what the killed worker counted was answered, so the count stays exact.
      let before = await status();
      await until(async () => {
        before = await status();
        const open = before.workers.reduce((sum, { dataPlane }) => sum + (dataPlane?.listeners[0]?.connections ?? 0), 0);
        return open === CONNECTIONS && before.workers.every(({ inFlight }) => inFlight === 0);
      });
      const victim = before.workers[1];
      const victims = victim?.dataPlane?.listeners[0]?.connections ?? 0;
      process.kill(victim?.pid ?? 0, "SIGKILL");
      await until(async () => {
        const now = (await status()).workers[1];
        return now?.pid !== victim?.pid && now?.running === true && now.revision === before.appliedRevision;
      });
      // Only its own connections noticed.
      await until(() => first.filter((connection) => connection.isClosed).length >= victims);
      expect(first.filter((connection) => connection.isClosed).length).toBe(victims);
      for (const connection of first) connection.destroy();

      const second = await connectAll();
      await shares();
      const load = ask(second, 8);
      writeFileSync(file, config(port, upstream.port, "after"));
      await Promise.all([load, until(async () => (await status()).appliedRevision === 2)]);
      await ask(second, 8);
      for (const connection of second) connection.destroy();
      const refills = Math.floor((Date.now() - startMs) / REFILL_MS);

      expect(sent.reduce((a, b) => a + b, 0)).toBe(REQUESTS);
      expect([...marks.keys()].filter((mark) => mark !== "").sort()).toEqual(["after", "before"]);
      const expected = sent.map((count) => Math.min(count, LIMIT));
      expect(expected.filter((count) => count === LIMIT).length).toBeGreaterThan(20);
      expect(expected.filter((count) => count < LIMIT).length).toBeGreaterThan(20);
      if (refills === 0) expect(admitted).toEqual(expected);
      admitted.forEach((count, key) => {
        expect(count).toBeGreaterThanOrEqual(expected[key] as number);
        expect(count).toBeLessThanOrEqual(Math.min(sent[key] as number, LIMIT + refills));
      });
      expect(reached).toEqual(admitted);
      expect(refused).toEqual(sent.map((count, key) => count - (admitted[key] as number)));
    } finally {
      program.child.kill("SIGTERM");
      await program.finished;
      await upstream.stop();
      folder.remove();
    }
  },
  TEST_MS,
);

/** A whole answer with a length. */
function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  return end >= 0 && text.length === end + 4 + Number(/\r\ncontent-length: (\d+)/.exec(text)?.[1] ?? 0);
}
