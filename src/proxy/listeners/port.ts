import type { ListenerConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import { CidrSet } from "../../core/cidr.ts";
import type { Clock } from "../../core/clock.ts";
import { Failure, type FailureCode } from "../../core/failure.ts";
import { hostOf, type RequestHead } from "../../core/head.ts";
import type { Rng } from "../../core/rng.ts";
import {
  type Endpoints,
  type Listener,
  type Net,
  PLAIN_HTTP_CODE,
  type ServerTls,
  type Socket,
  type SocketHandler,
  type TlsInfo,
} from "../../runtime/net.ts";
import { Authorities } from "../../runtime/x509.ts";
import type { ProxyCore } from "../core.ts";
import { Exchange } from "../exchange.ts";
import { compileForwarding } from "../forwarding.ts";
import type { Generation, ListenerRuntime } from "../generation.ts";
import { type DownstreamHost, Http1Downstream } from "../http1/downstream.ts";
import { refuseBytes, refusePlainHttp } from "../refusal.ts";
import type { ConnectionInfo, DownstreamHandler, DownstreamStream } from "../stream.ts";
import { carriesStreams } from "../tcp/routes.ts";
import { TcpStream, type TcpStreamHost } from "../tcp/stream.ts";
import { AcceptPipeline } from "./accept.ts";
import type { ProxyPeer } from "./proxy-header.ts";

let lastConnectionId = 0;

/** Who speaks with whom; `source` is what a PROXY header says. */
function connectionInfo(
  listener: string,
  peer: Endpoints,
  source: ProxyPeer | undefined,
  tls: TlsInfo | undefined,
): ConnectionInfo {
  lastConnectionId++;
  return {
    id: lastConnectionId,
    remoteAddress: source?.address ?? peer.remoteAddress,
    remotePort: source?.port ?? peer.remotePort,
    localAddress: peer.localAddress,
    localPort: peer.localPort,
    directAddress: peer.remoteAddress,
    listener,
    tls,
    distrusted: false,
  };
}

/** Why a handshake broke off, by what the network says. */
function handshakeCode(error: Error & { readonly code?: unknown }): FailureCode {
  if (error.code === "ETIMEDOUT") return "request_timeout";
  return error.code === PLAIN_HTTP_CODE ? "plain_http" : "tls_handshake";
}

/**
 * One bound address and everything that listens on it. Several listeners (hosts) may share it; connections and exchanges
 * look the current configuration up, so a reload never touches the socket unless the address itself changes.
 */
export class ListeningPort implements DownstreamHost, TcpStreamHost {
  readonly #connections = new Set<Http1Downstream | TcpStream>();
  /** TLS handshakes and PROXY headers under way. */
  #accepting = 0;
  /** What begins under one name must end under it. */
  readonly #openedAs: string;
  #listener: Listener | undefined;
  /** A generation that knows it serves. */
  #begun = false;
  /** Never empty; the first one decides what belongs to the socket (PROXY protocol, times, limits). */
  #configs: readonly ListenerConfig[];
  /** Who may send a PROXY header. */
  #trusted: CidrSet;

  constructor(
    readonly core: ProxyCore,
    readonly net: Net,
    configs: readonly ListenerConfig[],
  ) {
    this.#configs = configs;
    this.#openedAs = this.config.name;
    this.#trusted = CidrSet.from(this.config.proxyProtocol?.trusted ?? []);
  }

  get clock() {
    return this.core.clock;
  }
  get deadlines() {
    return this.core.deadlines;
  }
  get turn() {
    return this.core.turn;
  }
  get draining(): boolean {
    return this.core.draining;
  }
  get config(): ListenerConfig {
    return this.#configs[0] as ListenerConfig;
  }
  /** With the port that was really bound. */
  get address() {
    return this.#listener?.address ?? this.config.address;
  }
  get connectionCount(): number {
    return this.#connections.size;
  }
  get tunnelCount(): number {
    let count = 0;
    for (const connection of this.#connections) if (connection.tunnelling) count++;
    return count;
  }

  /** Rejects when the address is taken. */
  async open(reusePort: boolean): Promise<void> {
    const { config } = this;
    this.#listener = await this.net.listen(
      {
        address: config.address,
        tls: serverTlsOf(this.#configs),
        reusePort: reusePort && config.address.kind === "tcp",
        deferTls: config.proxyProtocol !== undefined && config.tls !== undefined,
        handshakeMs: config.times.handshakeMs,
        handshakes: {
          begin: () => this.#contained(() => this.#beginHandshake()) ?? false,
          plainHttp: (peer) => this.#contained(() => this.#answerPlain(peer, undefined)),
          end: (error) => this.#contained(() => this.#endHandshake(error)),
        },
      },
      (socket) => this.#contained(() => this.#accept(socket)) ?? new RefusedSocket(socket),
    );
  }

  /** What happens to a connection that has no handler yet. Undefined: it threw, and the connection goes. */
  #contained<T>(action: () => T): T | undefined {
    try {
      return action();
    } catch (error) {
      this.turn.thrown(error, { abandon: (bug) => void bug.failure.addAddress(`listener ${this.config.name}`) });
      return undefined;
    }
  }

  /** The generation that opened it serves now: streams that came meanwhile may go somewhere. */
  begin(generation: Generation): void {
    this.#begun = true;
    this.#each((connection) => connection instanceof TcpStream && connection.start(generation));
  }

  /** New configuration for the same address: new handshakes and exchanges use it, connections live on. */
  update(configs: readonly ListenerConfig[]): void {
    const former = serverTlsOf(this.#configs);
    const before = JSON.stringify(former);
    const clientCaPem = former?.clientCaPem;
    this.#configs = configs;
    this.#trusted = CidrSet.from(this.config.proxyProtocol?.trusted ?? []);
    const tls = serverTlsOf(configs);
    if (tls !== undefined && JSON.stringify(tls) !== before) this.#listener?.updateTls(tls);
    // Whom the former authorities vouched for must show a certificate to the new ones.
    if (tls === undefined || tls.clientAuth === "none" || tls.clientCaPem === clientCaPem) return;
    this.drainConnections();
    this.#distrust(new Authorities(clientCaPem ?? ""), new Authorities(tls.clientCaPem ?? ""));
  }

  /** Marks the connections that hang on an authority that is gone: the generation refuses what they ask from now on, and their tunnels. */
  #distrust(former: Authorities, now: Authorities): void {
    if (now.include(former)) return;
    for (const { connection } of this.#connections) {
      const peer = connection.tls?.peer;
      if (peer !== undefined && !now.vouchFor(peer.der)) connection.distrusted = true;
    }
  }

  /** Stops accepting; open connections go on. */
  async close(): Promise<void> {
    await this.#listener?.close();
  }

  /** Closes the tunnels that `generation` would not open. */
  recheckTunnels(generation: Generation): void {
    this.#each((connection) => {
      if (connection instanceof TcpStream) connection.recheck(generation);
      else if (connection.handler instanceof Exchange) connection.handler.recheckTunnel(generation);
    });
  }

  /** Closes idle connections now and the others after their exchange. Tunnels stay. */
  drainConnections(): void {
    this.#each((connection) => connection.drain());
  }

  /** For all of them: what throws costs that one, and not who asks nor those behind it. */
  #each(action: (connection: Http1Downstream | TcpStream) => void): void {
    for (const connection of this.#connections) this.turn.run(connection, () => action(connection));
  }

  /** The same, spread over `jitterMs`, so that the downstreams do not all reconnect in one moment. */
  drainJittered(clock: Clock, rng: Rng, jitterMs: number): void {
    for (const connection of this.#connections) {
      clock.setTimer(rng.next() * jitterMs, () => this.turn.run(connection, () => connection.drain()));
    }
  }

  /** Cuts exchanges that are still under way; tunnels go on. */
  destroyExchanges(): void {
    for (const connection of this.#connections) if (!connection.tunnelling) connection.socket.destroy();
  }

  /** Cuts everything that is left. */
  destroyConnections(): void {
    for (const connection of this.#connections) connection.socket.destroy();
  }

  // ---------------------------------------------------------------- accept

  /** Why one more connection is not taken; undefined: there is room. */
  #refusal(): Failure | undefined {
    const { core, config } = this;
    if (core.draining) return new Failure("draining", "connections");
    if (this.#connections.size + this.#accepting >= config.maxConnections) return new Failure("overloaded", "connections");
    return core.sockets.downstreamFull ? new Failure("overloaded", "file descriptors") : undefined;
  }

  /** One more handshake or PROXY header is under way, unless it is refused. */
  #beginHandshake(): boolean {
    const { core, config } = this;
    const refusal =
      this.#refusal() ?? (this.#accepting >= config.maxHandshakes ? new Failure("overloaded", "handshakes") : undefined);
    if (refusal !== undefined) {
      core.observer.onConnectionFailure(config.name, refusal);
      return false;
    }
    this.#accepting++;
    core.sockets.downstream++;
    core.observer.onHandshake(this.#openedAs, 1);
    return true;
  }

  #endHandshake(error: Error | Failure | undefined): void {
    const { core, config } = this;
    this.#accepting--;
    core.sockets.downstream--;
    core.observer.onHandshake(this.#openedAs, -1);
    if (error === undefined) return;
    const failure = error instanceof Failure ? error : new Failure(handshakeCode(error), "", error);
    core.observer.onConnectionFailure(config.name, failure);
  }

  /** HTTP in plain text where TLS was to begin. Who listens for streams may carry another protocol: nothing is said there. */
  #answerPlain(peer: Endpoints, source: ProxyPeer | undefined): Bytes | undefined {
    const { core, config } = this;
    return carriesStreams(config) ? undefined : refusePlainHttp(core, connectionInfo(config.name, peer, source, undefined));
  }

  #accept(socket: Socket): SocketHandler {
    const { config } = this;
    if (config.proxyProtocol === undefined) {
      const refusal = this.#refusal();
      if (refusal === undefined) return this.#serve(socket, undefined);
      this.core.observer.onConnectionFailure(config.name, refusal);
      return new RefusedSocket(socket);
    }
    if (!this.#beginHandshake()) return new RefusedSocket(socket);
    return new AcceptPipeline(
      this.core,
      config,
      socket,
      this.#listener,
      this.#trusted,
      (ready, source) => {
        this.#endHandshake(undefined);
        return this.#serve(ready, source);
      },
      (source) => this.#answerPlain(socket, source),
      (failure) => this.#endHandshake(failure),
    );
  }

  #serve(socket: Socket, source: ProxyPeer | undefined): SocketHandler {
    const { config } = this;
    const info = connectionInfo(config.name, socket, source, socket.tls);
    this.core.sockets.downstream++;
    try {
      this.core.observer.onConnectionOpen(config.name);
      return carriesStreams(config) ? this.#openStream(socket, info) : this.#openHttp(socket, info);
    } catch (error) {
      this.core.sockets.downstream--;
      this.core.observer.onConnectionClose(config.name);
      throw error;
    }
  }

  #openHttp(socket: Socket, info: ConnectionInfo): Http1Downstream {
    const connection = new Http1Downstream(socket, this.config, info, this);
    this.#connections.add(connection);
    return connection;
  }

  #openStream(socket: Socket, info: ConnectionInfo): TcpStream {
    const { core, config } = this;
    const stream = new TcpStream(core, socket, info, config.times.tunnelIdleMs, this);
    this.#connections.add(stream);
    this.turn.run(stream, () => {
      core.observer.onStreamStart(stream);
      if (this.#begun) stream.start(core.generation as Generation);
    });
    return stream;
  }

  // ---------------------------------------------------------------- called by connections

  openExchange(stream: DownstreamStream, head: RequestHead, end: boolean): DownstreamHandler {
    const generation = this.core.generation as Generation;
    const runtime = this.#runtimeFor(generation, head);
    const exchange = new Exchange(this.core, generation, runtime, stream, head, end);
    // Set before it runs: it may answer at once.
    stream.handler = exchange;
    this.core.observer.onExchangeStart();
    // A body must find its exchange started.
    if (end) this.core.turn.start(exchange);
    else exchange.start();
    return exchange;
  }

  refuse(stream: DownstreamStream, failure: Failure): void {
    refuseBytes(this.core, stream, failure);
  }

  onDownstreamClosed(connection: Http1Downstream): void {
    this.#forget(connection, connection.config.name);
  }

  onStreamClosed(stream: TcpStream): void {
    this.#forget(stream, stream.connection.listener);
  }

  #forget(connection: Http1Downstream | TcpStream, listener: string): void {
    if (!this.#connections.delete(connection)) return;
    this.core.sockets.downstream--;
    this.core.observer.onConnectionClose(listener);
  }

  /** The listener on this address whose hosts cover the request; the most specific wins. */
  #runtimeFor(generation: Generation, head: RequestHead): ListenerRuntime {
    const configs = this.#configs;
    let chosen = configs[0] as ListenerConfig;
    if (configs.length > 1) chosen = mostSpecific(configs, hostOf(head.authority)) ?? chosen;
    return generation.listeners.get(chosen.name) ?? droppedListener(chosen, generation);
  }
}

