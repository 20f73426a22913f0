/** Hosts and paths are bytes in typed arrays: nothing is taken for what it resembles. */
import assert from "node:assert/strict";
import type { PathMatchConfig } from "../../src/config/snapshot.ts";
import type { RequestHead } from "../../src/core/head.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { buildRouter } from "../../src/proxy/routing/build.ts";
import type { Router } from "../../src/proxy/routing/router.ts";
import { makeHead, makeMatch, makeRoute } from "../kit/route-config.ts";
import { listenerOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";

const LISTENERS = [listenerOf()];
const exact = (value: string): PathMatchConfig => ({ kind: "exact", value });
const prefix = (value: string): PathMatchConfig => ({ kind: "prefix", value });
const template = (value: string): PathMatchConfig => ({ kind: "template", value });

/** `route/rule` of what a request matches, or `-`. */
function where(router: Router, head: RequestHead): string {
  const match = router.match("default/edge", head);
  return match === undefined ? "-" : `${match.route.name}/${match.rule.name}`;
}

describe("router: bytes", () => {
  test("hosts and paths of any length, told apart to the last character, among thousands that are nearly alike", () => {
    const rng = new SeededRng(78);
    const name = (length: number): string => Array.from({ length }, () => (rng.below(2) === 0 ? "a" : "b")).join("");
    const texts = [...new Set(Array.from({ length: 3_000 }, () => name(1 + rng.below(rng.below(20) === 0 ? 300 : 14))))];
    const routes = texts.map((text, i) =>
      makeRoute(`r${i}`, [`${text}.x`], [makeMatch(exact(`/${text}`)), makeMatch(template(`/{v}/${text}`))]),
    );
    const router = buildRouter(routes, LISTENERS);
    const known = new Set(texts);
    for (const [i, text] of texts.entries()) {
      assert.equal(where(router, makeHead(`${text}.x`, `/${text}`)), `r${i}/0`);
      assert.equal(where(router, makeHead(`${text}.x`, `/v/${text}`)), `r${i}/1`);
      for (const other of [`${text}a`, `${text}b`, `b${text}`, text.slice(1), text.slice(0, -1)]) {
        assert.equal(where(router, makeHead(`${text}.x`, `/${other}`)), "-");
        assert.equal(where(router, makeHead(`${text}.x`, `/v/${other}`)), "-");
        if (!known.has(other)) assert.equal(where(router, makeHead(`${other}.x`, `/${text}`)), "-");
      }
    }
  });

  test("a character above 0xff is not taken for the byte that it ends in", () => {
    const router = buildRouter(
      [
        makeRoute("wide", ["a\u0162.x"], [makeMatch(prefix("/"))]),
        makeRoute("bytes", ["abcd.x"], [makeMatch(exact("/ab")), makeMatch(exact("/\u0161\u0000"))]),
      ],
      LISTENERS,
    );
    assert.equal(where(router, makeHead("abcd.x", "/ab")), "bytes/0");
    for (const host of ["a\u0162cd.x", "\u0161bcd.x", "ab\u0163d.x", "abcd.\u0178", "\u6261cd.x"])
      assert.equal(where(router, makeHead(host, "/ab")), "-", host);
    for (const path of ["/a\u0162", "/\u6261", "/a\u0000"]) assert.equal(where(router, makeHead("abcd.x", path)), "-", path);
    assert.equal(where(router, makeHead("ab.x", "/")), "-");
  });
});
