import type { Context } from "hono";
import { detectAbi } from "../../config/module-abi.ts";
import { parseResources } from "../../config/parse.ts";
import { jsonSchema, KINDS, type Kind } from "../../config/schema/index.ts";
import { formatDuration } from "../../config/schema/units.ts";
import { Budget } from "../../core/budgets.ts";
import { utf8TextStrict } from "../../core/bytes.ts";
import { type Clock, SystemClock } from "../../core/clock.ts";
import { readFilterLogQuery } from "../../core/filter-logs.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { CONFIG_LIMITS, CONTROL_LIMITS } from "../../core/limits.ts";
import type { ApplyOutcome, ControlPlane } from "../control.ts";
import { differenceBetween } from "../model/difference.ts";
import { keyOf, makeKey, type ResourceKey } from "../model/resource.ts";
import { shownDifference, shownHistory, shownOutcome, shownResources } from "../redact.ts";
import { readBody } from "./body.ts";
import { openApiDocument } from "./openapi.ts";
import { busyBodies, etagOf, json, outcomeResponse, problem } from "./problem.ts";
import type { RouteId } from "./routes.ts";

export interface ApiOptions {
  readonly plane: ControlPlane;
  readonly version: string;
  /** Text of `/metrics`. */
  readonly metrics?: () => Promise<string>;
  /** What the bodies of all requests hold together. Default `CONTROL_LIMITS.bodyBytes`. */
  readonly held?: Budget;
  /** For how long a body may take. Default: the system's. */
  readonly clock?: Clock;
}

/** What bodies may take, and how long. */
interface Bodies {
  readonly held: Budget;
  readonly clock: Clock;
}

type Handler = (context: Context) => Promise<Response> | Response;

const WAIT_MS = 30_000;
const WAIT_MAX_MS = 600_000;
const AUTHOR_CHARS = 64;

/** One function for each row of the table of routes. */
export function handlersOf(options: ApiOptions): Readonly<Record<RouteId, Handler>> {
  const { plane, held = new Budget(CONTROL_LIMITS.bodyBytes), clock = new SystemClock() } = options;
  const bodies: Bodies = { held, clock };
  return {
    health: () => plain("ok\n"),
    ready: () => (plane.status().connection === "disconnected" ? plain("NATS is not connected\n", 503) : plain("ok\n")),
    metrics: async () => plain((await options.metrics?.()) ?? "", 200, "text/plain; version=0.0.4; charset=utf-8"),
    openapi: () => json(openApiDocument(options.version)),
    status: () => json(plane.status()),
    list: async (context) => json({ resources: await shownResources(plane, plane.get(filterOf(context)), withSecrets(context)) }),
    read: (context) => readOne(plane, context),
    write: (context) => writeOne(plane, context, bodies),
    remove: (context) => removeOne(plane, context),
    apply: (context) =>
      withText(context, bodies, (text) =>
        dryRunnable(plane, context, plane.apply({ ...requestOf(context, text), dryRun: isDryRun(context) })),
      ),
    deleteMany: (context) =>
      withText(context, bodies, (text) =>
        dryRunnable(plane, context, plane.delete({ ...requestOf(context, text), dryRun: isDryRun(context) })),
      ),
    history: async (context) => json({ entries: await shownHistory(plane, await plane.history(), withSecrets(context)) }),
    difference: (context) => difference(plane, context),
    rollback: (context) => rollback(plane, context, bodies),
    backup: async () => json(await plane.backup(), 200, { "content-disposition": 'attachment; filename="selvedge-backup.json"' }),
    restore: (context) => restore(plane, context, bodies),
    wait: (context) => wait(plane, context),
    schema: (context) => schema(context),
    putModule: (context) => putModule(plane, context, bodies),
    filterLogs: (context) => filterLogs(plane, context),
    listModules: async () => json({ modules: await plane.listModules() }),
  };
}

function plain(text: string, status = 200, type = "text/plain; charset=utf-8"): Response {
  return new Response(text, { status, headers: { "content-type": type, "cache-control": "no-store" } });
}

function requestOf(context: Context, text: string): { text: string; author: string; origin: string; file: string } {
  return { text, author: authorOf(context), origin: "api", file: "<api>" };
}

/** Only for the history: who may do something is decided before. */
function authorOf(context: Context): string {
  const name = context.req
    .header("x-selvedge-author")
    ?.replace(/[^\x20-\x7e]/g, "")
    .trim()
    .slice(0, AUTHOR_CHARS);
  return name === undefined || name === "" ? "api" : name;
}

