import type { SpanEncoding } from "./encoding.ts";
import type { SpanFilter, SpanValue } from "./span.ts";

/**
 * OTLP 1.x with JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids in hex, 64-bit integers as strings, enumerations
 * as numbers.
 */
const KIND_SERVER = 2;
const STATUS_ERROR = 2;
/** The parent of the span is another process (opentelemetry/proto/trace/v1: SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE, _IS_REMOTE), and it is sampled. */
const FLAG_SAMPLED = 0x001;
const FLAGS_REMOTE = 0x300;

export const OTLP: SpanEncoding = {
  encode(span) {
    const { traceId, spanId, parentId, name, startMs, endMs, error } = span;
    const endNanos = nanoseconds(endMs);
    return JSON.stringify({
      traceId,
      spanId,
      ...(parentId === "" ? {} : { parentSpanId: parentId }),
      flags: parentId === "" ? FLAG_SAMPLED : FLAG_SAMPLED | FLAGS_REMOTE,
      name,
      kind: KIND_SERVER,
      startTimeUnixNano: nanoseconds(startMs),
      endTimeUnixNano: endNanos,
      attributes: keyValues(span.attributes),
      // Filters are not spans: their callbacks are spread over the exchange. They are told when it is over.
      events: span.filters.map((filter) => ({
        timeUnixNano: endNanos,
        name: "selvedge.filter",
        attributes: keyValues(filterAttributes(filter)),
      })),
      ...(error === undefined ? {} : { status: { code: STATUS_ERROR, message: error } }),
    });
  },

  join(spans, { serviceName, instance }) {
    const attributes = keyValues([
      ["service.name", serviceName],
      ...(instance === "" ? [] : [["service.instance.id", instance] as const]),
    ]);
    const resource = JSON.stringify({ attributes });
    return `{"resourceSpans":[{"resource":${resource},"scopeSpans":[{"scope":{"name":"selvedge"},"spans":[${spans.join(",")}]}]}]}`;
  },
};

function filterAttributes({ name, verdict, us, waitedUs, fuel, slow }: SpanFilter): [string, SpanValue][] {
  return [
    ["name", name],
    ["verdict", verdict],
    ["us", us],
    ...(waitedUs > 0 ? [["waited_us", waitedUs] satisfies [string, SpanValue]] : []),
    ["fuel", fuel],
    ...(slow ? [["slow", true] satisfies [string, SpanValue]] : []),
  ];
}

const keyValues = (attributes: readonly (readonly [string, SpanValue])[]): object[] =>
  attributes.map(([key, value]) => ({ key, value: anyValue(value) }));

function anyValue(value: SpanValue): object {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

/** Beyond what a double holds exactly: whole milliseconds, and six digits behind them. */
function nanoseconds(ms: number): string {
  const whole = Math.floor(ms);
  return `${whole}${String(Math.floor((ms - whole) * 1e6)).padStart(6, "0")}`;
}
