import { Failure } from "../../core/failure.ts";
import { type HeaderBlock, type RequestHead, type ResponseHead, targetOf } from "../../core/head.ts";
import { type ByteWriter, Literal } from "../../core/writer.ts";
import { AUTHORITY, CR, FIELD_NAME, LF, METHOD, QUERY, SP, VALUE, WIRE_PATH } from "./chars.ts";
import { type BodyKind, parseContentLength } from "./framing.ts";
import { KIND, kindOf } from "./names.ts";
import { REASONS } from "./reasons.ts";
import { announcedIn, isTrailer } from "./trailers.ts";

/**
 * Writes heads. A filter, a rewrite or a template can put any string into a head: every byte is checked against the grammar's
 * table when it is written, so that nothing can inject a header or a message here. What cannot be written is a Failure, and
 * then nothing was written. Fields that belong to the codec (framing, Host, Connection …) are left out wherever they come
 * from: the codec writes its own.
 */

/** Texts up to this many characters are checked and copied in one loop; longer ones are cheaper with native help. */
const LOOP_MAX = 32;
const NOT_VALUE = /[^\t\x20-\x7e\x80-\xff]/;

const unwritable = (what: string): Failure => new Failure("internal", `${what} cannot be written`);

/** Appends `text` if all of it is in `table`. */
function putAll(out: ByteWriter, text: string, table: Uint8Array): boolean {
  out.reserve(text.length);
  const { buffer } = out;
  let { length } = out;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (table[code] !== 1) return false;
    buffer[length++] = code;
  }
  out.length = length;
  return true;
}

function putValue(out: ByteWriter, value: string): boolean {
  if (value.length <= LOOP_MAX) return putAll(out, value, VALUE);
  if (NOT_VALUE.test(value)) return false;
  out.latin1(value);
  return true;
}

/** `name: value CRLF`. */
export function putField(out: ByteWriter, name: string, value: string): Failure | undefined {
  if (name === "" || !putAll(out, name, FIELD_NAME)) return unwritable("a field name");
  out.reserve(2);
  out.buffer[out.length++] = 0x3a;
  out.buffer[out.length++] = SP;
  if (!putValue(out, value)) return unwritable(`the value of ${name}`);
  endLine(out);
  return undefined;
}

export function endLine(out: ByteWriter): void {
  out.reserve(2);
  out.buffer[out.length++] = CR;
  out.buffer[out.length++] = LF;
}

