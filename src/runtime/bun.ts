import tls from "node:tls";
import { DEFAULT_DOWNSTREAM_TIMES } from "../core/limits.ts";
import { connectError, listenError } from "./address.ts";
import { answerAndLinger } from "./bun-plain.ts";
import { BunSocket, DEAF, type NativeSocket, ORPHANS, STREAM_HANDLERS, type Target } from "./bun-socket.ts";
import {
  type ClientTls,
  type HandshakeWatch,
  type Listener,
  type ListenOptions,
  type Net,
  PLAIN_HTTP_CODE,
  type ServerTls,
  type Socket,
  type SocketAddress,
  type SocketHandler,
  type TlsInfo,
} from "./net.ts";
import { nodeNet } from "./node.ts";
import { removeStaleSocket, SocketFile } from "./socket-file.ts";
import { tellOpen } from "./tell.ts";
import {
  alpnWire,
  checkPeerName,
  clientContext,
  NO_TICKET,
  SERVER_CIPHERS,
  ServerContexts,
  selectAlpn,
  sniOf,
  tlsError,
} from "./tls-context.ts";
import { DerCertificate } from "./x509.ts";

/**
 * Seam 1 on Bun's native sockets: the hot path. The handler functions are shared by all sockets of the process, so a
 * connection costs one object and no closure. `write` hands the caller's bytes to the kernel in place and copies only what
 * the kernel did not take.
 *
 * TLS is native as well. Three things are not in Bun's published types, but are what its own node:tls uses: the handlers
 * `serverName` and `alpnCallback`, and `secureContext` among the TLS options. With them a listener rotates its certificates,
 * CAs and settings in place: no new listener, no connection lost. The contract suite notices if a release changes them.
 */

interface NativeListener {
  readonly port?: number;
  stop(closeActive: boolean): void;
  reload(options: object): void;
}

const bunListen = Bun.listen as unknown as (options: object) => NativeListener;
const bunConnect = Bun.connect as unknown as (options: object) => Promise<unknown>;
const nativeOf = (context: tls.SecureContext): unknown => context.context;

class BunListener implements Listener {
  native: NativeListener | undefined;
  file: SocketFile | undefined;
  contexts: ServerContexts | undefined;
  /** `updateTls` was called: what the native listener was opened with is out of date. */
  rotated = false;
  readonly handshakeSeconds: number;
  readonly watch: HandshakeWatch | undefined;
  /** Hears how handshakes end that do not succeed. */
  readonly onBroken: SocketHandler;

  constructor(
    public address: SocketAddress,
    readonly accept: (socket: Socket) => SocketHandler,
    options: ListenOptions,
  ) {
    this.contexts = options.tls === undefined ? undefined : new ServerContexts(options.tls);
    this.watch = options.handshakes;
    this.onBroken = { ...DEAF, onClose: (_socket, error) => this.watch?.end(error ?? HANDSHAKE) };
    this.handshakeSeconds = Math.ceil((options.handshakeMs ?? DEFAULT_DOWNSTREAM_TIMES.handshakeMs) / 1000);
  }

  updateTls(settings: ServerTls): void {
    if (this.contexts === undefined) throw new Error("this listener has no TLS");
    const handlers = handlersFor(this.contexts);
    this.contexts = new ServerContexts(settings);
    this.rotated = true;
    if (this.native === undefined) return;
    if (handlersFor(this.contexts) !== handlers) this.native.reload({ socket: handlersFor(this.contexts) });
    setListenerContext(this.native, this.contexts);
  }

  startTls(): Socket {
    throw new Error("this listener was not opened with deferTls");
  }

  async close(): Promise<void> {
    this.file?.closing(() => this.native?.stop(false));
    this.native = undefined;
  }
}

/**
 * Swaps what a native listener begins handshakes with. Bun does that only for the handle of a `tls.Server`: so one is made
 * around our listener for the moment.
 */
