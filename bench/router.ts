/**
 * How flat the router is: time of a match with 10 routes on one host against 10,000 routes on 1,000 hosts (and on one host, and on
 * 10,000 hosts), and what a change of one route costs. Run: `bun bench/router.ts [--json]`. Budget: 10,000 routes on 1,000 hosts
 * within 1.5 times of 10 routes, a change within a millisecond.
 *
 * Every match asks for a host and a path drawn at random from all routes of the table, so that nothing but the processor's caches
 * helps. Authority and path are new strings made from bytes, as the codec makes them: a string that was looked up before knows its
 * hash, a new one does not. What the loop costs without a match is measured alike and taken off ("net").
 */
import process from "node:process";
import type { MatchConfig, RouteConfig } from "../src/config/snapshot.ts";
import { HeaderBlock, type RequestHead } from "../src/core/head.ts";
import { buildRouter } from "../src/proxy/routing/build.ts";
import type { Router } from "../src/proxy/routing/router.ts";
import { makeHead, makeMatch, makeRoute } from "../test/kit/route-config.ts";
import { listenerOf } from "../test/kit/snapshot.ts";

const GATEWAY = "default/edge";
const LISTENERS = [listenerOf()];
const ROUNDS = 41;
const MATCHES = 100_000;
const CHANGES = 61;

/** Ten routes per host in a usual mixture: exact, prefixes, a template, a header, a method. `key` makes paths differ. */
const SHAPES: readonly ((key: string) => MatchConfig)[] = [
  () => makeMatch({ kind: "prefix", value: "/" }),
  (key) => makeMatch({ kind: "exact", value: `/health-${key}` }),
  (key) => makeMatch({ kind: "prefix", value: `/api/v${key}` }),
  (key) => makeMatch({ kind: "prefix", value: `/api/v${key}/orders` }, { methods: ["POST"] }),
  (key) => makeMatch({ kind: "template", value: `/users-${key}/{id}/files/{rest=**}` }),
  (key) => makeMatch({ kind: "prefix", value: `/static-${key}` }),
  (key) => makeMatch({ kind: "prefix", value: `/beta-${key}` }, { headers: [{ name: "x-beta", kind: "exact", value: "1" }] }),
  (key) => makeMatch({ kind: "exact", value: `/login-${key}` }),
  (key) => makeMatch({ kind: "prefix", value: `/admin-${key}` }),
  (key) => makeMatch({ kind: "prefix", value: `/search-${key}` }, { query: [{ name: "q", kind: "present" }] }),
];
const PATHS: readonly ((key: string) => string)[] = [
  () => "/index.html",
  (key) => `/health-${key}`,
  (key) => `/api/v${key}/things/17`,
  (key) => `/api/v${key}/orders/3`,
  (key) => `/users-${key}/42/files/a/b.txt`,
  (key) => `/static-${key}/app.js`,
  (key) => `/beta-${key}/x`,
  (key) => `/login-${key}`,
  (key) => `/admin-${key}`,
  (key) => `/search-${key}`,
];

/** How many hosts with how many routes each; do hosts have the same paths or each its own? */
interface Plan {
  readonly name: string;
  readonly hosts: number;
  readonly perHost: number;
  readonly ownPaths: boolean;
}

const PLANS: readonly Plan[] = [
  { name: "10 routes, 1 host", hosts: 1, perHost: 10, ownPaths: false },
  { name: "10,000 routes, 1,000 hosts", hosts: 1_000, perHost: 10, ownPaths: false },
  { name: "the same, no two paths alike", hosts: 1_000, perHost: 10, ownPaths: true },
  { name: "10,000 routes, 1 host", hosts: 1, perHost: 10_000, ownPaths: true },
  { name: "10,000 routes, 10,000 hosts", hosts: 10_000, perHost: 1, ownPaths: true },
];

const shapeAt = (plan: Plan, host: number, i: number): number => (plan.perHost === 1 ? host : i) % SHAPES.length;
const keyAt = (plan: Plan, host: number, i: number): string => {
  const key = plan.perHost > SHAPES.length ? String(i) : String(i % SHAPES.length);
  return plan.ownPaths ? `${key}-${host}` : key;
};
const hostAt = (host: number): string => `shop-${host}.example.org`;

function makeRoutes(plan: Plan): RouteConfig[] {
  const routes: RouteConfig[] = [];
  for (let host = 0; host < plan.hosts; host++)
    for (let i = 0; i < plan.perHost; i++) {
      const name = `default/h${String(host).padStart(5, "0")}-${String(i).padStart(5, "0")}`;
      const shape = SHAPES[shapeAt(plan, host, i)] as (key: string) => MatchConfig;
      routes.push(makeRoute(name, [hostAt(host)], [shape(keyAt(plan, host, i))]));
    }
  return routes;
}

/** The bytes of all hosts and paths, one behind the other, and where each ends. */
class Wire {
  readonly #bytes: Buffer;
  readonly #ends: Uint32Array;

  constructor(texts: readonly string[]) {
    this.#bytes = Buffer.from(texts.join(""), "latin1");
    this.#ends = new Uint32Array(texts.length + 1);
    let end = 0;
    for (const [i, text] of texts.entries()) {
      end += text.length;
      this.#ends[i + 1] = end;
    }
  }