/** Who may ask may see them all (a backup has them); but not by the way. */
const withSecrets = (context: Context): boolean => context.req.query("secrets") === "true";

const dryRunnable = async (plane: ControlPlane, context: Context, outcome: Promise<ApplyOutcome>): Promise<Response> =>
  outcomeResponse(await shownOutcome(plane, await outcome, withSecrets(context)));

const isDryRun = (context: Context): boolean => context.req.query("dryRun") === "true";

/** All bodies that are held have one bound: `readBody` and what comes of it are inside. */
async function withBody(
  context: Context,
  bodies: Bodies,
  maxBytes: number,
  use: (bytes: Uint8Array) => Promise<Response>,
): Promise<Response> {
  const share = bodies.held.share();
  try {
    const bytes = await readBody(context.req.raw, maxBytes, share, bodies.clock);
    if (bytes === "busy") return busyBodies();
    if (bytes === "late") return problem(408, `The body was not there within ${formatDuration(CONTROL_LIMITS.bodyMs)}.`);
    return bytes === "too_large" ? problem(413, `The body has more than ${maxBytes} bytes.`) : await use(bytes);
  } finally {
    share.end();
  }
}

function withText(context: Context, bodies: Bodies, use: (text: string) => Promise<Response>): Promise<Response> {
  return withBody(context, bodies, CONFIG_LIMITS.documentBytes, async (bytes) => {
    try {
      return await use(utf8TextStrict(bytes));
    } catch (error) {
      if (error instanceof TypeError && bytes.byteLength > 0 && !isUtf8(bytes)) return problem(422, "The body is not UTF-8.");
      throw error;
    }
  });
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    utf8TextStrict(bytes);
    return true;
  } catch {
    return false;
  }
}

function filterOf(context: Context): Parameters<ControlPlane["get"]>[0] {
  const { kind, namespace, name } = context.req.query();
  return { ...(kind ? { kind } : {}), ...(namespace ? { namespace } : {}), ...(name ? { name } : {}) };
}

function keyOfPath(context: Context): ResourceKey {
  return makeKey(context.req.param("kind") ?? "", context.req.param("namespace"), context.req.param("name") ?? "");
}

function findOne(plane: ControlPlane, key: ResourceKey) {
  const [kind = "", namespace = "", name = ""] = key.split("/");
  return plane.get({ kind, namespace, name })[0];
}

async function readOne(plane: ControlPlane, context: Context): Promise<Response> {
  const key = keyOfPath(context);
  const found = findOne(plane, key);
  if (found === undefined) return problem(404, `There is no ${key}.`);
  const [shown] = await shownResources(plane, [found], withSecrets(context));
  return json(shown, 200, { etag: etagOf(found.revision) });
}

/** What If-Match and If-None-Match ask for: a revision, 0 for "must not exist", undefined for nothing; a text is why not. */
function preconditionOf(plane: ControlPlane, context: Context, key: ResourceKey): number | undefined | string {
  const match = context.req.header("if-match");
  const noneMatch = context.req.header("if-none-match");
  if (match !== undefined && noneMatch !== undefined) return "If-Match and If-None-Match exclude each other.";
  if (noneMatch !== undefined) return noneMatch.trim() === "*" ? 0 : "If-None-Match may only be `*`.";
  if (match === undefined) return undefined;
  // Must exist: whatever its revision is now. -1 is none that ever was.
  if (match.trim() === "*") return findOne(plane, key)?.revision ?? -1;
  const revision = /^"([1-9]\d{0,15})"$/.exec(match.trim())?.[1];
  return revision === undefined ? "If-Match must be one strong ETag of this API, or `*`." : Number(revision);
}

async function writeOne(plane: ControlPlane, context: Context, bodies: Bodies): Promise<Response> {
  const key = keyOfPath(context);
  const revision = preconditionOf(plane, context, key);
  if (typeof revision === "string") return problem(400, revision);
  return withText(context, bodies, async (text) => {
    const request = requestOf(context, text);
    const { resources } = parseResources(text, { file: request.file });
    if (resources.some((each) => keyOf(each.resource) !== key) || resources.length > 1)
      return problem(400, `The body must be one resource, and it must be ${key}.`);
    const expected = revision === undefined ? undefined : new Map([[key, revision]]);
    return outcomeResponse(await plane.apply({ ...request, ...(expected === undefined ? {} : { expected }) }), true);
  });
}

