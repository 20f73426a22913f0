import { expect, test } from "bun:test";
import type { ProxyStatus } from "../../control/model/proxies.ts";
import type { EventKind, ProxyEvent } from "../../core/events.ts";
import { listFilter } from "./states.ts";

const event = (kind: EventKind, reason = "", worker = 0, subject = "default/x"): ProxyEvent => ({
  ...{ kind, subject, reason, worker, count: 1, firstMs: 0, lastMs: 0 },
});
const proxy = (id: string, ...events: readonly ProxyEvent[]): ProxyStatus => ({
  ...{ id, group: "", version: "1", revision: 1, digest: "", rejectedRevision: 0, issues: [], applyMs: 0, events, seenAtMs: 0 },
});
const stateOf = (disabled: boolean, ...proxies: readonly ProxyStatus[]): string =>
  listFilter("default/x", disabled, proxies).state;

test("a filter's state is what its resource says and what proxies told last, by process", () => {
  expect(stateOf(false)).toBe("-");
  expect(stateOf(false, proxy("a"), proxy("b", event("filter_disabled", "by hand", 0, "default/other")))).toBe("running");
  const told = proxy("a", event("filter_disabled", "by configuration, revision 4"));
  expect(stateOf(true, told)).toBe("disabled by configuration");
  // The resource has it on again, and the proxy is about to.
  expect(stateOf(false, told)).toBe("running");
  const [off, on] = [event("filter_disabled", "by hand"), event("filter_enabled", "by hand")];
  expect(stateOf(false, proxy("a", off, on), proxy("b", on, off), proxy("c", off))).toBe("disabled by hand in a, c");
  // Another process of the same proxy.
  expect(stateOf(false, proxy("a", event("filter_enabled", "by hand", 1), off))).toBe("disabled by hand in a");
  expect(stateOf(true, proxy("a", off, event("filter_quarantined", "trap", 1)))).toBe(
    "disabled by configuration; disabled by hand in a; quarantined in a",
  );
  expect(stateOf(false, proxy("a", event("filter_released"), event("filter_quarantined")))).toBe("running");
});
