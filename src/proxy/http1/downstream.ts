import type { ListenerConfig } from "../../config/snapshot.ts";
import { type Bytes, copyBytes } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import type { Bug } from "../../core/containment.ts";
import { Deadline, type DeadlineQueue } from "../../core/deadline.ts";
import { Failure } from "../../core/failure.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../../core/head.ts";
import type { Socket, SocketHandler } from "../../runtime/net.ts";
import { Http1Codec } from "../codec/http1.ts";
import { keepAnnounced, keepTrailers } from "../codec/trailers.ts";
import type { Http1Sink } from "../codec/types.ts";
import type { ConnectionInfo, DownstreamHandler, DownstreamStream } from "../stream.ts";
import type { Turn } from "../turn.ts";
import { isFull } from "./backlog.ts";
import { Outbox, type OutboxOwner } from "./outbox.ts";

/** What a downstream connection needs from the rest of the proxy. */
export interface DownstreamHost {
  readonly clock: Clock;
  readonly deadlines: DeadlineQueue;
  readonly turn: Turn;
  /** True once the proxy drains: each connection closes after the exchange at hand. */
  readonly draining: boolean;
  /** Begins an exchange; it may answer within the call. */
  openExchange(stream: DownstreamStream, head: RequestHead, end: boolean): DownstreamHandler;
  /** Answers bytes that never became a request. */
  refuse(stream: DownstreamStream, failure: Failure): void;
  onDownstreamClosed(connection: Http1Downstream): void;
}

/** What the connection is waiting for, and therefore which time-out applies. */
type Phase = "first" | "idle" | "head" | "body" | "exchange" | "tunnel" | "linger" | "closed";

/** How long and how much is still read and thrown away after the last answer, so that it is not lost to a TCP reset (RFC 9112 §9.6). */
const LINGER_MS = 2_000;
const LINGER_BYTES_MAX = 1024 * 1024;

const NO_EXCHANGE: DownstreamHandler = { onData() {}, onEnd() {}, onReset() {}, onWritable() {}, abandon() {} };

/**
 * One HTTP/1.1 connection from a downstream. HTTP/1 carries one exchange at a time, so the connection is the stream as well.
 * Pipelined requests wait in the backlog: answers leave in order.
 */
export class Http1Downstream implements SocketHandler, DownstreamStream, OutboxOwner {
  handler: DownstreamHandler = NO_EXCHANGE;
  readonly #codec: Http1Codec;
  readonly #outbox: Outbox;
  readonly #deadline = new Deadline(() => this.#onDeadline(), this);
  #writeDeadline: Deadline | undefined;
  #stalledBytes = 0;
  #phase: Phase = "first";
  #phaseEndsMs = 0;
  #busy = false;
  #feeding = false;
  #backlog: Bytes | undefined;
  /** As much of it as may wait: the socket is paused. */
  #isFull = false;
  #peerEnded = false;
  /** The request at hand asked for a protocol: a FIN behind it belongs to the tunnel that may open. */
  #mayTunnel = false;
  #paused = false;
  #exchanges = 0;
  #lingerBytes = 0;
  #bodyStartMs = 0;
  #bodyBytes = 0;

