import { z } from "zod";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { type AuthenticationSpec, authenticationSpec } from "./authentication.ts";
import { type FilterSpec, filterSpec } from "./filter.ts";
import { type GatewaySpec, gatewaySpec } from "./gateway.ts";
import { type MeshSpec, meshSpec } from "./mesh.ts";
import { name, partName } from "./names.ts";
import { type RouteSpec, routeSpec } from "./route.ts";
import { labels, type ServiceSpec, serviceSpec } from "./service.ts";
import { Refusal, refuse } from "./text.ts";

/** Native API version. */
export const API_VERSION = "selvedge.dev/v1";

/** Native kinds. */
export const KINDS = ["Gateway", "Route", "Service", "Filter", "Authentication", "Mesh"] as const;
export type Kind = (typeof KINDS)[number];

export interface Metadata {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Of<K extends Kind, Spec> {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: K;
  readonly metadata: Metadata;
  readonly spec: Spec;
}

export type GatewayResource = Of<"Gateway", GatewaySpec>;
export type RouteResource = Of<"Route", RouteSpec>;
export type ServiceResource = Of<"Service", ServiceSpec>;
export type FilterResource = Of<"Filter", FilterSpec>;
export type AuthenticationResource = Of<"Authentication", AuthenticationSpec>;
export type MeshResource = Of<"Mesh", MeshSpec>;

/** A resource that passed the schema: defaults filled in, durations in ms, sizes in bytes. References are not resolved. */
export type Resource = GatewayResource | RouteResource | ServiceResource | FilterResource | AuthenticationResource | MeshResource;

const annotations = z
  .record(z.string(), z.string())
  .superRefine((map, context) => {
    const chars = Object.entries(map).reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    if (chars > CONFIG_LIMITS.textBytes) refuse(context, new Refusal("bad_label", "Annotations are too long."));
  })
  .meta({ title: "name: value" });

const metadata = z
  .strictObject({
    name: name().describe("Unique among resources of this kind in the namespace."),
    namespace: partName().prefault("default").describe("Names without a namespace refer to the same one."),
    labels: labels().prefault({}).describe("For people and tools."),
    annotations: annotations.prefault({}).describe("For people and tools."),
  })
  .describe("Name and labels.");

const envelope = <K extends Kind, S extends z.ZodType>(kind: K, spec: S) =>
  z.strictObject({
    apiVersion: z.literal(API_VERSION),
    kind: z.literal(kind),
    metadata,
    spec,
  });

/** One schema per kind. */
export const RESOURCE_SCHEMAS = {
  Gateway: envelope("Gateway", gatewaySpec),
  Route: envelope("Route", routeSpec),
  Service: envelope("Service", serviceSpec),
  Filter: envelope("Filter", filterSpec),
  Authentication: envelope("Authentication", authenticationSpec),
  Mesh: envelope("Mesh", meshSpec.prefault({})),
} satisfies { [K in Kind]: z.ZodType<Extract<Resource, { kind: K }>> };

/** `Route default/shop`: how issues and people name a resource; unique in a configuration. */
export function resourceKey(resource: {
  readonly kind: string;
  readonly metadata: Pick<Metadata, "name" | "namespace">;
}): string {
  return `${resource.kind} ${resource.metadata.namespace}/${resource.metadata.name}`;
}

/**
 * JSON Schema (draft 2020-12) for editors: of one kind, or of all with one `oneOf` entry per kind. With `variables`, numbers
 * and booleans may also be written as `${NAME}`, as in files.
 */
export function jsonSchema(kind?: Kind, variables = true): Record<string, unknown> {
  const of = (each: Kind) =>
    z.toJSONSchema(RESOURCE_SCHEMAS[each], {
      io: "input",
      target: "draft-2020-12",
      override: ({ jsonSchema: node }) => {
        if (variables && ["integer", "number", "boolean"].includes(String(node.type))) allowVariable(node);
      },
    });
  const $schema = "https://json-schema.org/draft/2020-12/schema";
  if (kind !== undefined) return { ...of(kind), $schema, title: kind };
  const oneOf = KINDS.map((each) => {
    const { $schema: _, ...schema } = of(each);
    return { ...schema, title: each };
  });
  return { $schema, title: `Selvedge resources (${API_VERSION})`, oneOf };
}

/** In place: what says what the value is goes into an alternative, what describes the field stays. */
function allowVariable(node: Record<string, unknown>): void {
  const value: Record<string, unknown> = {};
  for (const [key, each] of Object.entries(node)) {
    if (key === "description" || key === "default" || key === "title") continue;
    value[key] = each;
    delete node[key];
  }
  node.anyOf = [value, { type: "string", pattern: "^\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}$" }];
}
