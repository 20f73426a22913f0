/**
 * Each of the 256 byte values at each kind of place of a message. What must happen is said by the grammar below, written from
 * RFC 9110, 9112 and 3986 and not from the codec's tables; where the codec is stricter or more lenient, the place says so.
 */
import { latin1Bytes, latin1Text } from "../../src/core/bytes.ts";
import { Failure } from "../../src/core/failure.ts";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../../src/core/head.ts";
import { DEFAULT_HTTP_LIMITS } from "../../src/core/limits.ts";
import { ByteWriter } from "../../src/core/writer.ts";
import { normaliseAuthority } from "../../src/proxy/codec/host.ts";
import { Http1Codec } from "../../src/proxy/codec/http1.ts";
import { nameReader } from "../../src/proxy/codec/names.ts";
import { normalisePath } from "../../src/proxy/codec/path.ts";
import type { Http1Sink } from "../../src/proxy/codec/types.ts";

export interface Place {
  readonly name: string;
  /** What the codec does with the byte here: a text, or `refused`. */
  readonly probe: (byte: number) => string;
  /** What it must do. */
  readonly expected: (byte: number) => string;
}

const REFUSED = "refused";

// ---------------------------------------------------------------- the grammar (RFC 5234 appendix B.1 for the core rules)

const isUpper = (b: number): boolean => b >= 0x41 && b <= 0x5a;
const isLower = (b: number): boolean => b >= 0x61 && b <= 0x7a;
const isDigit = (b: number): boolean => b >= 0x30 && b <= 0x39;
const isVisible = (b: number): boolean => b >= 0x21 && b <= 0x7e;
const isObsText = (b: number): boolean => b >= 0x80;
const isOneOf = (b: number, text: string): boolean => text.includes(String.fromCharCode(b));
const isBlank = (b: number): boolean => b === 0x20 || b === 0x09;
/** "any VCHAR, except delimiters" (RFC 9110 §5.6.2). */
const isTchar = (b: number): boolean => isVisible(b) && !isOneOf(b, '"(),/:;<=>?@[\\]{}');
/** field-content between its first and its last character (RFC 9110 §5.5); reason-phrase has the same (RFC 9112 §4). */
const isFieldByte = (b: number): boolean => isVisible(b) || isObsText(b) || isBlank(b);
/** qdtext (RFC 9110 §5.6.4). */
const isQdtext = (b: number): boolean => isFieldByte(b) && !isOneOf(b, '"\\');
/** unreserved (RFC 3986 §2.3). */
const isUnreserved = (b: number): boolean => isUpper(b) || isLower(b) || isDigit(b) || isOneOf(b, "-._~");
/** pchar without pct-encoded (RFC 3986 §3.3). */
const isPchar = (b: number): boolean => isUnreserved(b) || isOneOf(b, "!$&'()*+,;=:@");
const isHexDigit = (b: number): boolean => /^[0-9a-fA-F]$/.test(String.fromCharCode(b));

const char = (b: number): string => String.fromCharCode(b);
/** ASCII only: `toLowerCase` would change other letters as well. */
const lower = (b: number): string => char(isUpper(b) ? b + 32 : b);
const encoded = (b: number): string => `%${b.toString(16).toUpperCase().padStart(2, "0")}`;
const when = (condition: boolean, result: string): string => (condition ? result : REFUSED);

// ---------------------------------------------------------------- the codec

class Listener implements Http1Sink {
  request: RequestHead | undefined;
  response: ResponseHead | undefined;
  failure: Failure | undefined;
  trailers: HeaderBlock | undefined;
  data = "";
  ended = false;
  onRequest(head: RequestHead, end: boolean): void {
    this.request = head;
    this.ended = end;
  }
  onResponse(head: ResponseHead, end: boolean): void {
    this.response = head;
    this.ended = end;
  }
  onData(bytes: Uint8Array, start: number, end: number): void {
    this.data += latin1Text(bytes.subarray(start, end));
  }
  onEnd(trailers: HeaderBlock | undefined): void {
    this.ended = true;
    this.trailers = trailers;
  }
  onFailure(failure: Failure): void {
    this.failure = failure;
  }
}

