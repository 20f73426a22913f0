/**
 * How flat the router is: time of a match with 10 routes on one host against 10,000 routes on 1,000 hosts (and 10,000 hosts),
 * and what a change of one route costs. Run: `bun bench/router.ts [--json]`. Budget: 10,000 within 1.5 times of 10.
 */
import process from "node:process";
import type { MatchConfig, RouteConfig } from "../src/config/snapshot.ts";
import { HeaderBlock, type RequestHead } from "../src/core/head.ts";
import { SeededRng } from "../src/core/rng.ts";
import { buildRouter } from "../src/proxy/routing/build.ts";
import type { Router } from "../src/proxy/routing/router.ts";
import { makeHead, makeListener, makeMatch, makeRoute } from "../test/kit/route-config.ts";

const GATEWAY = "default/edge";
const LISTENERS = [makeListener()];
const ROUNDS = 15;
const MATCHES = 200_000;

/** Ten routes per host in a usual mixture: exact, prefixes, a template, a header, a method. */
const SHAPES: readonly ((i: number) => MatchConfig)[] = [
  () => makeMatch({ kind: "prefix", value: "/" }),
  (i) => makeMatch({ kind: "exact", value: `/health-${i}` }),
  (i) => makeMatch({ kind: "prefix", value: `/api/v${i}` }),
  (i) => makeMatch({ kind: "prefix", value: `/api/v${i}/orders` }, { methods: ["POST"] }),
  (i) => makeMatch({ kind: "template", value: `/users-${i}/{id}/files/{rest=**}` }),
  (i) => makeMatch({ kind: "prefix", value: `/static-${i}` }),
  (i) => makeMatch({ kind: "prefix", value: `/beta-${i}` }, { headers: [{ name: "x-beta", kind: "exact", value: "1" }] }),
  (i) => makeMatch({ kind: "exact", value: `/login-${i}` }),
  (i) => makeMatch({ kind: "prefix", value: `/admin-${i}` }),
  (i) => makeMatch({ kind: "prefix", value: `/search-${i}` }, { query: [{ name: "q", kind: "present" }] }),
];
const PATHS: readonly ((i: number) => string)[] = [
  () => "/index.html",
  (i) => `/health-${i}`,
  (i) => `/api/v${i}/things/17`,
  (i) => `/api/v${i}/orders/3`,
  (i) => `/users-${i}/42/files/a/b.txt`,
  (i) => `/static-${i}/app.js`,
  (i) => `/beta-${i}/x`,
  (i) => `/login-${i}`,
  (i) => `/admin-${i}`,
  (i) => `/search-${i}`,
];

interface Table {
  readonly name: string;
  readonly router: Router;
  readonly heads: readonly RequestHead[];
  readonly buildMs: number;
}

function makeRoutes(hosts: number, perHost: number): RouteConfig[] {
  const routes: RouteConfig[] = [];
  for (let host = 0; host < hosts; host++)
    for (let i = 0; i < perHost; i++) {
      const name = `default/h${String(host).padStart(5, "0")}-${i}`;
      routes.push(makeRoute(name, [`shop-${host}.example.org`], [(SHAPES[i % SHAPES.length] as (i: number) => MatchConfig)(i)]));
    }
  return routes;
}

/** As many distinct heads for every table, so that caches of the machine weigh alike. */
function makeHeads(hosts: number): RequestHead[] {
  const rng = new SeededRng(3);
  return Array.from({ length: 1_000 }, () => {
    const i = rng.below(PATHS.length);
    const headers = HeaderBlock.from([
      ["user-agent", "bench"],
      ["accept", "*/*"],
      ["x-beta", "1"],
    ]);
    const path = (PATHS[i] as (i: number) => string)(i);
    const method = rng.below(2) === 0 ? "GET" : "POST";
    return makeHead(`shop-${rng.below(hosts)}.example.org`, path, { headers, query: "q=1", method });
  });
}

function makeTable(name: string, hosts: number, perHost: number): Table {
  const routes = makeRoutes(hosts, perHost);
  const startMs = performance.now();
  const router = buildRouter(routes, LISTENERS);
  return { name, router, heads: makeHeads(hosts), buildMs: performance.now() - startMs };
}

/** Strings are made from bytes for each match, as the codec does: a string that was looked up before knows its hash, a new one does not. */
function timeMatches({ router, heads }: Table): number {
  const wire = heads.map((head) => ({
    head,
    split: head.authority.length,
    bytes: Buffer.from(`${head.authority}${head.path}`, "latin1"),
  }));
  let found = 0;
  const startMs = performance.now();
  for (let i = 0; i < MATCHES; i++) {
    const { head, split, bytes } = wire[i % wire.length] as (typeof wire)[number];
    head.authority = bytes.latin1Slice(0, split);
    head.path = bytes.latin1Slice(split, bytes.length);
    if (router.match(GATEWAY, head) !== undefined) found++;
  }
  const ns = ((performance.now() - startMs) / MATCHES) * 1e6;
  if (found !== MATCHES) throw new Error(`only ${found} of ${MATCHES} matched`);
  return ns;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] as number;

/** One route of many changes; everything else is the same objects, or equal ones (as after parsing a snapshot anew). */
function timeChange(hosts: number, perHost: number, fresh: boolean): number {
  let routes = makeRoutes(hosts, perHost);
  let router = buildRouter(routes, LISTENERS);
  const times: number[] = [];
  for (let round = 0; round < 31; round++) {
    const at = (round * 7919) % routes.length;
    const base = fresh ? structuredClone(routes) : routes;
    const next = base.map((route, i) =>
      i === at ? makeRoute(route.name, route.hosts, [makeMatch({ kind: "prefix", value: `/changed-${round}` })]) : route,
    );
    const startMs = performance.now();
    router = buildRouter(next, LISTENERS, router);
    times.push(performance.now() - startMs);
    routes = next;
  }
  return median(times);
}

const tables = [
  makeTable("10 routes, 1 host", 1, 10),
  makeTable("10,000 routes, 1,000 hosts", 1_000, 10),
  makeTable("10,000 routes, 10,000 hosts", 10_000, 1),
];
// The third has one shape per host only: every path falls to its prefix.
const times = tables.map((): number[] => []);
for (let round = 0; round < ROUNDS; round++) for (const [i, table] of tables.entries()) times[i]?.push(timeMatches(table));
const rows = tables.map((table, i) => ({ table: table.name, matchNs: median(times[i] ?? []), buildMs: table.buildMs }));
const base = rows[0]?.matchNs ?? 1;
const result = {
  rows: rows.map((row) => ({ ...row, ratio: row.matchNs / base })),
  changeMs: {
    sameObjects: timeChange(1_000, 10, false),
    equalObjects: timeChange(1_000, 10, true),
  },
};
if (process.argv.includes("--json")) process.stdout.write(`${JSON.stringify(result)}\n`);
else {
  for (const row of result.rows)
    process.stdout.write(
      `${row.table.padEnd(30)} ${row.matchNs.toFixed(0).padStart(5)} ns a match  (${row.ratio.toFixed(2)} x)  built in ${row.buildMs.toFixed(1)} ms\n`,
    );
  process.stdout.write(
    `one route of 10,000 changes: ${result.changeMs.sameObjects.toFixed(2)} ms (others the same objects), ${result.changeMs.equalObjects.toFixed(2)} ms (equal objects)\n`,
  );
}
