import type { Bytes } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { connectError, formatAddress, listenError } from "./address.ts";
import type { ConnectOptions, Listener, ListenOptions, Net, Socket, SocketAddress, SocketHandler } from "./net.ts";
import { tellClose, tellData, tellDrain, tellEnd, tellOpen } from "./tell.ts";

/**
 * Seam 1 in memory, for tests and simulations: pipes that behave like TCP (order, windows, half-close, resets) without a
 * kernel, real time or chance. Two runs that do the same see the same calls in the same order. No TLS.
 */

export interface MemoryOptions {
  /** How much one direction holds before `write` answers false. Default 64 KiB. */
  readonly windowBytes?: number;
  /** Every delivery (bytes, ends, resets, connects) takes this long on `clock`. Default 0: at the end of the turn. */
  readonly latencyMs?: number;
  /** Needed for `latencyMs`. */
  readonly clock?: Clock;
}

const WINDOW_BYTES = 64 * 1024;
const FIRST_EPHEMERAL_PORT = 40_000;
const FIRST_BOUND_PORT = 20_000;

/** A network of its own: only what was opened on the same instance is reachable. */
export class MemoryNet implements Net {
  readonly name = "memory";
  readonly windowBytes: number;
  /** Both sides of every open connection, oldest first: to break them from a test. */
  readonly sockets = new Set<MemorySocket>();
  readonly #listeners = new Map<string, MemoryListener[]>();
  readonly #latencyMs: number;
  readonly #clock: Clock | undefined;
  readonly #unreachable = new Set<string>();
  #tasks: (() => void)[] = [];
  #pumping = false;
  #nextPort = FIRST_EPHEMERAL_PORT;
  #nextBoundPort = FIRST_BOUND_PORT;

  constructor(options: MemoryOptions = {}) {
    this.windowBytes = options.windowBytes ?? WINDOW_BYTES;
    this.#latencyMs = options.latencyMs ?? 0;
    this.#clock = options.clock;
  }

  /** Connects to `address` hang, as behind a firewall that drops; with false they work again. */
  setUnreachable(address: SocketAddress, unreachable = true): void {
    if (unreachable) this.#unreachable.add(formatAddress(address));
    else this.#unreachable.delete(formatAddress(address));
  }