const PATHS = { encodedSlash: "keep", doubleSlash: "keep", semicolon: "keep" } as const;

function codecOf(role: "downstream" | "upstream", sink: Http1Sink): Http1Codec {
  return new Http1Codec({ role, limits: DEFAULT_HTTP_LIMITS, scheme: "http", paths: PATHS, underscores: "keep", sink });
}

/** Reads one request that must be complete; `show` says what of it counts. */
function readRequest(wire: string, show: (heard: Listener) => string): string {
  const heard = new Listener();
  codecOf("downstream", heard).receive(latin1Bytes(wire));
  if (heard.failure !== undefined) return heard.failure.code === "coding_not_implemented" ? "unknown coding" : REFUSED;
  return heard.ended ? show(heard) : "not complete";
}

function readResponse(wire: string, show: (heard: Listener) => string): string {
  const heard = new Listener();
  const codec = codecOf("upstream", heard);
  codec.writeRequest(new ByteWriter(64), requestOf({}), true);
  codec.receive(latin1Bytes(wire));
  if (heard.failure !== undefined) return REFUSED;
  return heard.ended ? show(heard) : "not complete";
}

function requestOf(changes: Partial<RequestHead>): RequestHead {
  const headers = new HeaderBlock();
  return {
    method: "GET",
    scheme: "http",
    authority: "a",
    path: "/",
    query: undefined,
    version: 11,
    upgrade: undefined,
    headers,
    ...changes,
  };
}

function writeRequest(changes: Partial<RequestHead>): string {
  const out = new ByteWriter(64);
  const failure = codecOf("upstream", new Listener()).writeRequest(out, requestOf(changes), true);
  return failure === undefined ? latin1Text(out.view()) : REFUSED;
}

