import type { TracingConfig } from "../config/snapshot.ts";
import type { HeaderBlock } from "../core/head.ts";
import type { IdSource, Rng } from "../core/rng.ts";

/** W3C Trace Context (https://www.w3.org/TR/trace-context/): continued when it is valid, else started if configured. */

export interface TraceTarget {
  traceId: string;
  sampled: boolean;
  /** Of the span that the proxy exports of this exchange, and of its parent; "" when there is none. */
  spanId: string;
  parentSpanId: string;
}

/**
 * Passes a valid `traceparent` on, as it is unless the proxy exports a span of its own: then that is the upstream's parent. Anything else is
 * dropped together with its `tracestate`. `present`: one of the two headers is there.
 */
export function applyTrace(
  tracing: TracingConfig,
  headers: HeaderBlock,
  present: boolean,
  sources: { readonly ids: IdSource; readonly rng: Rng },
  result: TraceTarget,
): void {
  result.traceId = "";
  result.sampled = false;
  result.spanId = "";
  result.parentSpanId = "";
  if (present) {
    const parent = headers.get("traceparent");
    if (parent !== undefined && isTraceParent(parent) && headers.count("traceparent") === 1) {
      result.traceId = parent.slice(3, 35);
      result.sampled = (Number.parseInt(parent.slice(53, 55), 16) & 1) === 1;
      if (tracing.export !== undefined && result.sampled) continueTrace(parent, headers, sources.ids, result);
      return;
    }
    headers.remove("traceparent");
    headers.remove("tracestate");
  }
  if (!tracing.start) return;
  result.traceId = sources.ids.next();
  result.sampled = sources.rng.next() < tracing.sample;
  const spanId = sources.ids.next().slice(0, SPAN_ID_LENGTH);
  headers.add("traceparent", `00-${result.traceId}-${spanId}-${result.sampled ? "01" : "00"}`);
  if (tracing.export !== undefined && result.sampled) result.spanId = spanId;
}

const SPAN_ID_LENGTH = 16;
/** Those of version 00 that are known: sampled, and that the trace id is random (Level 2). */
const KNOWN_FLAGS = 3;

/** The proxy's span between the caller's and the upstream's. What a later version added is not ours to repeat (§4.1): version 00. */
function continueTrace(parent: string, headers: HeaderBlock, ids: IdSource, result: TraceTarget): void {
  const flags = Number.parseInt(parent.slice(53, 55), 16) & KNOWN_FLAGS;
  result.parentSpanId = parent.slice(36, 52);
  result.spanId = ids.next().slice(0, SPAN_ID_LENGTH);
  headers.set("traceparent", `00-${result.traceId}-${result.spanId}-0${flags}`);
}

const TRACE_PARENT_LENGTH = 55;

/** `00-<32>-<16>-<2>` in lower-case hex, ids not zero. Later versions may add fields behind a dash (§3.2.4); `ff` is none. */
export function isTraceParent(text: string): boolean {
  if (text.length < TRACE_PARENT_LENGTH) return false;
  if (text.charCodeAt(2) !== 0x2d || text.charCodeAt(35) !== 0x2d || text.charCodeAt(52) !== 0x2d) return false;
  if (!isHex(text, 0, 2) || !isHex(text, 3, 35) || !isHex(text, 36, 52) || !isHex(text, 53, 55)) return false;
  if (text.startsWith("ff") || isZero(text, 3, 35) || isZero(text, 36, 52)) return false;
  if (text.length === TRACE_PARENT_LENGTH) return true;
  return !text.startsWith("00") && text.charCodeAt(TRACE_PARENT_LENGTH) === 0x2d;
}

function isHex(text: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    if (!((code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66))) return false;
  }
  return true;
}

function isZero(text: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (text.charCodeAt(i) !== 0x30) return false;
  return true;
}
