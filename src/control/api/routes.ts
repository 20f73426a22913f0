import { FILTER_LOG_LEVELS } from "../../core/filter-logs.ts";
import { ref } from "./schemas.ts";

/** One operation of the API: what the OpenAPI document says and what is served come from the same row. */
export interface ApiRoute {
  readonly id: RouteId;
  readonly method: "get" | "put" | "post" | "delete";
  /** With `{name}` for variables, as OpenAPI writes it. */
  readonly path: string;
  readonly summary: string;
  readonly query?: Readonly<Record<string, { readonly schema: object; readonly description: string }>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Content type → schema. */
  readonly body?: Readonly<Record<string, object>>;
  /** Status → schema of the answer; a text is a content type. */
  readonly answers: Readonly<Record<number, object | string>>;
  /** No token and no check of Host and Origin: it tells and changes nothing. */
  readonly open?: true;
}

export type RouteId =
  | ("health" | "ready" | "metrics" | "openapi" | "status" | "list" | "read" | "write" | "remove" | "apply")
  | (
      | "deleteMany"
      | "history"
      | "difference"
      | "rollback"
      | "backup"
      | "restore"
      | "wait"
      | "schema"
      | "putModule"
      | "listModules"
      | "filterLogs"
    );

const resourceText = { "application/yaml": ref("Resource"), "application/json": ref("Resource") };
const manyTexts = { "application/yaml": { type: "string" }, "application/json": {} };
const text = { type: "string" };
const whole = { type: "integer", minimum: 0 };
const secrets = {
  secrets: { schema: { type: "boolean" }, description: "With private keys and other secrets, which are `[redacted]` otherwise." },
};
const dryRun = {
  ...secrets,
  dryRun: { schema: { type: "boolean" }, description: "Only say what would change, with the difference." },
};
const author = { "X-Selvedge-Author": "Name for the history; default `api`." };
const ifMatch = { "If-Match": "ETag that the resource must have, or `*`: it must exist." };
const outcome = { 200: ref("Outcome") };
const issues = { 408: ref("Problem"), 413: ref("Problem"), 422: ref("Problem") };
const one = "/api/v1/resources/{kind}/{namespace}/{name}";

