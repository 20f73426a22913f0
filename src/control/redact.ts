import type { ApplyOutcome, ControlPlane } from "./control.ts";
import type { Difference } from "./model/difference.ts";
import type { StoredResource } from "./model/resource.ts";
import type { LogEntry } from "./store/store.ts";

type Redacts = Pick<ControlPlane, "redact">;

/** Resources as whoever asks may see them. `secrets`: with what is secret, which the asker has a right to and asked for. */
export async function shownResources(
  plane: Redacts,
  found: readonly StoredResource[],
  secrets: boolean,
): Promise<readonly StoredResource[]> {
  if (secrets) return found;
  const shown = await plane.redact(found.map(({ written }) => ({ after: written })));
  return found.map((each, i) => ({ ...each, written: shown[i]?.after ?? null }));
}

/** The same of the history. */
export async function shownHistory(plane: Redacts, entries: readonly LogEntry[], secrets: boolean): Promise<readonly LogEntry[]> {
  if (secrets) return entries;
  return Promise.all(entries.map(async (entry) => ({ ...entry, changes: await plane.redact(entry.changes) })));
}

/** The same of what lies between two revisions. */
export async function shownDifference(plane: Redacts, difference: Difference, secrets: boolean): Promise<Difference> {
  return secrets ? difference : { ...difference, changes: await plane.redact(difference.changes) };
}

/** The same of what a dry run would change. */
export async function shownOutcome(plane: Redacts, outcome: ApplyOutcome, secrets: boolean): Promise<ApplyOutcome> {
  if (secrets || !outcome.ok || outcome.diff === undefined) return outcome;
  return { ...outcome, diff: await plane.redact(outcome.diff) };
}
