import { sha256Digest } from "../config/canonical.ts";
import type { ConfigIssue } from "../config/issue.ts";
import type { Json } from "../config/parse.ts";
import { err, ok, type Result } from "../core/result.ts";
import type { Backup } from "./control.ts";
import { controlIssue } from "./model/issues.ts";
import type { ControlModel } from "./model/model.ts";
import type { ConfigStore } from "./store/store.ts";

const DIGEST = /sha256:[0-9a-f]{64}/g;

/** All resources in order of their keys, and the stored modules that they name (built-in ones come with the product). */
export async function writeBackup(model: ControlModel, store: ConfigStore): Promise<Backup> {
  const entries = [...model.resources.values()].sort((one, other) => (one.key < other.key ? -1 : 1));
  const modules: Record<string, string> = {};
  for (const { key, written } of entries) {
    if (!key.startsWith("Filter/")) continue;
    for (const [digest] of JSON.stringify(written).matchAll(DIGEST)) {
      const bytes = await store.getModule(digest);
      if (bytes !== undefined) modules[digest] = Buffer.from(bytes).toString("base64");
    }
  }
  const resources = entries.map((each) => each.written);
  return { apiVersion: "selvedge.dev/v1", kind: "Backup", revision: model.revision, digest: model.digest, resources, modules };
}

/** Checks the envelope and the modules; the resources are checked as in every apply. */
export function readBackup(
  value: unknown,
): Result<{ readonly resources: readonly Json[]; readonly modules: ReadonlyMap<string, Uint8Array> }, ConfigIssue> {
  const bad = (why: string) => err(controlIssue("bad_backup", why, "use what `selvedge backup` wrote"));
  if (typeof value !== "object" || value === null) return bad("The document is not a backup.");
  const { apiVersion, kind, resources, modules } = value as Partial<Backup>;
  if (apiVersion !== "selvedge.dev/v1" || kind !== "Backup") return bad("The document is not of kind Backup.");
  if (!Array.isArray(resources)) return bad("The backup has no list of resources.");
  const read = new Map<string, Uint8Array>();
  for (const [digest, text] of Object.entries(modules ?? {})) {
    const bytes = new Uint8Array(Buffer.from(String(text), "base64"));
    if (sha256Digest(bytes) !== digest)
      return err(controlIssue("altered_module", `The bytes of module ${digest} do not have its digest.`));
    read.set(digest, bytes);
  }
  return ok({ resources, modules: read });
}
