import net from "node:net";
import tls from "node:tls";
import type { Bytes } from "../core/bytes.ts";
import { SystemClock } from "../core/clock.ts";
import { DEFAULT_DOWNSTREAM_TIMES, PLAIN_LINGER_MS, REMEMBERED_CLIENT_CERTIFICATES } from "../core/limits.ts";
import { connectError, listenError } from "./address.ts";
import { DescriptorGuard } from "./descriptors.ts";
import {
  beginsPlainHttp,
  type ClientTls,
  type Endpoints,
  type Listener,
  type ListenOptions,
  type Net,
  PLAIN_HTTP_CODE,
  type ServerTls,
  type Socket,
  type SocketAddress,
  type SocketHandler,
} from "./net.ts";
import { DEAF, NodeSocket, readTlsInfo } from "./node-socket.ts";
import { removeStaleSocket, SocketFile } from "./socket-file.ts";
import { checkPeerName, clientContext, SERVER_CIPHERS, ServerContexts, sniOf, tlsError } from "./tls-context.ts";

/**
 * Seam 1 on node:net and node:tls: for Deno and Node, and on Bun for listeners whose TLS begins after bytes were read.
 *
 * A listener is always a plain one; connections are handed to a `tls.Server` that does not listen, as Node documents for
 * its "connection" event. So a rotation is a new `tls.Server`, whatever changed, and `startTls` is the same path.
 */

/** Where, in Node's words. */
const place = (address: SocketAddress) =>
  address.kind === "unix" ? { path: address.path } : { host: address.host, port: address.port };

const listenArguments = ({ reusePort, backlog }: ListenOptions, address: SocketAddress) => ({
  ...place(address),
  reusePort,
  ...(backlog === undefined ? {} : { backlog }),
});

let sharedGuard: DescriptorGuard | undefined;
/** Of all listeners of this process; not made before the first one. */
const descriptorGuard = (): DescriptorGuard => {
  sharedGuard ??= new DescriptorGuard();
  return sharedGuard;
};

/** What becomes of a raw connection when its handshake is done. */
type OnSecure = (stream: tls.TLSSocket) => void;

/** The TLS side of a listener with the settings of one moment. */
class TlsEngine {
  readonly #server: tls.Server;
  readonly #waiting = new WeakMap<net.Socket, OnSecure>();
  readonly #late = new WeakSet<net.Socket>();
  /** Fingerprints of certificates that held in whole handshakes with these settings. */
  readonly #held = new Set<string>();

  constructor(
    readonly settings: ServerTls,
    handshakeMs: number,
  ) {
    const contexts = new ServerContexts(settings);
    const asks = settings.clientAuth !== "none";
    this.#server = tls.createServer({
      ...contexts.fallbackPem,
      ...(settings.clientCaPem === undefined ? {} : { ca: settings.clientCaPem }),
      ...(settings.alpn.length === 0 ? {} : { ALPNProtocols: [...settings.alpn] }),
      minVersion: settings.minVersion,
      ciphers: SERVER_CIPHERS,
      allowHalfOpen: true,
      requestCert: asks,
      rejectUnauthorized: settings.clientAuth === "required",
      handshakeTimeout: handshakeMs,
      SNICallback: (name, answer) => answer(null, contexts.select(name)),
    });
    this.#server.on("secureConnection", (stream) => this.#finish(stream));
    this.#server.on("tlsClientError", (error: Error & { code?: string }, stream) => {
      const raw = rawOf(stream);
      // Deno gives it no code. It also hears only then that a peer is gone.
      if (raw !== undefined && (error.code === "ERR_TLS_HANDSHAKE_TIMEOUT" || error.message === "TLS handshake timeout"))
        this.#late.add(raw);
      stream.destroy();
    });
  }

  /** Its handshake took too long. */
  isLate(raw: net.Socket): boolean {
    return this.#late.has(raw);
  }

  /** Runs the handshake on `raw`; `onSecure` only hears of one that satisfies the settings. */
  start(raw: net.Socket, onSecure: OnSecure): void {
    raw.on("error", () => raw.destroy());
    this.#waiting.set(raw, onSecure);
    this.#server.emit("connection", raw);
  }

  /**
   * Its peer's certificate holds. Deno's sessions belong to the whole process: one of another listener, or of an authority that is gone, could
   * be resumed here and would be called authorized. So a resumed one counts when its certificate held here before, and has not run out since.
   */
  #holds(stream: tls.TLSSocket): boolean {
    if (!stream.authorized) return false;
    const { fingerprint256, valid_to: end } = stream.getPeerCertificate();
    if (stream.isSessionReused()) return this.#held.has(fingerprint256) && Date.parse(end) > CLOCK.wallMs();
    this.#held.delete(fingerprint256);
    this.#held.add(fingerprint256);
    if (this.#held.size > REMEMBERED_CLIENT_CERTIFICATES) this.#held.delete(this.#held.values().next().value as string);
    return true;
  }

  #finish(stream: tls.TLSSocket): void {
    const raw = rawOf(stream);
    const onSecure = raw === undefined ? undefined : this.#waiting.get(raw);
    // A certificate that was sent must hold, also when it is optional.
    const sent = Object.keys(stream.getPeerCertificate() ?? {}).length > 0;
    const holds = this.settings.clientAuth === "none" || (sent ? this.#holds(stream) : this.settings.clientAuth === "optional");
    if (onSecure === undefined || !holds) stream.destroy();
    else onSecure(stream);
  }
}

