import { moduleName, sealedName } from "../../config/nats/seal.ts";
import type { NatsDistributor } from "../distribute/nats.ts";
import type { NatsStore } from "../store/nats.ts";
import type { NatsLink } from "./link.ts";

/** What was written within this time is left alone: whoever wrote it is about to refer to it. */
export const GARBAGE_GRACE_MS = 10 * 60_000;
/** A module may be pushed long before a filter names it. */
const MODULE_GRACE_MS = 7 * 24 * 3_600_000;

export interface Garbage {
  readonly objects: number;
  readonly bytes: number;
  readonly orphans: number;
}

/**
 * Deletes objects that neither the kept manifests nor log and view refer to. Safe beside other control planes: references are
 * read after the list of objects, and a version that was written again meanwhile is not touched.
 */
export async function collectGarbage(
  link: NatsLink,
  store: NatsStore,
  distributor: NatsDistributor,
  wallMs: number,
  graceMs = GARBAGE_GRACE_MS,
): Promise<Garbage> {
  const { objects } = link.parts;
  const all = await objects.list();
  const digests = new Set([...(await store.objectDigests()), ...(await distributor.referencedDigests())]);
  const referenced = new Set([...digests].flatMap((digest) => [sealedName(digest), moduleName(digest)]));
  const old = all.filter(({ name, mtimeMs }) => {
    const isModule = name.startsWith("sha256:");
    return !referenced.has(name) && mtimeMs < wallMs - (isModule ? Math.max(graceMs, MODULE_GRACE_MS) : graceMs);
  });
  for (const object of old) await objects.remove(object);
  const orphans = await objects.removeOrphans(all, wallMs - graceMs);
  return { objects: old.length, bytes: old.reduce((sum, each) => sum + each.bytes, 0), orphans };
}
