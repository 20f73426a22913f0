import type { FilterConfig, PathPolicyConfig } from "../../config/snapshot.ts";
import { type Bytes, concatBytes, copyBytes } from "../../core/bytes.ts";
import type { Bug } from "../../core/containment.ts";
import { Failure } from "../../core/failure.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../../core/head.ts";
import type { ConnectionFacts, ExchangeFacts } from "../../filters/attributes.ts";
import type { FilterChain } from "../../filters/chain.ts";
import type { ChainHost, ChainResult } from "../../filters/chain-types.ts";
import type {
  AttributeValue,
  CalloutAnswer,
  CalloutRequest,
  Direction,
  FilterModule,
  LocalResponse,
} from "../../filters/contract.ts";
import { renderFailure } from "../../proxy/errors.ts";
import { fromFilter } from "../../proxy/local-answer.ts";
import { Reply, type ReplyOwner, sendWhole, WHOLE_BODY } from "../../proxy/reply.ts";
import { renormaliseTarget } from "../../proxy/routing/rewrite.ts";
import type { ConnectionInfo, DownstreamStream } from "../../proxy/stream.ts";
import type { CalloutDesk } from "./callout-desk.ts";
import { blockOf, bytesOf } from "./messages.ts";
import { connectionOf, headOf } from "./request.ts";
import type { TableAnswer, TableRequest } from "./table-schema.ts";
import type { TestBed } from "./test-bed.ts";

/** A message as its receiver has it. */
export interface Received<Head> {
  /** Undefined: nothing came. */
  head: Head | undefined;
  body: Bytes;
  trailers: HeaderBlock | undefined;
  ended: boolean;
}

const PATHS: PathPolicyConfig = { encodedSlash: "reject", doubleSlash: "merge", semicolon: "keep" };

/**
 * One exchange without sockets: the real filter chain between a request and an answer from the table, and the proxy's own
 * code for everything that a filter may cause (local answers, failures, illegal paths). The phases are those of
 * `src/proxy/exchange.ts`.
 */
export class MemoryExchange implements ChainHost, ExchangeFacts, ReplyOwner, DownstreamStream {
  readonly request: RequestHead;
  readonly chain: FilterChain;
  readonly facts = this;
  readonly connection: ConnectionFacts & ConnectionInfo;
  readonly compression = undefined;
  readonly clientAddress: string;
  readonly requestId: string;
  readonly routeName: string;
  readonly serviceName: string;
  readonly endpointKey = "192.0.2.200:8080";
  readonly attempts = 1;
  readonly virtualHost = "*";
  readonly attempt = undefined;
  requestBytes = 0;
  responseBytes = 0;
  readonly startWallMs: number;
  readonly #startMs: number;
  failure: Failure | undefined;
  /** A filter answered. */
  answered = false;
  readonly upstream: Received<RequestHead> = { head: undefined, body: new Uint8Array(), trailers: undefined, ended: false };
  readonly downstream: Received<ResponseHead> = { head: undefined, body: new Uint8Array(), trailers: undefined, ended: false };
  /** The answer was cut off after its head. */
  aborted = false;
  handler: DownstreamStream["handler"] = { onData() {}, onEnd() {}, onReset() {}, onWritable() {}, abandon() {} };
  readonly #reply = new Reply(this, this);
  /** What the caller still has to send. */
  readonly #pieces: Bytes[];
  readonly #paused = { request: false, response: false };
  #answerPieces: Bytes[] = [];
  #answerBegun = false;
  #answerEnded = false;
  #sentEnd = false;
  #over = false;

  constructor(
    readonly bed: TestBed,
    readonly desk: CalloutDesk,
    modules: readonly FilterModule[],
    readonly asked: TableRequest,
    readonly answer: TableAnswer,
  ) {
    this.request = headOf(asked);
    this.connection = connectionOf(asked);
    this.clientAddress = this.connection.remoteAddress;
    this.requestId = asked.id;
    this.routeName = asked.route;
    this.serviceName = asked.service;
    this.startWallMs = bed.clock.wallMs();
    this.#startMs = bed.clock.nowMs();
    this.#pieces = bytesOf(asked.body);
    this.chain = bed.chains.open(modules, this);
  }

  get answeredBy(): string {
    return this.answered ? "filter" : "upstream";
  }
  get answerDetails(): string {
    return this.chain.localResponse?.details ?? "";
  }
  get durationMs(): number {
    return this.bed.clock.nowMs() - this.#startMs;
  }
  get response(): ResponseHead | undefined {
    return this.#reply.head;
  }
  /** What the caller gets is complete, or it never will be. */
  get over(): boolean {
    return this.#over;
  }

  /** The caller sends its request. What pauses goes on in virtual time. */
  start(): void {
    const whole = this.#pieces.length === 0 && this.asked.trailers === undefined;
    this.#sentEnd = whole;
    const result = this.chain.requestHead(whole);
    if (!this.#passed(result)) {
      if (result === "held") this.#feed();
      return;
    }
    this.#sendUpstream(true, new Uint8Array(), whole);
    this.#feed();
  }

  /** The last look of the filters; nothing is called afterwards. */
  finish(): void {
    this.chain.log();
    this.chain.close();
  }