export const API_ROUTES: readonly ApiRoute[] = [
  { id: "health", method: "get", path: "/healthz", summary: "The process lives", answers: { 200: "text/plain" }, open: true },
  {
    ...{ id: "ready", method: "get", path: "/readyz", summary: "Configuration can be applied now", open: true },
    answers: { 200: "text/plain", 503: "text/plain" },
  },
  {
    id: "metrics",
    method: "get",
    path: "/metrics",
    summary: "Metrics in Prometheus' text format",
    answers: { 200: "text/plain" },
  },
  { id: "openapi", method: "get", path: "/openapi.json", summary: "This document", answers: { 200: { type: "object" } } },
  {
    id: "status",
    method: "get",
    path: "/api/v1/status",
    summary: "Revision, store and proxies",
    answers: { 200: ref("Status") },
  },
  {
    ...{ id: "list", method: "get", path: "/api/v1/resources", summary: "Resources, by key" },
    query: {
      kind: { schema: text, description: "Only this kind." },
      namespace: { schema: text, description: "Only this namespace." },
      name: { schema: text, description: "Only this name." },
      ...secrets,
    },
    answers: { 200: ref("ResourceList") },
  },
  {
    id: "read",
    method: "get",
    path: one,
    summary: "One resource",
    query: secrets,
    answers: { 200: ref("StoredResource"), 404: ref("Problem") },
  },
  {
    ...{ id: "write", method: "put", path: one, summary: "Create or replace one resource", body: resourceText },
    headers: { ...author, ...ifMatch, "If-None-Match": "`*`: it must not exist." },
    answers: { ...outcome, 201: ref("Outcome"), 400: ref("Problem"), 412: ref("Problem"), ...issues },
  },
  {
    ...{ id: "remove", method: "delete", path: one, summary: "Delete one resource", headers: { ...author, ...ifMatch } },
    answers: { ...outcome, 400: ref("Problem"), 404: ref("Problem"), 412: ref("Problem"), 422: ref("Problem") },
  },
  {
    ...{
      id: "apply",
      method: "post",
      path: "/api/v1/apply",
      summary: "Create or replace all resources of a stream of YAML or JSON documents",
    },
    ...{ query: dryRun, headers: author, body: manyTexts, answers: { ...outcome, ...issues } },
  },
  {
    ...{ id: "deleteMany", method: "post", path: "/api/v1/delete", summary: "Delete resources by reference or by their YAML" },
    ...{ query: dryRun, headers: author, body: manyTexts, answers: { ...outcome, 404: ref("Problem"), ...issues } },
  },
  {
    id: "history",
    method: "get",
    path: "/api/v1/history",
    summary: "The last 64 applies, newest first",
    query: secrets,
    answers: { 200: ref("History") },
  },
  {
    ...{ id: "difference", method: "get", path: "/api/v1/diff", summary: "What lies between two revisions of the history" },
    query: {
      from: { schema: whole, description: "Revision; required." },
      to: { schema: whole, description: "Revision, older or newer. Default 0: the newest." },
      ...secrets,
    },
    answers: { 200: ref("Difference"), 400: ref("Problem"), 404: ref("Problem") },
  },
  {
    ...{
      id: "rollback",
      method: "post",
      path: "/api/v1/rollback",
      summary: "A new apply that goes back to a revision",
      headers: author,
    },
    body: { "application/json": ref("Rollback") },
    answers: { ...outcome, 400: ref("Problem"), 404: ref("Problem"), ...issues },
  },
  { id: "backup", method: "get", path: "/api/v1/backup", summary: "Everything as one document", answers: { 200: ref("Backup") } },
  {
    ...{
      id: "restore",
      method: "post",
      path: "/api/v1/restore",
      summary: "A new apply that makes everything what a backup says",
    },
    ...{ headers: author, body: { "application/json": ref("Backup") }, answers: { ...outcome, 400: ref("Problem"), ...issues } },
  },
  {
    ...{
      id: "wait",
      method: "get",
      path: "/api/v1/wait",
      summary: "Blocks until all live proxies serve a revision, or one refuses it",
    },
    query: {
      revision: { schema: whole, description: "Default 0: the current one." },
      timeoutMs: { schema: whole, description: "Default 30,000; at most 600,000." },
      minimum: { schema: whole, description: "Also wait until there are so many proxies. Default 0." },
    },
    answers: { 200: ref("Wait"), 400: ref("Problem") },
  },
  {
    ...{ id: "schema", method: "get", path: "/api/v1/schema", summary: "JSON Schema of resources, for editors" },
    query: { kind: { schema: text, description: "Only this kind." } },
    answers: { 200: ref("JsonSchema"), 404: ref("Problem") },
  },
  {
    ...{ id: "putModule", method: "post", path: "/api/v1/modules", summary: "Keep a WASM module, to be named by digest" },
    body: { "application/wasm": { type: "string", format: "binary" } },
    answers: { 200: ref("Module"), 408: ref("Problem"), 413: ref("Problem"), 422: ref("Problem") },
  },
  {
    id: "listModules",
    method: "get",
    path: "/api/v1/modules",
    summary: "Modules that are kept",
    answers: { 200: ref("ModuleList") },
  },
  {
    ...{ id: "filterLogs", method: "get", path: "/api/v1/filters/{namespace}/{name}/logs" },
    summary: "What a filter said in one proxy lately, the oldest first, a page at a time",
    query: {
      proxy: { schema: text, description: "Id of the proxy, as in the status." },
      after: { schema: text, description: "Cursor of the last page. Default: from the oldest line that is kept." },
      level: { schema: { enum: [...FILTER_LOG_LEVELS] }, description: "This level and those above. Default: all." },
      sinceMs: { schema: whole, description: "Only lines since then, milliseconds since 1970." },
      tail: { schema: whole, description: "Only the last so many." },
    },
    answers: { 200: ref("FilterLogPage"), 400: ref("Problem"), 404: ref("Problem"), 503: ref("Problem") },
  },
];
