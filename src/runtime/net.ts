import type { Bytes } from "../core/bytes.ts";

/**
 * Seam 1: the network. Two adapters for real sockets (`bun.ts`: Bun's native ones; `node.ts`: node:net and node:tls, for
 * Deno, Node and for what Bun's native ones cannot do) and pipes in memory for tests. One contract suite
 * (test/contract/net.ts) runs against all of them.
 */

/** Where to listen or connect: a TCP port (IPv4 or IPv6 literal, or a name for `connect`) or a Unix socket. */
export type SocketAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** What hears from a socket. Set as `socket.handler`; it may be exchanged at any time (the accept pipeline does). */
export interface SocketHandler {
  /** Connected; for TLS, the handshake is complete and `socket.tls` is set. Not called for accepted sockets: they are open when `accept` is. */
  onOpen(socket: Socket): void;
  /** `bytes` are valid only during the call. */
  onData(socket: Socket, bytes: Bytes): void;
  /**
   * The peer finished its side (FIN or close_notify); writing is still possible. Without it, `onClose` comes with an error.
   * With TLS, the runtimes tell a FIN without close_notify as an end, too: a truncation shows in the framing above only.
   */
  onEnd(socket: Socket): void;
  /** Everything that was pending is with the kernel; called after a `write` that returned false. */
  onDrain(socket: Socket): void;
  /** The last call, exactly once: both sides are closed, or `error` says why (a failed connect comes here as well). */
  onClose(socket: Socket, error: Error | undefined): void;
  /** One of the calls above threw, which is a bug of the handler's. Absent, or when it throws again: the error ends the process. */
  onThrown?(socket: Socket, error: unknown): void;
}

/** What the TLS handshake established. */
export interface TlsInfo {
  /** `TLSv1.3`, `TLSv1.2`. */
  readonly version: string;
  readonly cipher: string;
  /** The name the downstream asked for, lower case, or undefined. */
  readonly serverName: string | undefined;
  readonly alpn: string | undefined;
  /** The peer's certificate; undefined when it sent none. `verified`: the chain leads to our CA. */
  readonly peer: PeerCertificate | undefined;
}

export interface PeerCertificate {
  readonly verified: boolean;
  /** DER bytes of the leaf. */
  readonly der: Bytes;
  /** `URI:` subject alternative names, exactly as in the certificate. */
  readonly uris: readonly string[];
  /** `DNS:` subject alternative names. */
  readonly dnsNames: readonly string[];
  readonly subject: string;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
}

/** Peer and own address as text ("" for Unix sockets) and port (0 there). */
export interface Endpoints {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
}

/** A connected stream of bytes. Not a Node stream: no events, no promises, no buffering on the way in. */
export interface Socket extends Endpoints {
  handler: SocketHandler;
  readonly tls: TlsInfo | undefined;
  /** The descriptor, or -1 where the runtime does not tell. */
  readonly fd: number;
  /** Bytes taken by `write` that the kernel does not have yet. */
  readonly pendingBytes: number;
  /**
   * Takes all of `bytes[start, end)` (the caller may reuse its buffer at once). Returns false when some of it is pending:
   * write no more before `onDrain`. After `end` or `destroy` it does nothing and returns true.
   */
  write(bytes: Bytes, start?: number, end?: number): boolean;
  /** Half-close: sends FIN (close_notify) once everything pending is out. */
  end(): void;
  /**
   * Closes both sides now; pending bytes are lost. `onClose` follows, not in this call; nothing else does. The peer gets a
   * RST, so that it cannot take what it has for complete, unless `end` was called and everything is out.
   */
  destroy(): void;
  /** Stops and restarts `onData` and `onEnd`; the kernel's window does the rest. Idempotent. */
  pause(): void;
  resume(): void;
  /** TCP_NODELAY is on from the start. SO_KEEPALIVE: */
  setKeepAlive(enabled: boolean, delayMs: number): void;
}

