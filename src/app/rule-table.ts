import type { ResourceName, RouteConfig } from "../config/snapshot.ts";
import type { FilterModule } from "../filters/contract.ts";
import type { Authenticator, RuleRuntime, RuleRuntimes } from "../proxy/generation.ts";

/** Nothing runs before such a rule acts. */
const NOTHING: RuleRuntime = { filters: [], authenticator: undefined };

/** A rule, or what a route of streams says. */
interface Ruled {
  readonly filters: readonly ResourceName[];
  readonly authentication?: ResourceName | undefined;
}

/**
 * What rules run, by what they name. It depends on nothing else, so a table serves every generation with the same modules and
 * authenticators, and rules that say the same share their runtime, whichever object of theirs a router kept.
 */
export class RuleTable implements RuleRuntimes {
  readonly #byNames = new Map<string, RuleRuntime>();
  /** A memory, so that a request does one look-up; not a list of what there is. */
  readonly #byRule = new WeakMap<Ruled, RuleRuntime>();

  constructor(
    readonly modules: ReadonlyMap<string, FilterModule>,
    readonly authenticators: ReadonlyMap<string, Authenticator>,
  ) {}

  /** Of a rule whose route was checked. */
  get(rule: Ruled): RuleRuntime | undefined {
    let runtime = this.#byRule.get(rule);
    if (runtime === undefined) {
      runtime = this.#find(rule);
      if (runtime !== undefined) this.#byRule.set(rule, runtime);
    }
    return runtime;
  }

  #find(rule: Ruled): RuleRuntime | undefined {
    if (rule.filters.length === 0 && rule.authentication === undefined) return NOTHING;
    const names = JSON.stringify([rule.filters, rule.authentication]);
    const known = this.#byNames.get(names);
    if (known !== undefined) return known;
    const filters = rule.filters.flatMap((name) => this.modules.get(name) ?? []);
    const authenticator = rule.authentication === undefined ? undefined : this.authenticators.get(rule.authentication);
    if (filters.length < rule.filters.length) return undefined;
    if (rule.authentication !== undefined && authenticator === undefined) return undefined;
    const runtime: RuleRuntime = { filters, authenticator };
    this.#byNames.set(names, runtime);
    return runtime;
  }

  /** Throws an `Error` when a rule names what is not there: the compiler resolves every reference, and a rule without its filter must never serve. */
  check(routes: readonly RouteConfig[]): void {
    for (const route of routes) {
      for (const rule of route.rules) this.#need(rule, `route ${route.name} rule ${rule.name}`);
      if (route.tcp === undefined) continue;
      this.#need(route.tcp, `route ${route.name}`);
      const blind = route.tcp.filters.find((name) => this.modules.get(name)?.config.abi !== "proxy-wasm");
      if (blind !== undefined)
        throw new Error(`route ${route.name}: filter ${blind} is no proxy-wasm module and sees no streams`);
    }
  }

  #need(rule: Ruled, where: string): void {
    if (this.#find(rule) !== undefined) return;
    const names = [...rule.filters, ...(rule.authentication === undefined ? [] : [rule.authentication])].join(", ");
    throw new Error(`${where} names what the snapshot does not have: ${names}`);
  }

  /** Would a table of these be the same? */
  fits(modules: ReadonlyMap<string, FilterModule>, authenticators: ReadonlyMap<string, Authenticator>): boolean {
    return isSameMap(modules, this.modules) && isSameMap(authenticators, this.authenticators);
  }
}

function isSameMap<T>(one: ReadonlyMap<string, T>, other: ReadonlyMap<string, T>): boolean {
  if (one.size !== other.size) return false;
  for (const [name, value] of one) if (other.get(name) !== value) return false;
  return true;
}
