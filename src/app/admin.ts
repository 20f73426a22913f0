import { Hono } from "hono";
import { redactSnapshot } from "../config/sections.ts";
import type { ProxyEvent } from "../core/events.ts";
import { type FilterLogQuery, readFilterLogQuery } from "../core/filter-logs.ts";
import { FILTER_ACTIONS } from "../filters/contract.ts";
import { renderMetrics } from "../proxy/observe/render.ts";
import { filterViews } from "./filter-views.ts";
import { checkAccess, type GuardOptions } from "./guard.ts";
import type { ProxyHost } from "./host.ts";

const PATHS = [
  ...["/healthz", "/readyz", "/metrics", "/config_dump", "/status", "/filters", "/events"],
  "/filters/<namespace>/<name>/logs",
  ...FILTER_ACTIONS.map((action) => `POST /filters/<namespace>/<name>/${action}`),
];
/** Open to everybody who reaches the address: probes send no token, and the answers say nothing. */
const PROBES: ReadonlySet<string> = new Set(["/healthz", "/readyz"]);

/** The admin interface of a proxy, as a function from request to answer: `src/runtime/serve.ts` puts it on a port. Reads, but for what can be done to a filter by hand. */
export function createAdmin(host: ProxyHost, guard: GuardOptions): (request: Request) => Response | Promise<Response> {
  const app = new Hono();
  app.use(async (context, next) => {
    if (!PROBES.has(context.req.path)) {
      const refusal = checkAccess(context.req.raw.headers, guard);
      if (refusal !== undefined) return context.json({ error: refusal.message }, refusal.status);
    }
    await next();
    context.res.headers.set("cache-control", "no-store");
    context.res.headers.set("x-content-type-options", "nosniff");
    return undefined;
  });
  app.get("/", (context) => context.json({ paths: PATHS }));
  app.get("/healthz", (context) => context.text("ok\n"));
  app.get("/readyz", (context) =>
    host.ready ? context.text("ready\n") : context.text(`not ready: ${host.notReadyReason}\n`, 503),
  );
  app.get("/metrics", async () => {
    const { contentType, text } = await renderMetrics(await host.metrics());
    return new Response(text, { headers: { "content-type": contentType } });
  });
  app.get("/config_dump", (context) => {
    const snapshot = host.snapshot();
    if (snapshot === undefined) return context.json({ error: "No configuration was applied yet." }, 404);
    return context.json(redactSnapshot(snapshot));
  });
  app.get("/status", async (context) => context.json(await host.status()));
  app.get("/filters", async (context) => context.json({ filters: filterViews(await host.status(), await host.metrics()) }));
  app.get("/events", async (context) => context.json({ events: (await host.events()).map(showEvent) }));
  app.get("/filters/:namespace/:name/logs", async (context) => {
    const filter = `${context.req.param("namespace")}/${context.req.param("name")}`;
    const query = logQueryOf(filter, context.req.query());
    if (query === undefined) return context.json({ error: LOG_QUERY }, 400);
    const page = await host.filterLogs(query);
    if (page === undefined) return context.json({ error: `What serves has no filter ${filter}.` }, 404);
    return context.json(page);
  });
  for (const action of FILTER_ACTIONS) {
    const path = `/filters/:namespace/:name/${action}` as const;
    app.post(path, (context) => {
      const filter = `${context.req.param("namespace")}/${context.req.param("name")}`;
      const workers = host.controlFilter(filter, action);
      if (workers === undefined) return context.json({ error: `What serves has no filter ${filter}.` }, 404);
      const onFailure = host.snapshot()?.filters.find(({ name }) => name === filter)?.onFailure;
      return context.json({ filter, action, workers, onFailure });
    });
    app.all(path, (context) => context.json({ error: "Use POST." }, 405, { allow: "POST" }));
  }
  app.notFound((context) => context.json({ error: "There is no such path.", paths: PATHS }, 404));
  app.onError((error, context) => context.json({ error: error.message }, 500));
  return (request) => app.fetch(request);
}

const LOG_QUERY = "after is a cursor, level one of trace … critical, sinceMs and tail whole numbers that are not negative.";

/** Numbers come as text. Undefined: it is none. */
function logQueryOf(
  filter: string,
  { after, level, sinceMs, tail }: Readonly<Record<string, string>>,
): FilterLogQuery | undefined {
  return readFilterLogQuery({
    filter,
    after,
    level,
    sinceMs: sinceMs === undefined ? undefined : Number(sinceMs),
    tail: tail === undefined ? undefined : Number(tail),
  });
}

/** With times that people read. */
function showEvent({ firstMs, lastMs, ...event }: ProxyEvent): object {
  return { time: new Date(lastMs).toISOString(), ...event, since: new Date(firstMs).toISOString() };
}
