import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../core/clock.ts";
import { describeCause } from "../core/failure.ts";
import { compileSnapshot, locatorOf } from "./compile.ts";
import { checkFilters, filterPlaceOf, type TryFilter } from "./filter-check.ts";
import { type ConfigIssue, orderIssues } from "./issue.ts";
import { type ModuleCatalogue, withStoredModules } from "./modules.ts";
import { notPulled, type PullModule, pinModules } from "./oci/pin.ts";
import { createFileReader, type ReadConfig, readConfigFiles } from "./read-files.ts";
import type { SnapshotOutcome, SnapshotSource, SnapshotUpdate } from "./source.ts";

export interface FileSourceOptions {
  /** Files, and folders whose `*.yaml`, `*.yml` and `*.json` are read (not recursively). */
  readonly paths: readonly string[];
  /** For `${NAME}`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly modules: ModuleCatalogue;
  readonly clock: Clock;
  /** Calls back some time after one of the paths changed (editors write twice: it should wait for quiet); returns a function that stops. Undefined: read once. */
  readonly watch?: (paths: readonly string[], onChange: () => void) => () => void;
  /** Takes modules from registries; undefined: they are refused. */
  readonly pull?: PullModule | undefined;
  /** Loads each new filter with its settings; undefined: not tried here. */
  readonly tryFilter?: TryFilter;
  /** A configuration that was refused; the old snapshot stays. */
  readonly onIssues: (issues: readonly ConfigIssue[]) => void;
  /** After issues: it is good again, and what is served already. */
  readonly onGoodAgain?: (revision: number) => void;
  readonly onWarnings?: (warnings: readonly ConfigIssue[]) => void;
  readonly onOutcome?: (outcome: SnapshotOutcome) => void;
}

/**
 * `selvedge proxy -f a.yaml -f dir/`: reads, compiles and watches files, also the certificates, keys and modules that they
 * name. Revisions count the configurations that were good. An edit that changes nothing is not a snapshot, but for one that
 * the proxy refused: what stood in its way (a port in use) may be gone.
 */
export class FileSource implements SnapshotSource {
  #revision = 0;
  #digest = "";
  #refused = false;
  /** What serves has resources. */
  #filled = false;
  #onSnapshot: ((update: SnapshotUpdate) => void) | undefined;
  #onRefused: ((issues: readonly ConfigIssue[]) => void) | undefined;
  #stopWatching: (() => void) | undefined;
  #watched = "";
  #loading: Promise<boolean> | undefined;
  #again = false;
  readonly #checkedFilters = new Set<string>();
  /** Pulled from registries for what is served, by digest. */
  #pulled: ReadonlyMap<string, Uint8Array> = new Map();

  constructor(readonly options: FileSourceOptions) {}

  /** Rejects when the first configuration has issues (they were reported); it then watches nothing. */
  async start(onSnapshot: (update: SnapshotUpdate) => void, onRefused?: (issues: readonly ConfigIssue[]) => void): Promise<void> {
    this.#onSnapshot = onSnapshot;
    this.#onRefused = onRefused;
    if (await this.reload()) return;
    await this.stop();
    throw new Error("the configuration has issues");
  }

