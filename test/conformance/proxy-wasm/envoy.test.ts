import { afterAll, beforeAll, describe, test } from "bun:test";
import { TEST_MS } from "../../kit/patience.ts";
import { playable, readCases } from "./format.ts";
import { startOnEnvoy } from "./on-envoy.ts";
import { Play } from "./play.ts";

// Every case of ./cases on the real Envoy, which shows that they are not about our host alone. What both must refuse: test/long/proxy-wasm.test.ts.

const files = readCases();
const play = new Play(
  [...files.values()].flatMap((cases) => playable(cases, "envoy")),
  startOnEnvoy,
);

describe("proxy-wasm conformance on Envoy", () => {
  beforeAll(() => play.begin(), TEST_MS);
  afterAll(() => play.end());
  for (const [file, cases] of files) {
    for (const each of playable(cases, "envoy")) test(`${file}: ${each.name}`, () => play.play(each), TEST_MS);
  }
});
