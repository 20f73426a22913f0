import { Hono } from "hono";
import { describeCause } from "../../core/failure.ts";
import type { Log } from "../../core/log.ts";
import { type ApiOptions, handlersOf } from "./handlers.ts";
import { problem } from "./problem.ts";
import { API_ROUTES } from "./routes.ts";

export interface ControlApiOptions extends ApiOptions {
  /** Decides who may come in (token, or Host and Origin on loopback); undefined: come in. There is no default. */
  readonly guard: (headers: Headers) => { readonly status: number; readonly message: string } | undefined;
  readonly log: Log;
}

/** The control API as a Hono app; `src/runtime/serve.ts` puts its `fetch` on a port, the dashboard adds its routes. */
export function createControlApi(options: ControlApiOptions): Hono {
  const app = new Hono();
  const open = new Set(API_ROUTES.filter((route) => route.open).map((route) => route.path));
  app.use(async (context, next) => {
    const refusal = open.has(context.req.path) ? undefined : options.guard(context.req.raw.headers);
    if (refusal !== undefined) return problem(refusal.status, refusal.message);
    await next();
    context.res.headers.set("x-content-type-options", "nosniff");
    return undefined;
  });
  const handlers = handlersOf(options);
  for (const { id, method, path } of API_ROUTES) app[method](path.replace(/\{(\w+)\}/g, ":$1"), handlers[id]);
  app.notFound((context) => {
    const known = API_ROUTES.some((route) => new RegExp(`^${route.path.replace(/\{\w+\}/g, "[^/]+")}$`).test(context.req.path));
    return known
      ? problem(405, "This path does not take that method.")
      : problem(404, "There is nothing here. /openapi.json lists what there is.");
  });
  app.onError((error) => {
    // What the plane throws is the store: it could not be reached.
    options.log.error("a request failed", { cause: describeCause(error) });
    return problem(503, "The configuration store cannot be reached now. Try again.");
  });
  return app;
}
