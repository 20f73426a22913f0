import type { Bytes } from "../../core/bytes.ts";
import type { Blamed, Bug } from "../../core/containment.ts";
import { Deadline } from "../../core/deadline.ts";
import { Failure } from "../../core/failure.ts";
import type { AttemptFacts, UpstreamConnection } from "../../filters/attributes.ts";
import type { Socket, SocketHandler } from "../../runtime/net.ts";
import type { Lease } from "../balance/picker.ts";
import type { ConnectionInfo } from "../stream.ts";
import type { TunnelSide } from "../tunnel.ts";
import { connectFailure, prefaceFor } from "../upstream/connecting.ts";
import type { EndpointPool } from "../upstream/endpoint-pool.ts";

/** Whose stream it is. */
export interface TcpUpstreamOwner extends Blamed {
  /** Connected, and past TLS. */
  onUpstreamOpen(upstream: TcpUpstream): void;
  /** Valid only during the call. */
  onUpstreamData(bytes: Bytes): void;
  /** The endpoint has said everything. */
  onUpstreamEnd(): void;
  onUpstreamWritable(): void;
  /** The last call. Undefined: both sides had ended. `connect_failed`, `connect_timeout`, `upstream_tls`: it was never open. */
  onUpstreamClosed(failure: Failure | undefined): void;
}

/** One connection to an endpoint for one stream of bytes: made for it, never kept. */
export class TcpUpstream implements SocketHandler, TunnelSide, AttemptFacts {
  readonly #socket: Socket;
  readonly #deadline = new Deadline(() => this.#onTimeout(), this);
  readonly #startMs: number;
  /** Undefined once it lost interest. */
  #owner: TcpUpstreamOwner | undefined;
  #opened = false;
  connectMs = -1;
  /** It has no answer that ends. */
  readonly backendMs = -1;
  #isSettled = false;
  #isHeld = false;
  /** The pool has its room again. */
  #isReleased = false;

  /** Room in the pool was reserved for it. */
  constructor(
    readonly pool: EndpointPool,
    readonly lease: Lease,
    connection: ConnectionInfo,
    owner: TcpUpstreamOwner,
    /** Of its service. */
    readonly endpoints: number,
  ) {
    const { host, config } = pool;
    this.#owner = owner;
    this.#startMs = host.clock.nowMs();
    this.#socket = pool.net.connect({ address: pool.address, tls: pool.tls, preface: prefaceFor(config, connection) }, this);
    host.deadlines.arm(this.#deadline, config.limits.connectMs);
  }

  /** The room goes back when it cannot even be begun. */
  static connect(...given: ConstructorParameters<typeof TcpUpstream>): TcpUpstream {
    const [pool, lease] = given;
    try {
      return new TcpUpstream(...given);
    } catch (error) {
      pool.release();
      lease.settle({ kind: "cancelled", latencyMs: 0 });
      throw error;
    }
  }

  get socket(): UpstreamConnection | undefined {
    return this.#opened ? this.#socket : undefined;
  }

  // ---------------------------------------------------------------- socket

  onOpen(): void {
    const { host, config } = this.pool;
    host.turn.enter();
    host.deadlines.remove(this.#deadline);
    this.connectMs = host.clock.nowMs() - this.#startMs;
    this.#opened = true;
    host.observer.onUpstreamConnect(config.name, true, this.connectMs);
    this.#owner?.onUpstreamOpen(this);
    host.turn.leave();
  }

  onData(_socket: Socket, bytes: Bytes): void {
    this.pool.host.turn.enter();
    this.#owner?.onUpstreamData(bytes);
    this.pool.host.turn.leave();
  }

  onEnd(): void {
    this.pool.host.turn.enter();
    this.#owner?.onUpstreamEnd();
    this.pool.host.turn.leave();
  }

  onDrain(): void {
    this.pool.host.turn.enter();
    this.#owner?.onUpstreamWritable();
    this.pool.host.turn.leave();
  }

  onClose(_socket: Socket, error: Error | undefined): void {
    const { host, config } = this.pool;
    host.turn.enter();
    host.deadlines.remove(this.#deadline);
    if (this.#opened) {
      host.observer.onUpstreamClose(config.name);
      this.#tell(error === undefined ? undefined : new Failure("upstream_aborted", "connection closed", error));
    } else if (this.#owner !== undefined) {
      host.observer.onUpstreamConnect(config.name, false, host.clock.nowMs() - this.#startMs);
      this.#tell(connectFailure(error));
    }
    this.#release();
    host.turn.leave();
  }

  #release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.pool.release();
  }

  onThrown(_socket: Socket, error: unknown): void {
    this.pool.host.turn.thrown(error, this);
  }

  abandon(bug: Bug): void {
    const owner = this.#owner;
    this.#owner = undefined;
    bug.step(() => owner?.abandon(bug));
    bug.step(() => this.pool.host.deadlines.remove(this.#deadline));
    bug.step(() => this.#settle("cancelled"));
    bug.step(() => this.#socket.destroy());
    bug.step(() => this.#release());
    bug.failure.addAddress(`endpoint ${this.lease.endpoint.key}`);
  }

  #onTimeout(): void {
    const { host, config } = this.pool;
    const { connectMs } = config.limits;
    host.turn.enter();
    host.observer.onUpstreamConnect(config.name, false, connectMs);
    this.#socket.destroy();
    this.#tell(new Failure("connect_timeout", `${connectMs} ms`));
    host.turn.leave();
  }

  #tell(failure: Failure | undefined): void {
    failure?.addAddress(`endpoint ${this.lease.endpoint.key}`).addAddress(`service ${this.pool.config.name}`);
    this.#settle(failure === undefined ? "success" : "failure");
    const owner = this.#owner;
    this.#owner = undefined;
    if (owner !== undefined) this.pool.host.turn.run(owner, () => owner.onUpstreamClosed(failure));
  }

  /** The balancer learns how long connecting took, and that the endpoint has one stream less. */
  #settle(kind: "success" | "failure" | "cancelled"): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    const latencyMs = this.connectMs >= 0 ? this.connectMs : this.pool.host.clock.nowMs() - this.#startMs;
    this.lease.settle({ kind, latencyMs });
  }

  // ---------------------------------------------------------------- side of a tunnel

  sendData(bytes: Bytes, start: number, end: number): boolean {
    return this.#socket.write(bytes, start, end);
  }
  sendEnd(): void {
    this.#socket.end();
  }
  pause(): void {
    this.#socket.pause();
  }
  resume(): void {
    if (!this.#isHeld) this.#socket.resume();
  }

  /** A filter holds as much of what the endpoint says as it may, or (false) does no longer. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    if (isHeld) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Ends it at once, with a reset unless all was said; the owner hears nothing more. Idempotent. */
  destroy(): void {
    if (this.#owner === undefined) return;
    this.#owner = undefined;
    this.pool.host.deadlines.remove(this.#deadline);
    this.#settle(this.#opened ? "success" : "cancelled");
    this.#socket.destroy();
  }
}
