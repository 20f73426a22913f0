import { type Catalogue, fullName } from "../config/catalogue.ts";
import type { CompileOptions, CompileResult, ServedModule } from "../config/compile.ts";
import { checkFilters, type FilterPlace, type TryFilter } from "../config/filter-check.ts";
import type { ConfigIssue } from "../config/issue.ts";
import { secretsOfModule } from "../config/module-secrets.ts";
import { type ModuleCatalogue, withStoredModules } from "../config/modules.ts";
import { notPulled, type PinnedModules, type PullModule, pinModules } from "../config/oci/pin.ts";
import { SilentRegistries } from "../config/oci/silent.ts";
import type { Json, ParsedResource } from "../config/parse.ts";
import { SecretSettings } from "../config/secret-settings.ts";
import { redactChange } from "../config/secrets.ts";
import type { Sections } from "../config/sections.ts";
import type { Snapshot } from "../config/snapshot.ts";
import { SnapshotCompiler } from "../config/snapshot-compiler.ts";
import { Budget, WindowBudget } from "../core/budgets.ts";
import type { Clock } from "../core/clock.ts";
import { OCI_LIMITS } from "../core/limits.ts";
import type { Sides } from "./control.ts";

export interface CompilerOptions {
  /** Proxy groups; each gets a snapshot of its own. */
  readonly groups: readonly string[];
  /** The built-in modules. */
  readonly modules: ModuleCatalogue;
  /** Reads files that resources name; throws an `Error` that says why not. */
  readonly readFile: (path: string, from: string) => Uint8Array;
  readonly tryFilter: TryFilter | undefined;
  /** Finds the bytes of a module that was stored. */
  readonly getModule: (digest: string) => Promise<Uint8Array | undefined>;
  /** Filters of the snapshot that is published; asked when a module is lost. Absent: none. */
  readonly published?: ((group: string) => Promise<readonly ServedModule[]>) | undefined;
  /** Takes modules from registries; undefined: filters that name one are refused. */
  readonly pull?: PullModule | undefined;
  readonly clock: Clock;
}

export interface CompiledGroup {
  readonly snapshot: Snapshot;
  readonly sections: Sections;
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

export interface CompiledConfig {
  /** One for each group; empty when there are issues. */
  readonly groups: readonly CompiledGroup[];
  readonly issues: readonly ConfigIssue[];
  readonly warnings: readonly ConfigIssue[];
  /** The same under another revision. */
  at(revision: number): CompiledConfig;
}

/** What a request brings. */
export type Applied = Required<Pick<CompileOptions, "locate" | "refused" | "partial" | "storedAt">>;

/** What an apply pulled from registries. */
export type Pulled = Omit<PinnedModules, "resources">;

const DIGEST = /sha256:[0-9a-f]{64}/g;
const DIGEST_ONLY = /^sha256:[0-9a-f]{64}$/;
/** Modules whose metadata is kept, 64 KiB each at most; a bound, not a tuning knob. */
const SECRETS_MAX = 256;
/** Filters that were tried with success; a bound, not a tuning knob. */
const TRIED_MAX = 10_000;

/** Turns all resources into snapshots, and tries each new filter before anybody gets it. */
export class ConfigCompiler {
  readonly #stored = new Map<string, Uint8Array>();
  readonly #tried = new Set<string>();
  /** What modules say is secret, by digest or name. */
  readonly #secrets = new Map<string, SecretSettings>();
  /** It remembers what it compiled last. */
  readonly #compiler = new SnapshotCompiler();
  readonly #silent: SilentRegistries;
  /** Modules from registries that applies hold at a time. */
  readonly #held = new Budget(OCI_LIMITS.heldBytes);

  /** For how long publishers' pulls hold up the inbox. */
  readonly #line: WindowBudget;

  constructor(readonly options: CompilerOptions) {
    const { lineMs: each, lineAllMs: all, lineWindowMs: windowMs } = OCI_LIMITS;
    this.#line = new WindowBudget(options.clock, { each, all, windowMs });
    this.#silent = new SilentRegistries(options.clock);
  }

