import { assert } from "../../core/assert.ts";
import type { Bytes } from "../../core/bytes.ts";
import { Failure } from "../../core/failure.ts";
import type { HeaderBlock, HttpVersion, RequestHead, ResponseHead } from "../../core/head.ts";
import type { ByteWriter } from "../../core/writer.ts";
import type { BodyKind } from "./framing.ts";
import { isBodiless } from "./response.ts";
import { advance, EVENT, STATE } from "./states.ts";
import { declaredLength, endLine, putLastChunk, putRequest, putResponse } from "./writer.ts";

/** What a peer sends has the length it declared, or is a failure when it is read: only a filter can have changed it since. */
const mismatch = (detail: string): Failure => new Failure("filter_body_length", detail);

/**
 * The writing half of a connection, and what both halves must know of the request at hand: its method decides how an answer
 * is framed. A message is framed by exactly one of Content-Length, chunked or the end of the connection (RFC 9112 §6).
 */
export class HttpOutput {
  state: number = STATE.idle;
  /** No other exchange comes on this connection. */
  last = false;
  /** A request is under way: written by us (upstream) or read (downstream). */
  asked = false;
  method = "";
  version: HttpVersion = 11;
  /** The protocol asked for; "" for none. */
  upgrade = "";
  #kind: BodyKind = "none";
  #left = 0;

  /** The request asked to switch, or was CONNECT. */
  get wantsSwitch(): boolean {
    return this.upgrade !== "" || this.method === "CONNECT";
  }

  /** Downstream: a request was read. */
  openRequest(head: RequestHead, isLast: boolean): void {
    this.asked = true;
    this.method = head.method;
    this.version = head.version;
    this.upgrade = head.upgrade ?? "";
    if (isLast) this.last = true;
  }

  /** Downstream: the request could not be read; it gets an answer all the same. */
  forgetRequest(): void {
    this.method = "";
    this.version = 11;
    this.upgrade = "";
  }

  openTunnel(): void {
    this.state = advance(this.state, EVENT.switch);
  }

  nextExchange(): void {
    this.state = advance(this.state, EVENT.next);
    this.asked = false;
    this.forgetRequest();
  }

  /** Does this answer turn the connection into a tunnel? */
  isSwitch(status: number): boolean {
    return status === 101 || (this.method === "CONNECT" && status >= 200 && status < 300);
  }

  writeRequest(out: ByteWriter, head: RequestHead, end: boolean): Failure | undefined {
    assert(this.state === STATE.idle, "a request within another");
    const length = declaredLength(head.headers);
    if (length instanceof Failure) return length;
    if (end && length > 0) return mismatch("content-length without a body");
    const wantsSwitch = head.upgrade !== undefined || head.method === "CONNECT";
    if (wantsSwitch && !end) return new Failure("internal", "a body before the switch");
    const kind: BodyKind = end ? "none" : length >= 0 ? "length" : "chunked";
    const start = out.length;
    const failure = putRequest(out, head, { kind, close: this.last, sayEmpty: end && length < 0 && isBodyMethod(head.method) });
    if (failure !== undefined) {
      out.length = start;
      return failure;
    }
    this.openRequest(head, false);
    this.#openBody(kind, length, end);
    return undefined;
  }

  writeResponse(out: ByteWriter, head: ResponseHead, end: boolean): Failure | undefined {
    assert(this.state === STATE.idle, "a response within another");
    if (head.status < 200 && head.status !== 101) return this.#writeInformational(out, head);
    if (this.isSwitch(head.status)) return this.#writeSwitch(out, head);
    const length = declaredLength(head.headers);
    if (length instanceof Failure) return length;
    const bodiless = isBodiless(head.status, this.method);
    if (end && length > 0 && !bodiless) return mismatch("content-length without a body");
    let kind: BodyKind = "none";
    if (!bodiless && !end) kind = length >= 0 ? "length" : this.version === 10 ? "close" : "chunked";
    const isLast = this.last || kind === "close" || this.wantsSwitch;
    const connection = connectionOf(head, isLast, this.version);
    const lengthToo = kind !== "chunked" && head.status !== 204;
    const start = out.length;
    const failure = putResponse(out, head, { kind, lengthToo, sayEmpty: end && !bodiless && length < 0, connection });
    if (failure !== undefined) {
      out.length = start;
      return failure;
    }
    this.last = isLast;
    this.#openBody(kind, length, end);
    return undefined;
  }

