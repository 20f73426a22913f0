import type { ConfigIssue } from "../config/issue.ts";
import type {
  AuthenticationConfig,
  EndpointConfig,
  RouteConfig,
  RuleConfig,
  ServiceConfig,
  Snapshot,
} from "../config/snapshot.ts";
import type { SnapshotUpdate } from "../config/source.ts";
import { describeCause } from "../core/failure.ts";
import type { FilterLease, FilterRegistry } from "../filters/store.ts";
import type { ProxyCore } from "../proxy/core.ts";
import { watchDns } from "../proxy/discovery/watch.ts";
import { compileForwarding } from "../proxy/forwarding.ts";
import type { Authenticator, Generation, ListenerRuntime, RuleRuntime } from "../proxy/generation.ts";
import { buildRouter } from "../proxy/routing/build.ts";
import { loadPatternEngine } from "../proxy/routing/pattern.ts";
import { RouteTable } from "../proxy/routing/route-table.ts";
import type { Router } from "../proxy/routing/router.ts";
import { UpstreamService } from "../proxy/upstream/service.ts";
import type { Net } from "../runtime/net.ts";

/** What a generation is built from besides its snapshot. */
export interface GenerationParts {
  readonly core: ProxyCore;
  readonly net: Net;
  readonly filters: FilterRegistry;
  /** Resolves once it may be asked; rejects when its keys cannot be used. */
  readonly createAuthenticator: (config: AuthenticationConfig) => Promise<Authenticator>;
}

/** Something that outlives generations with an equal configuration. */
interface Kept<T> {
  readonly fingerprint: string;
  readonly value: T;
}

/** A service with what feeds it endpoints. */
interface KeptService {
  readonly service: UpstreamService;
  readonly stopDns: (() => void) | undefined;
}

/** A generation that was built but does not serve yet. */
export interface BuiltGeneration {
  readonly generation: Generation;
  /** Takes its place: what only the former one used is given back. */
  commit(): void;
  /** It will not serve after all. */
  discard(): void;
}

/**
 * Builds generations. What is equal between two of them (a service with its pools and balancer state, a filter with its
 * instances, verified tokens) is the same object in both, so a reload disturbs only what it changes.
 */
export class GenerationBuilder {
  #services = new Map<string, Kept<KeptService>>();
  #authenticators = new Map<string, Kept<Authenticator>>();
  #leases: readonly FilterLease[] = [];
  #endpointTexts = new Map<string, string>();
  /** Bytes of the modules that the current snapshot names: an update brings only those that are new. */
  #modules: ReadonlyMap<string, Uint8Array> = new Map();

  constructor(readonly parts: GenerationParts) {}

  /** Issues: it cannot be built, nothing has changed. */
  async build(update: SnapshotUpdate, previous: Generation | undefined): Promise<BuiltGeneration | readonly ConfigIssue[]> {
    const { snapshot } = update;
    const issues: ConfigIssue[] = [];
    const leases = await this.#loadFilters(update, issues);
    if (issues.length > 0) {
      for (const lease of leases) lease.release();
      return issues;
    }
    const services = this.#prepareServices(snapshot);
    try {
      const authenticators = await this.#prepareAuthenticators(snapshot);
      if (snapshot.routes.some(hasPattern)) await loadPatternEngine();
      const router = buildRouter(snapshot.routes, snapshot.listeners, previous?.router);
      const generation: Generation = {
        snapshot,
        router,
        services: new Map([...services].map(([name, kept]) => [name, kept.value.service])),
        rules: keepKnownRules(router, resolveRules(snapshot, leases, authenticators)),
        listeners: this.#prepareListeners(snapshot),
      };
      return {
        generation,
        commit: () => {
          this.#keepModules(update);
          this.#commit(snapshot, services, authenticators, leases);
        },
        discard: () => this.#discard(services, leases),
      };
    } catch (error) {
      this.#discard(services, leases);
      return [issueOf("generation_failed", "", describeCause(error))];
    }
  }

  /** Ends everything that generations share. */
  close(): void {
    for (const { value } of this.#services.values()) closeService(value);
    this.#services.clear();
    for (const lease of this.#leases) lease.release();
    this.#leases = [];
  }

  async #loadFilters(update: SnapshotUpdate, issues: ConfigIssue[]): Promise<FilterLease[]> {
    const leases: FilterLease[] = [];
    for (const config of update.snapshot.filters) {
      try {
        leases.push(
          await this.parts.filters.acquire(config, async (digest) => {
            const bytes = update.modules.get(digest) ?? this.#modules.get(digest);
            if (bytes === undefined) throw new Error(`module ${digest} did not come with the snapshot`);
            return bytes;
          }),
        );
      } catch (error) {
        issues.push(issueOf("filter_refused", `Filter ${config.name}`, describeCause(error)));
      }
    }
    return leases;
  }

  #keepModules(update: SnapshotUpdate): void {
    const kept = new Map<string, Uint8Array>();
    for (const { digest } of update.snapshot.filters) {
      const bytes = update.modules.get(digest) ?? this.#modules.get(digest);
      if (bytes !== undefined) kept.set(digest, bytes);
    }
    this.#modules = kept;
  }

