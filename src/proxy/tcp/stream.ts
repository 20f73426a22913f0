import type { FilterConfig } from "../../config/snapshot.ts";
import { type Bytes, copyBytes } from "../../core/bytes.ts";
import type { Bug } from "../../core/containment.ts";
import { Deadline } from "../../core/deadline.ts";
import { Failure } from "../../core/failure.ts";
import { NO_REQUEST } from "../../core/head.ts";
import { STREAM_LIMITS } from "../../core/limits.ts";
import type { AttemptFacts, ExchangeFacts } from "../../filters/attributes.ts";
import type { FilterChain } from "../../filters/chain.ts";
import type { ChainHost, ChainResult } from "../../filters/chain-types.ts";
import type { CalloutAnswer, CalloutRequest, Direction } from "../../filters/contract.ts";
import type { Socket, SocketHandler } from "../../runtime/net.ts";
import { refusePeer } from "../admit.ts";
import { CONNECT_TRIES_MAX } from "../attempt.ts";
import { type Endpoint, NO_HINT } from "../balance/picker.ts";
import { cancelCallout, startCallout } from "../callout.ts";
import type { ProxyCore } from "../core.ts";
import type { Generation, RuleRuntime } from "../generation.ts";
import type { StreamRecord } from "../observe/record.ts";
import { chooseBackend } from "../routing/split.ts";
import type { ConnectionInfo } from "../stream.ts";
import { Tunnel, type TunnelSide } from "../tunnel.ts";
import type { UpstreamService } from "../upstream/service.ts";
import type { StreamRoute } from "./routes.ts";
import { TcpUpstream, type TcpUpstreamOwner } from "./upstream.ts";

/** Whom a stream tells that its connection is gone. */
export interface TcpStreamHost {
  onStreamClosed(stream: TcpStream): void;
}

/**
 * The life of a stream of bytes, in order: route, filter, pick, connect, carry both ways, finish. The upstream is connected at once and not
 * when the downstream speaks: with many protocols the server speaks first.
 */
export class TcpStream implements SocketHandler, TcpUpstreamOwner, TunnelSide, StreamRecord, ChainHost, ExchangeFacts {
  /** Always: drained last, and looked at when a generation begins to serve. */
  readonly tunnelling = true;
  readonly id: string;
  readonly startMs: number;
  connectMs = -1;
  endMs = 0;
  routeName = "";
  serviceName = "";
  subsetName = "";
  endpointKey = "";
  attempts = 0;
  receivedBytes = 0;
  sentBytes = 0;
  failure: Failure | undefined;
  readonly isStream = true;
  readonly request = NO_REQUEST;
  readonly response = undefined;
  readonly virtualHost = "";
  readonly answeredBy = "";
  readonly answerDetails = "";

  /** Everything was said, or it broke: nothing goes through any more. */
  #over = false;
  /** Metrics and log have it. */
  #isTold = false;
  #isAbandoned = false;
  #generation: Generation | undefined;
  #route: StreamRoute | undefined;
  #chain: FilterChain | undefined;
  /** A filter holds as much of what the downstream says as it may. */
  #isHeld = false;
  #upstreamEnded = false;
  #upstream: TcpUpstream | undefined;
  #upstreamClosed = false;
  #downstreamClosed = false;
  /** Since the upstream is connected. */
  #tunnel: Tunnel | undefined;
  #tried: Endpoint[] | undefined;
  /** What the downstream said before: one read at most, because it is paused then. */
  #early: Bytes | undefined;
  #earlyEnd = false;
  #idleMs = 0;
  #idleEndsMs = 0;
  /** -1: nobody has asked yet. Kept, so that all who ask hear the same. */
  #startWallMs = -1;
  readonly #idle = new Deadline(() => this.#onIdle(), this);

  constructor(
    readonly core: ProxyCore,
    readonly socket: Socket,
    readonly connection: ConnectionInfo,
    /** Of the listener. */
    readonly tunnelIdleMs: number,
    readonly host: TcpStreamHost,
  ) {
    this.id = core.ids.next();
    this.startMs = core.clock.nowMs();
  }

