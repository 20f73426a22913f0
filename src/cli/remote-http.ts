import type { ConfigIssue } from "../config/issue.ts";
import type { ModuleSummary } from "../config/module-summary.ts";
import type { ApplyOutcome, Backup, ControlStatus, FilterLogAnswer } from "../control/control.ts";
import type { Difference } from "../control/model/difference.ts";
import type { WaitOutcome } from "../control/model/proxies.ts";
import type { StoredResource } from "../control/model/resource.ts";
import type { LogEntry } from "../control/store/store.ts";
import { type FilterLogQuery, readFilterLogPage } from "../core/filter-logs.ts";
import { CommandError, EXIT } from "./command.ts";
import { fetchCause } from "./fetch-cause.ts";
import { type RemoteControl, type ResourceFilter, unreachable } from "./remote.ts";

/** How long the control plane may take for an answer. */
const ANSWER_MS = 30_000;
/** How long a module may take. */
const UPLOAD_MS = 300_000;

interface Request {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly type?: string;
  readonly timeoutMs?: number;
}

/** The control API, version 1. */
export class HttpRemote implements RemoteControl {
  readonly #base: URL;

  constructor(
    readonly server: string,
    readonly token: string | undefined,
    readonly author: string,
  ) {
    const base = URL.parse(server.includes("://") ? server : `http://${server}`);
    if (base === null || !/^https?:$/.test(base.protocol))
      throw new CommandError(`--server: ${JSON.stringify(server)} is not a URL like http://127.0.0.1:8088`, "", EXIT.usage);
    this.#base = base;
  }

