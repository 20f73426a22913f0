import type { ConfigIssue } from "../config/issue.ts";
import type { AuthenticationConfig, FilterConfig, ListenerConfig, Snapshot } from "../config/snapshot.ts";
import type { SnapshotUpdate } from "../config/source.ts";
import type { Clock } from "../core/clock.ts";
import { describeCause } from "../core/failure.ts";
import { DEFAULT_LISTENER_CONNECTIONS, DRAIN_TIMES } from "../core/limits.ts";
import type { Log } from "../core/log.ts";
import type { Rng } from "../core/rng.ts";
import type { CalloutAnswer, CalloutRequest, FilterAction } from "../filters/contract.ts";
import type { FilterRegistry } from "../filters/store.ts";
import { startCallout } from "../proxy/callout.ts";
import { ProxyCore } from "../proxy/core.ts";
import type { Authenticator } from "../proxy/generation.ts";
import { ListeningPort } from "../proxy/listeners/port.ts";
import type { Observer } from "../proxy/observe/record.ts";
import type { Net, SocketAddress } from "../runtime/net.ts";
import type { DataPlane } from "./data-plane.ts";
import { type BuiltGeneration, GenerationBuilder, issueOf } from "./generation.ts";

export interface ProxyOptions {
  readonly net: Net;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly observer: Observer;
  readonly filters: FilterRegistry;
  /** Called for each new `Authentication` of a snapshot, so that a proxy without any need not load what verifies tokens. */
  readonly createAuthenticator: (config: AuthenticationConfig) => Promise<Authenticator>;
  /** Several workers share each port. */
  readonly reusePort: boolean;
  /** Listen on Unix sockets, too. They cannot be shared, so one worker has them. Default: true. */
  readonly unixSockets?: boolean;
  /** File descriptors that this process may have; undefined: not known. */
  readonly descriptors?: number | undefined;
}

/** How often a draining proxy looks whether it is done. */
const DRAIN_POLL_MS = 50;
/** Connections are told to close over this share of the grace time, so that their owners do not all reconnect at once. */
const DRAIN_JITTER_SHARE = 0.1;
const DRAIN_JITTER_MS_MAX = 2_000;

