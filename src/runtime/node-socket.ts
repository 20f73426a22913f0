import type net from "node:net";
import process from "node:process";
import type tls from "node:tls";
import type { Bytes } from "../core/bytes.ts";
import { canonicalIp, connectError } from "./address.ts";
import type { Socket, SocketAddress, SocketHandler, TlsInfo } from "./net.ts";
import { PendingBytes } from "./pending.ts";
import { tellClose, tellData, tellDrain, tellEnd, tellOpen } from "./tell.ts";
import { DerCertificate } from "./x509.ts";

/** A socket before its owner gave it a handler. */
export const DEAF: SocketHandler = { onOpen() {}, onData() {}, onEnd() {}, onDrain() {}, onClose() {} };

/** One connection on a stream of node:net or node:tls. `write` copies: the streams keep what they get until the kernel has it. */
export class NodeSocket implements Socket {
  tls: TlsInfo | undefined;
  /** `end` was called. */
  ended = false;
  /** `destroy` was called or the stream is gone. */
  closed = false;
  peerEnded = false;
  /** Its owner knows that it is open. */
  ready = false;
  error: Error | undefined;
  remoteAddress = "";
  remotePort = 0;
  localAddress = "";
  localPort = 0;
  #paused = false;
  #drainOwed = false;
  /** The end came while paused, and the close behind it. */
  #heldEnd = false;
  #heldClose = false;
  /** What was written before it was open: it must not pass a handshake. */
  #early: PendingBytes | undefined;

  constructor(
    /** What bytes are read from and written to. */
    public stream: net.Socket,
    public handler: SocketHandler,
    /** Where we connect to; undefined for accepted sockets. */
    readonly target: SocketAddress | undefined,
    /** The TCP or Unix connection itself: `stream`, or what TLS runs on. */
    readonly raw: net.Socket = stream,
  ) {}

  get fd(): number {
    if (this.closed) return -1;
    const { _handle: handle } = this.raw as unknown as { _handle?: { fd?: number } | null };
    return handle?.fd ?? -1;
  }
  get pendingBytes(): number {
    if (this.closed) return 0;
    return this.#early === undefined ? this.stream.writableLength : this.#early.size;
  }

  write(bytes: Bytes, start = 0, end = bytes.byteLength): boolean {
    if (this.ended || this.closed) return true;
    if (start === end) return !this.#drainOwed;
    if (!this.ready) {
      this.#early ??= new PendingBytes();
      this.#early.push(bytes, start, end);
      this.#drainOwed = true;
      return false;
    }
    const copy = Buffer.allocUnsafe(end - start);
    copy.set(start === 0 && end === bytes.byteLength ? bytes : bytes.subarray(start, end));
    if (this.stream.write(copy)) return true;
    this.#drainOwed = true;
    return false;
  }

  end(): void {
    if (this.ended || this.closed) return;
    this.ended = true;
    if (this.ready) this.stream.end();
  }

  /** Connected (and past TLS): tells the owner, and does what it asked for meanwhile. */
  open(): void {
    this.ready = true;
    if (this.#paused) this.stream.pause();
    const early = this.#early;
    this.#early = undefined;
    let room = true;
    // The queue's own copies are handed over; nobody else writes to them.
    early?.drainTo((bytes) => {
      room = this.stream.write(bytes);
    });
    if (this.ended) this.stream.end();
    tellOpen(this);
    if (early !== undefined && room) this.#onDrain();
  }

  destroy(): void {
    if (this.closed) return;
    this.closed = true;
    this.error = undefined;
    if (this.stream === this.raw) this.#tearDown();
    // Node crashes when the connection under TLS goes away within one of its callbacks.
    else setImmediate(() => this.#tearDown());
    process.nextTick(tellGone, this);
  }

  #tearDown(): void {
    if (!this.stream.writableFinished) this.#reset();
    this.stream.destroy();
  }

  /** A RST, where the runtime has a way to send one. */
  #reset(): void {
    try {
      this.raw.resetAndDestroy();
    } catch {
      // Unix sockets have none; the plain close does it there.
    }
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.stream.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.closed) return;
    this.stream.resume();
    if (this.#heldEnd) process.nextTick(() => this.#tellHeld());
  }

