import process from "node:process";
import type { Bytes } from "../core/bytes.ts";
import { canonicalIp, connectError } from "./address.ts";
import { ARRIVALS, type Arriving } from "./arrivals.ts";
import type { ClientTls, Socket, SocketAddress, SocketHandler, TlsInfo } from "./net.ts";
import { PendingBytes } from "./pending.ts";
import { tellClose, tellData, tellDrain, tellEnd } from "./tell.ts";

/** What Bun's sockets have and its published types leave out, or type for one kind of data only. */
export interface NativeSocket {
  data: unknown;
  readonly fd: number;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  readonly alpnProtocol: string | false | null;
  /** How many bytes the kernel took; negative once the connection is broken. */
  write(bytes: Bytes, offset: number, length: number): number;
  shutdown(): void;
  close(): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  setKeepAlive(enabled: boolean, initialDelayMs: number): boolean;
  /** Once, whatever happens meanwhile; in steps of 4 s; 0 switches it off. */
  timeout(seconds: number): void;
  getTLSVersion(): string;
  getCipher(): { readonly name?: string; readonly standardName?: string } | undefined;
  getServername(): string | false | null | undefined;
  getPeerCertificate(): { readonly raw?: Uint8Array } | undefined;
  /** Swaps certificate, key and CAs before the ClientHello came. */
  setKeyCert(context: unknown): void;
  setVerifyMode(request: boolean, reject: boolean): void;
  /** Answers the raw side and the encrypted one. */
  upgradeTLS(options: object): readonly [NativeSocket, NativeSocket];
}

