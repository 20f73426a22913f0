import { FILTER_LOG_LEVELS } from "../../core/filter-logs.ts";
import { UNREADABLE_CODES } from "../nats/unreadable.ts";

/** JSON Schemas (draft 2020-12) of what the API takes and gives, for the OpenAPI document. */
type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: "string" };
const integer: Schema = { type: "integer", minimum: 0 };
const boolean: Schema = { type: "boolean" };
const anyObject: Schema = { type: "object" };
export const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
const list = (items: Schema): Schema => ({ type: "array", items });
const object = (properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema => ({
  type: "object",
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
});

const issueFields = {
  code: text,
  message: text,
  hint: text,
  resource: text,
  path: text,
  file: text,
  line: integer,
  column: integer,
};
const proxyFields = {
  ...{ id: text, group: text, version: text, revision: integer, digest: text, applyMs: { type: "number" } },
  ...{ rejectedRevision: integer, issues: list(ref("Issue")), events: list(ref("Event")), seenAtMs: { type: "number" } },
};

export const SCHEMAS: Readonly<Record<string, Schema>> = {
  Issue: object({ ...issueFields, more: integer, unread: integer }, ["more", "unread"]),
  Problem: object(
    {
      type: text,
      title: text,
      status: integer,
      detail: text,
      message: text,
      ok: { const: false },
      reason: text,
      issues: list(ref("Issue")),
    },
    ["reason", "issues"],
  ),
  Resource: {
    ...anyObject,
    description: "A resource as the user wrote it: apiVersion, kind, metadata, spec. /api/v1/schema has the whole.",
  },
  StoredResource: object({ key: { ...text, description: "Kind/namespace/name" }, revision: integer, written: ref("Resource") }),
  ResourceList: object({ resources: list(ref("StoredResource")) }),
  ChangeSummary: object({ key: text, kind: { enum: ["created", "changed", "deleted"] } }),
  Change: object({ key: text, before: ref("Resource"), after: ref("Resource") }, ["before", "after"]),
  Outcome: object(
    {
      ...{ ok: { const: true }, revision: integer, digest: text, changes: list(ref("ChangeSummary")) },
      ...{ diff: list(ref("Change")), warnings: list(ref("Issue")) },
    },
    ["diff", "warnings"],
  ),
  Event: object({ kind: text, subject: text, reason: text, worker: integer, count: integer, firstMs: integer, lastMs: integer }, [
    "worker",
  ]),
  Proxy: object(proxyFields),
  Status: object({
    ...{ revision: integer, digest: text, resources: integer, issues: list(ref("Issue")) },
    ...{
      warnings: list(ref("Issue")),
      store: { enum: ["memory", "nats"] },
      connection: { enum: ["connected", "disconnected", "none"] },
      proxies: list(ref("Proxy")),
      refused: list(ref("Refusal")),
      unreadable: list(ref("UnreadableMessage")),
    },
  }),
  UnreadableMessage: object({
    ...{ where: { enum: ["log", "view", "snapshot"] }, sequence: integer, code: { enum: Object.keys(UNREADABLE_CODES) } },
  }),
  Refusal: object({
    ...{ timeMs: { type: "number" }, author: text, action: { enum: ["apply", "delete"] }, reason: text, issues: integer },
    first: ref("Issue"),
  }),
  LogEntry: object({
    ...{ revision: integer, previous: integer, author: text, origin: text, timeMs: { type: "number" } },
    ...{ changes: list(ref("Change")), digest: text, inboxSequence: integer },
  }),
  History: object({ entries: list(ref("LogEntry")) }),
  Difference: object({ from: integer, to: integer, changes: list(ref("Change")) }),
  Wait: object({ ok: boolean, pending: list(text), rejected: list(object({ id: text, issues: list(ref("Issue")) })) }),
  Backup: object({
    ...{ apiVersion: { const: "selvedge.dev/v1" }, kind: { const: "Backup" }, revision: integer, digest: text },
    ...{ resources: list(ref("Resource")), modules: { type: "object", additionalProperties: text } },
  }),
  Rollback: object({ revision: { type: "integer", minimum: 1 } }),
  Module: object({ digest: text }),
  ModuleList: object({ modules: list(ref("ModuleSummary")) }),
  ModuleSummary: object({
    ...{ digest: text, sizeBytes: integer, abi: text, name: text, version: text, signers: list(text) },
    badSignatures: list(object({ code: text, key: text, reason: text })),
  }),
  FilterLogLine: object(
    {
      ...{ timeMs: { type: "number" }, filter: text, level: { enum: [...FILTER_LOG_LEVELS] }, message: text },
      ...{ requestId: text, worker: integer, dropped: integer },
    },
    ["requestId", "worker", "dropped"],
  ),
  FilterLogPage: object({ cursor: text, lines: list(ref("FilterLogLine")), more: boolean, lost: integer }),
  JsonSchema: anyObject,
};
