import { DESCRIPTOR_LIMITS } from "../core/limits.ts";

/**
 * How many sockets this process may have open, from what the system allows it (RLIMIT_NOFILE). A process without a free descriptor
 * cannot even refuse: accepting fails again and again, which costs half a core on Bun until connections go. So connections are
 * refused before that, one half is for downstreams and the other for upstreams, and some are left for everything else.
 */
export class SocketBudget {
  /** Open at the moment, handshakes included. */
  downstream = 0;
  upstream = 0;
  /** `Infinity` where the system does not say. */
  readonly downstreamMax: number;
  readonly upstreamMax: number;

  /** `descriptors`: what the process may have open; undefined: not known. */
  constructor(descriptors: number | undefined) {
    if (descriptors === undefined) {
      this.downstreamMax = Number.POSITIVE_INFINITY;
      this.upstreamMax = Number.POSITIVE_INFINITY;
      return;
    }
    const { reserved, reservedShare, downstreamShare } = DESCRIPTOR_LIMITS;
    const sockets = Math.max(2, descriptors - Math.ceil(Math.min(reserved, descriptors * reservedShare)));
    this.downstreamMax = Math.max(1, Math.floor(sockets * downstreamShare));
    this.upstreamMax = sockets - this.downstreamMax;
  }

  get downstreamFull(): boolean {
    return this.downstream >= this.downstreamMax;
  }
  get upstreamFull(): boolean {
    return this.upstream >= this.upstreamMax;
  }
}
