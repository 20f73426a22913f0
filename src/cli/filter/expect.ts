import { type Bytes, EMPTY_BYTES } from "../../core/bytes.ts";
import { type HeaderBlock, targetOf } from "../../core/head.ts";
import type { CalloutRequest } from "../../filters/contract.ts";
import { type Mismatch, matchBody, matchFields, matchNotes, matchText, show } from "./matchers.ts";
import type { MemoryExchange } from "./memory-exchange.ts";
import type { Expectation } from "./table-schema.ts";
import type { LogLine } from "./test-bed.ts";

/** What a step left behind. */
export interface Observed {
  /** Undefined: time passed. */
  readonly exchange: MemoryExchange | undefined;
  /** Lines since the step began. */
  readonly lines: readonly LogLine[];
  readonly notes: ReadonlyMap<string, string> | undefined;
  readonly callouts: readonly CalloutRequest[];
  readonly metrics: ReadonlyMap<string, number>;
}

export function verdictOf(exchange: MemoryExchange): NonNullable<Expectation["verdict"]> {
  if (exchange.failure !== undefined) return "fail";
  if (exchange.answered) return "respond";
  return exchange.over ? "continue" : "pause";
}

/** Everything that is not as expected, in the order of the fields. */
export function checkExpectation(wanted: Expectation, observed: Observed): Mismatch[] {
  const { exchange } = observed;
  const found: Mismatch[] = [];
  const add = (path: string | readonly (string | number)[], mismatches: readonly Mismatch[]): void => {
    const prefix = typeof path === "string" ? [path] : path;
    for (const each of mismatches) found.push({ ...each, path: [...prefix, ...each.path] });
  };
  if (wanted.verdict !== undefined) add("verdict", matchText(wanted.verdict, exchange && verdictOf(exchange)));
  if (wanted.upstream !== undefined) add("upstream", checkUpstream(wanted.upstream, exchange));
  if (wanted.response !== undefined) add("response", checkResponse(wanted.response, exchange));
  if (wanted.failure !== undefined) add("failure", matchText(wanted.failure, exchange?.failure?.toString()));
  if (wanted.logs !== undefined) add("logs", checkLogs(wanted.logs, observed.lines));
  if (wanted.notes !== undefined) add("notes", matchNotes(wanted.notes, observed.notes));
  if (wanted.callouts !== undefined) add("callouts", checkCallouts(wanted.callouts, observed.callouts));
  for (const [name, value] of Object.entries(wanted.metrics ?? {})) {
    const actual = observed.metrics.get(name);
    if (actual !== value)
      add(["metrics", name], [{ path: [], expected: String(value), actual: String(actual ?? "no such metric") }]);
  }
  return found;
}

function checkUpstream(wanted: NonNullable<Expectation["upstream"]> | null, exchange: MemoryExchange | undefined): Mismatch[] {
  const { head, body = EMPTY_BYTES, trailers } = exchange?.upstream ?? {};
  if (wanted === null)
    return head === undefined ? [] : [{ path: [], expected: "nothing", actual: `${head.method} ${targetOf(head)}` }];
  if (head === undefined) return [{ path: [], expected: "a request", actual: "nothing" }];
  const found: Mismatch[] = [];
  const text = (key: "method" | "path" | "host", actual: string): void => {
    const matcher = wanted[key];
    if (matcher !== undefined) found.push(...prefixed(key, matchText(matcher, actual)));
  };
  text("method", head.method);
  text("path", targetOf(head));
  text("host", head.authority);
  return [...found, ...checkMessage(wanted, head.headers, body, trailers)];
}

function checkResponse(wanted: NonNullable<Expectation["response"]> | null, exchange: MemoryExchange | undefined): Mismatch[] {
  const { head, body = EMPTY_BYTES, trailers } = exchange?.downstream ?? {};
  if (wanted === null) return head === undefined ? [] : [{ path: [], expected: "nothing", actual: `status ${head.status}` }];
  if (head === undefined) return [{ path: [], expected: "an answer", actual: "nothing" }];
  const found: Mismatch[] = [];
  if (wanted.status !== undefined && wanted.status !== head.status)
    found.push({ path: ["status"], expected: String(wanted.status), actual: String(head.status) });
  if (wanted.complete !== undefined && wanted.complete !== exchange?.downstream.ended) {
    const word = (complete: boolean | undefined): string =>
      complete === true ? "a complete answer" : "an answer that was cut off";
    found.push({ path: ["complete"], expected: word(wanted.complete), actual: word(exchange?.downstream.ended) });
  }
  return [...found, ...checkMessage(wanted, head.headers, body, trailers)];
}

type MessageExpectation = Pick<NonNullable<Expectation["upstream"]>, "headers" | "body" | "trailers">;

function checkMessage(
  wanted: MessageExpectation,
  headers: HeaderBlock,
  body: Bytes,
  trailers: HeaderBlock | undefined,
): Mismatch[] {
  const found: Mismatch[] = [];
  if (wanted.headers !== undefined) found.push(...prefixed("headers", matchFields(wanted.headers, headers)));
  if (wanted.body !== undefined) found.push(...prefixed("body", matchBody(wanted.body, body)));
  if (wanted.trailers !== undefined) found.push(...prefixed("trailers", matchFields(wanted.trailers, trailers)));
  return found;
}

const prefixed = (key: string | number, mismatches: readonly Mismatch[]): Mismatch[] =>
  mismatches.map((each) => ({ ...each, path: [key, ...each.path] }));

/** Each expected line is looked for behind the one before. */
function checkLogs(wanted: NonNullable<Expectation["logs"]>, lines: readonly LogLine[]): Mismatch[] {
  const shown = lines.length === 0 ? "no lines" : lines.map(({ level, text }) => `${level} ${show(text)}`).join(", ");
  if (wanted.length === 0) return lines.length === 0 ? [] : [{ path: [], expected: "no lines", actual: shown }];
  let at = 0;
  for (const [i, each] of wanted.entries()) {
    const next = lines.findIndex((line, index) => index >= at && fitsLine(each, line));
    if (next < 0) {
      const expected = typeof each === "object" ? JSON.stringify(each) : `a line with ${show(String(each))} in it`;
      return [{ path: [i], expected, actual: shown }];
    }
    at = next + 1;
  }
  return [];
}

function fitsLine(wanted: NonNullable<Expectation["logs"]>[number], line: LogLine): boolean {
  if (typeof wanted !== "object") return line.text.includes(String(wanted));
  const { level, ...conditions } = wanted;
  return (level === undefined || level === line.level) && matchText(conditions, line.text).length === 0;
}

function checkCallouts(wanted: NonNullable<Expectation["callouts"]>, made: readonly CalloutRequest[]): Mismatch[] {
  if (wanted.length !== made.length) {
    const actual = made.map(({ service }) => service).join(", ");
    return [{ path: [], expected: `${wanted.length} calls`, actual: `${made.length}${actual === "" ? "" : ` (${actual})`}` }];
  }
  return wanted.flatMap((each, i) => {
    const { service, headers, body } = made[i] as CalloutRequest;
    const found: Mismatch[] = [];
    if (each.service !== undefined)
      found.push(...prefixed("service", matchText(each.service, service.replace(/^default\//, ""))));
    if (each.method !== undefined) found.push(...prefixed("method", matchText(each.method, headers.get(":method"))));
    if (each.path !== undefined) found.push(...prefixed("path", matchText(each.path, headers.get(":path"))));
    return prefixed(i, [...found, ...checkMessage(each as MessageExpectation, headers, body, undefined)]);
  });
}
