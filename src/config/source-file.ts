import type { Clock } from "../core/clock.ts";
import { compileSnapshot, locatorOf } from "./compile.ts";
import { checkFilters, type FilterPlace, type TryFilter } from "./filter-check.ts";
import type { ConfigIssue } from "./issue.ts";
import type { ModuleCatalogue } from "./modules.ts";
import { createFileReader, readConfigFiles } from "./read-files.ts";
import { resourceKey } from "./schema/index.ts";
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
  /** Loads each new filter with its settings; undefined: not tried here. */
  readonly tryFilter?: TryFilter;
  /** A configuration that was refused; the old snapshot stays. */
  readonly onIssues: (issues: readonly ConfigIssue[]) => void;
  readonly onWarnings?: (warnings: readonly ConfigIssue[]) => void;
  readonly onOutcome?: (outcome: SnapshotOutcome) => void;
}

/**
 * `selvedge proxy -f a.yaml -f dir/`: reads, compiles and watches files, also the certificates, keys and modules that they
 * name. Revisions count the configurations that were good. An edit that changes nothing is not a snapshot.
 */
export class FileSource implements SnapshotSource {
  #revision = 0;
  #digest = "";
  #onSnapshot: ((update: SnapshotUpdate) => void) | undefined;
  #stopWatching: (() => void) | undefined;
  #watched = "";
  #loading: Promise<boolean> | undefined;
  #again = false;
  readonly #checkedFilters = new Set<string>();

  constructor(readonly options: FileSourceOptions) {}

  /** Rejects when the first configuration has issues (they were reported); it then watches nothing. */
  async start(onSnapshot: (update: SnapshotUpdate) => void): Promise<void> {
    this.#onSnapshot = onSnapshot;
    if (await this.reload()) return;
    await this.stop();
    throw new Error("the configuration has issues");
  }

  report(outcome: SnapshotOutcome): void {
    this.options.onOutcome?.(outcome);
  }

  async stop(): Promise<void> {
    this.#onSnapshot = undefined;
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
      good = await this.#load();
    } while (this.#again && this.#onSnapshot !== undefined);
    return good;
  }

  async #load(): Promise<boolean> {
    const { env, modules, clock, tryFilter, onIssues } = this.options;
    const publishedAtMs = clock.wallMs();
    const read = readConfigFiles(this.options.paths, env);
    const named = new Set(read.files);
    const locate = locatorOf(read.resources);
    const compiled = compileSnapshot(
      read.resources.map((each) => each.resource),
      {
        revision: this.#revision + 1,
        modules,
        readFile: createFileReader((path) => named.add(path)),
        locate,
        refused: read.refused,
        nowMs: publishedAtMs,
      },
    );
    this.#watch(named);
    const issues = [...read.issues, ...compiled.issues];
    if (tryFilter !== undefined && issues.length === 0) {
      const place: FilterPlace = (name, path) => {
        const filter = read.resources.find((each) => resourceKey(each.resource) === `Filter ${name}`);
        return filter?.locate(path) ?? { file: "", line: 0, column: 0 };
      };
      issues.push(...(await checkFilters(compiled, tryFilter, place, this.#checkedFilters)));
    }
    if (compiled.warnings.length > 0) this.options.onWarnings?.(compiled.warnings);
    const { snapshot } = compiled;
    if (issues.length > 0 || snapshot === undefined) {
      onIssues(issues);
      return false;
    }
    if (snapshot.digest === this.#digest) return true;
    this.#revision = snapshot.revision;
    this.#digest = snapshot.digest;
    this.#onSnapshot?.({ snapshot, modules: compiled.modules, publishedAtMs });
    return true;
  }

  #watch(files: ReadonlySet<string>): void {
    const { watch, paths } = this.options;
    // Folders stay in the list: a new file appears in them.
    const all = [...new Set([...paths, ...files])].sort();
    const key = all.join("\0");
    if (watch === undefined || key === this.#watched || this.#onSnapshot === undefined) return;
    this.#stopWatching?.();
    this.#watched = key;
    this.#stopWatching = watch(all, () => void this.reload());
  }
}