function writeResponse(reason: string): string {
  const codec = codecOf("downstream", new Listener());
  codec.receive(latin1Bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  const out = new ByteWriter(64);
  const failure = codec.writeResponse(
    out,
    { status: 200, reason, version: 11, upgrade: undefined, headers: new HeaderBlock() },
    true,
  );
  return failure === undefined ? latin1Text(out.view()) : REFUSED;
}

// ---------------------------------------------------------------- places

const HOST = "Host: a\r\n";
function codedHead(coding: string): string {
  return `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: ${coding}\r\n\r\n`;
}
const CHUNKED = codedHead("chunked");
const target = (text: string): string =>
  readRequest(`GET ${text} HTTP/1.1\r\n${HOST}\r\n`, ({ request }) => `${request?.path} ${request?.query}`);
const fields = (text: string): string =>
  readRequest(`GET / HTTP/1.1\r\n${HOST}${text}\r\n\r\n`, ({ request }) => JSON.stringify(request?.headers.entries()));
const chunked = (body: string, coding = "chunked"): string => readRequest(codedHead(coding) + body, ({ data }) => `data ${data}`);
const trailers = (text: string): string =>
  readRequest(`${CHUNKED}0\r\n${text}\r\n\r\n`, (heard) => JSON.stringify(heard.trailers?.entries() ?? []));

/** A name, or the name `x` when the byte is the colon. */
const fieldNamed = (b: number): string => {
  if (b === 0x3a) return JSON.stringify([["x", "y: v"]]);
  return when(isTchar(b), JSON.stringify([[`x${lower(b)}y`, "v"]]));
};

/** Raw bytes of a path: pchar, the slash, and what browsers send raw, which is encoded. */
const rawPath = (b: number): string => {
  if (b === 0x3f) return "/x z";
  if (isOneOf(b, '"<>[]^`{|}')) return `/x${encoded(b)}z undefined`;
  return when(isPchar(b) || b === 0x2f, `/x${char(b)}z undefined`);
};

const READ: Place[] = [
  {
    name: "method (no lower case)",
    probe: (b) => readRequest(`G${char(b)}T / HTTP/1.1\r\n${HOST}\r\n`, ({ request }) => `${request?.method}`),
    expected: (b) => when(isTchar(b) && !isLower(b), `G${char(b)}T`),
  },
  { name: "path", probe: (b) => target(`/x${char(b)}z`), expected: rawPath },
  {
    name: "path, without the codec",
    probe: (b) => {
      const normal = normalisePath(`/x${char(b)}z`, PATHS);
      return normal instanceof Failure ? REFUSED : `${normal.path} ${normal.query}`;
    },
    expected: rawPath,
  },
  {
    name: "percent-encoded in a path",
    probe: (b) => target(`/x${encoded(b).toLowerCase()}z`),
    expected: (b) => when(b >= 0x20 && b !== 0x7f, `/x${isUnreserved(b) ? char(b) : encoded(b)}z undefined`),
  },
  {
    name: "hex digit in a path",
    probe: (b) => target(`/x%4${char(b)}.`),
    expected: (b) => when(isHexDigit(b), `/x${hexPath(0x40 + Number.parseInt(char(b), 16))}. undefined`),
  },
  {
    name: "query (any visible byte but #)",
    probe: (b) => target(`/?x${char(b)}z`),
    expected: (b) => when(isVisible(b) && b !== 0x23, `/ x${char(b)}z`),
  },
  { name: "field name", probe: (b) => fields(`x${char(b)}y: v`), expected: fieldNamed },
  {
    name: "field name, without the codec",
    probe: (b) => {
      nameReader.read(Uint8Array.of(0x78, b, 0x79), 0, 3);
      return `${nameReader.end}`;
    },
    expected: (b) => (isTchar(b) ? "3" : "1"),
  },
  {
    name: "first byte of a field name",
    probe: (b) => fields(`${char(b)}: v`),
    expected: (b) => when(isTchar(b), JSON.stringify([[lower(b), "v"]])),
  },
  {
    name: "edge of a field value",
    probe: (b) => fields(`n:${char(b)}`),
    expected: (b) => when(isFieldByte(b), JSON.stringify([["n", isBlank(b) ? "" : char(b)]])),
  },
  {
    name: "Connection option",
    probe: (b) => fields(`Connection: x${char(b)}z`),
    expected: (b) => when(isTchar(b) || b === 0x2c, "[]"),
  },
  {
    name: "Upgrade",
    probe: (b) =>
      readRequest(
        `GET / HTTP/1.1\r\n${HOST}Connection: upgrade\r\nUpgrade: x${char(b)}z\r\n\r\n`,
        ({ request }) => `${request?.upgrade}`,
      ),
    expected: (b) => when(isTchar(b) || b === 0x2f, `x${lower(b)}z`),
  },
  {
    name: "transfer coding before chunked",
    probe: (b) => fields(`Transfer-Encoding: x${char(b)}z, chunked`),
    expected: (b) => when(isTchar(b) || b === 0x2c, "unknown coding"),
  },
  {
    name: "transfer coding, last: only chunked",
    probe: (b) => chunked("1\r\nd\r\n0\r\n\r\n", `c${char(b)}unked`),
    expected: (b) => when(isOneOf(b, "hH"), "data d"),
  },
  {
    name: "name of a transfer parameter",
    probe: (b) => fields(`Transfer-Encoding: x;y${char(b)}z=v, chunked`),
    // `y=z=v` has a delimiter in its value, `y;z=v` a parameter without one.
    expected: (b) => when(isTchar(b), "unknown coding"),
  },
  {
    name: "value of a transfer parameter (no quotes)",
    probe: (b) => fields(`Transfer-Encoding: x;y=${char(b)}, chunked`),
    expected: (b) => when(isTchar(b), "unknown coding"),
  },
  {
    name: "Content-Length",
    probe: (b) =>
      readRequest(`POST / HTTP/1.1\r\n${HOST}Content-Length:1${char(b)}\r\n\r\n${"d".repeat(20)}`, ({ data }) => data),
    expected: (b) => {
      if (isBlank(b)) return "d";
      return isDigit(b) ? "d".repeat(10 + b - 0x30) : REFUSED;
    },
  },
  {
    name: "version",
    probe: (b) => readRequest(`GET / HTTP/1.${char(b)}\r\n${HOST}\r\n`, ({ request }) => `${request?.version}`),
    expected: (b) => when(isOneOf(b, "01"), `1${char(b)}`),
  },
  {
    name: "host name (no sub-delims, no percent)",
    probe: (b) => readRequest(`GET / HTTP/1.1\r\nHost: x${char(b)}z\r\n\r\n`, ({ request }) => `${request?.authority}`),
    expected: (b) => when((isUnreserved(b) && b !== 0x7e) || b === 0x5f, `x${lower(b)}z`),
  },
  {
    name: "host name, without the codec",
    probe: (b) => {
      const authority = normaliseAuthority(`x${char(b)}z`, "http");
      return authority instanceof Failure ? REFUSED : authority;
    },
    expected: (b) => when((isUnreserved(b) && b !== 0x7e) || b === 0x5f, `x${lower(b)}z`),
  },
  {
    name: "port",
    probe: (b) => readRequest(`GET / HTTP/1.1\r\nHost: a:1${char(b)}\r\n\r\n`, ({ request }) => `${request?.authority}`),
    expected: (b) => {
      if (isBlank(b)) return "a:1";
      return when(isDigit(b), `a:1${char(b)}`);
    },
  },
  {
    name: "IPv6 address",
    probe: (b) => readRequest(`GET / HTTP/1.1\r\nHost: [1${char(b)}::2]\r\n\r\n`, ({ request }) => `${request?.authority}`),
    expected: (b) => when(isHexDigit(b), `[1${lower(b)}::2]`),
  },
  {
    name: "reason phrase",
    probe: (b) => readResponse(`HTTP/1.1 200 x${char(b)}z\r\nContent-Length: 0\r\n\r\n`, ({ response }) => `${response?.reason}`),
    expected: (b) => when(isFieldByte(b), `x${char(b)}z`),
  },
  {
    name: "status",
    probe: (b) => readResponse(`HTTP/1.1 40${char(b)} x\r\nContent-Length: 0\r\n\r\n`, ({ response }) => `${response?.status}`),
    expected: (b) => when(isDigit(b), `40${char(b)}`),
  },
];

/** `%4X` in a path. */
const hexPath = (b: number): string => (isUnreserved(b) ? char(b) : encoded(b));

const ofValue = (name: string, before: string): Place => ({
  name,
  probe: (b) => fields(`n: ${before}${char(b)}z`),
  expected: (b) => when(isFieldByte(b), JSON.stringify([["n", before === "" && isBlank(b) ? "z" : `${before}${char(b)}z`]])),
});

const ofChunk = (name: string, before: string, after: string, isAllowed: (b: number) => boolean): Place => ({
  name: `chunk ${name}`,
  probe: (b) => chunked(`${before}${char(b)}${after}\r\n\r\n`),
  expected: (b) => when(isAllowed(b), "data "),
});

const sizeOf = (b: number): number => (isHexDigit(b) ? Number.parseInt(char(b), 16) : 0);
const dataOf = (size: number): string => (size === 0 ? "" : `${"d".repeat(size)}\r\n0\r\n`);

const BODIES: Place[] = [
  // Four places, because the scanner reads four bytes at a time.
  ofValue("field value", ""),
  ofValue("field value, second byte", "x"),
  ofValue("field value, third byte", "xy"),
  ofValue("field value, fourth byte", "xyz"),
  {
    name: "chunk size",
    probe: (b) => chunked(`${char(b)}\r\n${dataOf(sizeOf(b))}\r\n`),
    expected: (b) => when(isHexDigit(b), `data ${"d".repeat(sizeOf(b))}`),
  },
  {
    name: "chunk size, second digit",
    probe: (b) => chunked(`1${char(b)}\r\n${dataOf(16 + sizeOf(b))}\r\n`),
    expected: (b) => when(isHexDigit(b), `data ${"d".repeat(16 + sizeOf(b))}`),
  },
  ofChunk("extension name, first byte (no white space)", "0;", "=v", isTchar),
  ofChunk("extension name", "0;n", "=v", isTchar),
  ofChunk("extension value, first byte", "0;n=", "", isTchar),
  ofChunk("extension value", "0;n=v", "", isTchar),
  ofChunk("extension, quoted", '0;n="', '"', isQdtext),
  ofChunk("extension, escaped", '0;n="\\', '"', isFieldByte),
  ofChunk("extension, behind the quote", '0;n="v"', "", () => false),
  {
    name: "CR behind an extension",
    probe: (b) => chunked(`0;n${char(b)}\n\r\n`),
    expected: (b) => when(b === 0x0d, "data "),
  },
  { name: "behind the last chunk's CR", probe: (b) => chunked(`0\r${char(b)}\r\n`), expected: (b) => when(b === 0x0a, "data ") },
  { name: "behind a chunk", probe: (b) => chunked(`1\r\nd${char(b)}\n0\r\n\r\n`), expected: (b) => when(b === 0x0d, "data d") },
  {
    name: "behind a chunk's CR",
    probe: (b) => chunked(`1\r\nd\r${char(b)}0\r\n\r\n`),
    expected: (b) => when(b === 0x0a, "data d"),
  },
  { name: "trailer name", probe: (b) => trailers(`x${char(b)}y: v`), expected: fieldNamed },
  {
    name: "trailer value",
    probe: (b) => trailers(`n: x${char(b)}z`),
    expected: (b) => when(isFieldByte(b), JSON.stringify([["n", `x${char(b)}z`]])),
  },
];

const GET = (line: string, more: string): string => `${line} HTTP/1.1\r\nhost: a\r\n${more}\r\n`;
const written = (name: string, value: string): string => writeRequest({ headers: new HeaderBlock([name], [value]) });
const LONG = "x".repeat(70);

const WRITTEN: Place[] = [
  {
    name: "written method (no lower case)",
    probe: (b) => writeRequest({ method: `G${char(b)}T` }),
    expected: (b) => when(isTchar(b) && !isLower(b), GET(`G${char(b)}T /`, "")),
  },
  {
    name: "written path",
    probe: (b) => writeRequest({ path: `/x${char(b)}z` }),
    expected: (b) => when(isPchar(b) || isOneOf(b, "/%"), GET(`GET /x${char(b)}z`, "")),
  },
  {
    name: "written query",
    probe: (b) => writeRequest({ query: `x${char(b)}z` }),
    expected: (b) => when(isVisible(b) && b !== 0x23, GET(`GET /?x${char(b)}z`, "")),
  },
  {
    name: "written authority",
    probe: (b) => writeRequest({ authority: `x${char(b)}z` }),
    expected: (b) => when(isUnreserved(b) || isOneOf(b, ":[]"), `GET / HTTP/1.1\r\nhost: x${char(b)}z\r\n\r\n`),
  },
  {
    name: "written field name (no upper case)",
    probe: (b) => written(`x${char(b)}y`, "v"),
    expected: (b) => when(isTchar(b) && !isUpper(b), GET("GET /", `x${char(b)}y: v\r\n`)),
  },
  {
    name: "written value",
    probe: (b) => written("n", `x${char(b)}z`),
    expected: (b) => when(isFieldByte(b), GET("GET /", `n: x${char(b)}z\r\n`)),
  },
  {
    name: "written long value",
    probe: (b) => written("n", `${LONG}${char(b)}z`),
    expected: (b) => when(isFieldByte(b), GET("GET /", `n: ${LONG}${char(b)}z\r\n`)),
  },
  {
    name: "written reason",
    probe: (b) => writeResponse(`x${char(b)}z`),
    expected: (b) => when(isFieldByte(b), `HTTP/1.1 200 x${char(b)}z\r\ncontent-length: 0\r\n\r\n`),
  },
];

export const PLACES: readonly Place[] = [...READ, ...BODIES, ...WRITTEN];
