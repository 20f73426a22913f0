/**
 * Coraza, a firewall written in Go (scripts/envoy-filters.mjs builds it), with OWASP's whole Core Rule Set: classic attacks are blocked, clean
 * requests pass, and the real Envoy with the same module, configuration and requests answers the same and names the same rules.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startOnEnvoy } from "../conformance/proxy-wasm/on-envoy.ts";
import { startOnSelvedge } from "../conformance/proxy-wasm/on-selvedge.ts";
import { type HostUnderTest, NO_PEERS } from "../conformance/proxy-wasm/play.ts";
import { startAnswering } from "../conformance/proxy-wasm/wire.ts";
import type { RawUpstream } from "../kit/raw.ts";
import { CRS, playWaf, type WafOutcome } from "./coraza-play.ts";
import { answerOf, LEAK, WAF_REQUESTS } from "./coraza-requests.ts";

/** Envoy compiles the module for the main thread and for the worker: some 60 s of CPU. */
const ENVOY_START_MS = 1_200_000;

let upstream: RawUpstream;
let ours: HostUnderTest;
const outcomes = new Map<string, WafOutcome>();

beforeAll(async () => {
  upstream = (await startAnswering(answerOf)).upstream;
  ours = await startOnSelvedge([{ each: CRS, upstreamPort: upstream.port }], NO_PEERS);
}, ENVOY_START_MS);
afterAll(async () => {
  await ours.stop();
  await upstream.stop();
});

describe("Coraza with the Core Rule Set", () => {
  for (const request of WAF_REQUESTS) {
    test(request.name, async () => {
      const outcome = await playWaf(ours, CRS, request);
      outcomes.set(request.name, outcome);
      if (request.blocked) {
        expect(outcome.status).toBe(403);
        expect(outcome.rules).not.toEqual([]);
      } else {
        expect(outcome.status).not.toBe(403);
        expect(outcome.rules).toEqual([]);
      }
    });
  }

  test("a body that says what it may not does not get out", async () => {
    const { rules, body } = await playWaf(ours, CRS, LEAK);
    expect(rules).toContain("104");
    expect(body).not.toContain("secret");
  });
});

describe("the same in Envoy", () => {
  let envoy: HostUnderTest;
  beforeAll(async () => {
    envoy = await startOnEnvoy([{ each: CRS, upstreamPort: upstream.port }], NO_PEERS, ENVOY_START_MS);
  }, ENVOY_START_MS);
  afterAll(() => envoy.stop());
  for (const request of WAF_REQUESTS) {
    test(request.name, async () => {
      const mine = outcomes.get(request.name);
      if (mine === undefined) throw new Error("it was not played here");
      expect(await playWaf(envoy, CRS, request)).toEqual(mine);
    });
  }
});
