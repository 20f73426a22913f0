import type { Span } from "./span.ts";

/** Who exports: told once a batch. */
export interface SpanOrigin {
  readonly serviceName: string;
  /** The proxy's id; "" when it has none. */
  readonly instance: string;
}

/** The JSON of one tracing protocol. */
export interface SpanEncoding {
  /** One span, as JSON text. */
  encode(span: Span, origin: SpanOrigin): string;
  /** The body of a request with these spans. */
  join(spans: readonly string[], origin: SpanOrigin): string;
}