/** The connection under a TLS stream. */
const rawOf = (stream: tls.TLSSocket): net.Socket | undefined => (stream as unknown as { _parent?: net.Socket })._parent;

const CLOCK = new SystemClock();

const addressesOf = (raw: net.Socket): Endpoints => {
  const socket = new NodeSocket(raw, DEAF, undefined);
  socket.readAddresses();
  return socket;
};

const PLAIN_HTTP = Object.assign(new Error("HTTP without TLS"), { code: PLAIN_HTTP_CODE });
const HANDSHAKE_LATE = Object.assign(new Error("TLS handshake took too long"), { code: "ETIMEDOUT" });

/**
 * Once TLS has a connection, nobody can answer it in plain text any more (Deno's sends an alert and destroys it): so its first
 * byte is looked at before. `seen` hears undefined when it takes longer than `waitMs`; not at all when the peer goes away.
 */
function peekFirst(raw: net.Socket, waitMs: number, seen: (first: number | undefined) => void): void {
  const giveUp = (): void => void raw.destroy();
  const late = CLOCK.setTimer(waitMs, () => {
    seen(undefined);
    raw.destroy();
  });
  raw.once("close", () => late.cancel());
  raw.on("error", giveUp);
  raw.once("end", giveUp);
  raw.once("data", (bytes: Buffer) => {
    late.cancel();
    raw.pause();
    raw.off("end", giveUp);
    raw.unshift(bytes);
    seen(bytes[0]);
  });
}

/** Says it and closes, once the peer has finished or nothing more comes: a close with bytes unread could take the answer with it. */
function answerPlain(raw: net.Socket, answer: Bytes | undefined): void {
  if (answer === undefined) {
    raw.destroy();
    return;
  }
  const close = (): void => void raw.destroy();
  const late = CLOCK.setTimer(PLAIN_LINGER_MS, close);
  raw.once("close", () => late.cancel());
  raw.once("end", close);
  raw.end(answer);
  raw.resume();
}

class NodeListener implements Listener {
  engine: TlsEngine | undefined;
  #closed = false;
  /** Stopped accepting once because descriptors ran out. */
  #paused = false;
  #file: SocketFile | undefined;
  readonly #handshakeMs: number;

  constructor(
    readonly server: net.Server,
    public address: SocketAddress,
    readonly options: ListenOptions,
    readonly accept: (socket: Socket) => SocketHandler,
  ) {
    this.#handshakeMs = options.handshakeMs ?? DEFAULT_DOWNSTREAM_TIMES.handshakeMs;
    if (options.tls !== undefined) this.engine = new TlsEngine(options.tls, this.#handshakeMs);
    server.on("connection", (raw) => this.#take(raw));
    server.on("listening", () => {
      this.#file = new SocketFile(options.address);
    });
    // Beginning again failed: at the next chance.
    server.on("error", () => {
      if (this.#paused && !this.#closed) descriptorGuard().wait(this.#resume);
    });
  }

  #take(raw: net.Socket): void {
    const guard = descriptorGuard();
    raw.once("close", () => guard.leave());
    if (!guard.enter() && this.server.listening) {
      // Callers are refused by the kernel meanwhile; connections live on.
      this.#paused = true;
      this.#stopListening();
      guard.wait(this.#resume);
    }
    if (this.engine === undefined || this.options.deferTls) this.#hand(new NodeSocket(raw, DEAF, undefined));
    else this.#shake(raw, this.engine);
  }

  #shake(raw: net.Socket, engine: TlsEngine): void {
    let watch = this.options.handshakes;
    if (watch?.begin() === false) {
      raw.destroy();
      return;
    }
    let error = tlsError("TLS handshake failed", undefined);
    raw.once("close", () => {
      watch?.end(engine.isLate(raw) ? HANDSHAKE_LATE : error);
      watch = undefined;
    });
    const shake = (): void =>
      engine.start(raw, (stream) => {
        watch?.end(undefined);
        watch = undefined;
        this.#hand(secured(stream, raw, DEAF));
      });
    if (watch?.plainHttp === undefined) {
      shake();
      return;
    }
    peekFirst(raw, this.#handshakeMs, (first) => {
      if (first === undefined) error = HANDSHAKE_LATE;
      else if (!beginsPlainHttp(first)) shake();
      else {
        error = PLAIN_HTTP;
        answerPlain(raw, watch?.plainHttp?.(addressesOf(raw)));
      }
    });
  }

  #hand(socket: NodeSocket): void {
    socket.ready = true;
    socket.readAddresses();
    socket.handler = this.accept(socket);
    if (!socket.closed) socket.attach();
  }