function setListenerContext(native: NativeListener, contexts: ServerContexts): void {
  const { settings, fallbackPem } = contexts;
  const server = tls.createServer({
    requestCert: settings.clientAuth !== "none",
    rejectUnauthorized: settings.clientAuth === "required",
  });
  Object.assign(server, { _handle: native });
  server.setSecureContext({
    ...fallbackPem,
    minVersion: settings.minVersion,
    ciphers: SERVER_CIPHERS,
    ...(settings.clientCaPem === undefined ? {} : { ca: settings.clientCaPem, secureOptions: NO_TICKET }),
  });
  Object.assign(server, { _handle: null });
}

/** Accepting without TLS. */
const PLAIN_HANDLERS = {
  ...STREAM_HANDLERS,
  open(native: NativeSocket): void {
    const listener = native.data as BunListener;
    const socket = new BunSocket(DEAF, undefined);
    socket.native = native;
    native.data = socket;
    socket.open();
    socket.handler = listener.accept(socket);
  },
};

/** An accepted socket whose handshake is under way; its owner sees it when that is done. */
class HandshakingSocket extends BunSocket {
  constructor(readonly listener: BunListener) {
    super(listener.onBroken, undefined);
  }
}

/** Accepting with TLS. */
const TLS_HANDLERS = {
  ...STREAM_HANDLERS,
  open(native: NativeSocket): void {
    const listener = native.data as BunListener;
    const socket = new HandshakingSocket(listener);
    socket.native = native;
    native.data = socket;
    if (listener.watch?.begin() === false) {
      socket.closed = true;
      native.terminate();
      return;
    }
    native.timeout(listener.handshakeSeconds);
    if (!listener.rotated || listener.contexts === undefined) return;
    const { clientAuth } = listener.contexts.settings;
    native.setVerifyMode(clientAuth !== "none", clientAuth === "required");
  },
  serverName(listener: BunListener, name: string): unknown {
    return listener.contexts === undefined ? undefined : nativeOf(listener.contexts.select(name));
  },
  handshake(native: NativeSocket, success: boolean, error: Error | null): void {
    const socket = native.data as HandshakingSocket;
    const settings = socket.listener.contexts?.settings;
    if (socket.closed || socket.ready || settings === undefined) return;
    const info = success ? acceptedTls(native, settings, error) : undefined;
    if (info === undefined) {
      if (!success && HTTP_REQUEST.test(error?.message ?? "")) answerPlain(native, socket);
      else socket.fail(HANDSHAKE);
      return;
    }
    native.timeout(0);
    socket.tls = info;
    socket.open();
    socket.listener.watch?.end(undefined);
    socket.handler = socket.listener.accept(socket);
  },
  timeout(native: NativeSocket): void {
    const socket = native.data as BunSocket;
    if (!socket.ready) socket.fail(HANDSHAKE_LATE);
  },
};

/** What a downstream's handshake established; undefined when it does not satisfy the settings of now (they may have changed meanwhile). */
function acceptedTls(native: NativeSocket, settings: ServerTls, error: Error | null): TlsInfo | undefined {
  const info = readTlsInfo(native, settings.clientAuth !== "none", error === null || error === undefined);
  if (settings.minVersion === "TLSv1.3" && info.version !== "TLSv1.3") return undefined;
  // Without a certificate `error` only says that there is none; one that was sent must hold, also when it is optional.
  if (info.peer === undefined) return settings.clientAuth === "required" ? undefined : info;
  return info.peer.verified ? info : undefined;
}

/** How BoringSSL says that HTTP came instead of TLS. It has sent nothing then, no alert either. */
const HTTP_REQUEST = /:(?:HTTP|HTTPS_PROXY)_REQUEST$/;
const PLAIN_HTTP = Object.assign(new Error("HTTP without TLS"), { code: PLAIN_HTTP_CODE });

/** The TLS session is broken and takes no bytes; the connection under it does. */
function answerPlain(native: NativeSocket, socket: HandshakingSocket): void {
  const answer = socket.listener.watch?.plainHttp?.(socket);
  if (answer === undefined || !answerAndLinger(native.fd, answer, () => socket.fail(PLAIN_HTTP))) {
    socket.fail(PLAIN_HTTP);
    return;
  }
  native.data = nobody();
  socket.native = undefined;
  native.close();
}