/** The data plane of one process: builds generations, swaps them, owns the listening ports. */
export class RunningProxy implements DataPlane {
  readonly core: ProxyCore;
  readonly #builder: GenerationBuilder;
  readonly #ports = new Map<string, ListeningPort>();
  /** Closed by a reload, with connections that finish what they do. */
  readonly #retired = new Set<ListeningPort>();
  /** Bounds of listeners that were warned of. */
  readonly #warned = new Map<string, number>();
  #queue: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(readonly options: ProxyOptions) {
    this.core = new ProxyCore(options.clock, options.rng, options.log.for("proxy"), options.observer, options.descriptors);
    this.#builder = new GenerationBuilder({
      core: this.core,
      net: options.net,
      filters: options.filters,
      createAuthenticator: options.createAuthenticator,
    });
  }

  /** What serves; undefined before the first snapshot. */
  get snapshot(): Snapshot | undefined {
    return this.core.generation?.snapshot;
  }

  /** Bound addresses by listener name, with the ports that were really given. */
  get addresses(): ReadonlyMap<string, SocketAddress> {
    const addresses = new Map<string, SocketAddress>();
    for (const config of this.snapshot?.listeners ?? []) {
      const port = this.#ports.get(portKey(config));
      if (port !== undefined) addresses.set(config.name, port.address);
    }
    return addresses;
  }

  /** A filter's HTTP call that belongs to no exchange, to a service of the generation that serves. 0: refused (there is none yet, too). */
  startCallout(filter: FilterConfig, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number {
    const { generation } = this.core;
    if (generation === undefined || this.#stopped) return 0;
    return startCallout(this.core, generation, filter, request, done);
  }

  controlFilter(filter: string, action: FilterAction): void {
    this.options.filters.control(filter, action);
  }

  apply(update: SnapshotUpdate): Promise<readonly ConfigIssue[]> {
    const applied = this.#queue.then(() => this.#apply(update));
    this.#queue = applied.catch(() => {});
    return applied;
  }

  async #apply(update: SnapshotUpdate): Promise<readonly ConfigIssue[]> {
    const { core } = this;
    const current = core.generation?.snapshot;
    if (this.#stopped || core.draining) return [issueOf("draining", "", "the proxy is shutting down")];
    if (current !== undefined && update.snapshot.revision < current.revision) {
      return [
        issueOf("old_revision", "", `revision ${update.snapshot.revision} is older than ${current.revision}, which serves`),
      ];
    }
    if (current?.digest === update.snapshot.digest) return [];
    try {
      const built = await this.#builder.build(update, core.generation);
      if (!("generation" in built)) return built;
      // Ports are as their listeners are: nothing is opened, told or closed when these stayed.
      const settled = current?.listeners === update.snapshot.listeners;
      const issues = settled ? this.#serve(built) : await this.#serveOn(update.snapshot, built);
      if (issues.length > 0) return issues;
      for (const port of this.#retired) if (port.connectionCount === 0) this.#retired.delete(port);
      for (const port of this.#allPorts()) port.recheckTunnels(built.generation);
      return [];
    } catch (error) {
      return [issueOf("generation_failed", "", describeCause(error))];
    }
  }

  #serve(built: BuiltGeneration): readonly ConfigIssue[] {
    const { filters, snapshot } = built.generation;
    const changed = this.snapshot?.filters !== snapshot.filters;
    built.commit();
    this.core.generation = built.generation;
    if (changed) this.options.filters.serve(filters, snapshot.revision);
    return [];
  }

  /** The same after the ports that are new were opened; issues: one of them could not be. */
  async #serveOn(snapshot: Snapshot, built: BuiltGeneration): Promise<readonly ConfigIssue[]> {
    const { unixSockets = true } = this.options;
    const wanted = groupByPort(snapshot.listeners.filter(({ address }) => unixSockets || address.kind === "tcp"));
    const opened = await this.#openNew(wanted);
    if (!(opened instanceof Map)) {
      built.discard();
      return opened;
    }
    this.#serve(built);
    for (const [key, port] of opened) {
      this.#ports.set(key, port);
      port.begin(built.generation);
    }
    await this.#settlePorts(wanted);
    this.#warnOfDescriptors(snapshot);
    return [];
  }

  /** A bound that the system does not let us reach is worth a line, once. */
  #warnOfDescriptors(snapshot: Snapshot): void {
    const { downstreamMax } = this.core.sockets;
    for (const { name, maxConnections } of snapshot.listeners) {
      // Nobody asked for the default.
      if (maxConnections === DEFAULT_LISTENER_CONNECTIONS) continue;
      if (maxConnections <= downstreamMax || this.#warned.get(name) === maxConnections) continue;
      this.#warned.set(name, maxConnections);
      this.core.log.warn("limits.connections is more than the file descriptors of this process allow; the lower one holds", {
        ...{ listener: name, configured: maxConnections, allowed: downstreamMax, descriptors: this.options.descriptors },
        hint: "raise the limit (ulimit -n, LimitNOFILE)",
      });
    }
  }

  /** Opens the addresses that are new; on failure none of them stays open. */
  async #openNew(wanted: ReadonlyMap<string, readonly ListenerConfig[]>): Promise<Map<string, ListeningPort> | ConfigIssue[]> {
    const opened = new Map<string, ListeningPort>();
    const issues: ConfigIssue[] = [];
    for (const [key, configs] of wanted) {
      if (this.#ports.has(key)) continue;
      const port = new ListeningPort(this.core, this.options.net, configs);
      try {
        await port.open(this.options.reusePort);
        opened.set(key, port);
      } catch (error) {
        issues.push(issueOf("listen_failed", `Gateway ${configs[0]?.gateway ?? ""}`, describeCause(error)));
      }
    }
    if (issues.length === 0) return opened;
    for (const port of opened.values()) {
      await port.close();
      port.destroyConnections();
    }
    return issues;
  }

  /** Ports that stay get their new configuration; those that are gone stop accepting and drain. */
  async #settlePorts(wanted: ReadonlyMap<string, readonly ListenerConfig[]>): Promise<void> {
    for (const [key, port] of [...this.#ports]) {
      const configs = wanted.get(key);
      if (configs !== undefined) {
        port.update(configs);
        continue;
      }
      this.#ports.delete(key);
      this.#retired.add(port);
      port.drainConnections();
      await port.close();
    }
  }

  /** Listeners close, idle connections close jittered, exchanges finish, tunnels last. Resolves when nothing is left. */
  async drain(): Promise<void> {
    if (this.core.draining || this.#stopped) return;
    const { clock, rng } = this.options;
    const { graceMs, tunnelGraceMs } = this.snapshot?.mesh.drain ?? DRAIN_TIMES;
    const ports = this.#allPorts();
    await Promise.all(ports.map((port) => port.close()));
    this.core.draining = true;
    const jitterMs = Math.min(graceMs * DRAIN_JITTER_SHARE, DRAIN_JITTER_MS_MAX);
    for (const port of ports) port.drainJittered(this.core.clock, rng, jitterMs);
    const startMs = clock.nowMs();
    const isDone = (): boolean => {
      const elapsedMs = clock.nowMs() - startMs;
      // Exchanges had their time; tunnels may have more.
      if (elapsedMs >= graceMs) for (const port of ports) port.destroyExchanges();
      return ports.every((port) => port.connectionCount === 0) || elapsedMs >= Math.max(graceMs, tunnelGraceMs);
    };
    while (!isDone() && !this.#stopped) {
      await new Promise<void>((resolve) => void clock.setTimer(DRAIN_POLL_MS, resolve));
    }
    await this.stop();
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.core.draining = true;
    const ports = this.#allPorts();
    await Promise.all(ports.map((port) => port.close()));
    for (const port of ports) port.destroyConnections();
    // Sockets tell that they are closed in a later turn: then their exchanges end, and the access log has them.
    await new Promise<void>((resolve) => void setImmediate(resolve));
    // Those that outlive their exchanges.
    for (const callout of this.core.callouts.values()) callout.cancel();
    this.#builder.close();
  }

  #allPorts(): ListeningPort[] {
    return [...this.#ports.values(), ...this.#retired];
  }

  status(): unknown {
    const { generation } = this.core;
    return {
      revision: generation?.snapshot.revision ?? 0,
      digest: generation?.snapshot.digest ?? "",
      listeners: [...this.#ports.values()].map((port) => ({
        name: port.config.name,
        address: port.address,
        connections: port.connectionCount,
        tunnels: port.tunnelCount,
      })),
      services: [...(generation?.services.values() ?? [])].map((service) => ({
        name: service.config.name,
        endpoints: service.endpoints.length,
        pools: [...service.pools].map(([endpoint, pool]) => ({
          endpoint,
          connections: pool.connections,
          idle: pool.idleConnections,
          pending: pool.pending,
        })),
      })),
      filters: (generation?.filters ?? []).map((module) => ({
        name: module.config.name,
        origin: module.config.origin,
        digest: module.config.digest,
        ...module.status(),
      })),
    };
  }
}

/** What makes two listeners share a socket: where it is bound and how its first bytes are read. */
function portKey(config: ListenerConfig): string {
  const { address } = config;
  const how = `${config.protocol} ${config.proxyProtocol === undefined ? "plain" : "proxy"}`;
  if (address.kind === "unix") return `${how} unix:${address.path}`;
  return address.port === 0 ? `${how} ${config.name}` : `${how} ${address.host}:${address.port}`;
}

function groupByPort(listeners: readonly ListenerConfig[]): Map<string, ListenerConfig[]> {
  const groups = new Map<string, ListenerConfig[]>();
  for (const config of listeners) {
    const key = portKey(config);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [config]);
    else group.push(config);
  }
  return groups;
}