  #tellHeld(): void {
    if (this.#paused || this.closed || !this.#heldEnd) return;
    this.#heldEnd = false;
    this.#onEnd();
    if (this.#heldClose) this.#onClose();
  }

  setKeepAlive(enabled: boolean, delayMs: number): void {
    if (!this.closed) this.raw.setKeepAlive(enabled, delayMs);
  }

  /** Breaks off before the socket was open, or when TLS does not hold what it should. */
  fail(error: Error): void {
    if (this.closed) return;
    this.closed = true;
    this.error = error;
    // Not at once: a handshake may be what called us (see `destroy`).
    setImmediate(() => {
      this.stream.destroy();
      this.raw.destroy();
    });
    process.nextTick(tellGone, this);
  }

  readAddresses(): void {
    this.remoteAddress = canonicalIp(this.raw.remoteAddress);
    this.remotePort = this.raw.remotePort ?? 0;
    this.localAddress = canonicalIp(this.raw.localAddress);
    this.localPort = this.raw.localPort ?? 0;
  }

  readonly #onData = (bytes: Bytes): void => {
    if (!this.closed) tellData(this, bytes);
  };
  readonly #onEnd = (): void => {
    if (this.closed || !this.ready) return;
    if (this.#paused) {
      this.#heldEnd = true;
      return;
    }
    this.peerEnded = true;
    tellEnd(this);
  };
  readonly #onDrain = (): void => {
    if (this.closed || !this.#drainOwed) return;
    this.#drainOwed = false;
    if (!this.ended) tellDrain(this);
  };
  readonly #onError = (error: Error): void => {
    this.error ??= error;
  };
  readonly #onClose = (): void => {
    if (this.closed) return;
    if (this.#heldEnd && this.error === undefined) {
      this.#heldClose = true;
      return;
    }
    this.closed = true;
    if (!this.ready && this.target !== undefined) this.error = connectError(this.target, this.error ?? resetByPeer());
    // Neither side said that it was done: something broke, whether or not the runtime says what.
    else if (this.error === undefined && !this.ended && !this.peerEnded) this.error = resetByPeer();
    process.nextTick(tellGone, this);
  };

  /** Hangs the handlers on the stream. */
  attach(): void {
    const { stream } = this;
    stream.on("data", this.#onData);
    stream.on("end", this.#onEnd);
    stream.on("drain", this.#onDrain);
    stream.on("error", this.#onError);
    stream.on("close", this.#onClose);
    if (this.#paused) stream.pause();
  }

  /** Hears nothing more: another takes the stream over. Errors that nobody hears would end the process. */
  detach(): void {
    const { stream } = this;
    stream.pause();
    stream.off("data", this.#onData);
    stream.off("end", this.#onEnd);
    stream.off("drain", this.#onDrain);
    stream.off("close", this.#onClose);
    this.closed = true;
  }

  /** TLS on top: from now on bytes go through `stream`. */
  encrypt(stream: tls.TLSSocket): void {
    this.stream = stream;
    this.attach();
  }
}

const resetByPeer = (): Error => Object.assign(new Error("connection reset by peer"), { code: "ECONNRESET" });

/** The last calls of a socket, never within a call of its owner's. */
function tellGone(socket: NodeSocket): void {
  tellClose(socket, socket.error);
}

/** What a handshake established. */
export function readTlsInfo(stream: tls.TLSSocket, serverName: string | undefined): TlsInfo {
  const cipher = stream.getCipher() as { name?: string; standardName?: string } | undefined;
  const { raw } = stream.getPeerCertificate() as { raw?: Uint8Array };
  return {
    version: stream.getProtocol() ?? "",
    cipher: cipher?.standardName ?? cipher?.name ?? "",
    serverName: serverName?.toLowerCase(),
    alpn: typeof stream.alpnProtocol === "string" ? stream.alpnProtocol : undefined,
    peer: raw === undefined ? undefined : new DerCertificate(raw, stream.authorized),
  };
}