async function removeOne(plane: ControlPlane, context: Context): Promise<Response> {
  const key = keyOfPath(context);
  const revision = preconditionOf(plane, context, key);
  if (typeof revision === "string") return problem(400, revision);
  const expected = revision === undefined ? undefined : new Map([[key, revision]]);
  return outcomeResponse(
    await plane.delete({ ...requestOf(context, JSON.stringify([key])), ...(expected === undefined ? {} : { expected }) }),
  );
}

async function rollback(plane: ControlPlane, context: Context, bodies: Bodies): Promise<Response> {
  return withText(context, bodies, async (text) => {
    const revision = (parseJson(text) as { revision?: unknown } | undefined)?.revision;
    if (typeof revision !== "number" || !Number.isSafeInteger(revision) || revision < 1)
      return problem(400, 'The body must be like {"revision": 7}.');
    return outcomeResponse(await plane.rollback(revision, authorOf(context)));
  });
}

async function restore(plane: ControlPlane, context: Context, bodies: Bodies): Promise<Response> {
  return withBody(context, bodies, CONFIG_LIMITS.documentBytes * 4, async (bytes) => {
    const backup = parseJson(new TextDecoder().decode(bytes));
    if (backup === undefined) return problem(400, "The body is not JSON.");
    return outcomeResponse(await plane.restore(backup, authorOf(context)));
  });
}

function parseJson(text: string): unknown {
  try {
    return parseShallowJson(text, CONTROL_LIMITS.storedDepth) ?? undefined;
  } catch {
    return undefined;
  }
}

async function filterLogs(plane: ControlPlane, context: Context): Promise<Response> {
  const { proxy = "", after, level, sinceMs, tail } = context.req.query();
  const filter = `${context.req.param("namespace")}/${context.req.param("name")}`;
  const numbers = {
    sinceMs: sinceMs === undefined ? undefined : Number(sinceMs),
    tail: tail === undefined ? undefined : Number(tail),
  };
  const query = readFilterLogQuery({ filter, after, level, ...numbers });
  if (query === undefined) return problem(400, "level must be one of trace … critical, sinceMs and tail whole numbers.");
  const answer = await plane.filterLogs(proxy, query);
  if (answer.ok) return json(answer.page);
  if (answer.reason === "no_proxy") return problem(404, `No proxy ${proxy} lives.`);
  return problem(503, `Proxy ${proxy} does not answer; one of a former version never does.`);
}

async function difference(plane: ControlPlane, context: Context): Promise<Response> {
  const [from, to] = [Number(context.req.query("from") ?? 0), Number(context.req.query("to") ?? 0)];
  if (!(Number.isSafeInteger(from) && from >= 1 && Number.isSafeInteger(to) && to >= 0))
    return problem(400, "from (at least 1) and to must be revisions: whole numbers.");
  const found = differenceBetween(await plane.history(), from, to);
  if ("code" in found) return problem(404, found.message, { reason: "not_found", issues: [found] });
  return json(await shownDifference(plane, found, withSecrets(context)));
}

async function wait(plane: ControlPlane, context: Context): Promise<Response> {
  const number = (name: string, fallback: number): number => Number(context.req.query(name) ?? fallback);
  const [revision, timeoutMs, minimum] = [number("revision", 0), number("timeoutMs", WAIT_MS), number("minimum", 0)];
  if (![revision, timeoutMs, minimum].every((each) => Number.isSafeInteger(each) && each >= 0) || timeoutMs > WAIT_MAX_MS)
    return problem(400, `revision, timeoutMs (at most ${WAIT_MAX_MS}) and minimum must be whole numbers, not negative.`);
  return json(await plane.waitApplied(revision === 0 ? plane.status().revision : revision, timeoutMs, minimum));
}

function schema(context: Context): Response {
  const kind = context.req.query("kind");
  const known = KINDS.find((each) => each === kind);
  if (kind !== undefined && known === undefined) return problem(404, `There is no kind ${kind}; there are ${KINDS.join(", ")}.`);
  return json(jsonSchema(known satisfies Kind | undefined));
}

async function putModule(plane: ControlPlane, context: Context, bodies: Bodies): Promise<Response> {
  return withBody(context, bodies, CONFIG_LIMITS.moduleBytes, async (bytes) => {
    // What a component is made of, only its host can tell; it does when a filter names it.
    if (detectAbi(bytes) !== "component" && !WebAssembly.validate(new Uint8Array(bytes)))
      return problem(422, "The body is not a WebAssembly module.");
    return json({ digest: await plane.putModule(bytes) });
  });
}
