/** Filters that others wrote for Envoy (scripts/envoy-filters.mjs builds them) here and in the real Envoy, and what Envoy refuses. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { playable, readCases, refusals } from "../conformance/proxy-wasm/format.ts";
import { startOnEnvoy } from "../conformance/proxy-wasm/on-envoy.ts";
import { NO_PEERS, Play } from "../conformance/proxy-wasm/play.ts";
import { ask } from "../conformance/proxy-wasm/wire.ts";
import { TEST_MS } from "../kit/patience.ts";
import { ALIASES, cases } from "./proxy-wasm-suite.ts";

const ROOT = join(import.meta.dir, "../..");

test(
  "the same on Deno",
  () => {
    const deno = join(ROOT, "node_modules/.bin/deno");
    const { stdout } = spawnSync(deno, ["run", "-A", "--no-lock", "test/long/proxy-wasm-suite.ts"], {
      cwd: ROOT,
      encoding: "utf8",
    });
    expect(stdout).toMatch(/^\d+ passed, 0 failed$/m);
  },
  TEST_MS,
);

describe("the same in Envoy", () => {
  const play = new Play(playable(cases, "envoy"), startOnEnvoy, ALIASES);
  beforeAll(() => play.begin(), TEST_MS);
  afterAll(() => play.end());
  for (const each of playable(cases, "envoy")) test(each.name, () => play.play(each), TEST_MS);
});

describe("what Envoy refuses as well", () => {
  for (const { each } of [...readCases().values()].flatMap((all) => refusals(all, "envoy"))) {
    test(
      each.name,
      async () => {
        const running = await startOnEnvoy([{ each, upstreamPort: 1 }], NO_PEERS).catch(() => undefined);
        if (running === undefined) return;
        // It comes up all the same and denies everything.
        const { line } = await ask(running.port(each), {});
        await running.stop();
        expect(line).toMatch(/^HTTP\/1.1 5/);
      },
      TEST_MS,
    );
  }
});
