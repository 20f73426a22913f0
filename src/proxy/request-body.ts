import { type Bytes, copyBytes, EMPTY_BYTES, viewOf } from "../core/bytes.ts";
import { HeaderBlock, type RequestHead } from "../core/head.ts";
import type { FilterChain } from "../filters/chain.ts";
import type { DownstreamStream, UpstreamStream } from "./stream.ts";

/**
 * Filters may have changed the length of a body whose head is still here: the head says what is true. `bytes`: of the whole body; -1: nobody
 * knows yet. Without Content-Length, the codec frames the body as it can; trailers need that too.
 */
export function settleLength(headers: HeaderBlock, bytes: number, trailers: HeaderBlock | undefined): void {
  if (!headers.has("content-length")) return;
  if (bytes < 0 || trailers !== undefined) headers.remove("content-length");
  else headers.set("content-length", String(bytes));
}

export interface RequestBodyOwner {
  /** What the head waited for is here. */
  onBodyBegun(): void;
}

/**
 * What follows a request's head, on its way to the upstream. Until there is a stream it is held: one read at most, because
 * the downstream is paused then. Afterwards it passes, with back-pressure.
 */
export class RequestBody {
  /** The upstream's stream once the request's head is on it. */
  upstream: UpstreamStream | undefined;
  /** The head waits for the beginning of the body. */
  #headWaits = false;
  #held: Bytes[] | undefined;
  #trailers: HeaderBlock | undefined;
  /** Some of it, or trailers, went to an upstream: it is not here any more. */
  gone = false;

  constructor(
    readonly downstream: DownstreamStream,
    /** All of the request has passed the filters. */
    public ended: boolean,
    readonly owner: RequestBodyOwner,
  ) {}

  /**
   * The head has passed the filters, and some want the body as well: shall it wait for what they make of the beginning of that? Then
   * `onBodyBegun` comes. Where a length is declared the caller sends the body in any case, if need be after an invitation.
   */
  awaits(head: RequestHead, chain: FilterChain): boolean {
    if (this.ended || this.#held !== undefined || chain.passesData("request")) return false;
    this.#headWaits = head.headers.has("content-length");
    if (this.#headWaits) this.invite(head);
    return this.#headWaits;
  }

  /** A filter waits for a body that the caller holds back until it is invited (RFC 9110 §10.1.1). */
  invite({ headers, version }: RequestHead): void {
    if (this.ended || !headers.remove("expect") || version < 11) return;
    const head = { status: 100, reason: "Continue", version: 11 as const, upgrade: undefined, headers: new HeaderBlock() };
    this.downstream.sendHead(head, false);
  }

  /** Nothing came behind the head, and nothing will. */
  get empty(): boolean {
    return this.ended && this.#held === undefined && this.#trailers === undefined;
  }

  /** Sends the head, and what was held. `chain`: the filters that it passed. */
  attach(stream: UpstreamStream, head: RequestHead, chain: FilterChain | undefined): void {
    this.upstream = stream;
    const { empty } = this;
    if (chain !== undefined && ((this.ended && !empty) || chain.resizes("request")))
      settleLength(head.headers, this.ended ? this.#heldBytes() : -1, this.#trailers);
    stream.sendHead(head, empty);
    if (empty) return;
    this.gone ||= this.#held !== undefined;
    const held = this.#held;
    this.#held = undefined;
    let ready = true;
    if (held !== undefined) for (const bytes of held) ready = stream.sendData(bytes);
    if (this.ended) stream.sendEnd(this.#trailers);
    // Also behind the end: what the downstream says next, or that it leaves, must be heard.
    if (ready || this.ended) this.downstream.resume();
  }

  #heldBytes(): number {
    let bytes = 0;
    for (const each of this.#held ?? []) bytes += each.byteLength;
    return bytes;
  }

  send(bytes: Bytes, start = 0, end = bytes.byteLength): void {
    if (start === end) return;
    if (this.upstream !== undefined) {
      this.gone = true;
      if (!this.upstream.sendData(bytes, start, end)) this.downstream.pause();
      return;
    }
    this.#hold(viewOf(bytes, start, end));
    this.#begin();
  }

  /** `bytes`: the last piece. */
  end(trailers: HeaderBlock | undefined, bytes: Bytes = EMPTY_BYTES): void {
    if (this.upstream !== undefined) this.send(bytes);
    else if (bytes.byteLength > 0) this.#hold(bytes);
    this.ended = true;
    this.#trailers = trailers;
    this.upstream?.sendEnd(trailers);
    this.#begin();
  }

  #hold(bytes: Bytes): void {
    this.#held ??= [];
    this.#held.push(copyBytes(bytes));
    this.downstream.pause();
  }

  #begin(): void {
    if (!this.#headWaits) return;
    this.#headWaits = false;
    this.owner.onBodyBegun();
  }
}
