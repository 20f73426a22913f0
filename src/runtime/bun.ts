import { assert } from "../core/assert.ts";
import type { Bytes } from "../core/bytes.ts";
import { canonicalIp, connectError, listenError } from "./address.ts";
import type { Listener, ListenOptions, Net, Socket, SocketAddress, SocketHandler, TlsInfo } from "./net.ts";
import { PendingBytes } from "./pending.ts";

/**
 * Seam 1 on Bun's native sockets: the hot path. One `BunSocket` per connection hangs in the native socket's `data`; the
 * handler functions below are shared by all of them, so a connection costs no closure. `write` hands the caller's bytes to
 * the kernel in place and copies only what the kernel did not take.
 */

/** What Bun's sockets have and its published types leave out or type for one kind of data only. */
interface NativeSocket {
  data: BunSocket | BunListener;
  readonly fd: number;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  /** How many bytes the kernel took; negative once the connection is broken. */
  write(bytes: Bytes, offset: number, length: number): number;
  shutdown(): void;
  close(): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  setKeepAlive(enabled: boolean, initialDelayMs: number): boolean;
}

/** A socket before its owner gave it a handler. */
const DEAF: SocketHandler = { onOpen() {}, onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

class BunSocket implements Socket {
  tls: TlsInfo | undefined;
  native: NativeSocket | undefined;
  /** Open for the handler: connected, and past the TLS handshake. */
  ready = false;
  /** `end` was called. */
  ended = false;
  /** `destroy` was called or the native socket is gone. */
  closed = false;
  /** The peer's FIN was told. */
  peerEnded = false;
  paused = false;
  /** `write` returned false and `onDrain` was not called since. */
  drainOwed = false;
  pending: PendingBytes | undefined;
  /** What came in spite of `pause`: Bun reads once more when the peer resets. */
  held: Bytes[] | undefined;
  error: Error | undefined;
  /** The native socket closed by itself, not by `destroy`. */
  closedByPeer = false;
  #remoteAddress: string | undefined;
  #remotePort = 0;
  #localAddress: string | undefined;
  #localPort = 0;

  constructor(
    public handler: SocketHandler,
    /** Where we connect to; undefined for accepted sockets. */
    readonly target: SocketAddress | undefined,
  ) {}

  get remoteAddress(): string {
    if (this.#remoteAddress === undefined) this.readAddresses();
    return this.#remoteAddress ?? "";
  }
  get remotePort(): number {
    if (this.#remoteAddress === undefined) this.readAddresses();
    return this.#remotePort;
  }
  get localAddress(): string {
    if (this.#localAddress === undefined) this.readAddresses();
    return this.#localAddress ?? "";
  }
  get localPort(): number {
    if (this.#localAddress === undefined) this.readAddresses();
    return this.#localPort;
  }
  get fd(): number {
    return this.closed ? -1 : (this.native?.fd ?? -1);
  }
  get pendingBytes(): number {
    return this.pending === undefined ? 0 : this.pending.size;
  }

  /** Reads them once: after the close the kernel does not know them any more, and logs are written then. */
  readAddresses(): void {
    const native = this.native;
    if (native === undefined || this.closed) return;
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
    // Broken: the close that follows tells; what is written meanwhile goes nowhere.
    if (taken < 0) {
      this.error ??= connectionReset();
      return true;
    }
    return this.#keep(bytes, start + taken, end);
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
    // After an orderly end the connection is closed quietly; before it the peer is told by a RST that this is no end.
    const orderly = this.ready && this.ended && this.pendingBytes === 0;
    this.readAddresses();
    this.closed = true;
    this.error = undefined;
    this.pending?.clear();
    this.held = undefined;
    if (this.native !== undefined) {
      if (orderly) this.native.close();
      else this.native.terminate();
    }
    process.nextTick(tellClose, this);
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
    if (this.held !== undefined) process.nextTick(tellHeld, this);
  }

  setKeepAlive(enabled: boolean, delayMs: number): void {
    if (!this.closed) this.native?.setKeepAlive(enabled, delayMs);
  }

  /** Connected (and past TLS): what was asked for meanwhile happens now. */
  open(): void {
    this.ready = true;
    if (this.paused) this.native?.pause();
  }

  hold(bytes: Bytes): void {
    if (this.closed) return;
    this.held ??= [];
    this.held.push(new Uint8Array(bytes));
  }

  /** The kernel can take more. */
  flush(): void {
    if (!this.ready || this.native === undefined || !this.drainOwed || this.pending === undefined) return;
    if (!this.pending.flush(this.native)) return;
    this.drainOwed = false;
    if (this.ended) this.native.shutdown();
    else this.handler.onDrain(this);
  }
}

const connectionReset = (): Error => Object.assign(new Error("connection reset by peer"), { code: "ECONNRESET" });

/** The last calls of a socket, never within a call of its owner's. */
function tellClose(socket: BunSocket): void {
  const { error, handler } = socket;
  socket.native = undefined;
  // Our FIN was out already: then Bun tells the peer's FIN and the close at once.
  if (error === undefined && socket.closedByPeer && !socket.peerEnded) {
    socket.peerEnded = true;
    handler.onEnd(socket);
  }
  socket.handler.onClose(socket, error);
}

function tellHeld(socket: BunSocket): void {
  const held = socket.held;
  if (held === undefined || socket.paused || socket.closed) return;
  socket.held = undefined;
  for (const bytes of held) socket.handler.onData(socket, bytes);
}

/** What Bun calls; shared by every socket of the process. */
const HANDLERS = {
  binaryType: "buffer",
  open(native: NativeSocket): void {
    const owner = native.data;
    if (owner instanceof BunListener) {
      const socket = new BunSocket(DEAF, undefined);
      socket.native = native;
      native.data = socket;
      socket.open();
      socket.handler = owner.accept(socket);
      return;
    }
    if (owner.closed) {
      native.terminate();
      return;
    }
    owner.native = native;
    owner.open();
    owner.handler.onOpen(owner);
    owner.flush();
  },
  data(native: NativeSocket, bytes: Bytes): void {
    const socket = native.data as BunSocket;
    if (socket.paused || socket.held !== undefined) socket.hold(bytes);
    else if (!socket.closed) socket.handler.onData(socket, bytes);
  },
  drain(native: NativeSocket): void {
    (native.data as BunSocket).flush();
  },
  end(native: NativeSocket): void {
    const socket = native.data as BunSocket;
    if (socket.closed || socket.peerEnded || socket.error !== undefined) return;
    socket.peerEnded = true;
    socket.handler.onEnd(socket);
  },
  close(native: NativeSocket, error: Error | undefined): void {
    const socket = native.data as BunSocket;
    if (!(socket instanceof BunSocket) || socket.closed) return;
    socket.closed = true;
    socket.held = undefined;
    socket.pending?.clear();
    socket.closedByPeer = true;
    // Neither side said that it was done: then something broke, whether or not the system says what.
    if (error !== undefined && error !== null) socket.error ??= error;
    else if (!socket.ended && !socket.peerEnded) socket.error ??= connectionReset();
    process.nextTick(tellClose, socket);
  },
  error(_native: NativeSocket, error: Error): void {
    throw error;
  },
  connectError(native: NativeSocket, error: Error): void {
    failConnect(native.data as BunSocket, error);
  },
} as const;

function failConnect(socket: BunSocket, error: Error): void {
  if (socket.closed) return;
  socket.closed = true;
  socket.error = socket.target === undefined ? error : connectError(socket.target, error);
  process.nextTick(tellClose, socket);
}

class BunListener implements Listener {
  native: { readonly port?: number; stop(closeActive: boolean): void } | undefined;
  address: SocketAddress;

  constructor(
    options: ListenOptions,
    readonly accept: (socket: Socket) => SocketHandler,
  ) {
    this.address = options.address;
  }

  updateTls(): void {
    throw new Error("this listener has no TLS");
  }

  startTls(): Socket {
    throw new Error("this listener was not opened with deferTls");
  }

  async close(): Promise<void> {
    this.native?.stop(false);
    this.native = undefined;
  }
}

const bunListen = Bun.listen as unknown as (options: object) => NonNullable<BunListener["native"]>;
const bunConnect = Bun.connect as unknown as (options: object) => Promise<unknown>;

const ignore = (): void => {};

/** Where, in Bun's words. */
const place = (address: SocketAddress): object =>
  address.kind === "unix" ? { unix: address.path } : { hostname: address.host, port: address.port };

export const bunNet: Net = {
  name: "bun",

  async listen(options, accept) {
    assert(options.tls === undefined && !options.deferTls, "TLS comes");
    const listener = new BunListener(options, accept);
    try {
      listener.native = bunListen({
        ...place(options.address),
        allowHalfOpen: true,
        reusePort: options.reusePort,
        data: listener,
        socket: HANDLERS,
      });
    } catch (error) {
      throw listenError(options.address, error);
    }
    if (options.address.kind === "tcp") listener.address = { ...options.address, port: listener.native.port ?? 0 };
    return listener;
  },

  connect(options, handler) {
    assert(options.tls === undefined, "TLS comes");
    const socket = new BunSocket(handler, options.address);
    try {
      // Failures come to `connectError`; the promise says them a second time.
      bunConnect({ ...place(options.address), allowHalfOpen: true, data: socket, socket: HANDLERS }).catch(ignore);
    } catch (error) {
      failConnect(socket, error instanceof Error ? error : new Error(String(error)));
    }
    return socket;
  },
};
