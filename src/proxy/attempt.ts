import type { Bytes } from "../core/bytes.ts";
import type { Blamed, Bug } from "../core/containment.ts";
import { Failure } from "../core/failure.ts";
import type { HeaderBlock, ResponseHead } from "../core/head.ts";
import type { AttemptFacts, UpstreamConnection } from "../filters/attributes.ts";
import type { Lease } from "./balance/picker.ts";
import { dropOwnHeaders } from "./forwarding-names.ts";
import type { ConnectionInfo, UpstreamHandler, UpstreamStream } from "./stream.ts";
import type { StreamWaiter } from "./upstream/endpoint-pool.ts";
import type { UpstreamService } from "./upstream/service.ts";

/** Endpoints tried when connecting fails; nothing was sent then, so whatever it was may be sent to another. */
export const CONNECT_TRIES_MAX = 3;

/** Methods that may be sent twice when a kept connection turns out to be stale (RFC 9110 §9.2.2). */
export const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/** Who made the attempt: an exchange, or a filter's call-out. */
export interface AttemptOwner extends Blamed {
  /** There is a stream: send the request. */
  onAttemptReady(stream: UpstreamStream): void;
  onAttemptHead(head: ResponseHead, end: boolean): void;
  /** `bytes[start, end)`, valid only during the call. */
  onAttemptData(bytes: Bytes, start: number, end: number): void;
  onAttemptEnd(trailers: HeaderBlock | undefined): void;
  /** The last call, at any stage. */
  onAttemptFailure(failure: Failure): void;
  onAttemptWritable(): void;
}

/** One try at an endpoint: lease, connection, stream, and what the balancer is told afterwards. */
export class Attempt implements UpstreamHandler, StreamWaiter, AttemptFacts {
  stream: UpstreamStream | undefined;
  /** Part of the request may have reached the endpoint. */
  sent = false;
  #startMs = 0;
  #readyMs = -1;
  #headMs = -1;
  /** The whole answer is here. */
  #endMs = -1;
  #isTunnel = false;
  #over = false;
  #isAbandoned = false;

  /** The endpoint has given its whole answer, or failed: there is nothing to cancel. */
  get over(): boolean {
    return this.#over;
  }

  constructor(
    readonly owner: AttemptOwner,
    readonly service: UpstreamService,
    readonly lease: Lease,
    readonly connection: ConnectionInfo | undefined,
  ) {}

  /**
   * What to call the endpoint when the caller named no host (HTTP/1.0 may do so): RFC 9112 §3.2 wants a Host in what we send, and an
   * empty one would be read as any host there is.
   */
  get authority(): string {
    const { address } = this.lease.endpoint.config;
    const { tls, dns } = this.service.config;
    if (address.kind === "unix") return tls?.serverName || "localhost";
    const host = tls?.serverName || dns?.host || (address.host.includes(":") ? `[${address.host}]` : address.host);
    return address.port === (tls === undefined ? 80 : 443) ? host : `${host}:${address.port}`;
  }

  get socket(): UpstreamConnection | undefined {
    return this.stream?.socket;
  }
  get endpoints(): number {
    return this.service.endpoints.length;
  }
  get connectMs(): number {
    return this.#readyMs < 0 ? -1 : this.#readyMs - this.#startMs;
  }
  get backendMs(): number {
    return this.#endMs < 0 ? -1 : this.#endMs - this.#readyMs;
  }

  /** `fresh` insists on a new connection. The owner hears within this call when a connection is idle or none may be made. */
  start(fresh: boolean): void {
    this.#startMs = this.service.host.clock.nowMs();
    const got = this.service.poolOf(this.lease.endpoint).acquire(this, fresh);
    if (got === undefined) return;
    if (got instanceof Failure) this.onStreamFailure(got);
    else this.onStream(got);
  }

  onStream(stream: UpstreamStream): void {
    this.stream = stream;
    stream.handler = this;
    this.sent = true;
    this.#readyMs = this.service.host.clock.nowMs();
    this.owner.onAttemptReady(stream);
  }

  onStreamFailure(failure: Failure): void {
    this.#fail(failure);
  }

  onHead(head: ResponseHead, end: boolean): void {
    dropOwnHeaders(head.headers);
    this.#isTunnel = head.status === 101;
    if (head.status >= 200 || this.#isTunnel) this.#headMs = this.service.host.clock.nowMs() - this.#startMs;
    // Settled before the owner hears: it may finish the exchange in this call.
    if (end) {
      this.#endMs = this.service.host.clock.nowMs();
      this.#settle(head.status >= 500 ? "failure" : "success");
    }
    this.owner.onAttemptHead(head, end);
  }

  onData(bytes: Bytes, start: number, end: number): void {
    this.owner.onAttemptData(bytes, start, end);
  }

  onEnd(trailers: HeaderBlock | undefined): void {
    this.#endMs = this.service.host.clock.nowMs();
    this.#settle("success");
    this.owner.onAttemptEnd(trailers);
  }

  onReset(failure: Failure): void {
    // A tunnel whose upstream half-closed in peace and broke off afterwards.
    if (this.#over) this.owner.onAttemptFailure(failure);
    else this.#fail(failure);
  }

  onWritable(): void {
    this.owner.onAttemptWritable();
  }

  /** The owner lost interest: nothing is called afterwards. Idempotent. */
  cancel(failure: Failure): void {
    // Once the answer is whole the connection looks after itself, and may carry another exchange already.
    if (this.#over) return;
    if (this.stream === undefined) this.service.poolOf(this.lease.endpoint).cancel(this);
    else this.stream.reset(failure);
    this.#settle("cancelled");
  }

  /** As `cancel`, and breaks a tunnel off whose upstream has ended its own side in peace: nobody else would close it. */
  abort(failure: Failure): void {
    if (this.#over && this.#isTunnel) this.stream?.reset(failure);
    else this.cancel(failure);
  }

  abandon(bug: Bug): void {
    if (this.#isAbandoned) return;
    this.#isAbandoned = true;
    const { stream } = this;
    // Once the answer is whole its connection may carry another exchange.
    if (stream === undefined) bug.step(() => this.service.poolOf(this.lease.endpoint).cancel(this));
    else if (stream.handler === this) bug.step(() => stream.abandon(bug));
    bug.step(() => this.#settle("cancelled"));
    bug.step(() => this.owner.abandon(bug));
  }

  #fail(failure: Failure): void {
    if (this.#over) return;
    // What a filter made of the request is no fault of the endpoint that could not be given it.
    if (failure.side === "filter") this.#settle("cancelled");
    else {
      failure.addAddress(`endpoint ${this.lease.endpoint.key}`).addAddress(`service ${this.service.config.name}`);
      this.#settle("failure");
    }
    this.owner.onAttemptFailure(failure);
  }

  #settle(kind: "success" | "failure" | "cancelled"): void {
    if (this.#over) return;
    this.#over = true;
    const latencyMs = this.#headMs >= 0 ? this.#headMs : this.service.host.clock.nowMs() - this.#startMs;
    this.lease.settle({ kind, latencyMs });
  }
}