  readonly #resume = (): void => {
    if (!this.#closed && !this.server.listening) this.server.listen(listenArguments(this.options, this.address));
  };

  updateTls(settings: ServerTls): void {
    if (this.engine === undefined) throw new Error("this listener has no TLS");
    this.engine = new TlsEngine(settings, this.#handshakeMs);
  }

  startTls(socket: Socket, head: Bytes, handler: SocketHandler): Socket {
    if (this.engine === undefined || !this.options.deferTls) throw new Error("this listener was not opened with deferTls");
    if (!(socket instanceof NodeSocket)) throw new Error("not a socket of this listener");
    const { raw } = socket;
    socket.detach();
    const upgraded = new NodeSocket(raw, handler, undefined);
    upgraded.readAddresses();
    const broken = (): void => upgraded.fail(tlsError("TLS handshake failed", undefined));
    raw.once("close", broken);
    if (head.byteLength > 0) raw.unshift(Buffer.from(head));
    this.engine.start(raw, (stream) => {
      raw.off("close", broken);
      if (upgraded.closed) {
        stream.destroy();
        return;
      }
      upgraded.tls = readTlsInfo(stream, serverNameOf(stream));
      upgraded.encrypt(stream);
      upgraded.open();
    });
    return upgraded;
  }

  #stopListening(): void {
    if (this.server.listening) this.#file?.closing(() => this.server.close());
  }

  async close(): Promise<void> {
    this.#closed = true;
    descriptorGuard().forget(this.#resume);
    this.#stopListening();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

function secured(stream: tls.TLSSocket, raw: net.Socket, handler: SocketHandler): NodeSocket {
  const socket = new NodeSocket(stream, handler, undefined, raw);
  socket.tls = readTlsInfo(stream, serverNameOf(stream));
  return socket;
}

function serverNameOf(stream: tls.TLSSocket): string | undefined {
  const { servername } = stream as unknown as { servername?: string | false | null };
  return servername || undefined;
}

/** node:net and node:tls behind the seam. */
export const nodeNet: Net = {
  name: "node",

  async listen(options, accept) {
    if (options.address.kind === "unix") await removeStaleSocket(options.address.path);
    const server = net.createServer({ allowHalfOpen: true, noDelay: true });
    const listener = new NodeListener(server, options.address, options, accept);
    await new Promise<void>((resolve, reject) => {
      server.on("error", (error) => reject(listenError(options.address, error)));
      server.listen(listenArguments(options, options.address), resolve);
    });
    const bound = server.address();
    if (options.address.kind === "tcp" && typeof bound === "object" && bound !== null) {
      listener.address = { ...options.address, port: bound.port };
    }
    return listener;
  },

  connect(options, handler) {
    descriptorGuard().enter();
    const raw = net.connect({ ...place(options.address), allowHalfOpen: true, noDelay: true });
    raw.once("close", () => descriptorGuard().leave());
    const socket = new NodeSocket(raw, handler, options.address);
    if (options.tls === undefined) socket.attach();
    raw.on("error", (error) => {
      socket.error ??= error;
      if (!socket.ready) socket.fail(connectError(options.address, error));
    });
    raw.once("connect", () => {
      if (socket.closed) return;
      socket.readAddresses();
      if (options.preface !== undefined) raw.write(Buffer.from(options.preface));
      if (options.tls !== undefined) startClientTls(socket, raw, options.tls, options.address);
      else socket.open();
    });
    return socket;
  },
};

function startClientTls(socket: NodeSocket, raw: net.Socket, settings: ClientTls, address: SocketAddress): void {
  const stream = tls.connect({
    socket: raw,
    secureContext: clientContext(settings),
    servername: sniOf(settings),
    rejectUnauthorized: settings.verify,
    checkServerIdentity: (_host, { raw: der }) => checkPeerName(settings, der),
    ...(settings.alpn.length === 0 ? {} : { ALPNProtocols: [...settings.alpn] }),
  });
  const refuse = (error: unknown): void => {
    if (!socket.ready) socket.fail(connectError(address, tlsError("TLS handshake failed", error)));
  };
  stream.on("error", refuse);
  stream.once("close", refuse);
  stream.once("secureConnect", () => {
    if (socket.closed) return;
    if (settings.verify && !stream.authorized) {
      refuse(stream.authorizationError);
      return;
    }
    socket.tls = readTlsInfo(stream, sniOf(settings) || undefined);
    socket.encrypt(stream);
    socket.open();
  });
}
