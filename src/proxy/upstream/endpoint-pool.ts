import type { ServiceConfig } from "../../config/snapshot.ts";
import type { Blamed } from "../../core/containment.ts";
import { Deadline } from "../../core/deadline.ts";
import { Failure } from "../../core/failure.ts";
import type { ClientTls, Net, SocketAddress } from "../../runtime/net.ts";
import type { Endpoint } from "../balance/picker.ts";
import { Http1Upstream, type UpstreamHost } from "../http1/upstream.ts";
import type { ConnectionInfo, UpstreamStream } from "../stream.ts";

/** Who waits for a stream. */
export interface StreamWaiter extends Blamed {
  /** Whom the stream is for; written into the PROXY header where the service wants one. */
  readonly connection: ConnectionInfo | undefined;
  onStream(stream: UpstreamStream): void;
  /** No stream: `connect_failed`, `connect_timeout`, `upstream_tls`. */
  onStreamFailure(failure: Failure): void;
}

/** Share of an observed or announced keep-alive time that is trusted: the peer's clock started before ours. */
const IDLE_TRUST = 0.8;
const IDLE_TRUST_MIN_MS = 250;
/** How fast trust comes back after connections were found closed. */
const IDLE_GROWTH = 1.25;

/**
 * Seam 6b: the connections to one endpoint of one service. Idle ones are reused last in, first out, so that surplus ones
 * age and go. What the endpoint says or shows about its keep-alive time is learned.
 */
export class EndpointPool {
  readonly #idle: Http1Upstream[] = [];
  readonly #all = new Set<Http1Upstream>();
  /** In order of arrival. */
  readonly #waiting = new Map<StreamWaiter, Deadline>();
  #idleMs: number;
  /** Connections that each carry one stream of bytes: see `reserve`. */
  #reserved = 0;
  #closed = false;

  constructor(
    readonly endpoint: Endpoint,
    readonly config: ServiceConfig,
    readonly tls: ClientTls | undefined,
    readonly net: Net,
    readonly host: UpstreamHost,
  ) {
    this.#idleMs = config.limits.idleMs;
  }

  get connections(): number {
    return this.#all.size + this.#reserved;
  }
  get idleConnections(): number {
    return this.#idle.length;
  }
  get pending(): number {
    return this.#waiting.size;
  }
  /** How long an idle connection is kept at the moment. */
  get idleMs(): number {
    return this.#idleMs;
  }
  get address(): SocketAddress {
    return this.endpoint.config.address;
  }

