import assert from "node:assert/strict";
import { afterAll, beforeAll, describe, test } from "../../kit/suite.ts";
import { playable, readCases, refusals } from "./format.ts";
import { startOnSelvedge } from "./on-selvedge.ts";
import { NO_PEERS, Play } from "./play.ts";

// Every case of ./cases on our own host. The same on the real Envoy: envoy.test.ts.

const files = readCases();
const play = new Play(
  [...files.values()].flatMap((cases) => playable(cases, "selvedge")),
  startOnSelvedge,
);

describe("proxy-wasm conformance", () => {
  beforeAll(() => play.begin());
  afterAll(() => play.end());
  for (const [file, cases] of files) {
    for (const each of playable(cases, "selvedge")) test(`${file}: ${each.name}`, () => play.play(each));
    for (const { each, reason } of refusals(cases, "selvedge")) {
      test(`${file}: ${each.name}`, async () => {
        await assert.rejects(startOnSelvedge([{ each, upstreamPort: 1 }], NO_PEERS), (error: Error) =>
          error.message.includes(reason),
        );
      });
    }
  }
});
