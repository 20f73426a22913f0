import type { Case, Difference, Expected, Host } from "./format.ts";
import type { HeardMessage } from "./wire.ts";

/** What came of a case on some host. */
export interface Outcome {
  readonly answers: readonly HeardMessage[];
  readonly got: readonly HeardMessage[];
  readonly called: readonly HeardMessage[];
  readonly lines: readonly string[];
}

/** Callbacks of the plugin: a host may have several instances, so each line may come several times. */
const ROOT = new Set(["configure", "tick", "queue_ready", "http_call_response"]);
/** What a line says when it must not be logged. */
const NEVER = "NEVER";
const ARROW = " =>";

const callbackOf = (line: string): string => /^[a-z_]+/.exec(line)?.[0] ?? "";
const prefixOf = (line: string): string => line.split(" ", 1)[0] ?? "";

/** Lines that the script must log, in order, by what stands in front of the first blank. */
export function expectedLines(each: Case, host: Host): string[] {
  if (each.logs !== undefined) return [...each.logs];
  const differences = (each.differs ?? []).filter((one) => one.host === host && one.line !== undefined);
  const used = new Set<Difference>();
  const lines: string[] = [];
  for (const line of (each.script ?? "").split("\n")) {
    const at = line.indexOf(ARROW);
    if (at < 0) continue;
    const call = line.slice(0, at).trimEnd();
    const difference = differences.find((one) => one.line === call);
    if (difference !== undefined) used.add(difference);
    const result = difference?.gives ?? line.slice(at + ARROW.length).trim();
    if (result !== NEVER) lines.push(`${call}${ARROW} ${result}`);
  }
  for (const one of differences) if (!used.has(one)) throw new Error(`${each.name}: no line ${one.line}`);
  return lines;
}

/** The first difference between what was expected and what came, in words; undefined: none. */
export function judge(each: Case, outcome: Outcome, host: Host): string | undefined {
  const other = (each.differs ?? []).filter((one) => one.host === host);
  const answerOther = other.find((one) => one.answer !== undefined);
  const answer = answerOther === undefined ? each.answer : answerOther.answer;
  const gotOther = other.find((one) => one.upstream !== undefined);
  const got = gotOther === undefined ? each.got : gotOther.upstream;
  return (
    judgeLines(each, outcome.lines, host) ??
    judgeAnswer(answer, outcome.answers.at(-1)) ??
    judgeUpstream(got, outcome.got) ??
    (each.called === undefined ? undefined : judgeMessage("call", each.called, outcome.called.at(-1)))
  );
}

function judgeAnswer(expected: Expected | null | undefined, heard: HeardMessage | undefined): string | undefined {
  if (expected === undefined) return undefined;
  if (expected === null) return heard?.line === "" ? undefined : `there should be no answer, is ${heard?.line}`;
  return judgeMessage("answer", expected, heard);
}

function judgeUpstream(expected: Expected | null | undefined, got: readonly HeardMessage[]): string | undefined {
  if (expected === undefined) return undefined;
  if (expected === null) return got.length === 0 ? undefined : `the upstream got ${got.at(-1)?.line}`;
  return judgeMessage("upstream", expected, got.at(-1));
}

function judgeLines(each: Case, all: readonly string[], host: Host): string | undefined {
  if (each.logs !== undefined) return judgePlainLines(each.logs, all);
  const expected = expectedLines(each, host);
  const free = uncheckedCalls(each);
  const lines = all.filter((line) => !free.has(line.split(ARROW, 1)[0] as string));
  const known = new Set(expected.map(prefixOf));
  for (const line of lines) {
    if (!expected.some((one) => fits(one, line))) return `unexpected line: ${line}\n  expected: ${nearest(expected, line)}`;
  }
  for (const prefix of known) {
    const wanted = expected.filter((line) => prefixOf(line) === prefix);
    const came = lines.filter((line) => prefixOf(line) === prefix);
    const missing = wanted.find((one) => !came.some((line) => fits(one, line)));
    if (missing !== undefined) return `missing line: ${missing}`;
    if (ROOT.has(callbackOf(prefix)) || prefix.endsWith(":more")) continue;
    const times = prefix.includes(":1") ? 1 : Math.max(1, each.requests?.length ?? 1);
    const inOrder =
      came.length === wanted.length * times && came.every((line, i) => fits(wanted[i % wanted.length] as string, line));
    if (!inOrder) return `${prefix}: these lines, ${times} times:\n  ${wanted.join("\n  ")}\nbut came:\n  ${came.join("\n  ")}`;
  }
  return undefined;
}

/** A host may have several instances: what is logged again says nothing. Each line must be expected, each come, in this order at first. */
function judgePlainLines(expected: readonly string[], lines: readonly string[]): string | undefined {
  const came = new Set<number>();
  for (const line of lines) {
    const index = expected.findIndex((one) => fits(one, line));
    if (index < 0) return `unexpected line: ${line}`;
    came.add(index);
  }
  const inOrder = [...came].every((index, i) => index === i) && came.size === expected.length;
  return inOrder ? undefined : `should have logged ${JSON.stringify(expected)}, logged ${JSON.stringify([...new Set(lines)])}`;
}

/** Calls of a script whose result may be any. */
function uncheckedCalls({ script = "" }: Case): ReadonlySet<string> {
  const calls = script.split("\n").filter((line) => !line.includes(ARROW));
  return new Set(calls.map((line) => line.trimEnd()));
}

const nearest = (expected: readonly string[], line: string): string => {
  const call = line.split(ARROW, 1)[0];
  return expected.find((one) => one.split(ARROW, 1)[0] === call) ?? "none";
};

/** `…` stands for anything. */
function fits(expected: string, actual: string): boolean {
  const parts = expected.split("…");
  if (parts.length === 1) return expected === actual;
  let at = 0;
  for (const [i, part] of parts.entries()) {
    if (i === parts.length - 1) return actual.length - part.length >= at && actual.endsWith(part);
    const found = actual.indexOf(part, at);
    if (found < 0 || (i === 0 && found !== 0)) return false;
    at = found + part.length;
  }
  return true;
}

function judgeMessage(what: string, expected: Expected, heard: HeardMessage | undefined): string | undefined {
  if (heard === undefined || heard.line === "") return `${what}: nothing came`;
  const [first = "", second = ""] = heard.line.split(" ");
  const wrong = (part: string, want: unknown, came: unknown): string =>
    `${what}: ${part} should be ${JSON.stringify(want)}, is ${JSON.stringify(came)}`;
  if (expected.status !== undefined && second !== String(expected.status)) return wrong("status", expected.status, heard.line);
  if (expected.method !== undefined && first !== expected.method) return wrong("method", expected.method, first);
  if (expected.path !== undefined && second !== expected.path) return wrong("path", expected.path, second);
  if (expected.body !== undefined && !fits(expected.body, heard.body)) return wrong("body", expected.body, heard.body);
  return judgeFields(wrong, expected.headers, heard.headers) ?? judgeFields(wrong, expected.trailers, heard.trailers);
}

function judgeFields(
  wrong: (part: string, want: unknown, came: unknown) => string,
  expected: Expected["headers"],
  heard: HeardMessage["headers"],
): string | undefined {
  for (const [name, want] of Object.entries(expected ?? {})) {
    const values = heard.filter((field) => field[0] === name).map((field) => field[1]);
    const came = values.length === 0 ? null : values.join(", ");
    if (want === null ? came !== null : came === null || !fits(want, came)) return wrong(name, want, came);
  }
  return undefined;
}
