import type { ListenerConfig, RouteConfig } from "../../config/snapshot.ts";
import type { Router } from "./router.ts";

/**
 * Compiles routes into a router. With `previous`, hosts whose routes did not change keep their tables.
 * Throws an `Error` that names every route that cannot be compiled (validated configuration has none).
 */
export function buildRouter(_routes: readonly RouteConfig[], _listeners: readonly ListenerConfig[], _previous?: Router): Router {
  throw new Error("not yet");
}