  #prepareServices(snapshot: Snapshot): Map<string, Kept<KeptService>> {
    const services = new Map<string, Kept<KeptService>>();
    for (const config of snapshot.services) {
      const fingerprint = JSON.stringify(config);
      const kept = this.#services.get(config.name);
      services.set(config.name, kept?.fingerprint === fingerprint ? kept : { fingerprint, value: this.#createService(config) });
    }
    return services;
  }

  #createService(config: ServiceConfig): KeptService {
    const { core, net } = this.parts;
    const service = new UpstreamService(config, net, core, core.rng);
    if (config.dns === undefined) return { service, stopDns: undefined };
    const watch = watchDns(config.dns, (endpoints: readonly EndpointConfig[]) => service.updateEndpoints(endpoints), core);
    return { service, stopDns: () => watch.stop() };
  }

  async #prepareAuthenticators(snapshot: Snapshot): Promise<Map<string, Kept<Authenticator>>> {
    const authenticators = new Map<string, Kept<Authenticator>>();
    for (const config of snapshot.authentications) {
      const fingerprint = JSON.stringify(config);
      const kept = this.#authenticators.get(config.name);
      const equal = kept?.fingerprint === fingerprint;
      authenticators.set(config.name, equal ? kept : { fingerprint, value: await this.parts.createAuthenticator(config) });
    }
    return authenticators;
  }

  #prepareListeners(snapshot: Snapshot): Map<string, ListenerRuntime> {
    const { trustedProxies, tracing } = snapshot.mesh;
    return new Map(
      snapshot.listeners.map((config) => [
        config.name,
        { config, forwarding: compileForwarding(config.forwarding, trustedProxies, tracing) },
      ]),
    );
  }

  #commit(
    snapshot: Snapshot,
    services: Map<string, Kept<KeptService>>,
    authenticators: Map<string, Kept<Authenticator>>,
    leases: readonly FilterLease[],
  ): void {
    const texts = new Map<string, string>();
    for (const set of snapshot.endpoints) {
      const text = JSON.stringify(set.endpoints);
      texts.set(set.service, text);
      const kept = services.get(set.service);
      const unchanged = kept === this.#services.get(set.service) && this.#endpointTexts.get(set.service) === text;
      if (kept !== undefined && !unchanged && kept.value.stopDns === undefined) kept.value.service.updateEndpoints(set.endpoints);
    }
    for (const [name, kept] of this.#services) if (services.get(name) !== kept) closeService(kept.value);
    const former = this.#leases;
    this.#services = services;
    this.#authenticators = authenticators;
    this.#leases = leases;
    this.#endpointTexts = texts;
    // An exchange that waits for its token's verification opens its filters a moment later, still of the former generation.
    this.parts.core.clock.setTimer(FILTER_RELEASE_MS, () => {
      for (const lease of former) lease.release();
    });
  }

  #discard(services: Map<string, Kept<KeptService>>, leases: readonly FilterLease[]): void {
    for (const [name, kept] of services) if (this.#services.get(name) !== kept) closeService(kept.value);
    for (const lease of leases) lease.release();
  }
}

/** Filters of a former generation are given back after this time; contexts still open keep them alive longer. */
const FILTER_RELEASE_MS = 10_000;

function closeService(kept: KeptService): void {
  kept.stopDns?.();
  kept.service.close();
}

function hasPattern(route: RouteConfig): boolean {
  const isRegex = (each: { readonly kind: string }): boolean => each.kind === "regex";
  return route.rules.some(({ matches }) =>
    matches.some(({ path, headers, query }) => isRegex(path) || headers.some(isRegex) || query.some(isRegex)),
  );
}

function resolveRules(
  snapshot: Snapshot,
  leases: readonly FilterLease[],
  authenticators: ReadonlyMap<string, Kept<Authenticator>>,
): Map<RuleConfig, RuleRuntime> {
  const modules = new Map(leases.map((lease) => [lease.module.config.name, lease.module]));
  const rules = new Map<RuleConfig, RuleRuntime>();
  for (const route of snapshot.routes) {
    for (const rule of route.rules) {
      const filters = rule.filters.map((name) => {
        const module = modules.get(name);
        // The compiler resolves every reference; a rule without its filter must never serve.
        if (module === undefined) throw new Error(`route ${route.name} names filter ${name}, which the snapshot does not have`);
        return module;
      });
      const authenticator = rule.authentication === undefined ? undefined : authenticators.get(rule.authentication)?.value;
      if (rule.authentication !== undefined && authenticator === undefined) {
        throw new Error(`route ${route.name} names authentication ${rule.authentication}, which the snapshot does not have`);
      }
      rules.set(rule, { filters, authenticator });
    }
  }
  return rules;
}

/** The router keeps what it compiled of a route with equal data, former objects and all: their rules mean what their heirs mean. */
function keepKnownRules(router: Router, rules: Map<RuleConfig, RuleRuntime>): Map<RuleConfig, RuleRuntime> {
  if (!(router instanceof RouteTable)) return rules;
  for (const { config, candidates } of router.routes) {
    for (const { result } of candidates) {
      if (rules.has(result.rule)) continue;
      const runtime = rules.get(config.rules.find((rule) => rule.name === result.rule.name) ?? result.rule);
      if (runtime !== undefined) rules.set(result.rule, runtime);
    }
  }
  return rules;
}

export function issueOf(code: string, resource: string, message: string): ConfigIssue {
  return { code, message, hint: "", resource, path: "", file: "", line: 0, column: 0 };
}
