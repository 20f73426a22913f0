import type { Bytes } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import type { Bug } from "../../core/containment.ts";
import { Deadline, type DeadlineQueue } from "../../core/deadline.ts";
import { Failure } from "../../core/failure.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../../core/head.ts";
import { DEFAULT_HTTP_LIMITS } from "../../core/limits.ts";
import type { Socket, SocketHandler } from "../../runtime/net.ts";
import { Http1Codec } from "../codec/http1.ts";
import type { Http1Sink } from "../codec/types.ts";
import type { Observer } from "../observe/record.ts";
import type { SocketBudget } from "../socket-budget.ts";
import type { UpstreamHandler, UpstreamStream } from "../stream.ts";
import type { Turn } from "../turn.ts";
import { connectFailure, prefaceFor } from "../upstream/connecting.ts";
import type { EndpointPool, StreamWaiter } from "../upstream/endpoint-pool.ts";
import { Outbox, type OutboxOwner } from "./outbox.ts";

/** What an upstream connection needs from the rest of the proxy. */
export interface UpstreamHost {
  readonly clock: Clock;
  readonly deadlines: DeadlineQueue;
  readonly turn: Turn;
  readonly observer: Observer;
  readonly sockets: SocketBudget;
}

type Phase = "connecting" | "rest" | "sending" | "waiting" | "answer" | "tunnel" | "closed";

const NO_HANDLER: UpstreamHandler = { onHead() {}, onData() {}, onEnd() {}, onReset() {}, onWritable() {}, abandon() {} };

/** How an answer is read: nothing here is per service yet; an upstream may send larger heads than a downstream. */
const ANSWER_LIMITS = { ...DEFAULT_HTTP_LIMITS, headerCount: 256, headerSectionBytes: 256 * 1024, headerFieldBytes: 64 * 1024 };
const NO_PATHS = { encodedSlash: "keep", doubleSlash: "keep", semicolon: "keep" } as const;

/** One HTTP/1.1 connection to an endpoint; it carries one exchange at a time and is its stream meanwhile. */
export class Http1Upstream implements SocketHandler, UpstreamStream, OutboxOwner {
  handler: UpstreamHandler = NO_HANDLER;
  /** Who gets the connection once it is made. */
  waiter: StreamWaiter | undefined;
  readonly socket: Socket;
  readonly #codec: Http1Codec;
  readonly #outbox: Outbox;
  readonly #deadline = new Deadline(() => this.#onDeadline(), this);
  #phase: Phase = "connecting";
  #phaseEndsMs = 0;
  #startMs = 0;
  #exchanges = 0;
  #paused = false;
  /** It is counted as open. */
  #opened = false;
  /** A 1xx came in this exchange. */
  #informed = false;
  #stall: Deadline | undefined;

