// Invariants: any split of any bytes gives the same events; what is accepted is written as exactly one message that reads back equal; nothing throws.
import assert from "node:assert/strict";
import { latin1Bytes } from "../../src/core/bytes.ts";
import type { RequestHead } from "../../src/core/head.ts";
import { DEFAULT_HTTP_LIMITS } from "../../src/core/limits.ts";
import { type Rng, SeededRng } from "../../src/core/rng.ts";
import { ByteWriter } from "../../src/core/writer.ts";
import { Http1Codec } from "../../src/proxy/codec/http1.ts";
import { cutsOf, type GoldenCase, loadGoldens, runCase, SILENT } from "../kit/http1-golden.ts";
import { describe, test } from "../kit/suite.ts";

const SEED = 20_251;
const ROUNDS = 4_000;
const goldens = loadGoldens().filter(
  (each) => each.input.length < 2_000 && !each.options.some(([key, value]) => key === "early" || value.startsWith("write")),
);
const SPICE = [
  "\r\n",
  "\n",
  "\r",
  "\0",
  " ",
  "\t",
  ":",
  ",",
  ";",
  "0",
  "chunked",
  "Content-Length: 1\r\n",
  "Host: b\r\n",
  "%2e",
  "/",
  "\xff",
];

/** A golden's bytes with a few of them changed, taken out, doubled or spiced. */
function mutate(golden: GoldenCase, rng: Rng): GoldenCase {
  let text = String.fromCharCode(...golden.input);
  for (let changes = 1 + rng.below(3); changes > 0; changes--) {
    const at = rng.below(text.length + 1);
    const spice = SPICE[rng.below(SPICE.length)] as string;
    const cut = rng.below(3) === 0 ? at + rng.below(4) : at;
    text = text.slice(0, at) + (rng.below(4) === 0 ? text.slice(at, at + 8) : spice) + text.slice(cut);
  }
  return { ...golden, input: latin1Bytes(text) };
}

/** Bytes behind an upstream's answer are judged by whether they came with it: that does depend on the cut, and only the first answer counts. */
function comparable(golden: GoldenCase, log: string): string {
  const isUpstream = golden.options.some(([key, value]) => key === "role" && value === "upstream");
  return isUpstream ? (log.split(/^(?:rest|reusable|last)$/m)[0] ?? "") : log;
}

const downstream = goldens.filter((each) => !each.options.some(([key]) => key === "role"));

const OPTIONS = {
  limits: DEFAULT_HTTP_LIMITS,
  scheme: "http",
  paths: { encodedSlash: "keep", doubleSlash: "keep", semicolon: "keep" },
  underscores: "keep",
} as const;

function readOne(bytes: Uint8Array): { head: RequestHead | undefined; consumed: number; failed: boolean } {
  const result = { head: undefined as RequestHead | undefined, consumed: 0, failed: false };
  const sink = {
    ...SILENT,
    onRequest(head: RequestHead) {
      result.head = head;
    },
    onFailure() {
      result.failed = true;
    },
  };
  const codec = new Http1Codec({ ...OPTIONS, role: "downstream", sink });
  result.consumed = codec.receive(bytes);
  return result;
}

describe("HTTP/1.1 codec, fuzzed", () => {
  test(`${ROUNDS} mutated goldens: every split gives the same events`, () => {
    const rng = new SeededRng(SEED);
    for (let i = 0; i < ROUNDS; i++) {
      const each = mutate(goldens[rng.below(goldens.length)] as GoldenCase, rng);
      const whole = comparable(each, runCase(each, Http1Codec, cutsOf(each.input.length, "whole")));
      const cuts = i % 4 === 0 ? cutsOf(each.input.length, "bytes") : cutsOf(each.input.length, rng);
      assert.equal(comparable(each, runCase(each, Http1Codec, cuts)), whole, JSON.stringify(String.fromCharCode(...each.input)));
    }
  });

  test(`${ROUNDS} mutated goldens: what is accepted is written as one message and reads back equal`, () => {
    const rng = new SeededRng(SEED + 1);
    let accepted = 0;
    for (let i = 0; i < ROUNDS; i++) {
      const { head, failed } = readOne(mutate(downstream[rng.below(downstream.length)] as GoldenCase, rng).input);
      if (head === undefined || failed) continue;
      accepted++;
      // Both speak of a body, and none is written.
      head.headers.remove("content-length");
      head.headers.remove("expect");
      const out = new ByteWriter();
      const up = new Http1Codec({ ...OPTIONS, role: "upstream", sink: SILENT });
      assert.equal(up.writeRequest(out, head, true), undefined);
      const again = readOne(out.view());
      assert.equal(again.consumed, out.length);
      // An empty Host is what HTTP/1.0 without one becomes; HTTP/1.1 does not take it back.
      if (head.authority === "") continue;
      assert.ok(again.head !== undefined);
      again.head.headers.remove("content-length");
      assert.deepEqual({ ...again.head, version: head.version }, head);
    }
    assert.ok(accepted > ROUNDS / 20, `only ${accepted} accepted`);
  });
});
