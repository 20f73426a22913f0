import { expect, test } from "bun:test";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../../core/head.ts";
import { SeededRng } from "../../core/rng.ts";
import { NameSet } from "../guest/name-set.ts";
import { requestInput, responseInput } from "./input.ts";

const rng = new SeededRng(20_261);
/** Texts of all that JSON writes otherwise than as it is, long ones among them. */
function text(charMax: number): string {
  const length = rng.below(8) === 0 ? rng.below(3_000) : rng.below(12);
  const isPlain = rng.below(2) === 0;
  return Array.from({ length }, () => String.fromCharCode(isPlain ? 0x20 + rng.below(0x60) : rng.below(charMax))).join("");
}
const block = (): HeaderBlock => {
  const names = Array.from({ length: rng.below(6) }, () => text(0x80));
  return new HeaderBlock(
    names,
    names.map(() => text(0x100)),
  );
};
const decoded = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

test("heads are written as JSON.stringify writes them", () => {
  for (let round = 0; round < 500; round++) {
    const request: RequestHead = {
      ...{ method: text(0x80), scheme: "http", authority: text(0x80), path: `/${text(0x100)}`, version: 11, upgrade: undefined },
      ...{ query: rng.below(2) === 0 ? undefined : text(0x100), headers: block() },
    };
    const response: ResponseHead = {
      status: 200 + rng.below(400),
      reason: "",
      version: 11,
      upgrade: undefined,
      headers: block(),
    };
    const { method, scheme, authority, path, query } = request;
    const line = { method, scheme, authority, path: query === undefined ? path : `${path}?${query}` };
    const end = rng.below(2) === 0;
    const source = text(0x80);
    const seen = requestInput(request, source, end);
    expect(decoded(seen)).toBe(JSON.stringify({ ...line, headers: request.headers.entries(), end, source }));
    // Lone surrogates among them: what a plug-in keeps is any text.
    const state = rng.below(3) === 0 ? undefined : text(0x1_0000);
    const answered = responseInput(response, request, end, state, { requestRead: undefined, responseRead: undefined });
    const { status } = response;
    expect(decoded(answered)).toBe(JSON.stringify({ status, headers: response.headers.entries(), end, request: line, state }));
  }
});

test("what a plug-in may not see is empty, or not there", () => {
  const request: RequestHead = {
    ...{ method: "GET", scheme: "https", authority: "a.example", path: "/p", query: "q=1", version: 11, upgrade: undefined },
    headers: new HeaderBlock(["a", "secret", "b"], ["1", "2", "3"]),
  };
  const response: ResponseHead = { status: 204, reason: "", version: 11, upgrade: undefined, headers: request.headers };
  const visible = NameSet.of(["b", ":method", ":path"], () => false);
  expect(decoded(requestInput(request, "", true, visible))).toBe(
    '{"method":"GET","scheme":"","authority":"","path":"/p?q=1","headers":[["b","3"]],"end":true,"source":""}',
  );
  expect(decoded(responseInput(response, request, false, "", { requestRead: visible, responseRead: visible }))).toBe(
    '{"status":0,"headers":[["b","3"]],"end":false,"request":{"method":"GET","scheme":"","authority":"","path":"/p?q=1"},"state":""}',
  );
});
