import type { ConfigIssue } from "../../config/issue.ts";
import { utf8Bytes } from "../../core/bytes.ts";
import { type FilterLogQuery, readFilterLogQuery } from "../../core/filter-logs.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import type { ControlPlane, ControlStatus, FilterLogAnswer } from "../control.ts";
import { type Difference, differenceBetween } from "../model/difference.ts";
import { controlIssue } from "../model/issues.ts";
import type { WaitOutcome } from "../model/proxies.ts";
import { makeKey, type ResourceKey, type StoredResource } from "../model/resource.ts";
import { shownDifference, shownHistory, shownResources } from "../redact.ts";
import type { LogEntry } from "../store/store.ts";
import { type Asker, statusFor, waitFor } from "./status.ts";

/** What a request on `selvedge.config.get` asks for. */
export type Query =
  | {
      readonly query: "resources";
      readonly filter: { readonly kind?: string; readonly namespace?: string; readonly name?: string };
      /** With what is secret. */
      readonly secrets?: boolean;
    }
  | { readonly query: "status" }
  | { readonly query: "history"; readonly secrets: boolean }
  | { readonly query: "diff"; readonly from: number; readonly to: number; readonly secrets: boolean }
  | { readonly query: "logs"; readonly proxy: string; readonly logs: FilterLogQuery | undefined }
  | { readonly query: "wait"; readonly revision: number; readonly timeoutMs: number; readonly minimum: number };

/** The answer: one of these, or why there is none. */
export interface QueryAnswer {
  readonly resources?: readonly StoredResource[];
  readonly status?: ControlStatus;
  readonly history?: readonly LogEntry[];
  readonly diff?: Difference;
  readonly wait?: WaitOutcome;
  readonly logs?: FilterLogAnswer;
  readonly issues?: readonly ConfigIssue[];
}

/** Largest answer: a message has 1 MB at most. */
const ANSWER_BYTES = 900 * 1024;
/** `{"history":[` and what closes it. */
const WRAPPER_BYTES = 32;
const WAIT_MAX_MS = 600_000;

/** `{"query":"status"}` and the like; `{"kind":"Route"}`, `Route`, `Route/shop`, `Route/default/shop` or nothing for all resources. `"secrets": true` asks for what is redacted otherwise. */
export function readQuery(text: string): Query {
  if (!text.trimStart().startsWith("{")) return { query: "resources", filter: readReference(text) };
  try {
    const content = parseShallowJson(text) as Record<string, unknown>;
    const { query, kind, namespace, name } = content;
    const secrets = content.secrets === true;
    if (query === "status") return { query };
    if (query === "history") return { query, secrets };
    if (query === "logs") return { query, proxy: String(content.proxy ?? ""), logs: readFilterLogQuery(content.logs) };
    const whole = (value: unknown): number => (typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0);
    if (query === "diff") return { query, from: whole(content.from), to: whole(content.to), secrets };
    if (query === "wait") {
      const timeoutMs = Math.min(WAIT_MAX_MS, whole(content.timeoutMs));
      return { query, revision: whole(content.revision), timeoutMs, minimum: whole(content.minimum) };
    }
    const fields = Object.entries({ kind, namespace, name }).filter(([, value]) => typeof value === "string" && value !== "");
    return { query: "resources", filter: Object.fromEntries(fields), secrets };
  } catch {
    // No kind has that name, and the answer is empty.
    return { query: "resources", filter: readReference(text) };
  }
}

function readReference(text: string): { readonly kind?: string; readonly namespace?: string; readonly name?: string } {
  const [kind, second, third] = text.trim().split(/[/\s]+/);
  return {
    ...(kind ? { kind } : {}),
    ...(second ? (third ? { namespace: second, name: third } : { namespace: "default", name: second }) : {}),
  };
}

type Asked = Pick<ControlPlane, "get" | "status" | "history" | "waitApplied" | "filterLogs" | "redact">;

/** The text to answer with. What is about resources that the asker must not see is left out, in history and status as well. */
export async function answerQuery(plane: Asked, query: Query, asker: Asker): Promise<string> {
  const text = JSON.stringify(await contentOf(plane, query, asker));
  if (utf8Bytes(text).byteLength <= ANSWER_BYTES) return text;
  const hint = "name a kind or one resource, or use the control API";
  return JSON.stringify({ issues: [controlIssue("bad_request", "The answer does not fit a message.", hint)] });
}

async function contentOf(plane: Asked, query: Query, asker: Asker): Promise<QueryAnswer> {
  const mayRead = (key: ResourceKey): boolean => asker.mayRead(key);
  switch (query.query) {
    case "resources":
      return {
        resources: await shownResources(
          plane,
          plane.get(query.filter).filter(({ key }) => mayRead(key)),
          query.secrets === true,
        ),
      };
    case "status":
      return { status: statusFor(asker, plane.status()) };
    case "logs":
      return answerLogs(plane, query.proxy, query.logs, mayRead);
    case "wait": {
      const revision = query.revision === 0 ? plane.status().revision : query.revision;
      return { wait: waitFor(asker, await plane.waitApplied(revision, query.timeoutMs, query.minimum)) };
    }
    case "history": {
      const entries = (await plane.history()).map((entry) => visible(entry, mayRead));
      return { history: shorten(await shownHistory(plane, entries, query.secrets)) };
    }
    case "diff": {
      const entries = (await plane.history()).map((entry) => visible(entry, mayRead));
      const found = differenceBetween(entries, query.from, query.to);
      return "code" in found ? { issues: [found] } : { diff: await shownDifference(plane, found, query.secrets) };
    }
  }
}

async function answerLogs(
  plane: Asked,
  proxy: string,
  query: FilterLogQuery | undefined,
  mayRead: (key: ResourceKey) => boolean,
): Promise<QueryAnswer> {
  if (query === undefined) return { issues: [controlIssue("bad_request", "logs is no question about a filter's lines.")] };
  const [namespace = "", name = ""] = query.filter.split("/");
  // Who may not read a filter's settings does not read what it says of requests.
  if (mayRead(makeKey("Filter", namespace, name))) return { logs: await plane.filterLogs(proxy, query) };
  return { issues: [controlIssue("not_owned", `The lines of filter ${query.filter} belong to others.`)] };
}

function visible(entry: LogEntry, mayRead: (key: ResourceKey) => boolean): LogEntry {
  return { ...entry, changes: entry.changes.filter(({ key }) => mayRead(key)) };
}

/**
 * Applies of ten thousand routes do not fit. Of those that do not, beside the newer ones, it says what changed and not into what (`{}` stands
 * for a resource); the API has the rest. What does not fit even so, the oldest, is left out.
 */
function shorten(entries: readonly LogEntry[]): readonly LogEntry[] {
  let room = ANSWER_BYTES - WRAPPER_BYTES;
  const short = entries.map(withoutResources);
  const listed = short.findIndex((entry) => {
    room -= sizeOf(entry);
    return room < 0;
  });
  if (listed >= 0) return short.slice(0, listed);
  return entries.map((entry, i) => {
    const less = short[i] ?? entry;
    const more = sizeOf(entry) - sizeOf(less);
    if (more > room) return less;
    room -= more;
    return entry;
  });
}

/** With the comma behind it. */
const sizeOf = (entry: LogEntry): number => utf8Bytes(JSON.stringify(entry)).byteLength + 1;

const withoutResources = (entry: LogEntry): LogEntry => ({
  ...entry,
  changes: entry.changes.map(({ key, before, after }) => ({
    key,
    ...(before === undefined ? {} : { before: {} }),
    ...(after === undefined ? {} : { after: {} }),
  })),
});
