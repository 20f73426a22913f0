import type { ConfigIssue } from "../config/issue.ts";
import { refuseUnsigned } from "../config/module-signature.ts";
import type {
  AuthenticationConfig,
  EndpointConfig,
  EndpointSetConfig,
  FilterConfig,
  RouteConfig,
  ServiceConfig,
  Snapshot,
} from "../config/snapshot.ts";
import { diffLists, findNamed } from "../config/sorted-list.ts";
import type { SnapshotUpdate } from "../config/source.ts";
import { isSameData } from "../core/equal.ts";
import { describeCause } from "../core/failure.ts";
import type { FilterLease, FilterRegistry } from "../filters/store.ts";
import type { ProxyCore } from "../proxy/core.ts";
import { watchDns } from "../proxy/discovery/watch.ts";
import { compileForwarding } from "../proxy/forwarding.ts";
import type { Authenticator, Generation, ListenerRuntime } from "../proxy/generation.ts";
import { buildRouter } from "../proxy/routing/build.ts";
import { loadPatternEngine } from "../proxy/routing/pattern.ts";
import { buildStreamRoutes } from "../proxy/tcp/routes.ts";
import { UpstreamService } from "../proxy/upstream/service.ts";
import type { Net } from "../runtime/net.ts";
import { RuleTable } from "./rule-table.ts";

/** What a generation is built from besides its snapshot. */
export interface GenerationParts {
  readonly core: ProxyCore;
  readonly net: Net;
  readonly filters: FilterRegistry;
  /** Resolves once it may be asked; rejects when its keys cannot be used. */
  readonly createAuthenticator: (config: AuthenticationConfig) => Promise<Authenticator>;
}

/** Something that outlives generations with an equal configuration. */
interface Kept<C, T> {
  readonly config: C;
  readonly value: T;
}

/** A service with what feeds it endpoints. */
interface RunningService {
  readonly service: UpstreamService;
  readonly stopDns: (() => void) | undefined;
}

type Services = ReadonlyMap<string, Kept<ServiceConfig, RunningService>>;
type Authenticators = ReadonlyMap<string, Kept<AuthenticationConfig, Authenticator>>;

/** What a generation shares with its neighbours. */
interface Shared {
  /** Undefined: nothing was built yet. */
  readonly snapshot: Snapshot | undefined;
  readonly services: Services;
  readonly upstreams: ReadonlyMap<string, UpstreamService>;
  readonly authenticators: Authenticators;
  readonly leases: readonly FilterLease[];
  readonly rules: RuleTable;
  /** Services that the one before did not have, by name; and the one before's that this has not. */
  readonly created: ReadonlyMap<string, RunningService>;
  readonly ended: readonly RunningService[];
}

/** A generation that was built but does not serve yet. */
export interface BuiltGeneration {
  readonly generation: Generation;
  /** Takes its place: what only the former one used is given back. */
  commit(): void;
  /** It will not serve after all. */
  discard(): void;
}

const EMPTY: Shared = {
  ...{ snapshot: undefined, services: new Map(), upstreams: new Map(), authenticators: new Map(), leases: [] },
  ...{ rules: new RuleTable(new Map(), new Map()), created: new Map(), ended: [] },
};

/**
 * Builds generations. What is equal between two of them (a service with its pools and balancer state, a filter with its
 * instances, verified tokens) is the same object in both, so a reload disturbs only what it changes. Nor does it look at more:
 * lists are compared with the former snapshot's by identity, which their source keeps for what stayed (SectionJoiner).
 */
export class GenerationBuilder {
  /** Of the generation that serves. */
  #shared: Shared = EMPTY;
  /** Bytes of the modules that the current snapshot names: an update brings only those that are new. */
  #modules: ReadonlyMap<string, Uint8Array> = new Map();

  constructor(readonly parts: GenerationParts) {}