  async listen(options: ListenOptions, accept: (socket: Socket) => SocketHandler): Promise<Listener> {
    if (options.tls !== undefined) throw new Error("there is no TLS in memory");
    let { address } = options;
    if (address.kind === "tcp" && address.port === 0) address = { ...address, port: this.#nextBoundPort++ };
    const key = formatAddress(address);
    const others = this.#listeners.get(key) ?? [];
    if (others.length > 0 && !(options.reusePort && others.every((other) => other.reusePort))) {
      throw listenError(address, Object.assign(new Error("in use"), { code: "EADDRINUSE" }));
    }
    const listener = new MemoryListener(address, options.reusePort, accept, () => {
      this.#listeners.set(
        key,
        (this.#listeners.get(key) ?? []).filter((other) => other !== listener),
      );
    });
    this.#listeners.set(key, [...others, listener]);
    return listener;
  }

  connect(options: ConnectOptions, handler: SocketHandler): Socket {
    if (options.tls !== undefined) throw new Error("there is no TLS in memory");
    const { address } = options;
    const local = address.kind === "tcp" ? { host: address.host, port: this.#nextPort++ } : { host: "", port: 0 };
    const remote = address.kind === "tcp" ? { host: address.host, port: address.port } : { host: "", port: 0 };
    const near = new MemorySocket(this, handler, local, remote);
    this.post(() => {
      const key = formatAddress(address);
      if (near.closed || this.#unreachable.has(key)) return;
      const listener = takeTurn(this.#listeners.get(key));
      if (listener === undefined) {
        near.breakOff(connectError(address, Object.assign(new Error("refused"), { code: "ECONNREFUSED" })));
        return;
      }
      const far = new MemorySocket(this, DEAF, remote, local);
      near.join(far);
      far.handler = listener.accept(far);
      if (near.closed) return;
      if (options.preface !== undefined) near.transmit(options.preface);
      near.open();
    });
    return near;
  }

  /** Runs `task` when its turn comes: in order, never within the call that causes it. */
  post(task: () => void): void {
    if (this.#clock !== undefined && this.#latencyMs > 0) {
      this.#clock.setTimer(this.#latencyMs, task);
      return;
    }
    this.#tasks.push(task);
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => this.#pump());
  }

  #pump(): void {
    // One round at a time, so that promises of the test get their turn between rounds.
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task();
    this.#pumping = false;
    if (this.#tasks.length > 0) {
      this.#pumping = true;
      queueMicrotask(() => this.#pump());
    }
  }
}

/** Listeners that share a port are served in turn. */
function takeTurn(listeners: MemoryListener[] | undefined): MemoryListener | undefined {
  const first = listeners?.shift();
  if (first !== undefined) listeners?.push(first);
  return first;
}

const DEAF: SocketHandler = { onOpen() {}, onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

class MemoryListener implements Listener {
  constructor(
    readonly address: SocketAddress,
    readonly reusePort: boolean,
    readonly accept: (socket: Socket) => SocketHandler,
    readonly remove: () => void,
  ) {}

  updateTls(): void {
    throw new Error("this listener has no TLS");
  }
  startTls(): Socket {
    throw new Error("there is no TLS in memory");
  }
  async close(): Promise<void> {
    this.remove();
  }
}

interface Place {
  readonly host: string;
  readonly port: number;
}

/** One side of a pipe. */
export class MemorySocket implements Socket {
  readonly tls = undefined;
  readonly fd = -1;
  closed = false;
  #peer: MemorySocket | undefined;
  #open = false;
  #ended = false;
  #finSent = false;
  #peerEnded = false;
  #paused = false;
  #stalled = false;
  #drainOwed = false;
  #wakePosted = false;
  /** What we wrote and the window did not take. */
  #pending: Bytes[] = [];
  #pendingBytes = 0;
  /** What came and was not delivered yet. */
  #inbound: Bytes[] = [];
  #inboundBytes = 0;
  #inboundFin = false;

  constructor(
    readonly net: MemoryNet,
    public handler: SocketHandler,
    readonly local: Place,
    readonly remote: Place,
  ) {}

  get remoteAddress(): string {
    return this.remote.host;
  }
  get remotePort(): number {
    return this.remote.port;
  }
  get localAddress(): string {
    return this.local.host;
  }
  get localPort(): number {
    return this.local.port;
  }
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  write(bytes: Bytes, start = 0, end = bytes.byteLength): boolean {
    if (this.#ended || this.closed) return true;
    if (start === end) return !this.#drainOwed;
    this.#pending.push(new Uint8Array(bytes.subarray(start, end)));
    this.#pendingBytes += end - start;
    this.#flush();
    if (this.#pendingBytes === 0) return true;
    this.#drainOwed = true;
    return false;
  }

  end(): void {
    if (this.#ended || this.closed) return;
    this.#ended = true;
    this.#flush();
  }

  destroy(): void {
    if (this.closed) return;
    const orderly = this.#finSent;
    const peer = this.#peer;
    this.breakOff(undefined);
    if (!orderly && peer !== undefined) this.net.post(() => peer.breakOff(reset()));
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#wake();
  }

  setKeepAlive(): void {}

  /** Test hook: the connection breaks; both sides hear `ECONNRESET`, what was under way is lost. */
  reset(): void {
    const peer = this.#peer;
    this.net.post(() => this.breakOff(reset()));
    if (peer !== undefined) this.net.post(() => peer.breakOff(reset()));
  }

  /** Test hook: nothing arrives here until `unstall`; windows fill up behind it. */
  stall(): void {
    this.#stalled = true;
  }

  unstall(): void {
    this.#stalled = false;
    this.#wake();
  }

  /** Makes the two one connection. */
  join(peer: MemorySocket): void {
    this.#peer = peer;
    peer.#peer = this;
    peer.#open = true;
    this.net.sockets.add(this);
    this.net.sockets.add(peer);
  }

  open(): void {
    this.#open = true;
    tellOpen(this);
    this.#flush();
    this.#tellDrain();
    this.#wake();
  }

  /** Puts bytes into the pipe before anything else. */
  transmit(bytes: Bytes): void {
    this.#pending.unshift(new Uint8Array(bytes));
    this.#pendingBytes += bytes.byteLength;
    this.#open = true;
    this.#flush();
    this.#open = false;
  }

  /** Closes this side; `onClose` follows in a turn of its own. */
  breakOff(error: Error | undefined): void {
    if (this.closed) return;
    this.closed = true;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#inbound = [];
    this.#inboundBytes = 0;
    this.net.sockets.delete(this);
    this.net.post(() => tellClose(this, error));
  }

  /** Moves what is pending into the peer's window, then the FIN. */
  #flush(): void {
    const peer = this.#peer;
    if (peer === undefined || !this.#open || this.#finSent) return;
    if (peer.closed) {
      // A peer that is gone answers data with a RST.
      if (this.#pendingBytes > 0) this.net.post(() => this.breakOff(reset()));
      else if (this.#ended) {
        this.#finSent = true;
        this.#closeWhenDone();
      }
      return;
    }
    while (this.#pendingBytes > 0) {
      const room = this.net.windowBytes - peer.#inboundBytes;
      const first = this.#pending[0];
      if (room <= 0 || first === undefined) break;
      const part = first.byteLength <= room ? first : first.subarray(0, room);
      if (part === first) this.#pending.shift();
      else this.#pending[0] = first.subarray(room);
      this.#pendingBytes -= part.byteLength;
      peer.#inbound.push(part);
      peer.#inboundBytes += part.byteLength;
      peer.#wake();
    }
    if (this.#ended && this.#pendingBytes === 0) {
      this.#finSent = true;
      peer.#inboundFin = true;
      peer.#wake();
    }
  }

  #wake(): void {
    if (this.#wakePosted || this.closed) return;
    this.#wakePosted = true;
    this.net.post(() => {
      this.#wakePosted = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    const peer = this.#peer;
    while (this.#canHear() && this.#inbound.length > 0) {
      const bytes = this.#inbound.shift() as Bytes;
      this.#inboundBytes -= bytes.byteLength;
      tellData(this, bytes);
      if (peer !== undefined && !peer.closed) peer.#roomAgain();
    }
    if (this.#canHear() && this.#inbound.length === 0 && this.#inboundFin && !this.#peerEnded) {
      this.#peerEnded = true;
      tellEnd(this);
    }
    this.#closeWhenDone();
    if (peer !== undefined) peer.#closeWhenDone();
  }

  #canHear(): boolean {
    return this.#open && !this.#paused && !this.#stalled && !this.closed;
  }

  #roomAgain(): void {
    this.#flush();
    this.#tellDrain();
  }

  #tellDrain(): void {
    if (!this.#drainOwed || this.#pendingBytes > 0) return;
    this.net.post(() => {
      if (!this.#drainOwed || this.#pendingBytes > 0 || this.closed) return;
      this.#drainOwed = false;
      if (!this.#ended) tellDrain(this);
    });
  }

  #closeWhenDone(): void {
    if (this.#finSent && this.#peerEnded) this.breakOff(undefined);
  }
}

const reset = (): Error => Object.assign(new Error("connection reset by peer"), { code: "ECONNRESET" });
