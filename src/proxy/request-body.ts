import { type Bytes, copyBytes, viewOf } from "../core/bytes.ts";
import type { HeaderBlock, RequestHead } from "../core/head.ts";
import type { DownstreamStream, UpstreamStream } from "./stream.ts";

/**
 * What follows a request's head, on its way to the upstream. Until there is a stream it is held: one read at most, because
 * the downstream is paused then. Afterwards it passes, with back-pressure.
 */
export class RequestBody {
  /** The upstream's stream once the request's head is on it. */
  upstream: UpstreamStream | undefined;
  #held: Bytes[] | undefined;
  #trailers: HeaderBlock | undefined;

  constructor(
    readonly downstream: DownstreamStream,
    /** All of the request has passed the filters. */
    public ended: boolean,
  ) {}

  /** Nothing came behind the head, and nothing will. */
  get empty(): boolean {
    return this.ended && this.#held === undefined && this.#trailers === undefined;
  }

  /** Sends the head, and what was held. */
  attach(stream: UpstreamStream, head: RequestHead): void {
    this.upstream = stream;
    const { empty } = this;
    stream.sendHead(head, empty);
    if (empty) return;
    const held = this.#held;
    this.#held = undefined;
    let ready = true;
    if (held !== undefined) for (const bytes of held) ready = stream.sendData(bytes);
    if (this.ended) stream.sendEnd(this.#trailers);
    // Also behind the end: what the downstream says next, or that it leaves, must be heard.
    if (ready || this.ended) this.downstream.resume();
  }

  send(bytes: Bytes, start = 0, end = bytes.byteLength): void {
    if (start === end) return;
    if (this.upstream !== undefined) {
      if (!this.upstream.sendData(bytes, start, end)) this.downstream.pause();
      return;
    }
    this.#held ??= [];
    this.#held.push(copyBytes(viewOf(bytes, start, end)));
    this.downstream.pause();
  }

  end(trailers: HeaderBlock | undefined): void {
    this.ended = true;
    this.#trailers = trailers;
    this.upstream?.sendEnd(trailers);
  }
}