/** Fields for the peer, without the codec's own. `Trailer` says what will come: nothing, unless the body is `chunked`. */
function putFields(out: ByteWriter, headers: HeaderBlock, passed: PassedFields, chunked: boolean): Failure | undefined {
  const { names, values } = headers;
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    let value = values[i] as string;
    const kind = kindOf(name);
    if (kind !== KIND.plain && !isPassed(kind, value, passed)) continue;
    if (name === "trailer") {
      value = chunked ? announcedIn(value, isTrailer) : "";
      if (value === "") continue;
    }
    const failure = putField(out, name, value);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

/** Which of the codec's own fields pass. */
interface PassedFields {
  readonly lengthToo: boolean;
  /** Only in a request with a body (RFC 9110 §10.1.1). */
  readonly expectToo: boolean;
  /** `trailers` in a request. */
  readonly teToo: boolean;
}

const LENGTH_ONLY: PassedFields = { lengthToo: true, expectToo: false, teToo: false };
const NO_OWN: PassedFields = { lengthToo: false, expectToo: false, teToo: false };
const ASKED: Readonly<Record<BodyKind, PassedFields>> = {
  none: { lengthToo: true, expectToo: false, teToo: true },
  length: { lengthToo: true, expectToo: true, teToo: true },
  close: { lengthToo: true, expectToo: true, teToo: true },
  chunked: { lengthToo: false, expectToo: true, teToo: true },
};

function isPassed(kind: number, value: string, passed: PassedFields): boolean {
  if (kind === KIND.contentLength) return passed.lengthToo;
  if (kind === KIND.expect) return passed.expectToo;
  return kind === KIND.te && passed.teToo && value === "trailers";
}

/** What a block says about the body's length; -1: nothing. A Failure for two lengths or one that is no number. */
export function declaredLength(headers: HeaderBlock): number | Failure {
  const { names, values } = headers;
  let declared = -1;
  for (let i = 0; i < names.length; i++) {
    if (names[i] !== "content-length") continue;
    const length = parseContentLength(values[i] as string);
    if (length < 0 || declared >= 0) return new Failure("filter_body_length", "content-length is no length");
    declared = length;
  }
  return declared;
}

/** Between target and authority. */
const HOST = new Literal(" HTTP/1.1\r\nhost: ");

/** How a request head goes on the wire. */
export interface RequestPlan {
  readonly kind: BodyKind;
  readonly close: boolean;
  /** Say `content-length: 0`. */
  readonly sayEmpty: boolean;
}

/** Request line, Host first, fields, framing (RFC 9112 §3). */
export function putRequest(out: ByteWriter, head: RequestHead, plan: RequestPlan): Failure | undefined {
  if (head.method === "" || !putAll(out, head.method, METHOD)) return unwritable("the method");
  out.byte(SP);
  if (!putTarget(out, head)) return unwritable("the target");
  out.literal(HOST);
  if (!putAll(out, head.authority, AUTHORITY)) return unwritable("the authority");
  endLine(out);
  const failure = putFields(out, head.headers, ASKED[plan.kind], plan.kind === "chunked");
  if (failure !== undefined) return failure;
  if (plan.sayEmpty) out.text("content-length: 0\r\n");
  if (plan.kind === "chunked") out.text("transfer-encoding: chunked\r\n");
  const te = head.headers.get("te") === "trailers";
  if (head.upgrade !== undefined) {
    out.text(te ? "connection: upgrade, te\r\n" : "connection: upgrade\r\n");
    const failed = putField(out, "upgrade", head.upgrade);
    if (failed !== undefined) return failed;
  } else if (te) out.text(plan.close ? "connection: te, close\r\n" : "connection: te\r\n");
  else if (plan.close) out.text("connection: close\r\n");
  endLine(out);
  return undefined;
}

function putTarget(out: ByteWriter, head: RequestHead): boolean {
  if (head.method === "CONNECT") return head.authority !== "" && putAll(out, head.authority, AUTHORITY);
  if (head.path === "*") return head.method === "OPTIONS" && head.query === undefined && putValue(out, targetOf(head));
  if (head.path.charCodeAt(0) !== 0x2f || !putAll(out, head.path, WIRE_PATH)) return false;
  if (head.query === undefined) return true;
  out.byte(0x3f);
  return putAll(out, head.query, QUERY);
}

/** How a response head goes on the wire. */
export interface ResponsePlan {
  readonly kind: BodyKind;
  readonly lengthToo: boolean;
  readonly sayEmpty: boolean;
  /** Value of `Connection`; "" for none. */
  readonly connection: string;
}

const STATUS_LINES: ReadonlyMap<number, Literal> = new Map(
  Object.entries(REASONS).map(([status, reason]) => [Number(status), new Literal(`HTTP/1.1 ${status} ${reason}\r\n`)]),
);

/** Status line, fields, framing (RFC 9112 §4). */
export function putResponse(out: ByteWriter, head: ResponseHead, plan: ResponsePlan): Failure | undefined {
  const { status } = head;
  if (!(status >= 100 && status <= 999 && Number.isInteger(status))) return unwritable("the status");
  const line = STATUS_LINES.get(status);
  if (line !== undefined && (head.reason === "" || head.reason === REASONS[status])) out.literal(line);
  else {
    out.text(`HTTP/1.1 ${status} `);
    if (!putValue(out, head.reason)) return unwritable("the reason");
    endLine(out);
  }
  const failure = putFields(out, head.headers, plan.lengthToo ? LENGTH_ONLY : NO_OWN, plan.kind === "chunked");
  if (failure !== undefined) return failure;
  if (plan.sayEmpty) out.text("content-length: 0\r\n");
  if (plan.kind === "chunked") out.text("transfer-encoding: chunked\r\n");
  if (plan.connection !== "") out.text(`connection: ${plan.connection}\r\n`);
  if ((status === 101 || status === 426) && head.upgrade !== undefined) {
    const failed = putField(out, "upgrade", head.upgrade);
    if (failed !== undefined) return failed;
  }
  endLine(out);
  return undefined;
}

/** The last chunk and the trailers that may stand there. */
export function putLastChunk(out: ByteWriter, trailers: HeaderBlock | undefined): Failure | undefined {
  out.text("0\r\n");
  if (trailers !== undefined) {
    for (let i = 0; i < trailers.length; i++) {
      const name = trailers.names[i] as string;
      if (!isTrailer(name)) continue;
      const failure = putField(out, name, trailers.values[i] as string);
      if (failure !== undefined) return failure;
    }
  }
  endLine(out);
  return undefined;
}