  /** Once, when there is a generation that knows the listener. Runs as far as it goes without waiting. */
  start(generation: Generation): void {
    if (this.#over) return;
    this.#generation = generation;
    const { listener, tls } = this.connection;
    const route = generation.streams.find(listener, tls?.serverName);
    if (route === undefined) {
      this.#fail(new Failure("no_route"));
      return;
    }
    this.routeName = route.name;
    this.#idleMs = route.tcp.idleMs ?? this.tunnelIdleMs;
    this.#touch();
    this.core.deadlines.arm(this.#idle, this.#idleMs);
    this.#filter(route, generation);
  }

  // ---------------------------------------------------------------- filter

  #filter(route: StreamRoute, generation: Generation): void {
    this.#route = route;
    const { filters } = generation.rules.get(route.tcp) as RuleRuntime;
    if (filters.length === 0) {
      this.#forward();
      return;
    }
    const chain = this.core.chains.open(filters, this);
    this.#chain = chain;
    if (this.#passed(chain.requestHead(false))) this.#forward();
  }

  /** True when the filters let it through; else what they want instead is under way. */
  #passed(result: ChainResult): boolean {
    if (result === "respond") this.#closeForFilter();
    else if (result === "failed") this.#fail(this.#chain?.failure ?? new Failure("filter_failed"));
    return result === "forward";
  }

  /** A stream has no good moment to end: it may go on until the tunnels' time is over. */
  drain(): void {}

  /** A new generation serves: a stream whose route is gone is closed, every other one lives on. */
  recheck(generation: Generation): void {
    const { listener, tls } = this.connection;
    const why = refusePeer(this.connection, generation.listeners.get(listener)?.config.tls);
    const route = generation.streams.find(listener, tls?.serverName);
    if (route?.name !== this.routeName) this.#fail(new Failure("no_route", "the route of this stream is gone"));
    else if (why !== undefined) this.#fail(new Failure("forbidden", why));
  }

  // ---------------------------------------------------------------- pick and connect

  #forward(): void {
    const backend = chooseBackend(this.#route?.tcp.backends ?? [], this.core.rng);
    const service = backend === undefined ? undefined : this.#generation?.services.get(backend.service);
    if (backend === undefined || service === undefined) {
      this.#fail(new Failure("no_backend"));
      return;
    }
    this.serviceName = backend.service;
    this.subsetName = backend.subset ?? "";
    this.#connect(service);
  }

  #connect(service: UpstreamService): void {
    const lease = service.pick(this.subsetName, this.#tried === undefined ? NO_HINT : { exclude: this.#tried });
    if (lease === undefined) {
      this.#fail(this.failure ?? new Failure("no_endpoint").addAddress(`service ${service.config.name}`));
      return;
    }
    this.attempts++;
    this.endpointKey = lease.endpoint.key;
    const pool = service.poolOf(lease.endpoint);
    const full = pool.reserve();
    if (full === undefined) {
      this.#upstream = TcpUpstream.connect(pool, lease, this.connection, this, service.endpoints.length);
      return;
    }
    lease.settle({ kind: "cancelled", latencyMs: 0 });
    this.#fail(full.addAddress(`endpoint ${lease.endpoint.key}`).addAddress(`service ${service.config.name}`));
  }

  #retry(upstream: TcpUpstream, failure: Failure): boolean {
    const service = this.#generation?.services.get(this.serviceName);
    if (failure.retry !== "safe" || this.attempts >= CONNECT_TRIES_MAX || service === undefined) return false;
    this.#tried ??= [];
    this.#tried.push(upstream.lease.endpoint);
    // Remembered, so that the last reason is told when no endpoint is left.
    this.failure = failure;
    this.#connect(service);
    return true;
  }