  async compile(resources: Catalogue, revision: number, applied?: Applied, pulled?: Pulled): Promise<CompiledConfig> {
    const lost = await this.#loadModules(resources, pulled);
    const served = lost ? await this.#servedModules() : undefined;
    const result = this.#compiler.compile(resources, { ...this.#optionsOf(revision, applied, pulled), served });
    const { snapshot, sections, modules, warnings } = result;
    const issues = [...result.issues, ...(await this.#tryFilters(result, resources, applied))];
    if (snapshot === undefined || sections === undefined || issues.length > 0) return compiledOf([], issues, warnings);
    // All groups get all of it, each under its name.
    const groups = this.options.groups.map((group) => ({ snapshot: { ...snapshot, group }, sections, modules }));
    return compiledOf(groups, issues, warnings);
  }

  #optionsOf(revision: number, applied: Applied | undefined, pulled: Pulled | undefined): CompileOptions {
    const { modules, readFile, clock } = this.options;
    const catalogue = withStoredModules(modules, (digest) => this.#stored.get(digest) ?? pulled?.modules.get(digest));
    return { ...applied, revision, modules: catalogue, readFile, notPulled: pulled?.failures, nowMs: clock.wallMs() };
  }

  /** Filters from registries get the digest of their module. Takes as long as the registries do; never rejects. `publisher`: whose apply others wait for; it is the only one. */
  async pin(resources: readonly ParsedResource[], publisher: string | undefined): Promise<PinnedModules> {
    const { pull = () => Promise.reject(notPulled()), clock } = this.options;
    const tools = { pull, clock, known: (digest: string) => this.#load(digest) };
    if (publisher === undefined) return pinModules(resources, { ...tools, held: this.#held });
    const startMs = clock.nowMs();
    const pullMs = Math.min(OCI_LIMITS.pullMs, this.#line.left(publisher));
    try {
      return await pinModules(resources, { ...tools, silent: this.#silent, pullMs });
    } finally {
      this.#line.spend(publisher, clock.nowMs() - startMs);
    }
  }

  /** As people may see them. */
  async redact<C extends Sides>(changes: readonly C[]): Promise<C[]> {
    const redacted: C[] = [];
    for (const change of changes)
      redacted.push(redactChange(change, await this.#secretsOf(change.before), await this.#secretsOf(change.after)));
    return redacted;
  }

  /** What is secret in a resource as it was written, by the module that it names. */
  async #secretsOf(written: Json | undefined): Promise<SecretSettings> {
    const { kind, spec } = (written ?? {}) as { readonly kind?: unknown; readonly spec?: unknown };
    const { module, settings } = (spec ?? {}) as { readonly module?: unknown; readonly settings?: unknown };
    if (kind !== "Filter" || settings === undefined) return SecretSettings.NONE;
    const { builtin, digest } = (module ?? {}) as { readonly builtin?: unknown; readonly digest?: unknown };
    const key = String(builtin ?? digest);
    const known = this.#secrets.get(key);
    if (known !== undefined) return known;
    // Read and let go: a history names modules that nobody runs any more.
    const bytes =
      builtin === undefined
        ? (this.#stored.get(key) ?? (DIGEST_ONLY.test(key) ? await this.options.getModule(key) : undefined))
        : this.options.modules.builtin(key)?.bytes;
    if (bytes === undefined) return SecretSettings.ALL;
    const secrets = secretsOfModule(bytes);
    if (this.#secrets.size >= SECRETS_MAX) this.#secrets.clear();
    this.#secrets.set(key, secrets);
    return secrets;
  }

  /** What proxies were given of all modules, by digest. */
  async #servedModules(): Promise<CompileOptions["served"]> {
    const [group = ""] = this.options.groups;
    const filters = (await this.options.published?.(group)) ?? [];
    const byDigest = new Map(filters.map((each) => [each.digest, each]));
    return (digest) => byDigest.get(digest);
  }

  /**
   * Compiling is synchronous and pure, so modules that filters name by digest are fetched before. No others are kept. Resolves with
   * whether one is not there.
   */
  async #loadModules(resources: Catalogue, pulled: Pulled | undefined): Promise<boolean> {
    let lost = false;
    const named = new Set<string>();
    for (const resource of resources.ofKind("Filter")) {
      for (const [digest] of JSON.stringify(resource.spec).matchAll(DIGEST)) {
        if (this.options.modules.byDigest(digest) !== undefined || pulled?.modules.has(digest) === true) continue;
        if ((await this.#load(digest)) === undefined) lost = true;
        named.add(digest);
      }
    }
    for (const digest of this.#stored.keys()) if (!named.has(digest)) this.#stored.delete(digest);
    return lost;
  }

  async #load(digest: string): Promise<Uint8Array | undefined> {
    const bytes = this.#stored.get(digest) ?? (await this.options.getModule(digest));
    if (bytes !== undefined) this.#stored.set(digest, bytes);
    return bytes;
  }

  async #tryFilters(compiled: CompileResult, resources: Catalogue, applied: Applied | undefined): Promise<ConfigIssue[]> {
    const { tryFilter } = this.options;
    if (tryFilter === undefined) return [];
    if (this.#tried.size > TRIED_MAX) this.#tried.clear();
    const place: FilterPlace = (name, path) => {
      const partial = applied?.partial.find(({ resource }) => resource.kind === "Filter" && fullName(resource) === name);
      const resource = resources.find("Filter", name);
      const found = partial?.locate(path) ?? (resource === undefined ? undefined : applied?.locate(resource, path));
      return found ?? { file: "", line: 0, column: 0 };
    };
    return checkFilters(compiled, tryFilter, place, this.#tried);
  }
}

function compiledOf(
  groups: readonly CompiledGroup[],
  issues: readonly ConfigIssue[],
  warnings: readonly ConfigIssue[],
): CompiledConfig {
  return {
    ...{ groups, issues, warnings },
    at: (revision) =>
      compiledOf(
        groups.map((each) => ({ ...each, snapshot: { ...each.snapshot, revision } })),
        issues,
        warnings,
      ),
  };
}
