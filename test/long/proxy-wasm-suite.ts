import { readFileSync } from "node:fs";
import process from "node:process";
import { parse } from "yaml";
import { type CaseFile, playable } from "../conformance/proxy-wasm/format.ts";
import { startOnSelvedge } from "../conformance/proxy-wasm/on-selvedge.ts";
import { Play } from "../conformance/proxy-wasm/play.ts";
import { afterAll, beforeAll, describe, runRegistered, test } from "../kit/suite.ts";
import "./proxy-wasm-beyond-http.ts";

/** Filters that others wrote for Envoy, on our host; also the program that runs them on Deno. */

export const { cases } = parse(readFileSync(new URL("./proxy-wasm.yaml", import.meta.url), "utf8")) as CaseFile;
/** Services that the examples call. */
export const ALIASES = ["httpbin", "web_service"];

const play = new Play(playable(cases, "selvedge"), startOnSelvedge, ALIASES);
describe("filters written for Envoy", () => {
  beforeAll(() => play.begin());
  afterAll(() => play.end());
  for (const each of playable(cases, "selvedge")) test(each.name, () => play.play(each));
});

if ("Deno" in globalThis) process.exit(await runRegistered((line) => process.stdout.write(`${line}\n`)));
