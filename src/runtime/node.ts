import net from "node:net";
import process from "node:process";
import type { Bytes } from "../core/bytes.ts";
import { canonicalIp, connectError, listenError } from "./address.ts";
import type { Listener, Net, Socket, SocketAddress, SocketHandler, TlsInfo } from "./net.ts";

/**
 * Seam 1 on node:net and node:tls: for Deno and Node, and on Bun for listeners whose TLS begins after bytes were read.
 * `write` copies, since the streams keep what they are given until the kernel has it.
 */

class NodeSocket implements Socket {
  tls: TlsInfo | undefined;
  ended = false;
  closed = false;
  paused = false;
  drainOwed = false;
  peerEnded = false;
  error: Error | undefined;
  closeTold = false;
  remoteAddress = "";
  remotePort = 0;
  localAddress = "";
  localPort = 0;

  constructor(
    readonly native: net.Socket,
    public handler: SocketHandler,
    readonly target: SocketAddress | undefined,
  ) {}

  get fd(): number {
    const handle = (this.native as unknown as { _handle?: { fd?: number } | null })._handle;
    return this.closed ? -1 : (handle?.fd ?? -1);
  }
  get pendingBytes(): number {
    return this.closed ? 0 : this.native.writableLength;
  }

  write(bytes: Bytes, start = 0, end = bytes.byteLength): boolean {
    if (this.ended || this.closed) return true;
    if (start === end) return !this.drainOwed;
    const copy = Buffer.allocUnsafe(end - start);
    copy.set(start === 0 && end === bytes.byteLength ? bytes : bytes.subarray(start, end));
    if (this.native.write(copy)) return true;
    this.drainOwed = true;
    return false;
  }

  end(): void {
    if (this.ended || this.closed) return;
    this.ended = true;
    this.native.end();
  }

  destroy(): void {
    if (this.closed) return;
    const orderly = this.native.writableFinished;
    this.closed = true;
    this.error = undefined;
    if (!orderly && this.tls === undefined && typeof this.native.resetAndDestroy === "function") this.native.resetAndDestroy();
    else this.native.destroy();
    process.nextTick(tellClose, this);
  }

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.native.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.native.resume();
  }

  setKeepAlive(enabled: boolean, delayMs: number): void {
    if (!this.closed) this.native.setKeepAlive(enabled, delayMs);
  }

  readAddresses(): void {
    this.remoteAddress = canonicalIp(this.native.remoteAddress);
    this.remotePort = this.native.remotePort ?? 0;
    this.localAddress = canonicalIp(this.native.localAddress);
    this.localPort = this.native.localPort ?? 0;
  }

  /** Hangs the handlers on the stream. */
  attach(): void {
    const { native } = this;
    native.on("data", (bytes: Bytes) => {
      if (!this.closed) this.handler.onData(this, bytes);
    });
    native.on("end", () => {
      if (this.closed) return;
      this.peerEnded = true;
      this.handler.onEnd(this);
    });
    native.on("drain", () => {
      if (this.closed || !this.drainOwed) return;
      this.drainOwed = false;
      if (!this.ended) this.handler.onDrain(this);
    });
    native.on("error", (error: Error) => {
      this.error ??= error;
    });
    native.on("close", () => {
      if (this.closed) return;
      this.closed = true;
      process.nextTick(tellClose, this);
    });
    if (this.paused) native.pause();
  }
}

function tellClose(socket: NodeSocket): void {
  if (socket.closeTold) return;
  socket.closeTold = true;
  socket.handler.onClose(socket, socket.error);
}

const DEAF: SocketHandler = { onOpen() {}, onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

/** Where, in Node's words. */
const place = (address: SocketAddress) =>
  address.kind === "unix" ? { path: address.path } : { host: address.host, port: address.port };

class NodeListener implements Listener {
  constructor(
    readonly server: net.Server,
    readonly address: SocketAddress,
  ) {}

  updateTls(): void {
    throw new Error("this listener has no TLS");
  }
  startTls(): Socket {
    throw new Error("this listener was not opened with deferTls");
  }
  async close(): Promise<void> {
    this.server.close();
  }
}

export const nodeNet: Net = {
  name: "node",

  listen(options, accept) {
    const server = net.createServer({ allowHalfOpen: true, noDelay: true });
    server.on("connection", (native) => {
      const socket = new NodeSocket(native, DEAF, undefined);
      socket.readAddresses();
      socket.handler = accept(socket);
      if (!socket.closed) socket.attach();
    });
    return new Promise<Listener>((resolve, reject) => {
      server.once("error", (error) => reject(listenError(options.address, error)));
      server.listen(
        {
          ...place(options.address),
          reusePort: options.reusePort,
          ...(options.backlog === undefined ? {} : { backlog: options.backlog }),
        },
        () => {
          const bound = server.address();
          const port = typeof bound === "object" && bound !== null ? bound.port : 0;
          resolve(new NodeListener(server, options.address.kind === "unix" ? options.address : { ...options.address, port }));
        },
      );
    });
  },

  connect(options, handler) {
    const native = net.connect({ ...place(options.address), allowHalfOpen: true, noDelay: true });
    const socket = new NodeSocket(native, handler, options.address);
    socket.attach();
    native.once("connect", () => {
      if (socket.closed) return;
      socket.readAddresses();
      socket.handler.onOpen(socket);
    });
    native.prependOnceListener("error", (error) => {
      if (native.connecting || socket.remotePort === 0) socket.error ??= connectError(options.address, error);
    });
    return socket;
  },
};