const HANDSHAKE = new Error("TLS handshake failed");
const HANDSHAKE_LATE = Object.assign(new Error("TLS handshake took too long"), { code: "ETIMEDOUT" });

/** With a choice of protocol. Without it Bun must not be asked: no answer would fail the handshake. */
const ALPN_HANDLERS = {
  ...TLS_HANDLERS,
  alpnCallback(native: NativeSocket, _name: string, offered: Uint8Array): string | undefined {
    const settings = (native.data as HandshakingSocket).listener.contexts?.settings;
    return settings === undefined ? undefined : selectAlpn(settings.alpn, offered);
  },
};

const handlersFor = (contexts: ServerContexts) => (contexts.settings.alpn.length > 0 ? ALPN_HANDLERS : TLS_HANDLERS);

function readTlsInfo(native: NativeSocket, withPeer: boolean, verified: boolean): TlsInfo {
  const cipher = native.getCipher();
  const raw = withPeer ? native.getPeerCertificate()?.raw : undefined;
  return {
    version: native.getTLSVersion(),
    cipher: cipher?.standardName ?? cipher?.name ?? "",
    serverName: (native.getServername() || undefined)?.toLowerCase(),
    alpn: native.alpnProtocol || undefined,
    peer: raw === undefined ? undefined : new DerCertificate(raw, verified),
  };
}

/** Connecting without TLS, or with TLS after a preface. */
const CONNECT_HANDLERS = {
  ...STREAM_HANDLERS,
  open(native: NativeSocket): void {
    const socket = native.data as BunSocket;
    if (!adoptNative(socket, native)) return;
    const { tls, preface } = socket.target as Target;
    if (preface !== undefined && native.write(preface, 0, preface.byteLength) !== preface.byteLength) {
      failConnect(socket, new Error("the kernel did not take the preface at once"));
    } else if (tls !== undefined) startClientTls(socket, native, tls);
    else openConnected(socket);
  },
  connectError(native: NativeSocket, error: Error): void {
    const socket = native.data as BunSocket;
    if (socket.closed) ORPHANS.count--;
    else failConnect(socket, error);
  },
};

/** False when the owner destroyed the socket while it was connecting. */
function adoptNative(socket: BunSocket, native: NativeSocket): boolean {
  if (socket.closed) {
    ORPHANS.count--;
    native.terminate();
    return false;
  }
  socket.native = native;
  return true;
}

function openConnected(socket: BunSocket): void {
  socket.open();
  tellOpen(socket);
  socket.flush();
}

function failConnect(socket: BunSocket, error: unknown): void {
  socket.fail(connectError((socket.target as Target).address, error));
}

/** Connecting with TLS: from the first byte or after a preface. */
const CONNECT_TLS_HANDLERS = {
  ...STREAM_HANDLERS,
  open(native: NativeSocket): void {
    adoptNative(native.data as BunSocket, native);
  },
  handshake(native: NativeSocket, success: boolean, error: (Error & { code?: string }) | null): void {
    const socket = native.data as BunSocket;
    const settings = socket.target?.tls;
    if (socket.closed || socket.ready || settings === undefined) return;
    // Bun also compares the name, with that of SNI or the host: here our own rule counts.
    const nameOnly = error?.code === "ERR_TLS_CERT_ALTNAME_INVALID";
    const completed = success || nameOnly || !BROKEN_HANDSHAKE.has(error?.code ?? "");
    const chainHolds = nameOnly || (success && (error === null || error === undefined));
    const refused = completed
      ? checkUpstream(native, settings, chainHolds ? null : error)
      : tlsError("TLS handshake failed", error);
    if (refused !== undefined) {
      failConnect(socket, refused);
      return;
    }
    socket.tls = readTlsInfo(native, true, chainHolds);
    openConnected(socket);
  },
  connectError(native: NativeSocket, error: Error): void {
    const socket = native.data as BunSocket;
    if (socket.closed) ORPHANS.count--;
    else failConnect(socket, error);
  },
};