  /** HTTP/1.0 knows no 1xx (RFC 9110 §15.2): left out. */
  #writeInformational(out: ByteWriter, head: ResponseHead): Failure | undefined {
    if (this.version === 10) return undefined;
    return this.#writeBodiless(out, head, "");
  }

  #writeSwitch(out: ByteWriter, head: ResponseHead): Failure | undefined {
    const isUpgrade = head.status === 101;
    if (isUpgrade && (this.upgrade === "" || head.upgrade === undefined))
      return new Failure("internal", "101 without an upgrade");
    const failure = this.#writeBodiless(out, head, isUpgrade ? "upgrade" : "");
    if (failure === undefined) this.openTunnel();
    return failure;
  }

  #writeBodiless(out: ByteWriter, head: ResponseHead, connection: string): Failure | undefined {
    const start = out.length;
    const failure = putResponse(out, head, { kind: "none", lengthToo: false, sayEmpty: false, connection });
    if (failure !== undefined) out.length = start;
    return failure;
  }

  #openBody(kind: BodyKind, length: number, end: boolean): void {
    this.#kind = kind;
    this.#left = length;
    this.state = advance(this.state, end ? EVENT.complete : EVENT.body);
  }

  writeData(out: ByteWriter, bytes: Bytes, start: number, end: number): Failure | undefined {
    const count = end - start;
    if (this.state === STATE.tunnel) {
      out.bytes(bytes, start, end);
      return undefined;
    }
    if (this.state === STATE.failed) return new Failure("internal", "the message was cut short");
    assert(this.state === STATE.body, "body bytes out of turn");
    if (count === 0) return undefined;
    switch (this.#kind) {
      case "none":
        // An answer to HEAD, a 204 or a 304: whatever is given as its body stays here.
        return undefined;
      case "length":
        if (count > this.#left) return this.#cut("more body than content-length");
        this.#left -= count;
        out.bytes(bytes, start, end);
        return undefined;
      case "close":
        out.bytes(bytes, start, end);
        return undefined;
      default:
        out.latin1(count.toString(16));
        endLine(out);
        out.bytes(bytes, start, end);
        endLine(out);
        return undefined;
    }
  }

  writeEnd(out: ByteWriter, trailers: HeaderBlock | undefined): Failure | undefined {
    if (this.state === STATE.tunnel) {
      this.state = advance(this.state, EVENT.end);
      return undefined;
    }
    if (this.state === STATE.failed) return new Failure("internal", "the message was cut short");
    assert(this.state === STATE.body, "end of a body out of turn");
    if (this.#kind === "length" && this.#left > 0) return this.#cut("less body than content-length");
    if (this.#kind === "chunked") {
      const start = out.length;
      const failure = putLastChunk(out, trailers);
      if (failure !== undefined) {
        out.length = start;
        this.#cut("");
        return failure;
      }
    }
    this.state = advance(this.state, EVENT.complete);
    return undefined;
  }

  /** The message cannot be ended well any more. */
  #cut(detail: string): Failure {
    this.last = true;
    this.state = advance(this.state, EVENT.fail);
    return mismatch(detail);
  }
}

/** Methods whose lack of a body is said (RFC 9110 §8.6). */
const isBodyMethod = (method: string): boolean => method === "POST" || method === "PUT" || method === "PATCH";

/** `Connection` of an answer; `Upgrade` in a 426 is for this hop as well (RFC 9110 §7.8). */
function connectionOf(head: ResponseHead, isLast: boolean, version: number): string {
  if (head.status === 426 && head.upgrade !== undefined) return isLast ? "close, upgrade" : "upgrade";
  if (isLast) return "close";
  return version === 10 ? "keep-alive" : "";
}