  onUpstreamOpen(upstream: TcpUpstream): void {
    this.failure = undefined;
    this.connectMs = this.core.clock.nowMs() - this.startMs;
    this.#touch();
    const tunnel = new Tunnel(this, upstream);
    this.#tunnel = tunnel;
    const early = this.#early;
    this.#early = undefined;
    this.resume();
    if (early !== undefined) tunnel.fromDownstream(early, 0, early.byteLength);
    if (this.#earlyEnd) tunnel.endDownstream();
  }

  // ---------------------------------------------------------------- what the downstream says

  onOpen(): void {}

  onData(_socket: Socket, bytes: Bytes): void {
    if (this.#over) return;
    this.core.turn.enter();
    this.#touch();
    this.receivedBytes += bytes.byteLength;
    const chain = this.#chain;
    if (chain === undefined || chain.passesData("request")) this.#toUpstream(bytes);
    else if (this.#passed(chain.requestData(bytes, false))) this.#toUpstream(chain.data);
    this.core.turn.leave();
  }

  #toUpstream(bytes: Bytes): void {
    if (bytes.byteLength === 0) return;
    if (this.#tunnel !== undefined) {
      this.#tunnel.fromDownstream(bytes, 0, bytes.byteLength);
      return;
    }
    const early = this.#early;
    this.#early = early === undefined ? copyBytes(bytes) : Buffer.concat([early, bytes]);
    this.socket.pause();
  }

  onEnd(): void {
    if (this.#over) return;
    this.core.turn.enter();
    this.#touch();
    const chain = this.#chain;
    if (chain === undefined) this.#endDownstream();
    else if (this.#passed(chain.requestEnd(undefined))) {
      this.#toUpstream(chain.data);
      this.#endDownstream();
    }
    this.core.turn.leave();
  }

  #endDownstream(): void {
    this.#earlyEnd = true;
    this.#tunnel?.endDownstream();
  }

  onDrain(): void {
    this.core.turn.enter();
    this.#touch();
    this.#tunnel?.downstreamWritable();
    this.core.turn.leave();
  }

  onClose(_socket: Socket, error: Error | undefined): void {
    this.core.turn.enter();
    this.#downstreamClosed = true;
    if (error !== undefined || this.#tunnel?.ended !== true)
      this.#fail(new Failure("downstream_reset", "connection closed", error));
    else this.#finishWhenClosed();
    if (this.#over) this.core.deadlines.remove(this.#idle);
    this.host.onStreamClosed(this);
    this.core.turn.leave();
  }

  // ---------------------------------------------------------------- what the upstream says

  onUpstreamData(bytes: Bytes): void {
    this.#touch();
    const chain = this.#chain;
    if (chain === undefined || chain.passesData("response")) this.#toDownstream(bytes);
    else if (this.#passed(chain.responseData(bytes, false))) this.#toDownstream(chain.data);
  }

  #toDownstream(bytes: Bytes): void {
    if (bytes.byteLength > 0) this.#tunnel?.fromUpstream(bytes, 0, bytes.byteLength);
  }

  onUpstreamEnd(): void {
    this.#touch();
    this.#upstreamEnded = true;
    const chain = this.#chain;
    if (chain === undefined) this.#tunnel?.endUpstream();
    else if (this.#passed(chain.responseEnd(undefined))) {
      this.#toDownstream(chain.data);
      this.#tunnel?.endUpstream();
    }
  }

  onUpstreamWritable(): void {
    this.#touch();
    this.#tunnel?.upstreamWritable();
  }

  onUpstreamClosed(failure: Failure | undefined): void {
    if (failure === undefined) {
      this.#upstreamClosed = true;
      this.#finishWhenClosed();
    } else if (this.#tunnel !== undefined || !this.#retry(this.#upstream as TcpUpstream, failure)) this.#fail(failure);
  }

  // ---------------------------------------------------------------- the downstream as a side of the tunnel

  sendData(bytes: Bytes, start: number, end: number): boolean {
    this.sentBytes += end - start;
    return this.socket.write(bytes, start, end);
  }
  sendEnd(): void {
    this.socket.end();
  }
  pause(): void {
    this.socket.pause();
  }
  resume(): void {
    if (!this.#isHeld) this.socket.resume();
  }

  // ---------------------------------------------------------------- what filters see and do

  get facts(): ExchangeFacts {
    return this;
  }
  get clientAddress(): string {
    return this.connection.remoteAddress;
  }
  get requestId(): string {
    return this.id;
  }
  get requestBytes(): number {
    return this.receivedBytes;
  }
  get responseBytes(): number {
    return this.sentBytes;
  }
  get durationMs(): number {
    return (this.#over ? this.endMs : this.core.clock.nowMs()) - this.startMs;
  }
  get startWallMs(): number {
    if (this.#startWallMs < 0) this.#startWallMs = this.core.clock.wallMs() - (this.core.clock.nowMs() - this.startMs);
    return this.#startWallMs;
  }
  get attempt(): AttemptFacts | undefined {
    return this.#upstream;
  }
  dynamicAttribute(): undefined {
    return undefined;
  }
  get filterNotes(): ReadonlyMap<string, string> | undefined {
    return this.#chain?.notes;
  }

  onChainForward(direction: Direction, head: boolean, data: Bytes, end: boolean): void {
    if (!this.#over) this.core.turn.run(this, () => this.#release(direction, head, data, end));
  }

  #release(direction: Direction, head: boolean, data: Bytes, end: boolean): void {
    this.#touch();
    if (direction === "response") {
      this.#toDownstream(data);
      if (end) this.#tunnel?.endUpstream();
      return;
    }
    this.#toUpstream(data);
    if (end) this.#endDownstream();
    if (head) this.#forward();
  }

  onChainRespond(): void {
    this.core.turn.run(this, () => this.#closeForFilter());
  }

  onChainFail(failure: Failure): void {
    this.core.turn.run(this, () => this.#fail(failure));
  }

  onBug(error: unknown): void {
    this.core.turn.thrown(error, this);
  }

  onThrown(_socket: Socket, error: unknown): void {
    this.core.turn.thrown(error, this);
  }

  pauseSource(direction: Direction): void {
    if (direction === "response") {
      this.#upstream?.hold(true);
      return;
    }
    this.#isHeld = true;
    this.socket.pause();
  }

  resumeSource(direction: Direction): void {
    if (direction === "response") {
      this.#upstream?.hold(false);
      return;
    }
    this.#isHeld = false;
    // Before the upstream is connected, what came waits for that.
    if (this.#tunnel !== undefined || this.#early === undefined) this.socket.resume();
  }

  callout(filter: FilterConfig, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number {
    return this.#generation === undefined ? 0 : startCallout(this.core, this.#generation, filter, request, done);
  }

  cancelCallout(id: number): void {
    cancelCallout(this.core, id);
  }

  // ---------------------------------------------------------------- time

  #touch(): void {
    this.#idleEndsMs = this.core.clock.nowMs() + this.#idleMs;
  }

  #onIdle(): void {
    const leftMs = this.#idleEndsMs - this.core.clock.nowMs();
    if (leftMs > 0) {
      this.core.deadlines.arm(this.#idle, leftMs);
      return;
    }
    this.core.turn.enter();
    // It was closed for a filter, and the downstream had its time.
    if (this.#over) this.socket.destroy();
    else this.#fail(new Failure("stream_idle", `${this.#idleMs} ms`));
    this.core.turn.leave();
  }

  // ---------------------------------------------------------------- failure and finish

  /** Both sides are cut, so that both can tell it from an end. */
  #fail(failure: Failure): void {
    if (this.#over) return;
    this.failure = failure.addAddress(this.routeName === "" ? `listener ${this.connection.listener}` : `route ${this.routeName}`);
    if (failure.row.level === "error") this.core.log.error(failure.toString(), { streamId: this.id });
    this.#upstream?.destroy();
    this.#finish();
    if (!this.#downstreamClosed) queueMicrotask(() => this.socket.destroy());
  }

  /** In an orderly way: the downstream gets what was said to it, and an end. */
  #closeForFilter(): void {
    if (this.#over) return;
    this.failure = new Failure("filter_closed")
      .addAddress(`filter ${this.#chain?.answerer}`)
      .addAddress(`route ${this.routeName}`);
    this.#upstream?.destroy();
    this.#finish();
    if (this.#downstreamClosed) return;
    this.socket.end();
    this.socket.resume();
    this.#idleEndsMs = this.core.clock.nowMs() + STREAM_LIMITS.lingerMs;
    this.core.deadlines.arm(this.#idle, STREAM_LIMITS.lingerMs);
  }

  #finishWhenClosed(): void {
    if (this.#upstreamClosed && this.#downstreamClosed) this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.core.deadlines.remove(this.#idle);
    this.endMs = this.core.clock.nowMs();
    this.#tell();
    this.#chain?.close();
    this.#chain = undefined;
  }

  /** Filters, metrics and log hear what it was. */
  #tell(): void {
    const chain = this.#chain;
    if (chain !== undefined) {
      chain.sideClosed("downstream", this.#downstreamClosed);
      if (this.#upstream !== undefined) chain.sideClosed("upstream", this.#upstreamEnded || this.failure?.side === "upstream");
      chain.log();
    }
    this.#isTold = true;
    this.core.observer.onStreamEnd(this);
  }

  abandon(bug: Bug): void {
    if (this.#isAbandoned) return;
    this.#isAbandoned = true;
    this.#over = true;
    this.endMs ||= this.startMs;
    if (!this.#isTold) this.failure = bug.failure;
    bug.failure.addAddress(`stream ${this.id}`).addAddress(`listener ${this.connection.listener}`);
    bug.step(() => this.#upstream?.abandon(bug));
    bug.step(() => this.core.deadlines.remove(this.#idle));
    bug.step(() => this.#isTold || this.#tell());
    bug.step(() => this.#chain?.close());
    this.#chain = undefined;
    bug.step(() => this.socket.destroy());
    bug.step(() => this.host.onStreamClosed(this));
  }
}
