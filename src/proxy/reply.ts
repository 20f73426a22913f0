import type { CompressionConfig } from "../config/snapshot.ts";
import { type Bytes, viewOf } from "../core/bytes.ts";
import type { Failure } from "../core/failure.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../core/head.ts";
import type { FilterChain } from "../filters/chain.ts";
import type { ChainResult } from "../filters/chain-types.ts";
import type { LocalResponse } from "../filters/contract.ts";
import { isBodiless } from "./codec/response.ts";
import { BodyEncoder, type BodyEncoderHandler, negotiateCompression } from "./compress.ts";
import { settleLength } from "./request-body.ts";
import type { DownstreamStream } from "./stream.ts";

/** Who produces an answer's body, as far as the reply is concerned. */
export interface ReplySource {
  pause(): void;
  resume(): void;
}

/** A body that is all there already. */
export const WHOLE_BODY: ReplySource = { pause() {}, resume() {} };

export interface ReplyOwner {
  readonly request: RequestHead;
  readonly chain: FilterChain | undefined;
  readonly compression: CompressionConfig | undefined;
  /** The head is about to be sent: last edits (request id, via). */
  onReplyHead(head: ResponseHead): void;
  /** The answer is complete. */
  onReplied(): void;
  /** A filter replaced the answer: its source is of no more use. */
  onReplyReplaced(response: LocalResponse): void;
  onReplyFailed(failure: Failure): void;
  /** Something of ours threw while nothing of the exchange was on the stack. */
  onBug(error: unknown): void;
}

/**
 * The answer of one exchange on its way to the downstream: response side of the filters, compression, back-pressure.
 * Used alike for what an upstream, a filter or the proxy itself answers.
 */
export class Reply implements BodyEncoderHandler {
  /** Set as soon as there is an answer; filters edit it in place. */
  head: ResponseHead | undefined;
  /** The final head is out: from now on a failure can only cut the answer off. */
  started = false;
  ended = false;
  /** Body bytes handed to the downstream, after compression. */
  bytes = 0;
  #source: ReplySource = WHOLE_BODY;
  #encoder: BodyEncoder | undefined;
  #trailers: HeaderBlock | undefined;
  /** Filters see the answer, unless it is the one given because they broke. */
  #filtered = true;
  /** The head has passed the filters, and waits for the beginning of the body: they may change the length that it declares. */
  #headWaits = false;

  constructor(
    readonly owner: ReplyOwner,
    readonly downstream: DownstreamStream,
  ) {}