/** A listener that a newer generation dropped: its open connections find no route any more, above all not another listener's. */
function droppedListener(config: ListenerConfig, { snapshot }: Generation): ListenerRuntime {
  return { config, forwarding: compileForwarding(config.forwarding, snapshot.mesh.trustedProxies, snapshot.mesh.tracing) };
}

function mostSpecific(configs: readonly ListenerConfig[], host: string): ListenerConfig | undefined {
  let best: ListenerConfig | undefined;
  let bestLength = -1;
  for (const config of configs) {
    if (config.hosts.length === 0 && bestLength < 0) {
      best = config;
      bestLength = 0;
    }
    for (const pattern of config.hosts) {
      const matches = pattern === host || pattern === "*" || (pattern.startsWith("*.") && host.endsWith(pattern.slice(1)));
      // An exact host beats any wildcard; a longer wildcard beats a shorter one.
      const length = pattern === host ? 1_000 : pattern.length;
      if (matches && length > bestLength) {
        best = config;
        bestLength = length;
      }
    }
  }
  return best;
}

/** The certificates of all listeners on one address; undefined for plain HTTP. */
function serverTlsOf(configs: readonly ListenerConfig[]): ServerTls | undefined {
  const secured = configs.filter((config) => config.tls !== undefined);
  const first = secured[0]?.tls;
  if (first === undefined) return undefined;
  return {
    certificates: secured.flatMap((config) => config.tls?.certificates ?? []),
    clientAuth: first.clientAuth,
    clientCaPem: first.clientCaPem,
    minVersion: first.minVersion,
    alpn: secured.some(carriesStreams) ? [] : ["http/1.1"],
  };
}

/** One connection too many: closed without a word (an answer would cost what is scarce). */
class RefusedSocket implements SocketHandler {
  constructor(socket: Socket) {
    queueMicrotask(() => socket.destroy());
  }
  onOpen(): void {}
  onData(): void {}
  onEnd(): void {}
  onDrain(): void {}
  onClose(): void {}
}
