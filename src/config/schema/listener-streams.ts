import { isSameData } from "../../core/equal.ts";
import { Refusal, refuse } from "./text.ts";

/** Fields of a listener that are about requests, as paths. */
const HTTP_FIELDS: readonly (readonly string[])[] = [
  ...["requestLine", "headers", "headerField", "headerSection", "body", "trailerSection"].map((name) => ["limits", name]),
  ...["chunkExtensions", "pipelined", "exchangesPerConnection"].map((name) => ["limits", name]),
  ...["header", "bodyIdle", "bodyMinRate", "bodyGrace", "keepAliveIdle", "writeStall"].map((name) => ["times", name]),
  ...["forwarding", "compression", "paths", "underscores", "allowTrace", "requestTrailers"].map((name) => [name]),
];

/** Refuses what has no effect on a listener that carries streams. What is written as it is by default cannot be told from nothing. */
export function refuseHttpFields(
  context: Parameters<typeof refuse>[0],
  protocol: "TCP" | "TLS",
  listener: object,
  defaults: object,
): void {
  for (const path of HTTP_FIELDS) {
    if (isSameData(valueAt(listener, path), valueAt(defaults, path))) continue;
    const message = `A ${protocol} listener carries no requests: ${path.join(".")} has no effect.`;
    refuse(context, new Refusal("conflicting_fields", message, "leave it out"), ...path);
  }
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce((at, name) => (at as Record<string, unknown> | undefined)?.[name], value);
}