  apply(text: string, dryRun: boolean, secrets = false): Promise<ApplyOutcome> {
    return this.#change({
      method: "POST",
      path: "apply",
      query: { dryRun: String(dryRun), secrets: String(secrets) },
      body: text,
      type: "application/yaml",
    });
  }
  delete(text: string, dryRun: boolean): Promise<ApplyOutcome> {
    return this.#change({
      method: "POST",
      path: "delete",
      query: { dryRun: String(dryRun) },
      body: text,
      type: "application/yaml",
    });
  }
  async get(filter: ResourceFilter, secrets = false): Promise<readonly StoredResource[]> {
    const query = textsOf({ ...filter, secrets: String(secrets) });
    const { resources } = await this.#json<{ resources: StoredResource[] }>({ method: "GET", path: "resources", query });
    return resources;
  }
  status(): Promise<ControlStatus> {
    return this.#json({ method: "GET", path: "status" });
  }
  waitApplied(revision: number, timeoutMs: number, minimum: number): Promise<WaitOutcome> {
    const query = { revision: String(revision), timeoutMs: String(timeoutMs), minimum: String(minimum) };
    return this.#json({ method: "GET", path: "wait", query, timeoutMs: timeoutMs + ANSWER_MS });
  }
  async history(secrets = false): Promise<readonly LogEntry[]> {
    const query = { secrets: String(secrets) };
    const { entries } = await this.#json<{ entries: LogEntry[] }>({ method: "GET", path: "history", query });
    return entries;
  }
  async difference(from: number, to: number, secrets: boolean): Promise<Difference> {
    const query = textsOf({ from, to, secrets: String(secrets) });
    const { status, content } = await this.#send({ method: "GET", path: "diff", query });
    if (status < 300) return content as Difference;
    const { issues } = (content ?? {}) as { readonly issues?: readonly ConfigIssue[] };
    const [issue] = issues ?? [];
    throw issue === undefined ? this.#refused(status, content) : new CommandError(issue.message, issue.hint, EXIT.notFound);
  }
  rollback(revision: number): Promise<ApplyOutcome> {
    return this.#change({ method: "POST", path: "rollback", body: JSON.stringify({ revision }), type: "application/json" });
  }
  backup(): Promise<Backup> {
    return this.#json({ method: "GET", path: "backup" });
  }
  restore(backup: unknown): Promise<ApplyOutcome> {
    return this.#change({ method: "POST", path: "restore", body: JSON.stringify(backup), type: "application/json" });
  }
  async putModule(bytes: Uint8Array): Promise<string> {
    const body = new Uint8Array(bytes);
    const request: Request = { method: "POST", path: "modules", body, type: "application/wasm", timeoutMs: UPLOAD_MS };
    return (await this.#json<{ digest: string }>(request)).digest;
  }
  async listModules(): Promise<readonly ModuleSummary[]> {
    return (await this.#json<{ modules: ModuleSummary[] }>({ method: "GET", path: "modules", timeoutMs: UPLOAD_MS })).modules;
  }
  async filterLogs(proxyId: string, { filter, ...rest }: FilterLogQuery): Promise<FilterLogAnswer> {
    const path = `filters/${filter.split("/").map(encodeURIComponent).join("/")}/logs`;
    const { status, content } = await this.#send({ method: "GET", path, query: { proxy: proxyId, ...textsOf(rest) } });
    if (status === 503) return { ok: false, reason: "no_answer" };
    const isKnown = typeof content === "object" && content !== null && "title" in content;
    if (status === 404 && isKnown) return { ok: false, reason: "no_proxy" };
    const page = status < 300 ? readFilterLogPage(content) : undefined;
    if (page === undefined) throw this.#refused(status, content);
    return { ok: true, page };
  }
  async close(): Promise<void> {}

  /** Refusals are answers as well: the outcome says why. */
  async #change(request: Request): Promise<ApplyOutcome> {
    const { status, content } = await this.#send(request);
    if (isOutcome(content)) return content;
    throw this.#refused(status, content);
  }

  async #json<T>(request: Request): Promise<T> {
    const { status, content } = await this.#send(request);
    if (status >= 300) throw this.#refused(status, content);
    return content as T;
  }

  async #send(request: Request): Promise<{ status: number; content: unknown }> {
    const url = new URL(`api/v1/${request.path}`, this.#base.href.endsWith("/") ? this.#base : `${this.#base.href}/`);
    for (const [name, value] of Object.entries(request.query ?? {})) url.searchParams.set(name, value);
    const headers: Record<string, string> = { accept: "application/json" };
    if (request.type !== undefined) headers["content-type"] = request.type;
    if (this.token !== undefined) headers.authorization = `Bearer ${this.token}`;
    if (this.author !== "") headers["x-selvedge-author"] = this.author;
    let response: Response;
    try {
      response = await fetch(url, {
        method: request.method,
        headers,
        redirect: "error",
        signal: AbortSignal.timeout(request.timeoutMs ?? ANSWER_MS),
        ...(request.body === undefined ? {} : { body: request.body }),
      });
    } catch (error) {
      throw unreachable(this.#base.origin, fetchCause(error));
    }
    const text = await response.text();
    try {
      return { status: response.status, content: JSON.parse(text) };
    } catch {
      return { status: response.status, content: { error: text.slice(0, 200) } };
    }
  }

  #refused(status: number, content: unknown): CommandError {
    const message = messageOf(content);
    if (status === 401) return new CommandError("the control plane wants a token", "give it with --token or SELVEDGE_TOKEN");
    if (status === 404) return new CommandError(message, "is this a control API? --server names it", EXIT.notFound);
    return new CommandError(`the control plane answered ${status}: ${message}`);
  }
}

/** For a query string. */
export function textsOf(fields: Readonly<Record<string, string | number | undefined>>): Record<string, string> {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [name, String(value)]));
}

function isOutcome(content: unknown): content is ApplyOutcome {
  if (typeof content !== "object" || content === null || !("ok" in content)) return false;
  // Other refusals (no token, body too large) say `ok: false` as well, but have no issues.
  return content.ok === true || ("issues" in content && Array.isArray(content.issues));
}

function messageOf(content: unknown): string {
  if (typeof content !== "object" || content === null) return "no reason given";
  if ("message" in content && typeof content.message === "string") return content.message;
  return "error" in content && typeof content.error === "string" ? content.error : "no reason given";
}