/** A socket before its owner gave it a handler. */
export const DEAF: SocketHandler = { onOpen() {}, onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

/** What a connecting socket needs until it is open. */
export interface Target {
  readonly address: SocketAddress;
  readonly tls: ClientTls | undefined;
  readonly preface: Bytes | undefined;
}

/**
 * Bun does not let go of a socket that is still connecting: one that its owner gave up holds a descriptor until the kernel
 * gives up as well (two minutes). `count` says how many there are, so that they can be bounded.
 */
export const ORPHANS = { count: 0 };

/** One connection. It hangs in its native socket's `data`. */
export class BunSocket implements Socket, Arriving {
  tls: TlsInfo | undefined;
  native: NativeSocket | undefined;
  /** Open for the handler: connected, and past the TLS handshake. */
  ready = false;
  /** `end` was called. */
  ended = false;
  /** `destroy` was called or the native socket is gone. */
  closed = false;
  /** The native socket closed by itself, not by `destroy`. */
  closedByPeer = false;
  /** The peer's FIN was told. */
  peerEnded = false;
  paused = false;
  /** Something is pending: `write` only queues, and `onDrain` is owed. */
  drainOwed = false;
  pending: PendingBytes | undefined;
  /** What came in spite of `pause` and waits for `resume`: TLS hands on all records that were read at once. */
  held: Bytes[] | undefined;
  heldEnd = false;
  heldClose = false;
  error: Error | undefined;
  arrivals = 0;
  #remoteAddress: string | undefined;
  #remotePort = 0;
  #localAddress = "";
  #localPort = 0;

  constructor(
    public handler: SocketHandler,
    /** Where we connect to; undefined for accepted sockets. */
    readonly target: Target | undefined,
  ) {}

  get remoteAddress(): string {
    this.#readAddresses();
    return this.#remoteAddress ?? "";
  }
  get remotePort(): number {
    this.#readAddresses();
    return this.#remotePort;
  }
  get localAddress(): string {
    this.#readAddresses();
    return this.#localAddress;
  }
  get localPort(): number {
    this.#readAddresses();
    return this.#localPort;
  }
  get fd(): number {
    return this.closed ? -1 : (this.native?.fd ?? -1);
  }
  get pendingBytes(): number {
    return this.pending === undefined ? 0 : this.pending.size;
  }

  /** Once: after the close the kernel does not know them any more, and logs are written then. */
  #readAddresses(): void {
    const native = this.native;
    if (this.#remoteAddress !== undefined || native === undefined || this.closed) return;
    this.#remoteAddress = canonicalIp(native.remoteAddress);
    this.#remotePort = native.remotePort ?? 0;
    this.#localAddress = canonicalIp(native.localAddress);
    this.#localPort = native.localPort ?? 0;
  }

  write(bytes: Bytes, start = 0, end = bytes.byteLength): boolean {
    if (this.ended || this.closed) return true;
    if (!this.ready || this.native === undefined || this.drainOwed) return this.#keep(bytes, start, end);
    const length = end - start;
    const taken = this.native.write(bytes, start, length);
    if (taken === length) return true;
    if (taken >= 0) return this.#keep(bytes, start + taken, end);
    // Broken: the close that follows tells why; what is written meanwhile goes nowhere.
    this.error ??= resetByPeer();
    return true;
  }

  #keep(bytes: Bytes, start: number, end: number): boolean {
    if (start === end) return !this.drainOwed;
    this.pending ??= new PendingBytes();
    this.pending.push(bytes, start, end);
    this.drainOwed = true;
    return false;
  }

  end(): void {
    if (this.ended || this.closed) return;
    this.ended = true;
    if (this.ready && this.pendingBytes === 0) this.native?.shutdown();
  }

  destroy(): void {
    if (this.closed) return;
    const orderly = this.ready && this.ended && this.pendingBytes === 0;
    this.#readAddresses();
    this.closed = true;
    this.error = undefined;
    this.pending?.clear();
    this.held = undefined;
    if (this.native === undefined) {
      if (!this.ready) ORPHANS.count++;
    } else if (orderly) this.native.close();
    else this.native.terminate();
    process.nextTick(tellGone, this);
  }

  pause(): void {
    if (this.paused || this.closed) return;
    this.paused = true;
    if (this.ready) this.native?.pause();
  }

  resume(): void {
    if (!this.paused || this.closed) return;
    this.paused = false;
    if (!this.ready) return;
    this.native?.resume();
    if (this.held !== undefined || this.heldEnd) process.nextTick(tellHeld, this);
  }

  setKeepAlive(enabled: boolean, delayMs: number): void {
    if (!this.closed) this.native?.setKeepAlive(enabled, delayMs);
  }

  /** Connected (and past TLS): what was asked for meanwhile happens now. */
  open(): void {
    this.ready = true;
    // Who asks for our end of a connection that we made may do so after its close; accepted ones are asked at once.
    if (this.target !== undefined) this.#readAddresses();
    if (this.paused) this.native?.pause();
    if (this.ended && this.pendingBytes === 0) this.native?.shutdown();
  }

  arrive(bytes: Bytes): void {
    if (this.paused || this.held !== undefined) this.hold(bytes);
    else if (!this.closed) tellData(this, bytes);
  }

  /** The peer's FIN. */
  endArrived(): void {
    // After a failed write Bun shows the peer's RST as an end.
    if (this.closed || this.peerEnded || this.error !== undefined || !this.ready) return;
    if (this.paused || this.held !== undefined) this.heldEnd = true;
    else tellPeerEnd(this);
  }

  /** The native socket is gone. False: its owner hears that later. */
  closeArrived(error: Error | null | undefined): boolean {
    this.pending?.clear();
    this.closedByPeer = true;
    const broken = error !== undefined && error !== null;
    if (!broken && (this.held !== undefined || this.heldEnd)) {
      // Both sides are done, but the owner has not taken everything yet.
      this.native = undefined;
      this.ended = true;
      this.heldEnd = true;
      this.heldClose = true;
      return false;
    }
    this.closed = true;
    this.held = undefined;
    if (!this.ready && this.target !== undefined) {
      this.error = connectError(this.target.address, this.error ?? error ?? resetByPeer());
    } else if (broken) {
      this.error ??= error;
    } else if (!this.ended && !this.peerEnded) {
      // Neither side said that it was done: something broke, whether or not the system says what.
      this.error ??= resetByPeer();
    }
    return true;
  }

  hold(bytes: Bytes): void {
    if (this.closed) return;
    this.held ??= [];
    this.held.push(new Uint8Array(bytes));
  }

  /** The kernel can take more. */
  flush(): void {
    if (!this.drainOwed || !this.ready || this.native === undefined || this.pending === undefined) return;
    if (!this.pending.flush(this.native)) return;
    this.drainOwed = false;
    if (this.ended) this.native.shutdown();
    else tellDrain(this);
  }

  /** Breaks off before the socket was open, or when TLS does not hold what it should. `reset`: with a RST, not a FIN. */
  fail(error: Error, reset = true): void {
    if (this.closed) return;
    this.closed = true;
    this.error = error;
    this.pending?.clear();
    if (reset) this.native?.terminate();
    else this.native?.close();
    process.nextTick(tellGone, this);
  }
}

