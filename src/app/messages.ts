import { type ConfigIssue, formatIssue } from "../config/issue.ts";
import type { Manifest } from "../config/sections.ts";
import type { AccessLogConfig, FilterConfig } from "../config/snapshot.ts";
import type { SnapshotOutcome } from "../config/source.ts";
import type { EventLog, ProxyEvent } from "../core/events.ts";
import type { FilterLogLine } from "../core/filter-logs.ts";
import type { NodeFacts } from "../filters/attributes.ts";
import type { FilterAction } from "../filters/contract.ts";
import type { MetricsDump } from "../proxy/observe/dump.ts";
import type { LogPlaces } from "../proxy/observe/log-place.ts";
import type { ProxyObserver } from "../proxy/observe/observer.ts";

/** What the supervisor says to a worker. Plain JSON: it passes whatever pipe the runtime has. */
export type ToWorker =
  /** A snapshot: its manifest and the sections (canonical JSON text by digest) that this worker does not have. */
  | { readonly type: "snapshot"; readonly manifest: Manifest; readonly sections: Readonly<Record<string, string>> }
  /** "Are you alive, and what did you see?" `full`: with the status of the data plane. */
  | { readonly type: "poll"; readonly request: number; readonly full: boolean }
  /** By hand, for all that is loaded under that name now or later. */
  | { readonly type: "filter"; readonly filter: string; readonly action: FilterAction }
  /** The log file was rotated. */
  | { readonly type: "reopen" }
  /** Finish what is under way, then exit. */
  | { readonly type: "drain" }
  /** Break off what is under way, write the access log out, exit. */
  | { readonly type: "stop" };

/** What a worker says to the supervisor. */
export type FromWorker =
  /** It listens to this pipe. */
  | { readonly type: "ready" }
  | { readonly type: "outcome"; readonly outcome: SnapshotOutcome }
  | { readonly type: "report"; readonly request: number; readonly report: WorkerReport }
  /** A filter publishes; `payload` in base64. */
  | { readonly type: "publish"; readonly filter: string; readonly subject: string; readonly payload: string }
  /** Nothing is left; it exits now. */
  | { readonly type: "drained" };

export interface WorkerReport {
  readonly dump: MetricsDump;
  /** What happened since the last report. */
  readonly events: readonly ProxyEvent[];
  /** What filters said since then. Absent: nothing. */
  readonly filterLogs?: readonly FilterLogLine[];
  readonly inFlight: number;
  readonly residentBytes: number;
  /** Processor time since the last report, microseconds. */
  readonly cpuUs: number;
  /** Only when it was asked for. */
  readonly status: unknown;
}

/** What a worker is told when it is started, as JSON in the environment variable `SELVEDGE_WORKER_SETTINGS`. */
export interface WorkerSettings {
  readonly index: number;
  /** Folder with modules as `<hex of the digest>.wasm` and the counters that all workers share. */
  readonly folder: string;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly reusePort: boolean;
  /** Which files the access log may be. */
  readonly logPlaces: LogPlaces;
  /** What filters are told of the proxy. */
  readonly node: NodeFacts;
  /** Where rewritten filter modules are kept between processes; absent: nowhere. */
  readonly moduleFolder?: string;
  /** The supervisor can publish messages of filters. */
  readonly canPublish: boolean;
}

export const WORKER_VARIABLE = "SELVEDGE_WORKER_SETTINGS";

/** Makes this program a process that tries filters (trial-child.ts); its value is the level of its log. */
export const TRIAL_VARIABLE = "SELVEDGE_TRIAL";

/** What a control plane asks it, one question at a time. `bytes` absent: of the module that it was asked about last. */
export interface TrialQuestion {
  readonly id: number;
  readonly config: FilterConfig;
  readonly bytes?: Uint8Array;
}

/** What it says: that it listens, and why a filter was refused (absent: it is good). */
export type TrialAnswer = { readonly type: "ready" } | { readonly type: "answer"; readonly id: number; readonly reason?: string };

/** An issue that is not about a resource but about this machine (a port in use, a module that is gone). */
export function localIssue(code: string, message: string, hint: string, resource = ""): ConfigIssue {
  return { code, message, hint, resource, path: "", file: "", line: 0, column: 0 };
}

/** Issues that are about the module of a filter, not about what refers to it. */
const MODULE_ISSUES: ReadonlySet<string> = new Set(["unsigned_module", "filter_refused"]);

/** What a refusal is kept under when the source's own files did not become a revision. */
export const SOURCE_SUBJECT = "configuration files";

/** Keeps that a configuration was refused, and each module that was the reason. */
export function noteRefusal(events: EventLog, subject: string, issues: readonly ConfigIssue[]): void {
  for (const { code, resource, message } of issues) {
    if (MODULE_ISSUES.has(code)) events.add("module_refused", resource, message);
  }
  const [first] = issues;
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
  events.add("snapshot_refused", subject, first === undefined ? "" : `${formatIssue(first)}${more}`);
}

/** For the log: what a refusal means for those who are served. `served`: something was, before. */
export const refusedText = (served: boolean): string =>
  served ? "a configuration was refused; what served before goes on" : "a configuration was refused; nothing is served yet";

/** The refusal of a snapshot whose access log would be a file that this proxy may not write. */
export function refuseLog(observer: ProxyObserver, accessLog: AccessLogConfig): readonly ConfigIssue[] {
  const reason = observer.accessLog.refuses(accessLog);
  if (reason === undefined) return [];
  const hint = "stdout, stderr, or a path below the folder of --log-dir";
  return [
    {
      ...localIssue("log_path_refused", `The access log cannot be written: ${reason}.`, hint, "Mesh"),
      path: "spec.accessLog.path",
    },
  ];
}