  constructor(
    readonly pool: EndpointPool,
    waiter: StreamWaiter,
  ) {
    const { host, config } = pool;
    this.waiter = waiter;
    this.#startMs = host.clock.nowMs();
    this.#codec = new Http1Codec({
      role: "upstream",
      limits: ANSWER_LIMITS,
      scheme: pool.tls === undefined ? "http" : "https",
      paths: NO_PATHS,
      underscores: "keep",
      sink: new ResponseSink(this),
    });
    this.socket = pool.net.connect(
      { address: pool.address, tls: pool.tls, preface: prefaceFor(config, waiter.connection) },
      this,
    );
    this.#outbox = new Outbox(this.socket, host.turn, this);
    this.#enter("connecting", config.limits.connectMs);
  }

  get reused(): boolean {
    return this.#exchanges > 1;
  }

  /** An exchange takes the connection. */
  begin(): void {
    this.#exchanges++;
    this.#informed = false;
    this.#phase = "sending";
  }

  /** Nothing to do: stays open for `idleMs`. */
  rest(idleMs: number): void {
    this.#startMs = this.pool.host.clock.nowMs();
    this.#enter("rest", idleMs);
  }

  /** Closes in an orderly way. The answer may be here before the end of its request went out: both came in one turn. */
  close(): void {
    if (this.#phase === "closed") return;
    this.#phase = "closed";
    this.#outbox.flush();
    this.pool.onGone(this);
    this.socket.end();
    this.socket.destroy();
  }

  // ---------------------------------------------------------------- socket

  onOpen(): void {
    const { host } = this.pool;
    host.turn.enter();
    const connectMs = host.clock.nowMs() - this.#startMs;
    this.#opened = true;
    host.observer.onUpstreamConnect(this.pool.config.name, true, connectMs);
    this.#phase = "rest";
    this.pool.onConnected(this);
    host.turn.leave();
  }

  onData(_socket: Socket, bytes: Bytes): void {
    const { turn } = this.pool.host;
    turn.enter();
    if (this.#phase === "rest") this.#onUnasked();
    else if (this.#phase !== "closed") this.#receive(bytes);
    turn.leave();
  }

  onEnd(): void {
    const { turn } = this.pool.host;
    turn.enter();
    if (this.#phase === "rest") this.#onUnasked();
    else if (this.#phase !== "closed") this.#codec.receiveEnd();
    turn.leave();
  }

  onDrain(): void {
    const { turn } = this.pool.host;
    turn.enter();
    this.#outbox.onDrain();
    turn.leave();
  }

  onClose(_socket: Socket, error: Error | undefined): void {
    const { host, config } = this.pool;
    host.turn.enter();
    const phase = this.#phase;
    this.#phase = "closed";
    this.#disarm();
    this.#outbox.discard();
    this.pool.onGone(this);
    if (phase === "connecting") {
      host.observer.onUpstreamConnect(config.name, false, host.clock.nowMs() - this.#startMs);
      this.#failWaiter(connectFailure(error));
    } else {
      if (phase === "rest") this.pool.onClosedAtRest(host.clock.nowMs() - this.#startMs);
      else if (phase !== "closed") this.#fail(this.#cutFailure(error));
      this.#uncount();
    }
    host.turn.leave();
  }

  #disarm(): void {
    const { deadlines } = this.pool.host;
    deadlines.remove(this.#deadline);
    if (this.#stall !== undefined) deadlines.remove(this.#stall);
  }

  #uncount(): void {
    if (!this.#opened) return;
    this.#opened = false;
    this.pool.host.observer.onUpstreamClose(this.pool.config.name);
  }

  onThrown(_socket: Socket, error: unknown): void {
    this.pool.host.turn.thrown(error, this);
  }

  abandon(bug: Bug): void {
    const { handler, waiter } = this;
    this.handler = NO_HANDLER;
    this.waiter = undefined;
    this.#phase = "closed";
    bug.step(() => handler.abandon(bug));
    bug.step(() => waiter?.abandon(bug));
    bug.step(() => this.socket.destroy());
    bug.step(() => this.#disarm());
    bug.step(() => this.#outbox.discard());
    bug.step(() => this.#uncount());
    bug.step(() => this.pool.onGone(this));
    bug.failure.addAddress(`endpoint ${this.pool.endpoint.key}`);
  }

  #failWaiter(failure: Failure): void {
    const { waiter } = this;
    this.waiter = undefined;
    if (waiter !== undefined) this.pool.host.turn.run(waiter, () => waiter.onStreamFailure(failure));
  }

  #cutFailure(error: Error | undefined): Failure {
    // Not a byte of an answer came: only then may the request be sent again.
    const answered = this.#phase === "answer" || this.#phase === "tunnel" || this.#codec.incoming !== "idle" || this.#informed;
    return new Failure(answered ? "upstream_aborted" : "upstream_reset", "connection closed", error);
  }

  /** Closed or talking while nobody asked: never used again. */
  #onUnasked(): void {
    this.pool.onClosedAtRest(this.pool.host.clock.nowMs() - this.#startMs);
    this.#phase = "closed";
    this.pool.onGone(this);
    this.socket.destroy();
  }

  #receive(bytes: Bytes): void {
    const consumed = this.#codec.receive(bytes);
    if (this.#phase === "answer") this.#enter("answer", this.pool.config.limits.responseIdleMs);
    // More than the answer: the connection cannot be trusted (response splitting).
    if (consumed < bytes.byteLength && this.#phase !== "closed") {
      this.#phase = "closed";
      this.socket.destroy();
    }
  }

  // ---------------------------------------------------------------- codec

  takeHead(head: ResponseHead, end: boolean): void {
    if (head.status === 101) this.#phase = "tunnel";
    else if (head.status >= 200) this.#phase = "answer";
    else this.#informed = true;
    this.handler.onHead(head, end);
    if (end) this.#answered();
  }

  takeEnd(trailers: HeaderBlock | undefined): void {
    this.handler.onEnd(trailers);
    if (this.#phase !== "tunnel") this.#answered();
  }

  takeFailure(failure: Failure): void {
    this.#fail(failure);
    this.#phase = "closed";
    this.socket.destroy();
  }

  #fail(failure: Failure): void {
    const { handler } = this;
    this.handler = NO_HANDLER;
    this.pool.host.turn.run(handler, () => handler.onReset(failure));
  }

  /** The answer is complete. The request may not be: then the connection is of no more use. */
  #answered(): void {
    this.handler = NO_HANDLER;
    if (this.#phase === "closed") return;
    if (this.#codec.outgoing !== "done" || !this.#codec.reusable) {
      this.close();
      return;
    }
    const keepAliveMs = this.#codec.keepAliveTimeoutMs;
    this.#codec.nextExchange();
    this.#phase = "rest";
    if (this.#paused) this.resume();
    this.pool.onReusable(this, keepAliveMs);
  }

  // ---------------------------------------------------------------- stream

  sendHead(head: RequestHead, end: boolean): void {
    if (this.#phase === "closed") return;
    const failure = this.#codec.writeRequest(this.#outbox.writer, head, end);
    if (failure !== undefined) this.takeFailure(failure);
    else if (end) this.#await();
  }

  sendData(bytes: Bytes, start = 0, end = bytes.byteLength): boolean {
    if (this.#phase === "closed") return true;
    const failure = this.#codec.writeData(this.#outbox.writer, bytes, start, end);
    if (failure !== undefined) this.takeFailure(failure);
    return this.#outbox.ready();
  }

  sendEnd(trailers: HeaderBlock | undefined): void {
    if (this.#phase === "closed") return;
    if (this.#phase === "tunnel") {
      this.#outbox.end();
      return;
    }
    const failure = this.#codec.writeEnd(this.#outbox.writer, trailers);
    if (failure !== undefined) this.takeFailure(failure);
    else if (this.#phase === "sending") this.#await();
  }

  #await(): void {
    this.#enter("waiting", this.pool.config.limits.responseHeadMs);
  }

  reset(_failure: Failure): void {
    this.handler = NO_HANDLER;
    if (this.#phase === "closed" || this.#phase === "rest") return;
    this.#phase = "closed";
    this.#outbox.discard();
    this.socket.destroy();
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#phase === "answer") this.#enter("answer", this.pool.config.limits.responseIdleMs);
    this.socket.resume();
  }

  onOutboxWritable(): void {
    this.handler.onWritable();
  }

  /** An endpoint that takes nothing for as long as it may be silent in the middle of an answer is given up. */
  onOutboxStalled(stalled: boolean): void {
    const { host, config } = this.pool;
    this.#stall ??= new Deadline(() => this.#onStall(), this);
    if (stalled) host.deadlines.arm(this.#stall, config.limits.responseIdleMs);
    else host.deadlines.disarm(this.#stall);
  }

  #onStall(): void {
    if (this.#phase === "closed") return;
    const { turn } = this.pool.host;
    turn.enter();
    this.takeFailure(new Failure("upstream_timeout", "does not read"));
    turn.leave();
  }

  // ---------------------------------------------------------------- time

  #enter(phase: Phase, durationMs: number): void {
    const { host } = this.pool;
    this.#phase = phase;
    this.#phaseEndsMs = host.clock.nowMs() + durationMs;
    if (this.#deadline.atMs > this.#phaseEndsMs || this.#deadline.slot < 0) host.deadlines.arm(this.#deadline, durationMs);
  }

  #onDeadline(): void {
    const { host } = this.pool;
    const leftMs = this.#phaseEndsMs - host.clock.nowMs();
    if (this.#phase === "sending" || this.#phase === "tunnel" || this.#phase === "closed") return;
    if (leftMs > 0 || (this.#phase === "answer" && this.#paused)) {
      host.deadlines.arm(this.#deadline, Math.max(leftMs, 1_000));
      return;
    }
    host.turn.enter();
    this.#expire();
    host.turn.leave();
  }

  #expire(): void {
    switch (this.#phase) {
      case "connecting": {
        this.#phase = "closed";
        this.pool.onGone(this);
        this.pool.host.observer.onUpstreamConnect(this.pool.config.name, false, this.pool.config.limits.connectMs);
        this.socket.destroy();
        this.#failWaiter(new Failure("connect_timeout", `${this.pool.config.limits.connectMs} ms`));
        return;
      }
      case "waiting":
        this.takeFailure(new Failure("upstream_timeout", `${this.pool.config.limits.responseHeadMs} ms`));
        return;
      case "answer":
        this.takeFailure(new Failure("upstream_aborted", `nothing for ${this.pool.config.limits.responseIdleMs} ms`));
        return;
      default:
        this.pool.onRestedFully();
        this.close();
    }
  }
}

/** The codec's side of the connection (its calls and the socket's have the same names). */
class ResponseSink implements Http1Sink {
  constructor(readonly owner: Http1Upstream) {}

  onRequest(): void {}
  onResponse(head: ResponseHead, end: boolean): void {
    this.owner.takeHead(head, end);
  }
  onData(bytes: Bytes, start: number, end: number): void {
    this.owner.handler.onData(bytes, start, end);
  }
  onEnd(trailers: HeaderBlock | undefined): void {
    this.owner.takeEnd(trailers);
  }
  onFailure(failure: Failure): void {
    this.owner.takeFailure(failure);
  }
}