  /** Sends what may be sent of the body. */
  #feed(): void {
    while (!this.#over && !this.#paused.request && !this.#sentEnd && this.#reply.head === undefined) {
      const piece = this.#pieces.shift();
      if (piece === undefined) {
        this.#sentEnd = true;
        const { trailers } = this.asked;
        if (!this.#passed(this.chain.requestEnd(trailers === undefined ? undefined : blockOf(trailers)))) return;
        this.#sendUpstream(false, this.chain.data, true);
        return;
      }
      this.requestBytes += piece.byteLength;
      const result = this.chain.requestData(piece, false);
      if (this.#passed(result)) this.#sendUpstream(false, this.chain.data, false);
    }
  }

  /** True when the filters let it through; else what they want instead is under way. */
  #passed(result: ChainResult): boolean {
    if (result === "respond") this.#answerLocally(this.chain.localResponse);
    else if (result === "failed") this.#fail(this.chain.failure ?? new Failure("internal"));
    return result === "forward";
  }

  #sendUpstream(head: boolean, data: Bytes, end: boolean): void {
    if (this.#over) return;
    const { upstream } = this;
    if (head) {
      const illegal = this.chain.targetChanged ? renormaliseTarget(this.request, PATHS) : undefined;
      if (illegal !== undefined) {
        this.#fail(new Failure("filter_failed", "a filter wrote an illegal target", illegal));
        return;
      }
      upstream.head = { ...this.request, headers: this.request.headers.copy() };
    }
    if (data.byteLength > 0) upstream.body = concatBytes([upstream.body, copyBytes(data)]);
    if (!end) return;
    upstream.ended = true;
    upstream.trailers = this.chain.requestTrailers?.copy();
    this.bed.clock.setTimer(this.answer.after ?? 0, () => this.#beginAnswer());
  }

  // ---------------------------------------------------------------- answer

  #beginAnswer(): void {
    if (this.#over || this.#reply.head !== undefined) return;
    this.#answerBegun = true;
    this.#answerPieces = this.request.method === "HEAD" ? [] : bytesOf(this.answer.body);
    const { status, headers, trailers } = this.answer;
    const whole = this.#answerPieces.length === 0 && trailers === undefined;
    this.#answerEnded = whole;
    this.#reply.open({ status, reason: "", version: 11, upgrade: undefined, headers: blockOf(headers) }, whole, WHOLE_BODY, true);
    this.#feedAnswer();
  }

  #feedAnswer(): void {
    while (this.#answerBegun && !this.#over && !this.#paused.response && !this.#answerEnded) {
      const piece = this.#answerPieces.shift();
      if (piece === undefined) {
        this.#answerEnded = true;
        const { trailers } = this.answer;
        this.#reply.end(trailers === undefined ? undefined : blockOf(trailers));
      } else {
        this.responseBytes += piece.byteLength;
        this.#reply.data(piece);
      }
    }
  }

  #answerLocally(response: LocalResponse | undefined): void {
    if (this.#over || response === undefined) return;
    this.answered = true;
    this.#answerBegun = false;
    const { head, body } = fromFilter(response);
    sendWhole(this.#reply, head, body, true);
  }

  #fail(failure: Failure): void {
    if (this.#over) return;
    this.failure = failure;
    this.#answerBegun = false;
    if (this.#reply.started) {
      this.aborted = true;
      this.#over = true;
      return;
    }
    const { head, body } = renderFailure(failure, this.request, this.requestId);
    sendWhole(this.#reply, head, body, failure.side !== "filter" && this.#reply.head === undefined);
  }

  // ---------------------------------------------------------------- what the chain says (ChainHost)

  dynamicAttribute(path: readonly string[]): AttributeValue | undefined {
    return this.asked.attributes[path.join(".")];
  }
  callout(filter: FilterConfig, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number {
    const name = request.service.includes("/") ? request.service : `default/${request.service}`;
    return filter.capabilities.callouts.includes(name) ? this.desk.open(request, done) : 0;
  }
  cancelCallout(id: number): void {
    this.desk.cancel(id);
  }
  onChainForward(direction: Direction, head: boolean, data: Bytes, end: boolean): void {
    if (direction === "response") this.#reply.release(head, data, end);
    else this.#sendUpstream(head, data, end);
  }
  onChainRespond(response: LocalResponse): void {
    this.#answerLocally(response);
  }
  /** Nobody else is served here: it ends the command. */
  onBug(error: unknown): void {
    throw error;
  }
  abandon(bug: Bug): void {
    throw bug.error;
  }
  onChainFail(failure: Failure): void {
    this.#fail(failure);
  }
  pauseSource(direction: Direction): void {
    this.#paused[direction] = true;
  }
  resumeSource(direction: Direction): void {
    this.#paused[direction] = false;
    // As a socket does: in a turn of its own.
    setImmediate(() => (direction === "request" ? this.#feed() : this.#feedAnswer()));
  }

  // ---------------------------------------------------------------- what the reply says (ReplyOwner)

  onReplyHead(): void {}
  onReplied(): void {
    this.#over = true;
  }
  onReplyReplaced(response: LocalResponse): void {
    this.#answerLocally(response);
  }
  onReplyFailed(failure: Failure): void {
    this.#fail(failure);
  }

  // ---------------------------------------------------------------- what the caller receives (DownstreamStream)

  sendHead(head: ResponseHead, end: boolean): undefined {
    this.downstream.head = { ...head, headers: head.headers.copy() };
    this.downstream.ended = end;
  }
  sendData(bytes: Bytes): boolean {
    this.downstream.body = concatBytes([this.downstream.body, copyBytes(bytes)]);
    return true;
  }
  sendEnd(trailers: HeaderBlock | undefined): void {
    this.downstream.trailers = trailers?.copy();
    this.downstream.ended = true;
  }
  reset(): void {
    this.aborted = true;
    this.#over = true;
  }
  pause(): void {}
  resume(): void {}
}
