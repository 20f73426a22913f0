import type { ConfigIssue } from "../../config/issue.ts";
import { formatIssue } from "../../config/issue.ts";
import { formatSize } from "../../config/schema/units.ts";
import { CONTROL_LIMITS } from "../../core/limits.ts";
import type { ApplyOutcome } from "../control.ts";

/** RFC 9457, with the outcome of an apply where it was one. */
export interface Problem {
  /** `about:blank`: the status says what it is. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Always false: answers of applies are told apart by it. */
  readonly ok: false;
  readonly reason?: string;
  readonly issues?: readonly ConfigIssue[];
  /** The same as `detail`. */
  readonly message: string;
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  412: "Precondition Failed",
  413: "Content Too Large",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** All that the bodies of requests may hold together is held. */
export const busyBodies = (): Response =>
  problem(
    503,
    `Other requests hold ${formatSize(CONTROL_LIMITS.bodyBytes)}, which is all that may be held. Try again in a moment.`,
    {
      reason: "busy",
    },
  );

export function problem(
  status: number,
  detail: string,
  more: { readonly reason?: string; readonly issues?: readonly ConfigIssue[] } = {},
): Response {
  const body: Problem = {
    type: "about:blank",
    title: TITLES[status] ?? "Error",
    status,
    detail,
    message: detail,
    ok: false,
    ...more,
  };
  const headers: Record<string, string> = { "content-type": "application/problem+json", "cache-control": "no-store" };
  if (status === 401) headers["www-authenticate"] = "Bearer";
  if (more.reason === "busy") headers["retry-after"] = String(CONTROL_LIMITS.retrySeconds);
  return new Response(JSON.stringify(body), { status, headers });
}

export function json(value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store", ...headers },
  });
}

const STATUS_OF = { invalid: 422, conflict: 412, not_found: 404, busy: 503 } as const;

/** `created`: 201 instead of 200 when a resource is new. */
export function outcomeResponse(outcome: ApplyOutcome, created = false): Response {
  if (outcome.ok) {
    const isNew = created && outcome.changes.some((change) => change.kind === "created");
    return json(outcome, isNew ? 201 : 200, { etag: etagOf(outcome.revision) });
  }
  const first = outcome.issues[0];
  const more = outcome.issues.length > 1 ? ` (and ${outcome.issues.length - 1} more)` : "";
  return problem(STATUS_OF[outcome.reason], first === undefined ? outcome.reason : `${formatIssue(first)}${more}`, outcome);
}

export const etagOf = (revision: number): string => `"${revision}"`;
