import type { Bytes } from "../core/bytes.ts";

/** One side of a tunnel, as the other one uses it: a stream after its 101, or a socket. */
export interface TunnelSide {
  /** Takes all of `bytes[start, end)`. False: its source should wait until this side is writable again. */
  sendData(bytes: Bytes, start: number, end: number): boolean;
  /** Half-close. */
  sendEnd(trailers: undefined): void;
  /** Stops and restarts what this side says. */
  pause(): void;
  resume(): void;
}

/**
 * Two sides that are one: what one says the other gets, in order, with back-pressure, and each direction ends for itself. WebSockets
 * and TCP streams. Owners tell it what their sides say; what breaks is their business.
 */
export class Tunnel {
  downstreamEnded = false;
  upstreamEnded = false;

  constructor(
    readonly downstream: TunnelSide,
    readonly upstream: TunnelSide,
  ) {}

  /** Both have said everything. */
  get ended(): boolean {
    return this.downstreamEnded && this.upstreamEnded;
  }

  fromDownstream(bytes: Bytes, start: number, end: number): void {
    if (!this.upstream.sendData(bytes, start, end)) this.downstream.pause();
  }
  fromUpstream(bytes: Bytes, start: number, end: number): void {
    if (!this.downstream.sendData(bytes, start, end)) this.upstream.pause();
  }

  endDownstream(): void {
    this.downstreamEnded = true;
    this.upstream.sendEnd(undefined);
  }
  endUpstream(): void {
    this.upstreamEnded = true;
    this.downstream.sendEnd(undefined);
  }

  downstreamWritable(): void {
    this.upstream.resume();
  }
  upstreamWritable(): void {
    this.downstream.resume();
  }
}
