import assert from "node:assert/strict";
import type { ActionConfig, PathRewriteConfig } from "../../src/config/snapshot.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { applyHeaderEdits } from "../../src/proxy/routing/headers.ts";
import { applyRewrite, redirectLocation, rewritePath } from "../../src/proxy/routing/rewrite.ts";
import type { RouteMatch } from "../../src/proxy/routing/router.ts";
import { chooseBackend } from "../../src/proxy/routing/split.ts";
import { makeHead, makeMatch, makeRoute, makeRule } from "../kit/route-config.ts";
import { describe, test } from "../kit/suite.ts";

const POLICY = { encodedSlash: "reject", doubleSlash: "merge", semicolon: "keep" } as const;

function matchOf(matchedPrefix: string, variables: readonly (readonly [string, string])[] = []): RouteMatch {
  const match = makeMatch({ kind: "prefix", value: matchedPrefix });
  return {
    route: makeRoute("r", ["*"], [match]),
    rule: makeRule("0", [match]),
    address: "Route r rule 0",
    matchedPrefix,
    variables,
  };
}

describe("rewrite", () => {
  test("prefix rewrites as in the table of Gateway API (HTTPPathModifier.replacePrefixMatch)", () => {
    const table: [string, string, string, string][] = [
      ["/foo/bar", "/foo", "/xyz", "/xyz/bar"],
      ["/foo/bar", "/foo", "/xyz/", "/xyz/bar"],
      ["/foo/bar", "/foo/", "/xyz", "/xyz/bar"],
      ["/foo/bar", "/foo/", "/xyz/", "/xyz/bar"],
      ["/foo", "/foo", "/xyz", "/xyz"],
      ["/foo/", "/foo", "/xyz", "/xyz/"],
      ["/foo/bar", "/foo", "", "/bar"],
      ["/foo/", "/foo", "", "/"],
      ["/foo", "/foo", "", "/"],
      ["/foo/", "/foo", "/", "/"],
      ["/foo", "/foo", "/", "/"],
      ["/foo", "/", "/xyz", "/xyz/foo"],
      ["/", "/", "/xyz", "/xyz/"],
    ];
    for (const [path, prefix, value, expected] of table)
      assert.equal(rewritePath({ kind: "prefix", value }, matchOf(prefix), path), expected, `${path} ${prefix} ${value}`);
  });

  test("full and template rewrites; a rule that matched no prefix leaves the path", () => {
    const variables = [
      ["id", "7%20"],
      ["rest", "a/b"],
    ] as const;
    assert.equal(rewritePath({ kind: "full", value: "/x" }, matchOf("/a"), "/a/b"), "/x");
    assert.equal(rewritePath({ kind: "template", value: "/u/{id}/{rest}" }, matchOf("", variables), "/q"), "/u/7%20/a/b");
    assert.equal(rewritePath({ kind: "template", value: "/u/{nobody}/x" }, matchOf("", variables), "/q"), "/u//x");
    assert.equal(rewritePath({ kind: "prefix", value: "/x" }, matchOf(""), "/q"), "/q");
  });

  test("the result is normalised again, and one that is not allowed leaves the head alone (class 23)", () => {
    const head = makeHead("a", "/api/x", { query: "q=1" });
    const to = (path: PathRewriteConfig) => applyRewrite({ host: "b.example:81", path }, matchOf("/api"), head, POLICY);
    assert.equal(to({ kind: "full", value: "/%2Fetc" })?.code, "bad_path");
    assert.equal(to({ kind: "full", value: "/a?b" })?.code, "bad_path");
    assert.deepEqual([head.authority, head.path, head.query], ["a", "/api/x", "q=1"]);
    assert.equal(to({ kind: "full", value: "/a//./b/../c%41" }), undefined);
    assert.deepEqual([head.authority, head.path, head.query], ["b.example:81", "/a/cA", "q=1"]);
  });

  test("OPTIONS * keeps its target", () => {
    const head = makeHead("a", "*", { method: "OPTIONS" });
    assert.equal(applyRewrite({ host: "b", path: { kind: "full", value: "/x" } }, matchOf("/"), head, POLICY), undefined);
    assert.deepEqual([head.authority, head.path], ["b", "*"]);
  });
});