  make(i: number): string {
    return this.#bytes.latin1Slice(this.#ends[i] as number, this.#ends[i + 1] as number);
  }
}

interface Table {
  readonly plan: Plan;
  readonly router: Router;
  readonly buildMs: number;
  readonly hosts: Wire;
  readonly paths: Wire;
  readonly head: RequestHead;
}

function makeTable(plan: Plan): Table {
  const routes = makeRoutes(plan);
  const startMs = performance.now();
  const router = buildRouter(routes, LISTENERS);
  const buildMs = performance.now() - startMs;
  const hosts: string[] = [];
  const paths: string[] = [];
  for (let host = 0; host < plan.hosts; host++) {
    hosts.push(hostAt(host));
    for (let i = 0; i < plan.perHost; i++)
      paths.push((PATHS[shapeAt(plan, host, i)] as (key: string) => string)(keyAt(plan, host, i)));
  }
  const headers = HeaderBlock.from([
    ["user-agent", "bench"],
    ["accept", "*/*"],
    ["x-beta", "1"],
  ]);
  const head = makeHead("", "", { headers, query: "q=1", method: "POST" });
  return { plan, router, buildMs, hosts: new Wire(hosts), paths: new Wire(paths), head };
}

let seed = 1;

/** Nanoseconds per round; `idle`: everything but the match. */
function timeMatches({ plan, router, hosts, paths, head }: Table, idle: boolean): number {
  const count = plan.hosts * plan.perHost;
  const { perHost } = plan;
  let state = seed++;
  let found = 0;
  const startMs = performance.now();
  for (let i = 0; i < MATCHES; i++) {
    // Numerical Recipes' generator: cheap, and the high bits are good enough to draw with.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    const drawn = (state >>> 8) % count;
    head.authority = hosts.make(perHost === 1 ? drawn : Math.floor(drawn / perHost));
    head.path = paths.make(drawn);
    if (idle ? head.path.length > 0 : router.match(GATEWAY, head) !== undefined) found++;
  }
  const ns = ((performance.now() - startMs) / MATCHES) * 1e6;
  if (found !== MATCHES) throw new Error(`${plan.name}: only ${found} of ${MATCHES} matched`);
  return ns;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] as number;

type Others = "same objects" | "own shard copied" | "all copied";

/** One route of many changes; the others stay the same objects, or some or all are equal ones (as after parsing text anew). */
function timeChange(plan: Plan, others: Others): number {
  let routes = makeRoutes(plan);
  let router = buildRouter(routes, LISTENERS);
  const times: number[] = [];
  for (let round = 0; round < CHANGES; round++) {
    const at = (round * 7919) % routes.length;
    const next = routes.map((route, i) => {
      if (i === at) return makeRoute(route.name, route.hosts, [makeMatch({ kind: "prefix", value: `/changed-${round}` })]);
      // A section of a snapshot holds about 128 routes, drawn by a hash of their names.
      const copied = others === "all copied" || (others === "own shard copied" && i % 80 === at % 80);
      return copied ? structuredClone(route) : route;
    });
    const startMs = performance.now();
    router = buildRouter(next, LISTENERS, router);
    times.push(performance.now() - startMs);
    routes = next;
  }
  return median(times);
}

const tables = PLANS.map(makeTable);
const gross = tables.map((): number[] => []);
const idle = tables.map((): number[] => []);
for (let round = -3; round < ROUNDS; round++)
  for (const [i, table] of tables.entries()) {
    const [empty, full] = [timeMatches(table, true), timeMatches(table, false)];
    if (round < 0) continue;
    idle[i]?.push(empty);
    gross[i]?.push(full);
  }
const rows = tables.map(({ plan, buildMs }, i) => {
  const [all, empty] = [median(gross[i] ?? []), median(idle[i] ?? [])];
  return { table: plan.name, matchNs: all, netNs: all - empty, buildMs };
});
const [base] = rows;
if (base === undefined) throw new Error("no tables");
const OTHERS: readonly Others[] = ["same objects", "own shard copied", "all copied"];
const result = {
  rows: rows.map((row) => ({ ...row, ratio: row.matchNs / base.matchNs, netRatio: row.netNs / base.netNs })),
  changes: PLANS.slice(1).map((plan) => ({
    table: plan.name,
    changeMs: Object.fromEntries(OTHERS.map((others) => [others, timeChange(plan, others)])),
  })),
};
const print = (line: string): boolean => process.stdout.write(`${line}\n`);
if (process.argv.includes("--json")) print(JSON.stringify(result));
else {
  for (const row of result.rows)
    print(
      `${row.table.padEnd(30)} ${row.matchNs.toFixed(0).padStart(4)} ns (${row.ratio.toFixed(2)} x), net ${row.netNs.toFixed(0).padStart(4)} ns (${row.netRatio.toFixed(2)} x), built in ${row.buildMs.toFixed(0)} ms`,
    );
  print("one route changes, the others are …");
  for (const { table, changeMs } of result.changes)
    print(`${table.padEnd(30)} ${OTHERS.map((others) => `${others} ${changeMs[others]?.toFixed(2)} ms`).join(", ")}`);
}
