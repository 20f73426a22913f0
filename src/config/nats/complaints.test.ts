import { expect, test } from "bun:test";
import { VirtualClock } from "../../core/clock.ts";
import { Complaints, natsHint } from "./complaints.ts";

test("what is wrong is said once, then after ten seconds, twenty, …, ten minutes; anew once it was all right", () => {
  const clock = new VirtualClock();
  const complaints = new Complaints(clock);
  const saidAt: number[] = [];
  for (let second = 0; second < 3_000; second++) {
    if (complaints.isDue("refused")) saidAt.push(second);
    clock.advance(1_000);
  }
  expect(saidAt).toEqual([0, 10, 30, 70, 150, 310, 630, 1230, 1830, 2430]);
  expect(complaints.isDue("something else")).toBe(true);
  expect(complaints.isDue("something else")).toBe(false);
  expect(complaints.forget()).toBe(3_000_000);
  expect(complaints.forget()).toBe(undefined);
  expect(complaints.isDue("refused")).toBe(true);
});

test("a flood of different ones is bounded", () => {
  const complaints = new Complaints(new VirtualClock());
  for (let i = 0; i < 17; i++) complaints.isDue(`${i}`);
  expect(["16", "1", "0"].map((each) => complaints.isDue(each))).toEqual([false, false, true]);
});

test("refusals of the server come with what to do", () => {
  expect(natsHint("AuthorizationError: Authorization Violation")).toContain("--nats-user");
  expect(natsHint('Permissions Violation for Subscription to "selvedge.snapshot.x"')).toContain("--id");
  expect(natsHint("connection refused")).toBe("");
  // As Bun, Node and Deno say it.
  for (const unknown of [
    "self signed certificate",
    "unable to get local issuer certificate",
    "unable to verify the first certificate",
    "invalid peer certificate: UnknownIssuer",
  ])
    expect(natsHint(unknown)).toContain("--nats-ca");
  expect(natsHint("certificate has expired")).toContain("new certificate");
  expect(natsHint("Hostname/IP does not match certificate's altnames")).toContain("--nats");
});
