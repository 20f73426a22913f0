import type { ConfigIssue } from "../../config/issue.ts";
import type { ProxyEvent } from "../../core/events.ts";
import type { ControlStatus } from "../control.ts";
import type { WaitOutcome } from "../model/proxies.ts";
import { makeKey, parseKey, type ResourceKey } from "../model/resource.ts";

/** Who asks over NATS. */
export interface Asker {
  /** Last token of the subject; "": it does not say. */
  readonly name: string;
  mayRead(key: ResourceKey): boolean;
}

/** Who may read this may read all namespaces. */
const EVERYTHING = makeKey("*", "*", "*");

/**
 * The status as far as it is the asker's: which proxies there are and what revision each serves is for everybody who may ask; what is wrong,
 * and what happened, only where they may read the resource that it is about. What is about none is for those who may read everything.
 */
export function statusFor(asker: Asker, status: ControlStatus): ControlStatus {
  if (asker.mayRead(EVERYTHING)) return status;
  const proxies = status.proxies.map((proxy) => ({
    ...proxy,
    issues: issuesFor(asker, proxy.issues),
    events: proxy.events.filter((event) => isEventFor(asker, event)),
  }));
  const refused = status.refused.filter(({ author }) => author !== "" && author === asker.name);
  const [issues, warnings] = [status.issues, status.warnings].map((each) => issuesFor(asker, each)) as [
    ConfigIssue[],
    ConfigIssue[],
  ];
  return { ...status, issues, warnings, proxies, refused };
}

/** The same of an answer to who waits. */
export function waitFor(asker: Asker, outcome: WaitOutcome): WaitOutcome {
  return { ...outcome, rejected: outcome.rejected.map((each) => ({ ...each, issues: issuesFor(asker, each.issues) })) };
}

function issuesFor(asker: Asker, issues: readonly ConfigIssue[]): readonly ConfigIssue[] {
  if (asker.mayRead(EVERYTHING)) return issues;
  return issues.filter(({ resource }) => mayReadNamed(asker, resource.replace(" ", "/")));
}

/** Of filters; what happens to workers says which of them, and why, of everybody's traffic. */
const isEventFor = (asker: Asker, { kind, subject }: ProxyEvent): boolean =>
  (kind.startsWith("filter_") || kind === "module_refused") && mayReadNamed(asker, `Filter/${subject}`);

function mayReadNamed(asker: Asker, reference: string): boolean {
  const key = parseKey(reference);
  return key !== undefined && asker.mayRead(key);
}
