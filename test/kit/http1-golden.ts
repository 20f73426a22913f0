/**
 * Golden files of the HTTP/1.1 codec: test/golden/http1/*.txt. A case is `## name`, options (`@ key value`), raw bytes with
 * escapes (line ends of the file do not count), `---`, and what must happen. Roles:
 * `downstream`: requests are read, written to an upstream codec (`>`), and answered (`<`).
 * `upstream`: `@ sent METHOD [upgrade=x]` is written, answers are read and written to a downstream codec (`<`).
 * `@ early 429` answers when the request's head is read, `@ whole` gives the bytes only in one piece.
 * `upstream` cases end with what becomes of the upstream's connection; a `last` behind `<` is about the downstream's (`@ client`).
 * `write-request`, `write-response`: the input is JSON of a head, as a filter may have left it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { latin1Bytes, latin1Text } from "../../src/core/bytes.ts";
import { Failure } from "../../src/core/failure.ts";
import { HeaderBlock, type RequestHead, type ResponseHead, targetOf } from "../../src/core/head.ts";
import { DEFAULT_HTTP_LIMITS } from "../../src/core/limits.ts";
import type { Rng } from "../../src/core/rng.ts";
import { ByteWriter } from "../../src/core/writer.ts";
import type { Http1Codec } from "../../src/proxy/codec/http1.ts";
import type { Http1Options, Http1Role, Http1Sink } from "../../src/proxy/codec/types.ts";

export type CodecClass = new (options: Http1Options) => Http1Codec;

export interface GoldenCase {
  readonly file: string;
  readonly name: string;
  readonly options: readonly (readonly [string, string])[];
  readonly input: Uint8Array;
  readonly expected: string;
}

const FOLDER = new URL("../golden/http1/", import.meta.url);

export function loadGoldens(): GoldenCase[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(".txt"))
    .sort()
    .flatMap((file) => parseGoldens(file, readFileSync(new URL(file, FOLDER), "utf8")));
}

export function parseGoldens(file: string, text: string): GoldenCase[] {
  return text
    .split(/^## /m)
    .slice(1)
    .map((block) => {
      const [name = "", ...lines] = block.split("\n");
      const dash = lines.indexOf("---");
      const top = dash < 0 ? lines : lines.slice(0, dash);
      const options = top
        .filter((line) => line.startsWith("@ "))
        .map((line) => [line.split(" ")[1] ?? "", line.split(" ").slice(2).join(" ")] as const);
      const raw = top.filter((line) => !line.startsWith("@ ")).join("");
      const expected =
        dash < 0
          ? ""
          : lines
              .slice(dash + 1)
              .join("\n")
              .trim();
      const isJson = options.some(([key, value]) => key === "role" && value.startsWith("write"));
      return { file, name, options, input: latin1Bytes(isJson ? raw : unescapeBytes(raw)), expected };
    });
}

function unescapeBytes(raw: string): string {
  return raw
    .replace(/\{\{(.+?)\*(\d+)\}\}/g, (_, text: string, count: string) => text.repeat(Number(count)))
    .replace(/\\(x[0-9a-f]{2}|.)/g, (_, code: string) => {
      if (code.startsWith("x")) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
      return { r: "\r", n: "\n", t: "\t", 0: "\0" }[code] ?? code;
    });
}

/** Visible, and long runs shortened. */
export function escapeText(text: string): string {
  return text
    .replace(/\\/g, "\\\\")
    .replace(/\r/g, "\\r")
    .replace(/\n/g, "\\n")
    .replace(/\t/g, "\\t")
    .replace(/[^\x20-\x7e]/g, (each) => `\\x${each.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .replace(/(.)\1{19,}/g, (run, each: string) => `{{${each}*${run.length}}}`);
}

/** Pieces of the input: `cuts` are positions. */
export function cutsOf(length: number, mode: "whole" | "bytes" | Rng): number[] {
  if (mode === "whole") return [];
  if (mode === "bytes") return Array.from({ length }, (_, i) => i);
  return Array.from({ length: 1 + mode.below(4) }, () => mode.below(length + 1)).sort((a, b) => a - b);
}

export function runCase(each: GoldenCase, Codec: CodecClass, cuts: readonly number[]): string {
  const role = optionOf(each, "role") ?? "downstream";
  if (role === "write-request" || role === "write-response") return new WriteRun(each, Codec).run(role);
  const run = new Run(each, Codec, role as Http1Role);
  let from = 0;
  for (const cut of [...cuts, each.input.length]) {
    if (cut > from) run.feed(each.input.slice(from, cut));
    from = Math.max(from, cut);
  }
  if (optionOf(each, "eof") !== undefined) run.end();
  return run.log.length === 0 ? "nothing" : run.log.join("\n");
}

const optionOf = (each: GoldenCase, key: string): string | undefined => each.options.find(([name]) => name === key)?.[1];

function codecOptions(each: GoldenCase, role: Http1Role, sink: Http1Sink): Http1Options {
  const limits: Record<string, number> = { ...DEFAULT_HTTP_LIMITS };
  for (const [key, value] of each.options) {
    if (key === "limit") limits[value.split("=")[0] ?? ""] = Number(value.split("=")[1]);
  }
  const paths: Record<string, string> = { encodedSlash: "reject", doubleSlash: "merge", semicolon: "keep" };
  for (const key of Object.keys(paths)) paths[key] = optionOf(each, key) ?? (paths[key] as string);
  return {
    role,
    limits: limits as unknown as Http1Options["limits"],
    scheme: optionOf(each, "scheme") ?? "http",
    paths: paths as unknown as Http1Options["paths"],
    underscores: (optionOf(each, "underscores") ?? "reject") as Http1Options["underscores"],
    sink,
  };
}

export const SILENT: Http1Sink = { onRequest() {}, onResponse() {}, onData() {}, onEnd() {}, onFailure() {} };

const EMPTY = (): HeaderBlock => new HeaderBlock();

class Run implements Http1Sink {
  readonly log: string[] = [];
  readonly #codec: Http1Codec;
  #rest: Uint8Array = new Uint8Array(0);
  #data = "";
  #head: RequestHead | ResponseHead | undefined;
  #ended = false;
  #trailers: HeaderBlock | undefined;
  #stopped = false;
  /** The answer was written when only the head of the request had come. */
  #answeredEarly = false;
  /** What a pool saw when the answer ended: it may hand out the connection at once. */
  #reusableAtEnd = true;
  readonly #sent: string[];

  constructor(
    readonly golden: GoldenCase,
    readonly Codec: CodecClass,
    readonly role: Http1Role,
  ) {
    this.#codec = new Codec(codecOptions(golden, role, this));
    this.#sent = golden.options.filter(([key]) => key === "sent").map(([, value]) => value);
    if (role === "upstream") this.#sendNext();
  }

  feed(bytes: Uint8Array): void {
    if (this.#stopped) return;
    const joined = new Uint8Array(this.#rest.length + bytes.length);
    joined.set(this.#rest);
    joined.set(bytes, this.#rest.length);
    let at = 0;
    while (at < joined.length && !this.#stopped) {
      const consumed = this.#codec.receive(joined, at);
      at += consumed;
      if (this.#codec.incoming === "done") this.#finish(at < joined.length);
      else if (consumed === 0) break;
    }
    this.#rest = joined.slice(at);
  }

  end(): void {
    if (this.#stopped) return;
    this.#codec.receiveEnd();
    if (this.#ended && this.#head !== undefined && this.#codec.incoming === "done") this.#finish(false);
    this.#flush();
    this.log.push(`eof ${this.#codec.incoming} ${this.#codec.outgoing}`);
  }

  onRequest(head: RequestHead, end: boolean): void {
    const query = head.query === undefined ? "" : `?${head.query}`;
    this.log.push(
      `${head.method} ${head.scheme}://${head.authority} ${head.path}${query} ${head.version}` +
        `${head.upgrade === undefined ? "" : ` upgrade=${head.upgrade}`}${this.#codec.expectsContinue ? " expects" : ""}${end ? " end" : ""}`,
    );
    this.#begin(head, end);
    const early = optionOf(this.golden, "early");
    this.#answeredEarly = early !== undefined && !end;
    if (this.#answeredEarly) this.#answer(Number(early));
  }

  onResponse(head: ResponseHead, end: boolean): void {
    this.log.push(
      `${head.status} ${head.reason} ${head.version}${head.upgrade === undefined ? "" : ` upgrade=${head.upgrade}`}${end ? " end" : ""}`,
    );
    this.#begin(head, end);
    if (head.status < 200) this.log.push(`  (${this.#codec.incoming} ${this.#codec.outgoing})`);
    if (this.#codec.keepAliveTimeoutMs >= 0) this.log.push(`  (kept ${this.#codec.keepAliveTimeoutMs} ms)`);
  }

  #begin(head: RequestHead | ResponseHead, end: boolean): void {
    for (const [name, value] of head.headers.entries()) this.log.push(escapeText(`  ${name}: ${value}`));
    this.#head = head;
    this.#ended = end;
    this.#reusableAtEnd = this.role === "downstream" || !end || this.#codec.reusable;
    this.#trailers = undefined;
  }

  onData(bytes: Uint8Array, start: number, end: number): void {
    this.#data += latin1Text(bytes.subarray(start, end));
  }

  onEnd(trailers: HeaderBlock | undefined): void {
    this.#ended = true;
    if (this.role === "upstream") this.#reusableAtEnd = this.#codec.reusable;
    this.#trailers = trailers;
  }

  onFailure(failure: Failure): void {
    this.#flush();
    this.log.push(`! ${failure.code}`);
    this.#stopped = true;
    if (this.role === "downstream" && this.#codec.outgoing === "idle") this.#answer(failure.status);
  }

  #flush(): void {
    if (this.#data === "") return;
    this.log.push(`data ${escapeText(this.#data)}`);
    this.#data = "";
  }

  /** The message is complete: pass it on, answer it, go on if the connection allows it. */
  #finish(hasRest: boolean): void {
    const body = this.#data;
    this.#flush();
    for (const [name, value] of this.#trailers?.entries() ?? []) this.log.push(escapeText(`  trailer ${name}: ${value}`));
    if (this.role === "downstream") {
      this.log.push(`> ${escapeText(this.#relay(body))}`);
      const status = Number(optionOf(this.golden, "answer") ?? "200");
      if (!this.#answeredEarly) this.#answer(status);
      if (this.#codec.incoming === "tunnel") return;
    } else {
      this.log.push(`< ${escapeText(this.#relayAnswer(body))}`);
      if (hasRest) this.log.push("rest");
    }
    const isLate = this.role === "upstream" && this.#reusableAtEnd;
    this.log.push(this.#codec.reusable ? "reusable" : isLate ? "last, but said too late" : "last");
    this.#stopped = !this.#codec.reusable || (this.role === "upstream" && hasRest);
    if (this.#stopped) return;
    this.#codec.nextExchange();
    if (this.role === "upstream") this.#sendNext();
  }

  #answer(status: number): void {
    const out = new ByteWriter(256);
    const upgrade = (this.#head as RequestHead | undefined)?.upgrade;
    const head: ResponseHead = { status, reason: "", version: 11, upgrade, headers: EMPTY() };
    const failure = this.#codec.writeResponse(out, head, status !== 101);
    this.log.push(`< ${failure === undefined ? escapeText(latin1Text(out.view())) : failure.code}`);
  }

  #relay(body: string): string {
    const up = new this.Codec(codecOptions(this.golden, "upstream", SILENT));
    const out = new ByteWriter(256);
    const head = this.#head as RequestHead;
    const end = body === "" && this.#trailers === undefined;
    return writeAll(up, out, () => up.writeRequest(out, head, end), end, body, this.#trailers);
  }

  #relayAnswer(body: string): string {
    const down = new this.Codec(codecOptions(this.golden, "downstream", SILENT));
    const [method = "GET"] = (this.#lastSent ?? "GET").split(" ");
    const version = optionOf(this.golden, "client") ?? "HTTP/1.1\r\nHost: a\r\n\r\n";
    down.receive(latin1Bytes(`${method} ${method === "CONNECT" ? "a:443" : "/"} ${unescapeBytes(version)}`));
    const out = new ByteWriter(256);
    const head = this.#head as ResponseHead;
    const end = body === "" && this.#trailers === undefined;
    const wire = writeAll(down, out, () => down.writeResponse(out, head, end), end, body, this.#trailers);
    return `${wire}${down.reusable ? "" : " last"}`;
  }

  #lastSent: string | undefined;

  #sendNext(): void {
    const next = this.#sent.shift();
    this.#lastSent = next;
    if (next === undefined) return;
    const [method = "", upgrade] = next.split(" upgrade=");
    const authority = method === "CONNECT" ? "a:443" : "a";
    const head: RequestHead = {
      method,
      scheme: "http",
      authority,
      path: method === "CONNECT" ? "" : "/",
      query: undefined,
      version: 11,
      upgrade,
      headers: EMPTY(),
    };
    const failure = this.#codec.writeRequest(new ByteWriter(256), head, true);
    if (failure !== undefined) this.log.push(`sent ${failure.code}`);
  }
}

function writeAll(
  codec: Http1Codec,
  out: ByteWriter,
  writeHead: () => Failure | undefined,
  end: boolean,
  body: string,
  trailers: HeaderBlock | undefined,
): string {
  const failure = writeHead() ?? (end ? undefined : (codec.writeData(out, latin1Bytes(body)) ?? codec.writeEnd(out, trailers)));
  return `${latin1Text(out.view())}${failure === undefined ? "" : ` ! ${failure.code}`}`;
}

interface WriteInput {
  readonly method?: string;
  readonly authority?: string;
  readonly path?: string;
  readonly query?: string;
  readonly upgrade?: string;
  readonly status?: number;
  readonly reason?: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly end?: boolean;
  readonly close?: boolean;
  readonly data?: readonly string[];
  readonly trailers?: readonly (readonly [string, string])[];
  /** The request in front of a response. */
  readonly request?: string;
}

/** Heads as filters may leave them. */
class WriteRun {
  constructor(
    readonly golden: GoldenCase,
    readonly Codec: CodecClass,
  ) {}

  run(role: "write-request" | "write-response"): string {
    const input = JSON.parse(latin1Text(this.golden.input)) as WriteInput;
    const isRequest = role === "write-request";
    const codec = new this.Codec(codecOptions(this.golden, isRequest ? "upstream" : "downstream", SILENT));
    if (!isRequest) codec.receive(latin1Bytes(input.request ?? "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    if (input.close === true) codec.closeAfter();
    const out = new ByteWriter(4);
    out.latin1("..");
    const end = input.end ?? input.data === undefined;
    const headers = blockOf(input.headers ?? []);
    const upgrade = input.upgrade;
    const failure = isRequest
      ? codec.writeRequest(out, requestOf(input, headers), end)
      : codec.writeResponse(out, { status: input.status ?? 200, reason: input.reason ?? "", version: 11, upgrade, headers }, end);
    const log = [failure === undefined ? "" : `! ${failure.code}`];
    if (failure === undefined && !end) {
      for (const piece of input.data ?? []) log.push(outcome(codec.writeData(out, latin1Bytes(piece))));
      log.push(outcome(codec.writeEnd(out, input.trailers === undefined ? undefined : blockOf(input.trailers))));
    }
    log.push(escapeText(latin1Text(out.view())), `${codec.incoming} ${codec.outgoing} ${codec.reusable ? "reusable" : "last"}`);
    return log.filter((line) => line !== "").join("\n");
  }
}

const outcome = (failure: Failure | undefined): string => (failure instanceof Failure ? `! ${failure.code}` : "");

function blockOf(pairs: readonly (readonly [string, string])[]): HeaderBlock {
  const block = new HeaderBlock();
  for (const [name, value] of pairs) block.add(name, value);
  return block;
}

function requestOf(input: WriteInput, headers: HeaderBlock): RequestHead {
  const head: RequestHead = {
    method: input.method ?? "GET",
    scheme: "http",
    authority: input.authority ?? "a",
    path: input.path ?? "/",
    query: input.query,
    version: 11,
    upgrade: input.upgrade,
    headers,
  };
  return targetOf(head) === "" && head.method !== "CONNECT" ? { ...head, path: "" } : head;
}