  constructor(
    readonly socket: Socket,
    readonly config: ListenerConfig,
    readonly connection: ConnectionInfo,
    readonly host: DownstreamHost,
  ) {
    this.#codec = new Http1Codec({
      role: "downstream",
      limits: config.limits,
      scheme: connection.tls === undefined ? "http" : "https",
      paths: config.paths,
      underscores: config.underscores,
      sink: new RequestSink(this),
    });
    this.#outbox = new Outbox(socket, host.turn, this);
    this.#enter("first", config.times.headerMs);
  }

  /** True between exchanges: may be closed at once when the proxy drains. */
  get idle(): boolean {
    return !this.#busy && !this.#codec.headStarted;
  }

  /** In a tunnel (WebSocket): drained last. */
  get tunnelling(): boolean {
    return this.#phase === "tunnel";
  }

  /** Closes now if nothing is under way, else after the exchange at hand. */
  drain(): void {
    if (this.idle) this.#close();
    else if (this.#phase !== "tunnel") this.#codec.closeAfter();
  }

  // ---------------------------------------------------------------- socket

  onOpen(): void {}

  onData(_socket: Socket, bytes: Bytes): void {
    const { turn } = this.host;
    turn.enter();
    if (this.#phase === "linger") this.#discard(bytes.byteLength);
    else if (this.#backlog !== undefined || this.#mustWait()) this.#keep(bytes, 0);
    else this.#feed(bytes);
    turn.leave();
  }

  /** A FIN alone is no goodbye: who asks and half-closes still gets the answer (RFC 9112 §9.6). Who is really gone resets when we write. */
  onEnd(): void {
    this.host.turn.enter();
    this.#peerEnded = true;
    if (this.#phase === "linger" || (!this.#busy && this.#codec.incoming === "idle")) this.#close();
    else if (this.#backlog === undefined && !(this.#mayTunnel && this.#mustWait())) this.#codec.receiveEnd();
    this.host.turn.leave();
  }

  onDrain(): void {
    this.host.turn.enter();
    this.#outbox.onDrain();
    this.host.turn.leave();
  }

  onClose(_socket: Socket, error: Error | undefined): void {
    this.host.turn.enter();
    this.#phase = "closed";
    this.#disarm();
    this.#outbox.discard();
    this.#backlog = undefined;
    if (this.#busy) {
      this.#busy = false;
      this.handler.onReset(new Failure("downstream_reset", "connection closed", error));
    }
    this.handler = NO_EXCHANGE;
    this.host.onDownstreamClosed(this);
    this.host.turn.leave();
  }

  #disarm(): void {
    this.host.deadlines.remove(this.#deadline);
    if (this.#writeDeadline !== undefined) this.host.deadlines.remove(this.#writeDeadline);
  }

  onThrown(_socket: Socket, error: unknown): void {
    this.host.turn.thrown(error, this);
  }

  abandon(bug: Bug): void {
    const { handler } = this;
    this.handler = NO_EXCHANGE;
    this.#phase = "closed";
    this.#busy = false;
    this.#backlog = undefined;
    bug.step(() => handler.abandon(bug));
    bug.step(() => this.socket.destroy());
    bug.step(() => this.#disarm());
    bug.step(() => this.#outbox.discard());
    bug.step(() => this.host.onDownstreamClosed(this));
    bug.failure.addAddress(`listener ${this.config.name}`);
  }

  // ---------------------------------------------------------------- reading

  /** The exchange at hand has its whole request (or is a tunnel that was not opened yet): what follows waits. */
  #mustWait(): boolean {
    return this.#busy && this.#codec.incoming === "done";
  }

  /** `own`: they are ours, and stay as they are. */
  #feed(bytes: Bytes, own = false): void {
    this.#feeding = true;
    let at = 0;
    while (at < bytes.byteLength) {
      const incoming = this.#codec.incoming;
      if (incoming === "failed" || incoming === "closed" || this.#phase === "linger" || this.#phase === "closed") break;
      if (this.#mustWait()) {
        this.#keep(bytes, at, own);
        break;
      }
      at += this.#codec.receive(bytes, at);
      this.#nextIfDone();
    }
    this.#feeding = false;
    this.#watchReading();
  }

  #keep(bytes: Bytes, from: number, own = false): void {
    const rest = bytes.subarray(from);
    const kept = this.#backlog;
    if (kept === undefined) {
      // Copied when half of it is done, not for each request: a read of many small ones would be copied as often.
      this.#backlog = own && rest.byteLength * 2 > rest.buffer.byteLength ? rest : copyBytes(rest);
    } else {
      const joined = new Uint8Array(kept.byteLength + rest.byteLength);
      joined.set(kept);
      joined.set(rest, kept.byteLength);
      this.#backlog = joined;
    }
    this.#isFull = isFull(this.#backlog as Bytes, this.config.limits.pipelinedRequests);
    if (this.#isFull) this.socket.pause();
  }

  /** Which time-out applies to what the peer still owes us. */
  #watchReading(): void {
    const { times } = this.config;
    if (this.#phase === "linger" || this.#phase === "closed" || this.#phase === "tunnel") return;
    const { incoming } = this.#codec;
    if (incoming === "head") {
      if (this.#phase !== "head") this.#enter("head", times.headerMs);
    } else if (incoming === "body") {
      if (this.#phase !== "body") {
        this.#bodyStartMs = this.host.clock.nowMs();
        this.#bodyBytes = 0;
      }
      this.#enter("body", times.bodyIdleMs);
      if (this.#isTooSlow()) this.takeFailure(new Failure("request_timeout", "body rate"));
    } else if (this.#busy) {
      this.#phase = "exchange";
    }
  }

  /** A body that trickles in below the minimum rate (slowloris). Time in which we did not read does not count. */
  #isTooSlow(): boolean {
    const { times } = this.config;
    if (times.bodyMinBytesPerSecond === 0 || this.#paused) return false;
    const elapsedMs = this.host.clock.nowMs() - this.#bodyStartMs;
    return elapsedMs > times.bodyGraceMs && this.#bodyBytes * 1000 < times.bodyMinBytesPerSecond * elapsedMs;
  }

  /** The codec read a head. */
  takeRequest(head: RequestHead, end: boolean): void {
    this.#busy = true;
    this.#exchanges++;
    if (!end) keepAnnounced(head.headers, this.config.requestTrailers);
    this.#mayTunnel = head.upgrade !== undefined;
    if (this.host.draining || this.#exchanges >= this.config.limits.exchangesPerConnection) this.#codec.closeAfter();
    if (this.#phase !== "body") this.#phase = "exchange";
    this.handler = this.host.openExchange(this, head, end);
  }

  /** The codec read a piece of a body, or of a tunnel. */
  takeData(bytes: Bytes, start: number, end: number): void {
    if (this.#phase === "tunnel") this.#touch();
    else this.#bodyBytes += end - start;
    this.handler.onData(bytes, start, end);
  }

  /** What came is malformed, too large or too slow. */
  takeFailure(failure: Failure): void {
    this.#backlog = undefined;
    if (this.#busy) {
      this.#codec.closeAfter();
      this.handler.onReset(failure);
      return;
    }
    if (failure.code === "downstream_reset") {
      this.#close();
      return;
    }
    this.#busy = true;
    this.#codec.closeAfter();
    this.host.refuse(this, failure);
  }

  // ---------------------------------------------------------------- writing

  sendHead(head: ResponseHead, end: boolean): Failure | undefined {
    if (this.#phase === "closed") return undefined;
    if (head.status >= 200 && this.host.draining) this.#codec.closeAfter();
    const failure = this.#codec.writeResponse(this.#outbox.writer, head, end);
    if (failure !== undefined) return failure;
    if (head.status === 101) this.#openTunnel();
    else if (end) this.#answered();
    return undefined;
  }

  sendData(bytes: Bytes, start = 0, end = bytes.byteLength): boolean {
    if (this.#phase === "closed") return true;
    if (this.#phase === "tunnel") this.#touch();
    const failure = this.#codec.writeData(this.#outbox.writer, bytes, start, end);
    if (failure !== undefined) this.#cut(failure);
    return this.#outbox.ready();
  }

  sendEnd(trailers: HeaderBlock | undefined): void {
    if (this.#phase === "closed") return;
    if (this.#phase === "tunnel") {
      this.#outbox.end();
      return;
    }
    const failure = this.#codec.writeEnd(this.#outbox.writer, trailers);
    if (failure === undefined) this.#answered();
    else this.#cut(failure);
  }

  /** The answer does not fit the length it declared: the peer must not take it for a whole one. */
  #cut(failure: Failure): void {
    const { handler } = this;
    this.reset(failure);
    this.host.turn.run(handler, () => handler.onReset(failure));
  }

  /** Breaks off: what was sent goes out, then the connection is aborted so that the peer sees a cut answer. */
  reset(_failure: Failure): void {
    if (this.#phase === "closed") return;
    this.#busy = false;
    this.handler = NO_EXCHANGE;
    this.#outbox.flush();
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
    if (this.#phase === "body") {
      // The rate is measured anew: the pause was ours.
      this.#bodyStartMs = this.host.clock.nowMs();
      this.#bodyBytes = 0;
      this.#enter("body", this.config.times.bodyIdleMs);
    }
    this.socket.resume();
  }

  onOutboxWritable(): void {
    if (this.#busy) this.handler.onWritable();
  }

  onOutboxStalled(stalled: boolean): void {
    this.#writeDeadline ??= new Deadline(() => this.#judgeStall(), this);
    this.#stalledBytes = this.socket.pendingBytes;
    if (stalled) this.host.deadlines.arm(this.#writeDeadline, this.config.times.writeStallMs);
    else this.host.deadlines.disarm(this.#writeDeadline);
  }

  /** A slow reader is not one that does not read: what it took meanwhile gives it another while. */
  #judgeStall(): void {
    const { writeStallMs, bodyMinBytesPerSecond } = this.config.times;
    const leastBytes = Math.max(1, (bodyMinBytesPerSecond * writeStallMs) / 1000);
    const { pendingBytes } = this.socket;
    if (this.#stalledBytes - pendingBytes < leastBytes) this.socket.destroy();
    else if (pendingBytes > 0) this.onOutboxStalled(true);
  }

  // ---------------------------------------------------------------- between exchanges

  #answered(): void {
    // Within `#feed` its loop goes on; else what waited is fed now.
    if (!this.#feeding) this.#nextIfDone();
  }

  #nextIfDone(): void {
    if (!this.#busy || this.#codec.outgoing !== "done") return;
    this.#busy = false;
    this.handler = NO_EXCHANGE;
    if (!this.#codec.reusable || this.#codec.incoming !== "done") {
      this.#linger();
      return;
    }
    this.#codec.nextExchange();
    this.#enter("idle", this.config.times.keepAliveIdleMs);
    // An exchange may end while its body still waits for the upstream to be writable: nobody else would resume for the next one.
    this.resume();
    if (this.#feeding) return;
    const backlog = this.#backlog;
    if (backlog !== undefined) {
      this.#backlog = undefined;
      this.#isFull = false;
      this.#feed(backlog, true);
      if (!this.#paused && !this.#isFull) this.socket.resume();
    }
    if (this.#peerEnded && this.#backlog === undefined) {
      // What waited was the last of it; a request that it left in the middle will never be whole.
      if (!this.#busy) this.#close();
      else if (!this.#mustWait()) this.#codec.receiveEnd();
    } else if (this.host.draining && this.idle) this.#close();
  }

  #openTunnel(): void {
    this.#enter("tunnel", this.config.times.tunnelIdleMs);
    const backlog = this.#backlog;
    if (backlog !== undefined) {
      this.#backlog = undefined;
      if (!this.#paused) this.socket.resume();
      this.#codec.receive(backlog);
    }
    if (this.#peerEnded) this.#codec.receiveEnd();
  }

  /** The last answer is out: half-close, and read on for a moment so that it arrives. */
  #linger(): void {
    this.#backlog = undefined;
    this.#outbox.end();
    // Also of one that has finished: nothing that still waits here is a request any more.
    this.#enter("linger", LINGER_MS);
    if (this.#peerEnded) return;
    this.#paused = false;
    this.socket.resume();
  }

  #discard(bytes: number): void {
    this.#lingerBytes += bytes;
    if (this.#lingerBytes > LINGER_BYTES_MAX) this.socket.destroy();
  }

  #close(): void {
    if (this.#phase === "closed") return;
    this.#outbox.end();
    if (this.#peerEnded) return;
    this.#enter("linger", LINGER_MS);
    this.socket.resume();
  }

  // ---------------------------------------------------------------- time

  #enter(phase: Phase, durationMs: number): void {
    this.#phase = phase;
    this.#phaseEndsMs = this.host.clock.nowMs() + durationMs;
    if (this.#deadline.atMs > this.#phaseEndsMs || this.#deadline.slot < 0) this.host.deadlines.arm(this.#deadline, durationMs);
  }

  #touch(): void {
    this.#phaseEndsMs = this.host.clock.nowMs() + this.config.times.tunnelIdleMs;
  }

  #onDeadline(): void {
    const leftMs = this.#phaseEndsMs - this.host.clock.nowMs();
    if (this.#phase === "exchange" || this.#phase === "closed") return;
    if (leftMs > 0) {
      this.host.deadlines.arm(this.#deadline, leftMs);
      return;
    }
    this.host.turn.enter();
    this.#expire();
    this.host.turn.leave();
  }

  #expire(): void {
    switch (this.#phase) {
      case "head":
        this.takeFailure(new Failure("request_timeout", "header section"));
        return;
      case "body":
        // The peer is not slow when it is we who do not read.
        if (this.#paused) this.#enter("body", this.config.times.bodyIdleMs);
        else this.takeFailure(new Failure("request_timeout", "body"));
        return;
      case "tunnel":
        this.takeFailure(new Failure("downstream_reset", "tunnel idle"));
        this.socket.destroy();
        return;
      case "linger":
        if (this.socket.pendingBytes === 0) {
          this.socket.destroy();
          return;
        }
        // The answer is still on its way to a slow reader; one that does not read at all meets the write time-out, also when the
        // socket took the rest without a word.
        if ((this.#writeDeadline?.atMs ?? Number.POSITIVE_INFINITY) === Number.POSITIVE_INFINITY) this.onOutboxStalled(true);
        this.#enter("linger", LINGER_MS);
        return;
      default:
        this.#close();
    }
  }
}

/** The codec's side of the connection (its calls and the socket's have the same names). */
class RequestSink implements Http1Sink {
  constructor(readonly owner: Http1Downstream) {}

  onRequest(head: RequestHead, end: boolean): void {
    this.owner.takeRequest(head, end);
  }
  onResponse(): void {}
  onData(bytes: Bytes, start: number, end: number): void {
    this.owner.takeData(bytes, start, end);
  }
  onEnd(trailers: HeaderBlock | undefined): void {
    const { handler, config } = this.owner;
    handler.onEnd(trailers === undefined ? undefined : keepTrailers(trailers, config.requestTrailers));
  }
  onFailure(failure: Failure): void {
    this.owner.takeFailure(failure);
  }
}