const resetByPeer = (): Error => Object.assign(new Error("connection reset by peer"), { code: "ECONNRESET" });

/** The last calls of a socket, never within a call of its owner's. */
function tellGone(socket: BunSocket): void {
  const { error } = socket;
  socket.native = undefined;
  // Our FIN was out already: then Bun tells the peer's FIN and the close as one.
  if (error === undefined && socket.closedByPeer && !socket.peerEnded) tellPeerEnd(socket);
  tellClose(socket, error);
}

/** After `resume`: what came meanwhile, in order, until the owner pauses again. */
function tellHeld(socket: BunSocket): void {
  for (;;) {
    if (socket.paused || socket.closed) return;
    const bytes = socket.held?.shift();
    if (bytes === undefined) break;
    tellData(socket, bytes);
  }
  socket.held = undefined;
  if (socket.heldEnd && !socket.peerEnded) tellPeerEnd(socket);
  // Told: a close that comes from now on waits for nothing.
  socket.heldEnd = false;
  if (!socket.heldClose || socket.closed) return;
  socket.closed = true;
  tellGone(socket);
}

function tellPeerEnd(socket: BunSocket): void {
  socket.peerEnded = true;
  tellEnd(socket);
}

/** What Bun calls for every open socket. Listening and connecting add theirs. */
export const STREAM_HANDLERS = {
  binaryType: "buffer",
  data(native: NativeSocket, bytes: Bytes): void {
    const socket = native.data as BunSocket;
    // Nobody's, as the encrypted side of TLS behind a preface: it takes no room from others.
    if (socket.closed) return;
    // Bun makes a buffer for each call, so it may be kept.
    ARRIVALS.add(socket, bytes);
  },
  drain(native: NativeSocket): void {
    const socket = native.data;
    if (socket instanceof BunSocket) socket.flush();
  },
  end(native: NativeSocket): void {
    const socket = native.data as BunSocket;
    if (socket.arrivals === 0 || !ARRIVALS.handOn(() => socket.endArrived())) socket.endArrived();
  },
  close(native: NativeSocket, error: Error | undefined): void {
    const socket = native.data;
    if (!(socket instanceof BunSocket) || socket.closed) return;
    // Within the batch it is told at once: what starts behind it must know.
    const arrived = (): void => {
      if (!socket.closed && socket.closeArrived(error)) tellGone(socket);
    };
    if (socket.arrivals > 0 && ARRIVALS.handOn(arrived)) return;
    if (socket.closeArrived(error)) process.nextTick(tellGone, socket);
  },
  error(native: NativeSocket, error: Error): void {
    const socket = native.data;
    // A TLS session that broke: the close follows. Else something of ours threw that has nobody to blame: it must not pass silently.
    if (socket instanceof BunSocket && socket.tls !== undefined && "code" in error) socket.error ??= error;
    else throw error;
  },
};