/** Codes of a handshake that did not come to its end, unlike one whose certificate does not hold. */
const BROKEN_HANDSHAKE: ReadonlySet<string> = new Set(["", "EPROTO", "ECONNRESET"]);

/** Why the upstream's certificate is not accepted. */
function checkUpstream(native: NativeSocket, settings: ClientTls, chainError: Error | null): Error | undefined {
  if (!settings.verify) return undefined;
  if (chainError !== null) return tlsError("the upstream's certificate is not trusted", chainError);
  return checkPeerName(settings, native.getPeerCertificate()?.raw);
}

/** Never `rejectUnauthorized`: what to reject is decided in `handshake`, before a client certificate is sent. */
const clientTlsOptions = (settings: ClientTls) => ({
  secureContext: nativeOf(clientContext(settings)),
  serverName: sniOf(settings),
  rejectUnauthorized: false,
  ...(settings.alpn.length === 0 ? {} : { ALPNProtocols: alpnWire(settings.alpn) }),
});

/** A closed socket: for a native one whose owner has gone on. It ignores what comes. */
function nobody(): BunSocket {
  const socket = new BunSocket(DEAF, undefined);
  socket.closed = true;
  return socket;
}

function startClientTls(socket: BunSocket, native: NativeSocket, settings: ClientTls): void {
  // The raw side goes on hearing the encrypted bytes.
  const deaf = nobody();
  native.data = deaf;
  const [raw, encrypted] = native.upgradeTLS({ data: socket, tls: clientTlsOptions(settings), socket: CONNECT_TLS_HANDLERS });
  raw.data = deaf;
  socket.native = encrypted;
}

const ignore = (): void => {};

/** Where, in Bun's words. */
const place = (address: SocketAddress): object =>
  address.kind === "unix" ? { unix: address.path } : { hostname: address.host, port: address.port };

/**
 * With so many given up while connecting, something out there swallows packets: then node:net connects, which can let go,
 * and descriptors stay bounded. It costs a little more (7 % in a bare echo).
 */
export const ORPHANS_MAX = 64;

/** Bun's native sockets behind the seam. */
export const bunNet: Net = {
  name: "bun",

  async listen(options, accept) {
    // A native socket cannot become a TLS server once bytes were read from it.
    if (options.deferTls) return nodeNet.listen(options, accept);
    if (options.address.kind === "unix") await removeStaleSocket(options.address.path);
    const listener = new BunListener(options.address, accept, options);
    const { contexts } = listener;
    try {
      listener.native = bunListen({
        ...place(options.address),
        allowHalfOpen: true,
        reusePort: options.reusePort,
        ...(options.backlog === undefined ? {} : { backlog: options.backlog }),
        data: listener,
        ...(contexts === undefined
          ? { socket: PLAIN_HANDLERS }
          : { socket: handlersFor(contexts), tls: serverTlsOptions(contexts) }),
      });
    } catch (error) {
      throw listenError(options.address, error);
    }
    listener.file = new SocketFile(options.address);
    if (options.address.kind === "tcp") listener.address = { ...options.address, port: listener.native.port ?? 0 };
    return listener;
  },

  connect(options, handler) {
    if (ORPHANS.count >= ORPHANS_MAX) return nodeNet.connect(options, handler);
    const tlsFirst = options.tls !== undefined && options.preface === undefined;
    const socket = new BunSocket(handler, { address: options.address, tls: options.tls, preface: options.preface });
    try {
      bunConnect({
        ...place(options.address),
        allowHalfOpen: true,
        data: socket,
        ...(tlsFirst && options.tls !== undefined
          ? { socket: CONNECT_TLS_HANDLERS, tls: clientTlsOptions(options.tls) }
          : { socket: CONNECT_HANDLERS }),
        // Failures come to `connectError`; the promise says them a second time.
      }).catch(ignore);
    } catch (error) {
      failConnect(socket, error);
    }
    return socket;
  },
};

function serverTlsOptions(contexts: ServerContexts): object {
  const { clientAuth } = contexts.settings;
  return {
    secureContext: nativeOf(contexts.fallback),
    requestCert: clientAuth !== "none",
    rejectUnauthorized: clientAuth === "required",
  };
}
