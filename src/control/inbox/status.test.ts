import { expect, test } from "bun:test";
import { issueOf, moreIssues } from "../../config/issue.ts";
import { CONTROL_LIMITS } from "../../core/limits.ts";
import type { ControlStatus } from "../control.ts";
import type { InboxAnswer } from "./answer.ts";
import { RefusalLog } from "./refusals.ts";
import { type Asker, statusFor, waitFor } from "./status.ts";

const issue = (resource: string) => issueOf({ code: "dangling_reference", message: "It is not there.", resource });
const event = (kind: "filter_broke" | "worker_replaced", subject: string) => ({
  ...{ kind, subject, reason: "it trapped", count: 1, firstMs: 0, lastMs: 0 },
});
const ISSUES = [issue("Route hers/a"), issue("Route/his/b"), issue("Service c"), issue("")];
const STATUS: ControlStatus = {
  ...{ revision: 7, digest: "sha256:1", resources: 3, issues: ISSUES, warnings: ISSUES, store: "nats", connection: "connected" },
  proxies: [
    {
      ...{ id: "edge-1", group: "gateway", version: "1", revision: 6, digest: "", rejectedRevision: 7, applyMs: 1, seenAtMs: 0 },
      issues: ISSUES,
      events: [event("filter_broke", "hers/f"), event("filter_broke", "his/f"), event("worker_replaced", "1")],
    },
  ],
  unreadable: [],
  refused: ["carol", "dave", ""].map((author) => ({
    ...{ timeMs: 0, author, action: "apply", reason: "invalid", issues: 1, first: issue("Route hers/a") },
  })),
};
const carol: Asker = { name: "carol", mayRead: (key) => key.split("/")[1] === "hers" };
const everybody: Asker = { name: "", mayRead: () => true };

test("who may read a namespace hears what is wrong and what happened there, and of its own refusals; the rest is for who may read all", () => {
  const seen = statusFor(carol, STATUS);
  expect(seen).toMatchObject({ revision: 7, proxies: [{ id: "edge-1", revision: 6, rejectedRevision: 7 }] });
  expect(seen.issues).toEqual([ISSUES[0] as (typeof ISSUES)[number]]);
  expect(seen.warnings).toEqual(seen.issues);
  expect(seen.proxies[0]?.issues).toEqual(seen.issues);
  expect(seen.proxies[0]?.events.map(({ subject }) => subject)).toEqual(["hers/f"]);
  expect(seen.refused.map(({ author }) => author)).toEqual(["carol"]);
  expect(statusFor(everybody, STATUS)).toEqual(STATUS);
  // Who does not say who they are owns no refusals.
  expect(statusFor({ name: "", mayRead: () => false }, STATUS).refused).toEqual([]);
  const outcome = { ok: false, pending: [], rejected: [{ id: "edge-1", issues: ISSUES }] };
  expect(waitFor(carol, outcome).rejected).toEqual([{ id: "edge-1", issues: seen.issues }]);
  expect(waitFor(everybody, outcome)).toEqual(outcome);
});

test("refusals: each message once, so many of the newest, with how many issues there were; what is forged breaks nothing", () => {
  const log = new RefusalLog();
  const refusal: InboxAnswer = { ok: false, reason: "invalid", issues: [issue("Route a/b"), moreIssues(399)], moreIssues: 100 };
  log.add(1, "selvedge.config.apply.ann", refusal, 5);
  log.add(1, "selvedge.config.apply.ann", refusal, 6);
  log.add(2, "selvedge.config.delete", { ...refusal, issues: [] }, 7);
  log.add(3, "selvedge.config.apply.ann", { ok: true, revision: 1, digest: "", changes: [] }, 8);
  expect(log.list()).toMatchObject([
    { timeMs: 7, author: "", action: "delete", issues: 100, first: { code: "" } },
    { timeMs: 5, author: "ann", action: "apply", reason: "invalid", issues: 500, first: issue("Route a/b") },
  ]);
  for (let i = 0; i < CONTROL_LIMITS.refusals; i++) log.add(10 + i, "selvedge.config.apply", refusal, 10 + i);
  expect([log.list().length, log.list().at(-1)?.timeMs]).toEqual([CONTROL_LIMITS.refusals, 10]);
  for (const forged of [
    { ok: false },
    { ok: false, issues: [null, 5] },
    { ok: false, reason: 1, issues: [{ code: 5, line: "x" }], moreIssues: "y" },
  ])
    log.add(99, "", forged as unknown as InboxAnswer, 0);
  expect(log.list()[0]).toMatchObject({ author: "", reason: "" });
});
