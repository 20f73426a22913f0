import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CONTINUE, decodeText, defineFilter, encodeText, PAUSE, respond } from "./index.js";

test("the WIT of the package is the host's", () => {
  const read = (path: string): string => readFileSync(join(import.meta.dir, path), "utf8");
  expect(read("wit/filter.wit")).toBe(read("../../filters-wasm/wit/filter.wit"));
});

test("text to UTF-8 and back", () => {
  for (const text of ["", "plain", "100 %", "né 漢 😀", "\0\r\n"]) {
    expect(encodeText(text)).toEqual(new TextEncoder().encode(text));
    expect(decodeText(encodeText(text))).toBe(text);
  }
  expect(() => decodeText(Uint8Array.of(0xc3, 0x28))).toThrow(URIError);
});

type Called = Record<string, (...args: unknown[]) => unknown>;

test("only the callbacks that are there are asked for; settings and state reach them", () => {
  let made = 0;
  const { configuration, heads } = defineFilter<{ limit: number }, { seen: number }>({
    configure: (settings) => settings as { limit: number },
    createExchange: () => ({ seen: ++made * 10 }),
    onRequestHead: (_request, exchange) => {
      exchange.state.seen++;
      return exchange.state.seen > exchange.settings.limit ? respond(429, "slow down", { "retry-after": "1" }) : undefined;
    },
  });
  const { configure } = configuration as Called;
  const { onRequestHead, onDone } = heads as Called;
  expect(configure?.('{"limit": 11}')).toMatchObject({ requestHead: true, responseHead: false, requestBody: false, done: true });
  expect(onRequestHead?.(1, {}, true)).toBe(CONTINUE);
  expect(onRequestHead?.(1, {}, true)).toMatchObject({ tag: "respond", val: { status: 429 } });
  onDone?.(1, {});
  expect(onRequestHead?.(1, {}, true)).toMatchObject({ tag: "respond", val: { headers: [{ name: "retry-after", value: "1" }] } });
  expect(made).toBe(2);
});

test("bodies and answers of calls", () => {
  const { bodies, callAnswers } = defineFilter({
    onRequestBody: (_body, _exchange, end) => (end ? undefined : PAUSE),
    onCallAnswer: (answer) => (answer === null ? respond(503) : undefined),
  });
  const { onRequestBody } = bodies as Called;
  expect([onRequestBody?.(1, {}, false), onRequestBody?.(1, {}, true)]).toEqual([PAUSE, CONTINUE]);
  expect((callAnswers as Called).onCallAnswer?.(1, 2, null, {})).toMatchObject({ tag: "respond", val: { status: 503 } });
});
