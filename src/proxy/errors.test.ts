import { expect, test } from "bun:test";
import { Failure } from "../core/failure.ts";
import { HeaderBlock } from "../core/head.ts";
import { renderFailure } from "./errors.ts";

const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

test.each([
  [[], "json"],
  [[""], "json"],
  [["*/*"], "json"],
  [["application/json"], "json"],
  [["application/problem+json"], "json"],
  [["Application/JSON ; charset=utf-8"], "json"],
  [["text/plain"], "text"],
  [["text"], "text"],
  [["image/png"], "text"],
  [[BROWSER], "text"],
  [["text/plain, application/json"], "json"],
  [["text/plain", "application/json"], "json"],
  [["text/plain, application/json;q=0.1"], "text"],
  [["application/json;q=0.1", "text/*"], "text"],
  [["text/plain;q=0.1, application/json"], "json"],
  [["application/json;q=0, */*"], "text"],
  [["application/*, text/plain;q=0.5"], "json"],
  [["text/plain;q=0, */*;q=0.1"], "json"],
  [["*/*;q=0"], "text"],
  [["application/json;q=high"], "text"],
  // What stands behind more ranges than anybody sends is not read.
  [[`${"a/b,".repeat(32)}application/json`], "text"],
])("failures are rendered as the caller accepts: %p is %s", (accept, expected) => {
  const headers = HeaderBlock.from(accept.map((each) => ["accept", each] as const));
  const head = {
    method: "GET",
    scheme: "http",
    authority: "a",
    path: "/",
    query: "",
    version: 11,
    upgrade: undefined,
    headers,
  } as const;
  const { head: answer, body } = renderFailure(new Failure("no_route"), head, "id");
  expect(answer.headers.get("content-type")).toBe(expected === "json" ? "application/json" : "text/plain; charset=utf-8");
  expect(new TextDecoder().decode(body)).toContain(expected === "json" ? '"code":"no_route"' : "code: no_route\n");
});
