import type { ConfigIssue } from "../config/issue.ts";
import type { ModuleSummary } from "../config/module-summary.ts";
import type { Json } from "../config/parse.ts";
import type { FilterLogPage, FilterLogQuery } from "../core/filter-logs.ts";
import type { ProxyStatus, WaitOutcome } from "./model/proxies.ts";
import type { ResourceKey, StoredResource } from "./model/resource.ts";
import type { UnreadableMessage } from "./nats/unreadable.ts";
import type { Change, LogEntry } from "./store/store.ts";

/** One line of what an apply does. */
export interface ChangeSummary {
  readonly key: ResourceKey;
  readonly kind: "created" | "changed" | "deleted";
}

/** What became of an apply, delete, rollback or restore. */
export type ApplyOutcome =
  | {
      readonly ok: true;
      /** The revision that holds it: a new one, or the current one when nothing changed. */
      readonly revision: number;
      /** `sha256:` over all resources. */
      readonly digest: string;
      readonly changes: readonly ChangeSummary[];
      /** With `dryRun`: before and after of every change. */
      readonly diff?: readonly Change[];
      /** Things to know about what was changed, which do not stop it. Absent: none. */
      readonly warnings?: readonly ConfigIssue[];
    }
  /** `conflict`: a precondition (If-Match) failed. `invalid`: the configuration is wrong; all issues at once. `busy`: the same may be taken in a moment. */
  | {
      readonly ok: false;
      readonly reason: "invalid" | "conflict" | "not_found" | "busy";
      readonly issues: readonly ConfigIssue[];
    };

export interface ApplyRequest {
  /** YAML or JSON, several documents. */
  readonly text: string;
  readonly author: string;
  /** `nats`, `api`, `file`. */
  readonly origin: string;
  /** Named in issues: a file name, `<nats>`, `<api>`. */
  readonly file?: string;
  readonly dryRun?: boolean;
  /** Resources that must have this revision (0: must not exist). */
  readonly expected?: ReadonlyMap<ResourceKey, number>;
  /** The stored message that asks for it: makes sure that a redelivery is applied once. */
  readonly inbox?: { readonly sequence: number; readonly redelivered: boolean };
}

/** `text` holds a list of references (`Kind/namespace/name`, `Kind/name`, one per line) or resources in YAML. */
export type DeleteRequest = ApplyRequest;

export interface ControlStatus {
  /** 0: nothing was ever applied. */
  readonly revision: number;
  /** `sha256:` over all resources. */
  readonly digest: string;
  readonly resources: number;
  /** Why the stored configuration cannot be compiled (an older version wrote it); empty: it can. */
  readonly issues: readonly ConfigIssue[];
  /** What is stored and goes on, but is not whole any more: Filters whose module was lost (`module_lost`). Empty: none. */
  readonly warnings: readonly ConfigIssue[];
  readonly store: "memory" | "nats";
  /** Of the connection to NATS; `none` with the memory store. */
  readonly connection: "connected" | "disconnected" | "none";
  readonly proxies: readonly ProxyStatus[];
  /** What was published over NATS and refused lately, the newest first, since this control plane started. */
  readonly refused: readonly Refusal[];
  /** Stored messages that are not what they should be and are passed over, the newest first, as far as this control plane has met them. */
  readonly unreadable: readonly UnreadableMessage[];
}

/** One message that changed nothing: who published it may have asked for no answer. */
export interface Refusal {
  /** Wall clock. */
  readonly timeMs: number;
  /** Last token of the subject; "": it did not say. */
  readonly author: string;
  readonly action: "apply" | "delete";
  /** As in `ApplyOutcome`. */
  readonly reason: string;
  /** How many. */
  readonly issues: number;
  /** In the order of the text. */
  readonly first: ConfigIssue;
}

/** A whole configuration as one document: what `backup` writes and `restore` reads. */
export interface Backup {
  readonly apiVersion: "selvedge.dev/v1";
  readonly kind: "Backup";
  readonly revision: number;
  readonly digest: string;
  readonly resources: readonly Json[];
  /** Bytes of the WASM modules in base64, by digest. */
  readonly modules: Readonly<Record<string, string>>;
}

/** `no_proxy`: none of that id lives. `no_answer`: it does not answer in time; one of a former version never does. */
export type FilterLogAnswer =
  | { readonly ok: true; readonly page: FilterLogPage }
  | { readonly ok: false; readonly reason: "no_proxy" | "no_answer" };

/** Of a change, or of a resource: as it was written. */
export interface Sides {
  readonly before?: Json;
  readonly after?: Json;
}

/** The control plane as one object: the API, the NATS inbox and `selvedge up` all call this. */
export interface ControlPlane {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** These reject only when the store cannot be reached. */
  apply(request: ApplyRequest): Promise<ApplyOutcome>;
  delete(request: DeleteRequest): Promise<ApplyOutcome>;
  get(filter?: { readonly kind?: string; readonly namespace?: string; readonly name?: string }): readonly StoredResource[];
  status(): ControlStatus;
  history(): Promise<readonly LogEntry[]>;
  /** Changes (or resources, as `after`) as people may see them: keys and secrets of filter settings redacted. Whoever answers a question uses it. */
  redact<C extends Sides>(changes: readonly C[]): Promise<C[]>;
  /** A new apply that makes all resources what they were after `revision`. */
  rollback(revision: number, author: string, inbox?: ApplyRequest["inbox"]): Promise<ApplyOutcome>;
  backup(): Promise<Backup>;
  /** A new apply that makes all resources what the backup says; `backup` may be anything. */
  restore(backup: unknown, author: string): Promise<ApplyOutcome>;
  /** Keeps a WASM module so that filters can name it; resolves with its digest. */
  putModule(bytes: Uint8Array): Promise<string>;
  /** Modules that are kept. */
  listModules(): Promise<readonly ModuleSummary[]>;
  /** What a filter said in one proxy lately. */
  filterLogs(proxyId: string, query: FilterLogQuery): Promise<FilterLogAnswer>;
  /** Blocks until all live proxies have applied `revision`, one refused it, or the time is over. */
  waitApplied(revision: number, timeoutMs: number, minimum?: number): Promise<WaitOutcome>;
}
