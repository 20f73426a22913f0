import { describe, expect, test } from "bun:test";
import { HeaderBlock } from "../core/head.ts";
import { calloutFields, calloutHead } from "./callout-head.ts";
import type { Generation } from "./generation.ts";

const generation = {
  listeners: new Map([["l", { forwarding: { config: { trustedHeaders: ["x-auth-user"] } } }]]),
} as unknown as Generation;

const TARGET: [string, string][] = [
  [":method", "GET"],
  [":path", "/a?b=c"],
  [":authority", "svc"],
];
const sent = (fields: [string, string][], told?: [string, string][]): string[] => {
  const head = calloutHead(HeaderBlock.from([...TARGET, ...fields]), generation, told && HeaderBlock.from(told));
  return (head?.headers.entries() ?? [["refused", ""]]).map(([name, value]) => `${name}: ${value}`);
};

describe("the head of a filter's call", () => {
  test("what is the filter's own goes as it is", () => {
    const fields: [string, string][] = [
      ["accept", "*/*"],
      ["x-token", "t"],
      ["traceparent", "00-1-2-01"],
      ["x-request-id", "7"],
    ];
    expect(sent(fields)).toEqual(fields.map(([name, value]) => `${name}: ${value}`));
  });

  test("host and length are the proxy's, whatever the body is", () => {
    expect(
      sent([
        ["host", "other"],
        ["content-length", "5"],
      ]),
    ).toEqual([]);
  });

  test("the mesh's own names, and other spellings of them, go nowhere, whoever said them before", () => {
    for (const name of [
      "x-selvedge-failure",
      "x_selvedge_failure",
      "x-forwarded-client-cert",
      "proxy",
      "x_forwarded_for",
      "x.auth.user",
    ])
      expect(sent([[name, "1"]], [[name, "1"]])).toEqual([]);
  });

  test("where a request came from is told as the proxy told it, or not at all", () => {
    for (const name of ["x-forwarded-for", "forwarded", "x-real-ip", "x-envoy-internal", "x-auth-user"]) {
      expect(sent([[name, "10.0.0.1"]])).toEqual([]);
      expect(sent([[name, "10.0.0.1"]], [[name, "192.0.2.1"]])).toEqual([]);
      expect(sent([[name, "192.0.2.1"]], [[name, "192.0.2.1"]])).toEqual([`${name}: 192.0.2.1`]);
    }
  });

  test("trailers say no more", () => {
    const trailers = HeaderBlock.from([
      ["x-forwarded-for", "1"],
      ["host", "a"],
      ["grpc-status", "0"],
    ]);
    expect(calloutFields(trailers, generation, undefined).entries()).toEqual([["grpc-status", "0"]]);
  });

  test("a target goes as the filter wrote it", () => {
    for (const [target, path, query] of [
      ["/a/../b//c/%2e%2f;x", "/a/../b//c/%2e%2f;x", undefined],
      ["//other/x?", "//other/x", ""],
      ["/a?b=[c]?/../", "/a", "b=[c]?/../"],
    ] as const) {
      const fields = TARGET.map(([each, said]): [string, string] => [each, each === ":path" ? target : said]);
      const head = calloutHead(HeaderBlock.from(fields), generation, undefined);
      expect([head?.path, head?.query]).toEqual([path, query]);
    }
  });

  test("no tunnel, no target that is none, nothing that could be read as more than one line or part", () => {
    for (const [name, value] of [
      ...["CONNECT", "", "GET /x", "get", "GET\r\n"].map((each) => [":method", each]),
      ...["*", "", "a", "http://other/", "/a b", "/a HTTP/1.1", "/a\r\nx: y", "/a\0", "/a\u007f", "/é", "/\u0100"].map((each) => [
        ":path",
        each,
      ]),
      ...["/a#b", "/a?b#c", "/a?b c", "/a\\b", "/a[b]", "/a?\u0131"].map((each) => [":path", each]),
      ...["a b", "a/b", "a@b", "a\r\n", "a?b", "a#b"].map((each) => [":authority", each]),
    ]) {
      const fields = TARGET.map(([each, said]): [string, string] => [each, each === name ? (value as string) : said]);
      expect(calloutHead(HeaderBlock.from(fields), generation, undefined)).toBeUndefined();
    }
  });
});
