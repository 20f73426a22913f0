import type { Clock } from "../core/clock.ts";
import type { TryFilter } from "./filter-check.ts";
import type { ConfigIssue } from "./issue.ts";
import type { ModuleCatalogue } from "./modules.ts";
import type { SnapshotOutcome, SnapshotSource, SnapshotUpdate } from "./source.ts";

export interface FileSourceOptions {
  /** Files, and folders whose `*.yaml`, `*.yml` and `*.json` are read (not recursively). */
  readonly paths: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly modules: ModuleCatalogue;
  readonly clock: Clock;
  /** Calls back some time after one of the paths changed; returns a function that stops. Undefined: read once. */
  readonly watch?: (paths: readonly string[], onChange: () => void) => () => void;
  /** Loads each new filter with its settings; undefined: not tried here. */
  readonly tryFilter?: TryFilter;
  /** A configuration that was refused; the old snapshot stays. */
  readonly onIssues: (issues: readonly ConfigIssue[]) => void;
  readonly onWarnings?: (warnings: readonly ConfigIssue[]) => void;
  readonly onOutcome?: (outcome: SnapshotOutcome) => void;
}

/** `selvedge proxy -f a.yaml -f dir/`: reads, compiles and watches files. Revisions count the changes seen. */
export class FileSource implements SnapshotSource {
  constructor(readonly options: FileSourceOptions) {}

  /** Rejects when the first configuration has issues (they were reported). */
  async start(_onSnapshot: (update: SnapshotUpdate) => void): Promise<void> {
    throw new Error("not yet");
  }
  report(outcome: SnapshotOutcome): void {
    this.options.onOutcome?.(outcome);
  }
  async stop(): Promise<void> {}
}