  /** Issues: it cannot be built, nothing has changed. */
  async build(update: SnapshotUpdate, previous: Generation | undefined): Promise<BuiltGeneration | readonly ConfigIssue[]> {
    const { snapshot } = update;
    const issues: ConfigIssue[] = [];
    const leases = snapshot.filters.length === 0 ? [] : await this.#loadFilters(update, issues);
    if (issues.length > 0) {
      for (const lease of leases) lease.release();
      return issues;
    }
    const services = this.#prepareServices(snapshot);
    try {
      // Waited for only when there is something to wait for: a change of one route goes live in one go.
      const { snapshot: before, authenticators: known } = this.#shared;
      const same = before?.authentications === snapshot.authentications;
      const authenticators = same ? known : await this.#prepareAuthenticators(snapshot);
      const { added } = diffLists(before?.routes ?? [], snapshot.routes, (each) => each.name);
      if (added.some(hasPattern)) await loadPatternEngine();
      const rules = this.#prepareRules(snapshot, added, leases, authenticators);
      const generation: Generation = {
        snapshot,
        router: buildRouter(snapshot.routes, snapshot.listeners, previous?.router),
        streams: buildStreamRoutes(snapshot, previous),
        services: services.upstreams,
        rules,
        filters: leases.map((lease) => lease.module),
        listeners: this.#prepareListeners(snapshot, previous),
      };
      return {
        generation,
        commit: () => {
          this.#keepModules(update);
          this.#commit({ snapshot, ...services, authenticators, leases, rules });
        },
        discard: () => this.#discard(services.created, leases),
      };
    } catch (error) {
      this.#discard(services.created, leases);
      return [issueOf("generation_failed", "", describeCause(error))];
    }
  }

  /** Ends everything that generations share. */
  close(): void {
    const { services, leases } = this.#shared;
    for (const { value } of services.values()) closeService(value);
    for (const lease of leases) lease.release();
    this.#shared = EMPTY;
  }

  async #loadFilters(update: SnapshotUpdate, issues: ConfigIssue[]): Promise<FilterLease[]> {
    const leases: FilterLease[] = [];
    for (const config of update.snapshot.filters) {
      try {
        const unsigned = this.#refuseUnsigned(config, update);
        if (unsigned !== undefined) {
          issues.push(issueOf("unsigned_module", `Filter ${config.name}`, `The mesh wants signed modules: ${unsigned}.`));
          continue;
        }
        leases.push(await this.parts.filters.acquire(config, async (digest) => this.#moduleOf(digest, update)));
      } catch (error) {
        issues.push(issueOf("filter_refused", `Filter ${config.name}`, describeCause(error)));
      }
    }
    return leases;
  }

  #moduleOf(digest: string, update: SnapshotUpdate): Uint8Array {
    const bytes = update.modules.get(digest) ?? this.#modules.get(digest);
    if (bytes === undefined) throw new Error(`module ${digest} did not come with the snapshot`);
    return bytes;
  }

  /** The control plane has looked already; a proxy does not believe it. What comes with the proxy needs no signature. */
  #refuseUnsigned(config: FilterConfig, update: SnapshotUpdate): string | undefined {
    const keys = update.snapshot.mesh.filterKeys;
    if (keys === undefined || config.origin.startsWith("builtin:")) return undefined;
    return refuseUnsigned(this.#moduleOf(config.digest, update), keys);
  }