  /**
   * A stream at once when a connection is idle; else `waiter` hears later, never within this call. `fresh` insists on a new
   * connection (the retry after a stale one). A returned failure means that nobody will call.
   */
  acquire(waiter: StreamWaiter, fresh: boolean): UpstreamStream | Failure | undefined {
    if (!fresh) {
      const idle = this.#idle.pop();
      if (idle !== undefined) {
        idle.begin();
        return idle;
      }
    }
    const { limits } = this.config;
    if (this.host.sockets.upstreamFull) return new Failure("pool_overflow", "no file descriptors left");
    if (this.connections < limits.connectionsPerEndpoint) {
      this.#connect(waiter);
      return undefined;
    }
    if (this.#waiting.size >= limits.pendingPerEndpoint) return new Failure("pool_overflow", `${limits.pendingPerEndpoint} wait`);
    this.#enqueue(waiter);
    return undefined;
  }

  /**
   * Room for a connection that carries one stream of bytes and is never kept; `release` gives it back. Nobody waits for room: such
   * streams may be open for days.
   */
  reserve(): Failure | undefined {
    const { connectionsPerEndpoint } = this.config.limits;
    if (this.host.sockets.upstreamFull) return new Failure("pool_overflow", "no file descriptors left");
    if (this.connections >= connectionsPerEndpoint) return new Failure("pool_overflow", `${connectionsPerEndpoint} connections`);
    this.#reserved++;
    this.host.sockets.upstream++;
    return undefined;
  }

  release(): void {
    this.#reserved--;
    this.#onRoom();
  }

  /** The waiter lost interest. A connection being made for it becomes idle. */
  cancel(waiter: StreamWaiter): void {
    if (this.#forget(waiter)) return;
    for (const connection of this.#all) if (connection.waiter === waiter) connection.waiter = undefined;
  }

  /** Idle connections close now, busy ones after their exchange; who waits already is still served. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#idle.splice(0)) connection.close();
  }

  /** It waits no longer than an answer may take. */
  #enqueue(waiter: StreamWaiter): void {
    const { host } = this;
    const late = new Deadline(() => {
      if (!this.#forget(waiter)) return;
      host.turn.enter();
      waiter.onStreamFailure(new Failure("upstream_timeout", "no connection became free"));
      host.turn.leave();
    }, waiter);
    this.#waiting.set(waiter, late);
    host.deadlines.arm(late, this.config.limits.responseHeadMs);
    host.observer.onPoolPending(this.config.name, 1);
  }

  #forget(waiter: StreamWaiter): boolean {
    const late = this.#waiting.get(waiter);
    if (late === undefined) return false;
    this.#waiting.delete(waiter);
    this.host.deadlines.remove(late);
    this.host.observer.onPoolPending(this.config.name, -1);
    return true;
  }

  /** Who has waited longest, if anybody does. */
  #dequeue(): StreamWaiter | undefined {
    if (this.#waiting.size === 0) return undefined;
    const next = this.#waiting.keys().next().value;
    if (next !== undefined) this.#forget(next);
    return next;
  }

  #connect(waiter: StreamWaiter): void {
    // Counted once it is there: what throws in the making has nothing to give back.
    const connection = new Http1Upstream(this, waiter);
    this.host.sockets.upstream++;
    this.#all.add(connection);
  }

  // ---------------------------------------------------------------- called by connections

  onConnected(connection: Http1Upstream): void {
    const { waiter } = connection;
    connection.waiter = undefined;
    if (waiter === undefined) {
      this.onReusable(connection, -1);
      return;
    }
    this.#give(connection, waiter);
  }

  /** Whatever it does with the stream is no fault of the connection, nor of what that carried before. */
  #give(connection: Http1Upstream, waiter: StreamWaiter): void {
    connection.begin();
    this.host.turn.run(waiter, () => waiter.onStream(connection));
  }

  /** `keepAliveMs`: what the answer announced, -1 for nothing. */
  onReusable(connection: Http1Upstream, keepAliveMs: number): void {
    if (keepAliveMs > 0) this.#idleMs = Math.max(IDLE_TRUST_MIN_MS, Math.min(keepAliveMs * IDLE_TRUST, 3_600_000));
    // A connection that announced one downstream must not carry another's exchange; `timeout=0` asks for none.
    if (this.config.proxyProtocol !== undefined || keepAliveMs === 0) {
      connection.close();
      return;
    }
    const next = this.#dequeue();
    if (next !== undefined) {
      this.#give(connection, next);
      return;
    }
    if (this.#closed || this.#idle.length >= this.config.limits.idlePerEndpoint) {
      connection.close();
      return;
    }
    this.#idle.push(connection);
    connection.rest(this.#idleMs);
  }

  /** The endpoint closed a resting connection after `restedMs`: trust less from now on. */
  onClosedAtRest(restedMs: number): void {
    if (restedMs < this.#idleMs) this.#idleMs = Math.max(IDLE_TRUST_MIN_MS, restedMs * IDLE_TRUST);
  }

  /** A connection was kept to the end of its time: perhaps the endpoint would keep it longer, as it was before it restarted. */
  onRestedFully(): void {
    if (this.#idleMs < this.config.limits.idleMs) this.#idleMs = Math.min(this.#idleMs * IDLE_GROWTH, this.config.limits.idleMs);
  }

  /** Idempotent. */
  onGone(connection: Http1Upstream): void {
    if (!this.#all.delete(connection)) return;
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#onRoom();
  }

  /** A connection is gone: who waits longest may make another. */
  #onRoom(): void {
    this.host.sockets.upstream--;
    if (this.connections >= this.config.limits.connectionsPerEndpoint) return;
    const next = this.#dequeue();
    if (next !== undefined) this.host.turn.run(next, () => this.#connect(next));
  }
}