describe("redirect", () => {
  type Redirect = Extract<ActionConfig, { kind: "redirect" }>;
  const base: Redirect = {
    kind: "redirect",
    status: 302,
    scheme: undefined,
    host: undefined,
    port: undefined,
    path: undefined,
    stripQuery: false,
  };
  const table: [string, Partial<Redirect>, string, number, string][] = [
    ["keeps everything", {}, "http://a.example/api/x?q=1", 80, "http"],
    ["shows the listener's port", {}, "http://a.example:8080/api/x?q=1", 8080, "http"],
    ["new scheme takes its own port", { scheme: "https" }, "https://a.example/api/x?q=1", 8080, "http"],
    ["https on 443 shows none", {}, "https://a.example/api/x?q=1", 443, "https"],
    ["https on 80 shows it", {}, "https://a.example:80/api/x?q=1", 80, "https"],
    ["own port", { scheme: "https", port: 8443 }, "https://a.example:8443/api/x?q=1", 80, "http"],
    ["own port that is the scheme's", { scheme: "https", port: 443 }, "https://a.example/api/x?q=1", 80, "http"],
    ["other host", { host: "b.example" }, "http://b.example:8080/api/x?q=1", 8080, "http"],
    ["unix listener", {}, "http://a.example/api/x?q=1", 0, "http"],
    ["without query", { stripQuery: true }, "http://a.example/api/x", 80, "http"],
    ["full path", { path: { kind: "full", value: "/n" } }, "http://a.example/n?q=1", 80, "http"],
    ["prefix", { path: { kind: "prefix", value: "/v2" } }, "http://a.example/v2/x?q=1", 80, "http"],
    ["prefix away", { path: { kind: "prefix", value: "" } }, "http://a.example/x?q=1", 80, "http"],
  ];
  for (const [name, change, expected, port, scheme] of table) {
    test(name, () => {
      const head = makeHead("a.example:9999", "/api/x", { query: "q=1", scheme });
      assert.equal(redirectLocation({ ...base, ...change }, matchOf("/api"), head, port), expected);
    });
  }
});

describe("header edits", () => {
  test("set, then add, then remove; values are literals; what frames the message cannot be edited", () => {
    const block = HeaderBlock.from([
      ["a", "1"],
      ["a", "2"],
      ["b", "1"],
      ["c", "1"],
      ["content-length", "5"],
    ]);
    applyHeaderEdits(block, {
      set: [
        ["a", "%REQ(b)%"],
        ["content-length", "6"],
        ["host", "evil"],
      ],
      add: [
        ["b", "2"],
        ["transfer-encoding", "chunked"],
      ],
      remove: ["c", "content-length", "nothing"],
    });
    assert.deepEqual(block.entries(), [
      ["a", "%REQ(b)%"],
      ["b", "1"],
      ["content-length", "5"],
      ["b", "2"],
    ]);
  });
});

describe("weighted backends", () => {
  const backend = (service: string, weight: number) => ({ service, subset: undefined, weight });

  test("shares follow the weights; weight 0 gets nothing", () => {
    const backends = [backend("a", 90), backend("zero", 0), backend("b", 9), backend("c", 1)];
    const counts = new Map<string, number>();
    const rng = new SeededRng(1);
    for (let i = 0; i < 100_000; i++) {
      const service = chooseBackend(backends, rng)?.service ?? "-";
      counts.set(service, (counts.get(service) ?? 0) + 1);
    }
    const share = (service: string) => (counts.get(service) ?? 0) / 100_000;
    assert.ok(Math.abs(share("a") - 0.9) < 0.01, String(share("a")));
    assert.ok(Math.abs(share("b") - 0.09) < 0.005, String(share("b")));
    assert.ok(Math.abs(share("c") - 0.01) < 0.002, String(share("c")));
    assert.equal(counts.size, 3);
  });

  test("none, or none with weight: undefined", () => {
    const rng = new SeededRng(1);
    assert.equal(chooseBackend([], rng), undefined);
    assert.equal(chooseBackend([backend("a", 0)], rng), undefined);
    assert.equal(chooseBackend([backend("a", 0), backend("b", 0)], rng), undefined);
    assert.equal(chooseBackend([backend("a", 1)], rng)?.service, "a");
  });
});