  /** Begins an answer; a former one whose head is not out is forgotten. */
  open(head: ResponseHead, end: boolean, source: ReplySource, filtered: boolean): void {
    this.head = head;
    this.#source = source;
    this.#filtered = filtered;
    this.#headWaits = false;
    const chain = filtered ? this.owner.chain : undefined;
    if (chain === undefined) {
      this.#sendHead(end);
      return;
    }
    if (this.#passed(chain, chain.responseHead(end))) this.#headPassed(chain, end);
  }

  data(bytes: Bytes, start = 0, end = bytes.byteLength): void {
    if (this.ended) return;
    const chain = this.#filtered ? this.owner.chain : undefined;
    if (chain === undefined || chain.passesData("response")) {
      this.#sendData(bytes, start, end);
      return;
    }
    if (this.#passed(chain, chain.responseData(viewOf(bytes, start, end), false))) this.#sendData(chain.data);
  }

  end(trailers: HeaderBlock | undefined): void {
    if (this.ended) return;
    // It has given all; its connection may carry another exchange from now on.
    this.#source = WHOLE_BODY;
    const chain = this.#filtered ? this.owner.chain : undefined;
    if (chain === undefined) {
      this.#sendEnd(trailers);
      return;
    }
    if (this.#passed(chain, chain.responseEnd(trailers))) this.#sendRest(chain.data, chain.responseTrailers);
  }

  #passed(chain: FilterChain, result: ChainResult): boolean {
    if (result === "respond") this.owner.onReplyReplaced(chain.localResponse as LocalResponse);
    else if (result === "failed") this.owner.onReplyFailed(chain.failure as Failure);
    return result === "forward";
  }

  /** What a filter held goes on. */
  release(head: boolean, data: Bytes, end: boolean): void {
    const response = this.head;
    // Of an answer that was replaced, nothing comes any more.
    if (this.ended || !this.#filtered || response === undefined) return;
    const chain = this.owner.chain as FilterChain;
    if (head && !end && data.byteLength === 0) {
      this.#headPassed(chain, false);
      return;
    }
    if (head) this.#headWaits = true;
    if (end) this.#sendRest(data, chain.responseTrailers);
    else this.#sendData(data);
  }

  #headPassed(chain: FilterChain, end: boolean): void {
    this.#headWaits = !end && !chain.passesData("response") && this.head?.headers.has("content-length") === true;
    if (!this.#headWaits) this.#sendHead(end);
  }

  /** The head that waited goes out. `bytes`: of the whole body; -1: nobody knows yet. */
  #sendWaiting(bytes: number, trailers: HeaderBlock | undefined): void {
    const { chain, request } = this.owner;
    const { headers, status } = this.head as ResponseHead;
    this.#headWaits = false;
    // Of an answer without a body (to HEAD, 204, 304) the length is not for us to know.
    if ((bytes >= 0 || chain?.resizes("response") === true) && !isBodiless(status, request.method))
      settleLength(headers, bytes, trailers);
    this.#sendHead(bytes === 0 && trailers === undefined);
  }

  /** The downstream takes more. */
  writable(): void {
    if (this.#encoder === undefined) this.#source.resume();
    else this.#encoder.resume();
  }

  /** Nothing more is sent. Idempotent. */
  abandon(): void {
    this.ended = true;
    this.#encoder?.destroy();
    this.#encoder = undefined;
  }

  // ---------------------------------------------------------------- after the filters

  #sendHead(end: boolean): void {
    const head = this.head as ResponseHead;
    const { compression, request } = this.owner;
    // HEAD is told what depends on Accept-Encoding, as GET is.
    if (compression !== undefined && (!end || request.method === "HEAD")) {
      const algorithm = negotiateCompression(compression, request, head);
      if (algorithm !== undefined) this.#encoder = new BodyEncoder(algorithm, compression.level, this);
    }
    this.owner.onReplyHead(head);
    const failure = this.downstream.sendHead(head, end);
    if (failure !== undefined) {
      this.owner.onReplyFailed(failure);
      return;
    }
    this.started = true;
    if (end) this.#finish();
  }

  #sendRest(bytes: Bytes, trailers: HeaderBlock | undefined): void {
    if (this.#headWaits) this.#sendWaiting(bytes.byteLength, trailers);
    this.#sendData(bytes);
    this.#sendEnd(trailers);
  }

  #sendData(bytes: Bytes, start = 0, end = bytes.byteLength): void {
    if (this.#headWaits && start < end) this.#sendWaiting(-1, undefined);
    if (this.ended || !this.started || start === end) return;
    if (this.#encoder !== undefined) {
      if (!this.#encoder.write(viewOf(bytes, start, end))) this.#source.pause();
      return;
    }
    this.bytes += end - start;
    if (!this.downstream.sendData(bytes, start, end)) this.#source.pause();
  }

  #sendEnd(trailers: HeaderBlock | undefined): void {
    if (this.ended || !this.started) return;
    if (this.#encoder !== undefined) {
      this.#trailers = trailers;
      this.#encoder.end();
      return;
    }
    this.downstream.sendEnd(trailers);
    this.#finish();
  }

  #finish(): void {
    if (this.ended) return;
    this.ended = true;
    this.owner.onReplied();
  }

  // ---------------------------------------------------------------- the encoder's side

  onData(bytes: Bytes): void {
    if (this.ended) return;
    this.bytes += bytes.byteLength;
    if (!this.downstream.sendData(bytes)) this.#encoder?.pause();
  }

  onEnd(): void {
    if (this.ended) return;
    this.downstream.sendEnd(this.#trailers);
    this.#finish();
  }

  onFailure(failure: Failure): void {
    if (!this.ended) this.owner.onReplyFailed(failure);
  }

  onWritable(): void {
    this.#source.resume();
  }

  onBug(error: unknown): void {
    this.owner.onBug(error);
  }
}

/** A body that the proxy has whole. */
export function sendWhole(reply: Reply, head: ResponseHead, body: Bytes, filtered: boolean): void {
  const empty = body.byteLength === 0;
  reply.open(head, empty, WHOLE_BODY, filtered);
  if (empty || reply.head !== head) return;
  reply.data(body);
  if (reply.head === head) reply.end(undefined);
}
