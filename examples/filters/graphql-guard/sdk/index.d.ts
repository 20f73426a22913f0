/** Filters for Selvedge as WebAssembly components. The WIT beside this file (wit/filter.wit) has the exact meaning of everything. */

/** Fields of a message: names in lower case; each character of a value is one byte (U+0000 to U+00FF). */
export interface Fields {
  /** Every value joined by commas, so that none stays unseen; null: no such field. */
  header(name: string): string | null;
  headerValues(name: string): string[];
  headers(): Header[];
  /** Throws when the field may not be written, when the head is gone, or when the budget is used up (`payload` of the error says which). */
  addHeader(name: string, value: string): void;
  setHeader(name: string, value: string): void;
  /** Says whether there was one. */
  removeHeader(name: string): boolean;
}

export interface Header {
  name: string;
  value: string;
}

export interface Request extends Fields {
  method(): string;
  /** Path and query, normalised. */
  path(): string;
  authority(): string;
  scheme(): string;
  setMethod(method: string): void;
  setPath(path: string): void;
  setAuthority(authority: string): void;
  /** Attributes by their names in Envoy: `["source", "address"]`. */
  attribute(path: string[]): string | null;
  setAttribute(path: string[], value: string): void;
}

export interface Response extends Fields {
  status(): number;
  setStatus(status: number): void;
}

export type Trailers = Pick<Fields, "header" | "headers" | "setHeader" | "removeHeader">;

/** The piece of a body at hand, or everything since the first `PAUSE`. */
export interface Body {
  length(): number;
  read(start: number, length: number): Uint8Array;
  replace(start: number, length: number, bytes: Uint8Array): void;
}

export type Verdict =
  | { tag: "continue" }
  | { tag: "pause" }
  | { tag: "respond"; val: { status: number; headers: Header[]; body: Uint8Array } }
  | { tag: "fail"; val: string };

export declare const CONTINUE: Verdict;
/** In a callback of a body: more of it, please. Else: until the answer of a call. */
export declare const PAUSE: Verdict;
/** A response of the filter's own. Text is sent as UTF-8. */
export declare function respond(
  status: number,
  body?: string | Uint8Array,
  headers?: Record<string, string> | [string, string][],
): Verdict;
/** The filter cannot decide: its `onFailure` applies. */
export declare function fail(reason: string): Verdict;
export declare function encodeText(text: string): Uint8Array;
/** Throws a `URIError` when the bytes are not UTF-8. */
export declare function decodeText(bytes: Uint8Array): string;

/** One exchange: the same `state` in all its callbacks. */
export interface Exchange<Settings, State> {
  readonly id: number;
  readonly settings: Settings;
  readonly state: State;
}

export interface CallAnswer {
  status: number;
  headers: Header[];
  body: Uint8Array;
}

/** Callbacks. Those that are absent are not called, so they cost nothing. Without an answer a message goes on. */
export interface Filter<Settings, State> {
  /** Gets `spec.settings`; what it answers is `settings` from then on. What it throws (a string) refuses the configuration. */
  configure?(settings: unknown): Settings;
  /** Makes the state of an exchange. */
  createExchange?(settings: Settings): State;
  onRequestHead?(request: Request, exchange: Exchange<Settings, State>, end: boolean): Verdict | undefined;
  onRequestBody?(body: Body, exchange: Exchange<Settings, State>, end: boolean): Verdict | undefined;
  onRequestTrailers?(trailers: Trailers, exchange: Exchange<Settings, State>): Verdict | undefined;
  onResponseHead?(response: Response, exchange: Exchange<Settings, State>, request: Request, end: boolean): Verdict | undefined;
  onResponseBody?(body: Body, exchange: Exchange<Settings, State>, end: boolean): Verdict | undefined;
  onResponseTrailers?(trailers: Trailers, exchange: Exchange<Settings, State>): Verdict | undefined;
  /** The answer of a call, or null when it failed. */
  onCallAnswer?(
    answer: CallAnswer | null,
    exchange: Exchange<Settings, State>,
    request: Request,
    call: number,
  ): Verdict | undefined;
  onDone?(request: Request, exchange: Exchange<Settings, State>): void;
}

/** What the module of a filter exports: those of them that its world names. */
export interface FilterExports {
  readonly configuration: object;
  readonly heads: object;
  readonly bodies: object;
  readonly callAnswers: object;
}

export declare function defineFilter<Settings = unknown, State = undefined>(filter: Filter<Settings, State>): FilterExports;
