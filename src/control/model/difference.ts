import type { ConfigIssue } from "../../config/issue.ts";
import { isSameData } from "../../core/equal.ts";
import type { Change, LogEntry } from "../store/store.ts";
import { controlIssue } from "./issues.ts";
import type { ResourceKey } from "./resource.ts";

/** What makes the configuration of one revision that of another. */
export interface Difference {
  readonly from: number;
  readonly to: number;
  /** By key. */
  readonly changes: readonly Change[];
}

/** From one revision to another, either of which may be the older. `to` 0: the newest. `history`: the newest first. An issue: one is not in it. */
export function differenceBetween(history: readonly LogEntry[], from: number, to: number): Difference | ConfigIssue {
  const until = to === 0 ? (history[0]?.revision ?? 0) : to;
  for (const revision of [from, until])
    if (!history.some((entry) => entry.revision === revision)) return unknownRevision(revision);
  const [older, newer] = from <= until ? [from, until] : [until, from];
  const changes = new Map<ResourceKey, Change>();
  for (const { revision, changes: made } of history.toReversed())
    if (revision > older && revision <= newer)
      for (const { key, before, after } of made) {
        const first = changes.get(key);
        changes.set(key, sidesOf(key, first === undefined ? before : first.before, after));
      }
  const different = [...changes.values()].filter(({ before, after }) => !isSameData(before, after));
  const turned = from <= until ? different : different.map(({ key, before, after }) => sidesOf(key, after, before));
  return { from, to: until, changes: turned.sort((one, other) => (one.key < other.key ? -1 : 1)) };
}

export const unknownRevision = (revision: number): ConfigIssue =>
  controlIssue("unknown_revision", `There is no revision ${revision} in the history.`, "selvedge history lists them");

function sidesOf(key: ResourceKey, before: Change["before"], after: Change["after"]): Change {
  return { key, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
}
