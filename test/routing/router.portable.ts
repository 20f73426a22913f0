import assert from "node:assert/strict";
import type { MatchConfig, PathMatchConfig, RouteConfig } from "../../src/config/snapshot.ts";
import { HeaderBlock, type RequestHead } from "../../src/core/head.ts";
import { ROUTING_LIMITS } from "../../src/core/limits.ts";
import { type Rng, SeededRng } from "../../src/core/rng.ts";
import { buildRouter } from "../../src/proxy/routing/build.ts";
import { loadPatternEngine } from "../../src/proxy/routing/pattern.ts";
import { RouteTable } from "../../src/proxy/routing/route-table.ts";
import type { Router } from "../../src/proxy/routing/router.ts";
import { matchNaively } from "../kit/naive-router.ts";
import { makeHead, makeMatch, makeRoute, makeRule } from "../kit/route-config.ts";
import { listenerOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";

await loadPatternEngine();

const GATEWAY = "default/edge";
const LISTENERS = [listenerOf()];
const exact = (value: string): PathMatchConfig => ({ kind: "exact", value });
const prefix = (value: string): PathMatchConfig => ({ kind: "prefix", value });
const template = (value: string): PathMatchConfig => ({ kind: "template", value });
const regex = (value: string): PathMatchConfig => ({ kind: "regex", value });

/** `route/rule` of what a request matches, or `-`. */
function where(router: Router, head: RequestHead, gateway = GATEWAY): string {
  const match = router.match(gateway, head);
  return match === undefined ? "-" : `${match.route.name}/${match.rule.name}`;
}

/** One host, one route per entry, in the order given. */
function routerOf(...matches: MatchConfig[]): Router {
  return buildRouter([makeRoute("r", ["*"], matches)], LISTENERS);
}

describe("router: hosts", () => {
  // Class 25: CVE-2021-39155 (case), CVE-2026-27588 (a fast path above 100 hosts that forgot the case).
  for (const count of [1, 99, 101, 10_000]) {
    test(`host, HOST, host. and host:443 match alike among ${count} hosts`, () => {
      const routes: RouteConfig[] = [];
      for (let i = 0; i < count; i++) {
        const host = i % 3 === 0 ? `*.w${i}.example.org` : `h${i}.example.org`;
        routes.push(makeRoute(`r${i}`, [host], [makeMatch(prefix("/"))]));
      }
      const router = buildRouter(routes, LISTENERS);
      const rng = new SeededRng(25);
      for (let round = 0; round < 200; round++) {
        const i = rng.below(count);
        const host = i % 3 === 0 ? `Deep.a.w${i}.example.org`.toLowerCase() : `h${i}.example.org`;
        const spellings = [host, host.toUpperCase(), `${host}.`, `${host}:443`, `${host.toUpperCase()}.:8443`];
        for (const spelling of spellings) assert.equal(where(router, makeHead(spelling, "/")), `r${i}/0`, spelling);
        assert.equal(where(router, makeHead(`x${host}`, "/")), i % 3 === 0 ? `r${i}/0` : "-");
      }
      assert.equal(where(router, makeHead("example.org", "/")), "-");
    });
  }

  test("exact before the longest wildcard before *, and a host without a match does not hide the wildcard", () => {
    const router = buildRouter(
      [
        makeRoute("any", ["*"], [makeMatch(prefix("/"))]),
        makeRoute("exact", ["a.b.example.org"], [makeMatch(prefix("/only"))]),
        makeRoute("long", ["*.b.example.org"], [makeMatch(prefix("/")), makeMatch(exact("/only"))]),
        makeRoute("short", ["*.example.org"], [makeMatch(prefix("/"))]),
      ],
      LISTENERS,
    );
    assert.equal(where(router, makeHead("a.b.example.org", "/only")), "exact/0");
    assert.equal(where(router, makeHead("a.b.example.org", "/other")), "long/0");
    assert.equal(where(router, makeHead("x.y.b.example.org", "/")), "long/0");
    assert.equal(where(router, makeHead("b.example.org", "/")), "short/0");
    assert.equal(where(router, makeHead("example.org", "/")), "any/0");
    assert.equal(where(router, makeHead(".example.org", "/")), "any/0");
    assert.equal(where(router, makeHead("[::1]:80", "/")), "any/0");
  });

  test("IPv6 literals are hosts", () => {
    const router = buildRouter([makeRoute("six", ["[2001:db8::1]"], [makeMatch(prefix("/"))])], LISTENERS);
    assert.equal(where(router, makeHead("[2001:db8::1]", "/")), "six/0");
    assert.equal(where(router, makeHead("[2001:DB8::1]:8443", "/")), "six/0");
    assert.equal(where(router, makeHead("[2001:db8::2]", "/")), "-");
  });

  test("listeners bound the hosts: by their own name exactly, by gateway all of them", () => {
    const listeners = [
      listenerOf({ name: "default/edge/a", hosts: ["a.example.org"] }),
      listenerOf({ name: "default/edge/w", hosts: ["*.w.example.org"] }),
      listenerOf({ name: "default/other/x", gateway: "default/other", hosts: [] }),
    ];
    const routes = [
      makeRoute("all", ["*"], [makeMatch(prefix("/"))]),
      makeRoute("edge", ["a.example.org"], [makeMatch(prefix("/"))], { gateways: ["default/edge"] }),
      makeRoute("other", ["a.example.org"], [makeMatch(prefix("/"))], { gateways: ["default/other"] }),
    ];
    const router = buildRouter(routes, listeners);
    const table: [string, string, string][] = [
      ["default/edge", "a.example.org", "edge/0"],
      ["default/edge/a", "A.example.org:80", "edge/0"],
      ["default/edge/w", "a.example.org", "-"],
      ["default/edge/w", "b.w.example.org", "all/0"],
      ["default/edge", "b.w.example.org", "all/0"],
      ["default/edge", "else.example.org", "-"],
      ["default/other", "a.example.org", "other/0"],
      ["default/other/x", "else.example.org", "all/0"],
      ["default/nowhere", "a.example.org", "-"],
    ];
    for (const [gateway, host, expected] of table)
      assert.equal(where(router, makeHead(host, "/"), gateway), expected, `${gateway} ${host}`);
  });
});

describe("router: paths", () => {
  test("prefixes go by segments and the longest wins, also behind a slash at the end", () => {
    const router = routerOf(
      makeMatch(prefix("/")),
      makeMatch(prefix("/a")),
      makeMatch(prefix("/a/b/")),
      makeMatch(prefix("/a/bc")),
    );
    const table: [string, string][] = [
      ["/", "r/0"],
      ["/ab", "r/0"],
      ["/a", "r/1"],
      ["/a/", "r/1"],
      ["/a/bcd", "r/1"],
      ["/a/b", "r/2"],
      ["/a/b/c/d", "r/2"],
      ["/a/bc/d", "r/3"],
      ["*", "r/0"],
    ];
    for (const [path, expected] of table) assert.equal(where(router, makeHead("h", path)), expected, path);
    assert.equal(router.match(GATEWAY, makeHead("h", "/a/b/c"))?.matchedPrefix, "/a/b");
    assert.equal(router.match(GATEWAY, makeHead("h", "/x"))?.matchedPrefix, "/");
  });

  test("exact, template, regex, prefix: in this order", () => {
    const router = routerOf(
      makeMatch(prefix("/u/7")),
      makeMatch(regex("/u/[0-9]+")),
      makeMatch(template("/u/{id}")),
      makeMatch(exact("/u/7")),
    );
    assert.equal(where(router, makeHead("h", "/u/7")), "r/3");
    assert.equal(where(router, makeHead("h", "/u/8")), "r/2");
    assert.equal(where(router, makeHead("h", "/u/7/x")), "r/0");
    const withoutTemplate = routerOf(makeMatch(prefix("/u")), makeMatch(regex("/u/[0-9]+")));
    assert.equal(where(withoutTemplate, makeHead("h", "/u/8")), "r/1");
    assert.equal(where(withoutTemplate, makeHead("h", "/u/8/")), "r/0");
  });

  test("templates: literal before variable before rest, from the left; variables are never empty, the rest may be", () => {
    const router = routerOf(
      makeMatch(template("/f/{rest=**}")),
      makeMatch(template("/f/{a}/x")),
      makeMatch(template("/f/y/{b}")),
      makeMatch(template("/f/{a}/{b}")),
    );
    const variables = (path: string) => router.match(GATEWAY, makeHead("h", path))?.variables;
    assert.equal(where(router, makeHead("h", "/f/y/x")), "r/2");
    assert.equal(where(router, makeHead("h", "/f/z/x")), "r/1");
    assert.equal(where(router, makeHead("h", "/f/z/w")), "r/3");
    assert.equal(where(router, makeHead("h", "/f//w")), "r/0");
    assert.deepEqual(variables("/f/z/w%20"), [
      ["a", "z"],
      ["b", "w%20"],
    ]);
    assert.deepEqual(variables("/f/1/2/3"), [["rest", "1/2/3"]]);
    assert.deepEqual(variables("/f/"), [["rest", ""]]);
    assert.deepEqual(variables("/f"), [["rest", ""]]);
    assert.equal(variables("/fx"), undefined);
  });

  test("regexes are anchored at both ends, alternatives included, and linear", () => {
    const router = routerOf(makeMatch(regex("/a|/b")), makeMatch(regex("(/x+)+y")));
    assert.equal(where(router, makeHead("h", "/a")), "r/0");
    assert.equal(where(router, makeHead("h", "/ab")), "-");
    assert.equal(where(router, makeHead("h", "/a\n")), "-");
    // With a backtracking engine this test would not end (class 35).
    assert.equal(where(router, makeHead("h", `/${"x".repeat(5_000)}`)), "-");
  });

  test("expressions look at a bounded number of bytes for one request; beyond it nothing matches, a laxer route neither", () => {
    const path = `/${"a".repeat(15_999)}`;
    const most = Math.floor(ROUTING_LIMITS.patternBytes / (path.length + 16));
    const routes = Array.from({ length: most }, (_, i) => makeMatch(regex(`/a*b${i}`)));
    assert.equal(where(routerOf(...routes, makeMatch(prefix("/"))), makeHead("h", path)), `r/${most}`);
    const router = routerOf(...routes, makeMatch(regex("/a*c")), makeMatch(prefix("/"), { methods: ["GET"] }));
    assert.equal(where(router, makeHead("h", path)), "-");
    assert.deepEqual(router.allowedMethods(GATEWAY, makeHead("h", path)), []);
    // The next request has its own.
    assert.equal(where(router, makeHead("h", "/aac")), `r/${most}`);
  });

  test("literals are literals: no metacharacter means anything (class 34)", () => {
    const router = routerOf(
      makeMatch(exact("/a.c")),
      makeMatch(prefix("/p+/(x")),
      makeMatch(exact("/q"), { headers: [{ name: "x", kind: "exact", value: "a.c" }] }),
    );
    assert.equal(where(router, makeHead("h", "/abc")), "-");
    assert.equal(where(router, makeHead("h", "/a.c")), "r/0");
    assert.equal(where(router, makeHead("h", "/p+/(x/y")), "r/1");
    assert.equal(where(router, makeHead("h", "/q", { headers: HeaderBlock.from([["x", "abc"]]) })), "-");
  });
});

describe("router: conditions", () => {
  test("headers and query: every value is seen (class 27)", () => {
    const router = routerOf(
      makeMatch(prefix("/h"), { headers: [{ name: "X-Role", kind: "exact", value: "admin" }] }),
      makeMatch(prefix("/r"), { headers: [{ name: "x-role", kind: "regex", value: "adm.*" }] }),
      makeMatch(prefix("/p"), { headers: [{ name: "x-role", kind: "present" }] }),
      makeMatch(prefix("/n"), { headers: [{ name: "x-role", kind: "absent" }] }),
      makeMatch(prefix("/q"), { query: [{ name: "k", kind: "exact", value: "b c" }] }),
      makeMatch(prefix("/Q"), { query: [{ name: "é", kind: "exact", value: "ü" }] }),
    );
    const roles = (...values: string[]) => HeaderBlock.from(values.map((value) => ["x-role", value] as const));
    for (const values of [["admin"], ["user", "admin"], ["admin", "user"], ["a", "admin", "b"]]) {
      assert.equal(where(router, makeHead("h", "/h", { headers: roles(...values) })), "r/0");
      assert.equal(where(router, makeHead("h", "/r", { headers: roles(...values) })), "r/1");
      assert.equal(where(router, makeHead("h", "/p", { headers: roles(...values) })), "r/2");
      assert.equal(where(router, makeHead("h", "/n", { headers: roles(...values) })), "-");
    }
    // Concatenation must not make a match either.
    assert.equal(where(router, makeHead("h", "/h", { headers: roles("adm", "in") })), "-");
    assert.equal(where(router, makeHead("h", "/n")), "r/3");
    assert.equal(where(router, makeHead("h", "/p", { headers: roles("") })), "r/2");
    for (const query of ["k=b+c", "k=1&k=b%20c", "%6b=b%20c&k=2", "&&k=b+c&"])
      assert.equal(where(router, makeHead("h", "/q", { query })), "r/4", query);
    for (const query of [undefined, "", "k", "k=b%2", "K=b+c", "k=b%2bc"])
      assert.equal(where(router, makeHead("h", "/q", { query })), "-", String(query));
    assert.equal(where(router, makeHead("h", "/Q", { query: "%C3%A9=%c3%bc" })), "r/5");
  });

  test("between equal paths: method, more headers, more query, name, order", () => {
    const header = { name: "a", kind: "present" } as const;
    const other = { name: "b", kind: "present" } as const;
    const routes = [
      makeRoute("1", ["h"], [makeMatch(prefix("/")), makeMatch(prefix("/"), { query: [header] })]),
      makeRoute("2", ["h"], [makeMatch(prefix("/")), makeMatch(prefix("/"), { headers: [header] })]),
      makeRoute("3", ["h"], [makeMatch(prefix("/"), { headers: [header, other] })]),
      makeRoute("4", ["h"], [makeMatch(prefix("/"), { methods: ["POST"] })]),
    ];
    // Given in any order, the names decide.
    const router = buildRouter(routes.toReversed(), LISTENERS);
    const both = HeaderBlock.from([
      ["a", ""],
      ["b", ""],
    ]);
    assert.equal(where(router, makeHead("h", "/")), "1/0");
    assert.equal(where(router, makeHead("h", "/", { query: "a" })), "1/1");
    assert.equal(where(router, makeHead("h", "/", { query: "a", headers: HeaderBlock.from([["a", ""]]) })), "2/1");
    assert.equal(where(router, makeHead("h", "/", { query: "a", headers: both })), "3/0");
    assert.equal(where(router, makeHead("h", "/", { method: "POST", headers: both })), "4/0");
  });

  test("only the method fails: no match, and the methods that would", () => {
    const router = routerOf(
      makeMatch(exact("/a"), { methods: ["PUT", "POST"] }),
      makeMatch(template("/{x}"), { methods: ["DELETE"] }),
      makeMatch(prefix("/"), { methods: ["PATCH"], headers: [{ name: "x", kind: "present" }] }),
    );
    assert.equal(router.match(GATEWAY, makeHead("h", "/a")), undefined);
    assert.deepEqual(router.allowedMethods(GATEWAY, makeHead("h", "/a")), ["DELETE", "POST", "PUT"]);
    assert.deepEqual(router.allowedMethods(GATEWAY, makeHead("h", "/a/b")), []);
    assert.deepEqual(router.allowedMethods("default/nowhere", makeHead("h", "/a")), []);
    // Asking leaves nothing behind.
    assert.equal(where(router, makeHead("h", "/a", { method: "PUT" })), "r/0");
  });

  test("explain names the first thing that each candidate lacks, most specific first", () => {
    const router = routerOf(
      makeMatch(prefix("/"), { methods: ["POST"] }),
      makeMatch(exact("/a"), { headers: [{ name: "x", kind: "exact", value: "1" }] }),
      makeMatch(template("/{id}"), { query: [{ name: "q", kind: "present" }] }),
      makeMatch(regex("/b+")),
    );
    const why = router.explain(GATEWAY, makeHead("H.:80", "/a"));
    assert.equal(why.host, "h");
    assert.equal(why.served, true);
    assert.equal(why.match, undefined);
    assert.deepEqual(why.allow, ["POST"]);
    assert.deepEqual(
      why.candidates.map(({ match, mismatch }) => [match, mismatch]),
      [
        ["exact /a, header x = 1", "header x"],
        ["template /{id}, query q present", "query q"],
        ["regex /b+", "path"],
        ["prefix /, POST", "method"],
      ],
    );
    assert.equal(why.candidates[0]?.address, "Route r rule 1");
    assert.equal(router.explain("default/nowhere", makeHead("h", "/")).served, false);
  });

  test("a route that cannot be compiled is named, and so is every other", () => {
    const bad = [
      makeRoute("a", ["*"], [makeMatch(regex("(("))]),
      makeRoute("b", ["*"], [makeMatch(template("/{x}/{x}"))]),
      makeRoute("c", ["*"], [makeMatch(template("/{x=**}/y"))]),
    ];
    assert.throws(() => buildRouter(bad, LISTENERS), /Route a rule 0: .*\n.*Route b rule 0: .*\n.*Route c rule 0: /s);
    const twice = [makeRoute("a", ["*"], []), makeRoute("a", ["x"], [])];
    assert.throws(() => buildRouter(twice, LISTENERS), /Route a is there twice/);
  });
});

const HOSTS = ["*", "a.x", "b.a.x", "*.x", "*.a.x", "c.x"];
const SEGMENTS = ["a", "b", "c", "ab"];
const pick = <T>(rng: Rng, from: readonly T[]): T => from[rng.below(from.length)] as T;

function randomPath(rng: Rng): string {
  const count = rng.below(4);
  const path = `/${Array.from({ length: count }, () => pick(rng, SEGMENTS)).join("/")}`;
  return rng.below(6) === 0 && path !== "/" ? `${path}/` : path;
}

function randomPathMatch(rng: Rng): PathMatchConfig {
  const kind = rng.below(4);
  if (kind === 0) return exact(randomPath(rng));
  if (kind === 1) return prefix(randomPath(rng));
  if (kind === 2) return regex(pick(rng, ["/a.*", "/[ab]/.*", "/(a|b|c)", "/.*/c", "/ab?(/.*)?"]));
  const names = ["{p}", "{q}", "{r}"];
  const segments = Array.from({ length: 1 + rng.below(3) }, (_, i) =>
    rng.below(2) === 0 ? pick(rng, SEGMENTS) : (names[i] as string),
  );
  if (rng.below(4) === 0) segments.push("{z=**}");
  return template(`/${segments.join("/")}`);
}

function randomMatch(rng: Rng): MatchConfig {
  const value = (name: string) =>
    pick(rng, [
      { name, kind: "exact", value: "1" },
      { name, kind: "regex", value: "[12]" },
      { name, kind: "present" },
      { name, kind: "absent" },
    ] as const);
  return makeMatch(randomPathMatch(rng), {
    methods: rng.below(3) === 0 ? [pick(rng, ["GET", "POST"])] : [],
    headers: Array.from({ length: rng.below(3) }, (_, i) => value(`h${i}`)),
    query: Array.from({ length: rng.below(2) }, () => value("q")),
  });
}

function randomRoute(rng: Rng, i: number): RouteConfig {
  const rules = Array.from({ length: 1 + rng.below(3) }, (_, at) =>
    makeRule(
      String(at),
      Array.from({ length: 1 + rng.below(2) }, () => randomMatch(rng)),
    ),
  );
  const hosts = [...new Set(Array.from({ length: 1 + rng.below(2) }, () => pick(rng, HOSTS)))];
  const gateways = pick(rng, [[], [], ["default/edge"], ["default/other"], ["default/edge", "default/other"]]);
  return { ...makeRoute(`r${String(i).padStart(3, "0")}`, hosts, []), gateways, rules };
}

function randomHead(rng: Rng): RequestHead {
  const headers = new HeaderBlock();
  for (let i = rng.below(4); i > 0; i--) headers.add(`h${rng.below(2)}`, pick(rng, ["1", "2", "3"]));
  const query = pick(rng, [undefined, "", "q=1", "q=3&q=2", "q", "p=1&q=3"]);
  const host = pick(rng, ["a.x", "b.a.x", "c.x", "d.c.x", "z.b.a.x", "x", "other"]);
  return makeHead(pick(rng, [host, `${host}:80`]), randomPath(rng), { method: pick(rng, ["GET", "POST"]), query, headers });
}

describe("router: properties", () => {
  const listeners = [
    listenerOf(),
    listenerOf({ name: "default/other/x", gateway: "default/other", hosts: ["*.x"] }),
    listenerOf({ name: "default/third/y", gateway: "default/third" }),
  ];
  const hostsOf = new Map(listeners.map((each) => [each.gateway, each.hosts]));

  function assertSame(router: Router, routes: readonly RouteConfig[], rng: Rng, rounds: number, label: string): void {
    for (let i = 0; i < rounds; i++) {
      const gateway = pick(rng, [...hostsOf.keys()]);
      const head = randomHead(rng);
      const expected = matchNaively(routes, gateway, hostsOf.get(gateway) ?? [], head);
      const got = router.match(gateway, head);
      const show = `${label}: ${gateway} ${head.method} ${head.authority} ${head.path} ?${head.query} ${JSON.stringify(head.headers.entries())}`;
      assert.equal(got?.address, expected && `Route ${expected.route.name} rule ${expected.rule.name}`, show);
      // What is done with it is what it says now, not only where.
      assert.deepEqual(got?.rule, expected?.rule, show);
      // Explain's first candidate without a mismatch is the winner.
      const winner = router.explain(gateway, head).candidates.find((each) => each.mismatch === "");
      assert.equal(winner?.address, got?.address, show);
    }
  }

  test("agrees with the naive router on random tables and requests", () => {
    for (let seed = 1; seed <= 150; seed++) {
      const rng = new SeededRng(seed);
      const routes = Array.from({ length: 1 + rng.below(12) }, (_, i) => randomRoute(rng, i));
      assertSame(buildRouter(routes, listeners), routes, rng, 40, `seed ${seed}`);
    }
  });

  test("405 lists exactly the methods that would match", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const rng = new SeededRng(seed);
      const routes = Array.from({ length: 1 + rng.below(6) }, (_, i) => randomRoute(rng, i));
      const router = buildRouter(routes, listeners);
      for (let i = 0; i < 40; i++) {
        const head = randomHead(rng);
        if (router.match("default/edge", head) !== undefined) continue;
        const would = ["GET", "POST"].filter(
          (method) => matchNaively(routes, "default/edge", [], { ...head, method }) !== undefined,
        );
        assert.deepEqual(router.allowedMethods("default/edge", head), would, `seed ${seed}`);
      }
    }
  });

  const answering = (route: RouteConfig, step: number): RouteConfig => {
    const action = { kind: "respond", status: 200, headers: [], body: `step ${step}` } as const;
    return structuredClone({ ...route, rules: route.rules.map((rule) => ({ ...rule, action })) });
  };

  test("a chain of incremental builds agrees with the naive router at each step, and the old routers do not change", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const rng = new SeededRng(seed);
      let routes = Array.from({ length: 8 }, (_, i) => randomRoute(rng, i));
      let router = buildRouter(routes, listeners);
      for (let step = 0; step < 12; step++) {
        const old = { router, routes };
        const at = rng.below(routes.length + 1);
        const change = rng.below(6);
        if (change === 0) routes = [...routes, randomRoute(rng, 100 + step)];
        else if (change === 1) routes = routes.filter((_, i) => i !== at);
        else if (change === 2)
          routes = routes.map((route, i) => (i === at ? { ...randomRoute(rng, 0), name: route.name } : route));
        // The same is asked of requests, something else is done; of one route, or of all that name gateways and of all others.
        else if (change === 3) routes = routes.map((route, i) => (i === at ? answering(route, step) : route));
        else if (change === 4) routes = routes.map((route) => (route.gateways.length > 0 ? answering(route, step) : route));
        // New objects, equal data: nothing must be lost.
        else routes = structuredClone(routes);
        router = buildRouter(routes, listeners, router);
        assertSame(router, routes, rng, 20, `seed ${seed} step ${step}`);
        assertSame(old.router, old.routes, rng, 10, `seed ${seed} step ${step}, the router before`);
      }
    }
  });

  test("an incremental build keeps what did not change, also when it comes as copies", () => {
    const routes = Array.from({ length: 20 }, (_, i) =>
      makeRoute(`r${String(i).padStart(2, "0")}`, [`h${i % 5}.x`], [makeMatch(prefix(`/${i}`))], {
        gateways: i % 5 === 4 ? ["default/other"] : [],
      }),
    );
    const first = buildRouter(routes, LISTENERS);
    const changed = routes.map((route, i) =>
      i === 7 ? makeRoute("r07", ["h2.x"], [makeMatch(prefix("/new"))]) : structuredClone(route),
    );
    const second = buildRouter(changed, LISTENERS, first);
    assert.ok(first instanceof RouteTable && second instanceof RouteTable);
    for (const [i, { candidates, config }] of second.routes.entries()) {
      assert.equal(candidates === first.routes[i]?.candidates, i !== 7, config.name);
      // The object that comes next time, if nothing changes.
      assert.equal(config, changed[i]);
    }
    assert.equal(where(second, makeHead("h2.x", "/new")), "r07/0");
    assert.equal(where(second, makeHead("h2.x", "/7")), "-");
    assert.equal(where(first, makeHead("h2.x", "/7")), "r07/0");
    // A class of gateways that the change is not for keeps its index.
    const third = buildRouter(
      changed.map((route, i) => (i === 4 ? { ...route, hosts: ["new.x"] } : route)),
      LISTENERS,
      second,
    );
    assert.ok(third instanceof RouteTable);
    assert.equal(third.indexes.get(""), second.indexes.get(""));
    assert.notEqual(third.indexes.get("default/other"), second.indexes.get("default/other"));
  });

  test("thousands of changes, one by one: what was taken away is forgotten, and the index is made anew before it is worn out", () => {
    const rng = new SeededRng(77);
    let routes = Array.from({ length: 60 }, (_, i) => randomRoute(rng, i));
    let router = buildRouter(routes, listeners);
    for (let step = 0; step < 1_500; step++) {
      const at = rng.below(routes.length);
      routes = routes.map((route, i) => (i === at ? { ...randomRoute(rng, 0), name: route.name } : route));
      router = buildRouter(routes, listeners, router);
      if (step % 50 === 0) assertSame(router, routes, rng, 20, `step ${step}`);
      assert.ok(router instanceof RouteTable);
      for (const index of router.indexes.values()) assert.equal(index.isWorn, false);
    }
  });
});