  #keepModules(update: SnapshotUpdate): void {
    const kept = new Map<string, Uint8Array>();
    for (const { digest } of update.snapshot.filters) {
      const bytes = update.modules.get(digest) ?? this.#modules.get(digest);
      if (bytes !== undefined) kept.set(digest, bytes);
    }
    this.#modules = kept;
  }

  #prepareServices(snapshot: Snapshot): Pick<Shared, "services" | "upstreams" | "created" | "ended"> {
    const { snapshot: before, services: known, upstreams: knownUpstreams } = this.#shared;
    const { removed, added } = diffLists(before?.services ?? [], snapshot.services, (each) => each.name);
    const created = new Map<string, RunningService>();
    if (removed.length + added.length === 0) return { services: known, upstreams: knownUpstreams, created, ended: [] };
    const services = new Map(known);
    const upstreams = new Map(knownUpstreams);
    for (const { name } of removed) {
      services.delete(name);
      upstreams.delete(name);
    }
    for (const config of added) {
      const kept = known.get(config.name);
      const equal = kept !== undefined && isSameData(kept.config, config);
      const value = equal ? kept.value : this.#createService(config);
      if (!equal) created.set(config.name, value);
      services.set(config.name, { config, value });
      upstreams.set(config.name, value.service);
    }
    const ended = removed.flatMap(({ name }) => {
      const former = known.get(name)?.value;
      return former === undefined || former === services.get(name)?.value ? [] : [former];
    });
    return { services, upstreams, created, ended };
  }

  #createService(config: ServiceConfig): RunningService {
    const { core, net } = this.parts;
    const service = new UpstreamService(config, net, core, core.rng);
    if (config.dns === undefined) return { service, stopDns: undefined };
    const watch = watchDns(config.dns, (endpoints: readonly EndpointConfig[]) => service.updateEndpoints(endpoints), core);
    return { service, stopDns: () => watch.stop() };
  }

  async #prepareAuthenticators(snapshot: Snapshot): Promise<Authenticators> {
    const { authenticators: known } = this.#shared;
    const authenticators = new Map<string, Kept<AuthenticationConfig, Authenticator>>();
    for (const config of snapshot.authentications) {
      const kept = known.get(config.name);
      const equal = kept !== undefined && isSameData(kept.config, config);
      authenticators.set(config.name, { config, value: equal ? kept.value : await this.parts.createAuthenticator(config) });
    }
    return authenticators;
  }

  /** The former table when filters and authentications stayed: then only what is new among the routes is looked at. */
  #prepareRules(
    snapshot: Snapshot,
    added: readonly RouteConfig[],
    leases: readonly FilterLease[],
    authenticators: Authenticators,
  ): RuleTable {
    const { snapshot: before, rules: known } = this.#shared;
    const modules = new Map(leases.map((lease) => [lease.module.config.name, lease.module]));
    const deciders = new Map([...authenticators].map(([name, kept]) => [name, kept.value]));
    if (before !== undefined && known.fits(modules, deciders)) {
      known.check(added);
      return known;
    }
    const rules = new RuleTable(modules, deciders);
    rules.check(snapshot.routes);
    return rules;
  }

  #prepareListeners(snapshot: Snapshot, previous: Generation | undefined): ReadonlyMap<string, ListenerRuntime> {
    const before = previous?.snapshot;
    if (previous !== undefined && before?.listeners === snapshot.listeners && before.mesh === snapshot.mesh)
      return previous.listeners;
    const { trustedProxies, tracing } = snapshot.mesh;
    return new Map(
      snapshot.listeners.map((config) => [
        config.name,
        { config, forwarding: compileForwarding(config.forwarding, trustedProxies, tracing) },
      ]),
    );
  }

  #commit(shared: Shared): void {
    const { snapshot, leases } = this.#shared;
    this.#updateEndpoints(shared, snapshot);
    for (const service of shared.ended) closeService(service);
    this.#shared = shared;
    // An exchange that waits for its token's verification opens its filters a moment later, still of the former generation.
    if (leases.length === 0) return;
    this.parts.core.clock.setTimer(FILTER_RELEASE_MS, () => {
      for (const lease of leases) lease.release();
    });
  }

  /** Services that are new, and those whose endpoints changed. */
  #updateEndpoints({ snapshot, services, created }: Shared, before: Snapshot | undefined): void {
    if (snapshot === undefined) return;
    const former = before?.endpoints ?? [];
    const update = (set: EndpointSetConfig): void => {
      const running = services.get(set.service)?.value;
      if (running !== undefined && running.stopDns === undefined) running.service.updateEndpoints(set.endpoints);
    };
    for (const set of diffLists(former, snapshot.endpoints, serviceOf).added) {
      const old = findNamed(former, set.service, serviceOf);
      if (!created.has(set.service) && (old === undefined || !isSameData(old.endpoints, set.endpoints))) update(set);
    }
    if (created.size > 0) for (const set of snapshot.endpoints) if (created.has(set.service)) update(set);
  }

  #discard(created: ReadonlyMap<string, RunningService>, leases: readonly FilterLease[]): void {
    for (const service of created.values()) closeService(service);
    for (const lease of leases) lease.release();
  }
}

const serviceOf = (set: EndpointSetConfig): string => set.service;

/** Filters of a former generation are given back after this time; contexts still open keep them alive longer. */
const FILTER_RELEASE_MS = 10_000;

function closeService(running: RunningService): void {
  running.stopDns?.();
  running.service.close();
}

function hasPattern(route: RouteConfig): boolean {
  const isRegex = (each: { readonly kind: string }): boolean => each.kind === "regex";
  return route.rules.some(({ matches }) =>
    matches.some(({ path, headers, query }) => isRegex(path) || headers.some(isRegex) || query.some(isRegex)),
  );
}

export function issueOf(code: string, resource: string, message: string): ConfigIssue {
  return { code, message, hint: "", resource, path: "", file: "", line: 0, column: 0 };
}