/** One certificate with its key, and the names it serves. */
export interface ServerCertificate {
  /** Lower-case host names, `*.example.org` for one label; `*` for the default when no SNI matches. */
  readonly hosts: readonly string[];
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface ServerTls {
  readonly certificates: readonly ServerCertificate[];
  /** `none`: not asked. `optional`: asked, verified if sent, let in without. `required`: the handshake fails without a verified one. */
  readonly clientAuth: "none" | "optional" | "required";
  /** PEM of the CAs that may have signed client certificates. */
  readonly clientCaPem: string | undefined;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  /** In order of preference; empty for no ALPN. */
  readonly alpn: readonly string[];
}

export interface ClientTls {
  /** SNI and, unless `verifyName` says otherwise, the name (or IP address) the certificate must have; "" sends no SNI. */
  readonly serverName: string;
  /** The name the certificate must have when it is not `serverName`; "" checks the chain only (the mesh then checks the SPIFFE ID in `socket.tls`). */
  readonly verifyName?: string | undefined;
  /** PEM of the accepted roots; undefined: the system's. */
  readonly caPem: string | undefined;
  /** False accepts any certificate: only ever by explicit configuration. */
  readonly verify: boolean;
  /** Own certificate for mTLS. */
  readonly certificatePem: string | undefined;
  readonly keyPem: string | undefined;
  readonly alpn: readonly string[];
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
}

/** Hears of TLS handshakes on a listener, which `accept` does not see until they are done. */
export interface HandshakeWatch {
  /** A connection came. False: it is closed at once, and nothing more is said of it. */
  begin(): boolean;
  /**
   * Instead of a ClientHello came an HTTP request in plain text. What to answer it, in plain text, before the connection is closed;
   * undefined or absent: nothing. `end` follows, with an error whose `code` is `PLAIN_HTTP_CODE`. Bun's own sockets tell it by the
   * first bytes of GET, HEAD, POST, PUT and CONNECT: after others the library has already sent a TLS alert. `peer` is valid during the call.
   */
  plainHttp?(peer: Endpoints): Bytes | undefined;
  /** Once for each that began: it is done (`accept` follows) or broke off, and why. */
  end(error: Error | undefined): void;
}

/** `code` of a handshake that broke off because the peer speaks HTTP without TLS; OpenSSL's name for it. */
export const PLAIN_HTTP_CODE = "ERR_SSL_HTTP_REQUEST";

/** A TLS record never begins so, a method of HTTP does: by the first byte of a connection. */
export const beginsPlainHttp = (first: number | undefined): boolean => first !== undefined && first >= 0x41 && first <= 0x5a;

export interface ListenOptions {
  readonly address: SocketAddress;
  readonly tls: ServerTls | undefined;
  /** Several processes share the port and the kernel spreads connections (Linux). */
  readonly reusePort: boolean;
  /**
   * The accept pipeline wants the raw bytes before TLS (PROXY header, sniffing): connections arrive plain even if `tls` is set,
   * and `Listener.startTls` upgrades them. Costs the node adapter on Bun.
   */
  readonly deferTls: boolean;
  /** Connections that may wait for `accept`. Default 511; Bun always takes 512. */
  readonly backlog?: number;
  /** A TLS handshake that takes longer is broken off (`accept` has not seen that connection yet). Default: 10 s; Bun rounds up to 4 s steps. */
  readonly handshakeMs?: number;
  /** Not with `deferTls`. */
  readonly handshakes?: HandshakeWatch;
}

/** A listening socket. */
export interface Listener {
  /** With the port that was really bound (when 0 was asked for). */
  readonly address: SocketAddress;
  /** New handshakes use this; established connections are not touched. */
  updateTls(tls: ServerTls): void;
  /** Only on listeners with `deferTls`: makes the accepted socket a TLS server; `head` are bytes already read that belong to the handshake. `onOpen` of the returned socket's handler follows. */
  startTls(socket: Socket, head: Bytes, handler: SocketHandler): Socket;
  /** Stops accepting; accepted connections live on. Resolves when the port is free. Idempotent. */
  close(): Promise<void>;
}

export interface ConnectOptions {
  readonly address: SocketAddress;
  readonly tls: ClientTls | undefined;
  /** Bytes sent before the TLS handshake (PROXY header to the upstream); undefined for none. */
  readonly preface?: Bytes | undefined;
}

export interface Net {
  /** `memory`, `bun`, `node`. */
  readonly name: string;
  /**
   * Rejects with an `Error` whose message names the address ("port 8080 on 0.0.0.0 is in use") when it cannot listen.
   * `accept` is called per connection (for TLS after the handshake, with `socket.tls` set) and returns its handler.
   */
  listen(options: ListenOptions, accept: (socket: Socket) => SocketHandler): Promise<Listener>;
  /** Returns at once; `handler.onOpen` or `handler.onClose` follows, never in this call. Time-outs are the caller's. */
  connect(options: ConnectOptions, handler: SocketHandler): Socket;
}
