import { CONFIG_LIMITS } from "../core/limits.ts";

/** Stand for a secret that lies in the section `secrets`. No PEM and no JSON begins like this. */
export const SECRET_PREFIX = "secret:";

/** What a reference to a secret stands for; what is none stays. Throws an `Error` when the section with the secrets lacks it. */
export function openReference(reference: string, secrets: Readonly<Record<string, string>>): string {
  const secret = reference.startsWith(SECRET_PREFIX) ? secrets[reference.slice(SECRET_PREFIX.length)] : reference;
  if (secret === undefined) throw new Error("a secret is missing");
  return secret;
}

/** Sections that hold a whole list (or object). */
export const WHOLE = ["mesh", "listeners", "filters", "authentications"] as const;
/** Kinds that are spread over sections by name. */
export const SHARDED = ["routes", "services", "endpoints"] as const;

/**
 * Number of shards for so many items: the least power of two that keeps the average within the limit. It depends on nothing
 * else, so that two control planes cut alike.
 */
export function shardCount(items: number): number {
  let shards = 1;
  while (items > shards * CONFIG_LIMITS.shardItems) shards *= 2;
  return shards;
}

/** Shard of a name: FNV-1a with a final mix, so that the low bits are good. */
export function shardOf(name: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash ^= hash >>> 13;
  return (hash >>> 0) & (shards - 1);
}

/** Of a route, a service, a set of endpoints, a listener. */
export const nameOfItem = (item: object): string =>
  "service" in item ? String(item.service) : "name" in item ? String(item.name) : "";