  report(outcome: SnapshotOutcome): void {
    if (outcome.kind === "rejected" && outcome.revision === this.#revision) this.#digest = "";
    this.options.onOutcome?.(outcome);
  }

  async stop(): Promise<void> {
    this.#onSnapshot = undefined;
    this.#onRefused = undefined;
    this.#stopWatching?.();
    this.#stopWatching = undefined;
    this.#watched = "";
    await this.#loading;
  }

  /** Reads everything now; false when it was refused. Calls while one is under way are served by one more round. */
  reload(): Promise<boolean> {
    if (this.#loading !== undefined) {
      this.#again = true;
      return this.#loading;
    }
    this.#loading = this.#rounds().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #rounds(): Promise<boolean> {
    let good: boolean;
    do {
      this.#again = false;
      good = await this.#loadSafely();
    } while (this.#again && this.#onSnapshot !== undefined);
    return good;
  }

  /** A bug of ours in the middle of an edit must not end a process that serves. */
  async #loadSafely(): Promise<boolean> {
    try {
      return await this.#load();
    } catch (error) {
      const issue = { code: "internal", message: describeCause(error), hint: "", resource: "", path: "" };
      return this.#refuse([{ ...issue, file: this.options.paths[0] ?? "", line: 0, column: 0 }]);
    }
  }

  /** A file that was cut to nothing is being written, or was lost: it closes no port. At the start nothing is lost. */
  #emptied({ resources, issues }: ReadConfig): readonly ConfigIssue[] {
    if (resources.length > 0 || issues.length > 0 || !this.#filled) return [];
    const file = this.options.paths[0] ?? "";
    const message = "There are no resources any more.";
    const hint = "to serve nothing, stop the proxy, or leave one resource, as a Mesh";
    return [{ code: "no_resources", message, hint, resource: "", path: "", file, line: 0, column: 0 }];
  }

  #refuse(issues: readonly ConfigIssue[]): false {
    this.#refused = true;
    this.options.onIssues(issues);
    this.#onRefused?.(issues);
    return false;
  }

  async #load(): Promise<boolean> {
    const { env, modules, clock, tryFilter } = this.options;
    const publishedAtMs = clock.wallMs();
    // What each file was before it was read: a change between reading and watching must not be missed.
    const stamps = new Map<string, string>();
    const stamp = (path: string): void => void stamps.set(path, stampOf(path));
    const read = readConfigFiles(this.options.paths, env, stamp);
    const pinned = await pinModules(read.resources, {
      ...{ pull: this.options.pull ?? (() => Promise.reject(notPulled())), clock },
      known: async (digest) => this.#pulled.get(digest),
    });
    const { resources } = pinned;
    const locate = locatorOf(resources);
    const compiled = compileSnapshot(
      resources.map((each) => each.resource),
      {
        revision: this.#revision + 1,
        alone: "proxy",
        modules: withStoredModules(modules, (digest) => pinned.modules.get(digest) ?? this.#pulled.get(digest)),
        notPulled: pinned.failures,
        readFile: createFileReader(stamp),
        locate,
        refused: read.refused,
        partial: read.partial,
        nowMs: publishedAtMs,
      },
    );
    this.#watch(stamps);
    const place = filterPlaceOf(resources, read.partial);
    const tried = tryFilter === undefined ? [] : await checkFilters(compiled, tryFilter, place, this.#checkedFilters);
    const issues = orderIssues(read.issues, this.#emptied(read), compiled.issues, tried);
    if (compiled.warnings.length > 0) this.options.onWarnings?.(compiled.warnings);
    const { snapshot } = compiled;
    if (issues.length > 0 || snapshot === undefined) return this.#refuse(issues);
    this.#onRefused?.([]);
    const all = new Map([...this.#pulled, ...pinned.modules]);
    this.#pulled = new Map([...all].filter(([digest]) => compiled.modules.has(digest)));
    const wasRefused = this.#refused;
    this.#refused = false;
    if (snapshot.digest === this.#digest) {
      if (wasRefused) this.options.onGoodAgain?.(this.#revision);
      return true;
    }
    this.#revision = snapshot.revision;
    this.#digest = snapshot.digest;
    this.#filled = resources.length > 0;
    this.#onSnapshot?.({ snapshot, modules: compiled.modules, publishedAtMs });
    return true;
  }

  #watch(stamps: ReadonlyMap<string, string>): void {
    const { watch } = this.options;
    // Only what lies in a folder that exists can be watched; when it is made, the file that names it changes too, or a reload finds it.
    const all = [...stamps.keys()].filter((path) => existsSync(dirname(path))).sort();
    const key = all.join("\0");
    if (watch === undefined || key === this.#watched || this.#onSnapshot === undefined) return;
    this.#stopWatching?.();
    this.#stopWatching = watch(all, () => void this.reload());
    this.#watched = key;
    if (all.some((path) => stamps.get(path) !== stampOf(path))) this.#again = true;
  }
}

/** Changes whenever the content may have. */
function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.mtimeMs} ${stat.size} ${stat.ino}`;
}
