import { describe, expect, test } from "bun:test";
import { HEARTBEAT_MS, type ProxyStatusMessage } from "../../config/nats/status.ts";
import { VirtualClock } from "../../core/clock.ts";
import { CONTROL_LIMITS } from "../../core/limits.ts";
import { ProxyTable } from "./proxies.ts";

const status = (id: string, revision: number, part: Partial<ProxyStatusMessage> = {}): ProxyStatusMessage => ({
  ...{ id, group: "gateway", version: "1", revision, digest: "", applyMs: 1, rejectedRevision: 0, issues: [], leaving: false },
  ...part,
});

describe("proxy table", () => {
  test("a proxy that falls silent is forgotten, one in this process is not", () => {
    const clock = new VirtualClock();
    const table = new ProxyTable(clock);
    table.update(status("far", 1), false);
    table.update(status("near", 1), true);
    clock.advance(HEARTBEAT_MS * 3);
    expect(table.list().map((each) => each.id)).toEqual(["far", "near"]);
    clock.advance(HEARTBEAT_MS * 1.1);
    expect(table.list().map((each) => each.id)).toEqual(["near"]);
  });

  test("wait: ends when all have it, at the first refusal, or when the time is over", async () => {
    const clock = new VirtualClock();
    const table = new ProxyTable(clock);
    table.update(status("a", 1), true);
    table.update(status("b", 1), true);
    const all = table.wait(2, 1_000, 0);
    table.update(status("a", 2), true);
    table.update(status("b", 3), true);
    expect(await all).toEqual({ ok: true, pending: [], rejected: [] });
    const refused = table.wait(4, 1_000, 0);
    table.update(status("a", 3, { rejectedRevision: 4 }), true);
    expect(await refused).toEqual({ ok: false, pending: ["b"], rejected: [{ id: "a", issues: [] }] });
    const late = table.wait(5, 1_000, 0);
    clock.advance(1_000);
    expect(await late).toEqual({ ok: false, pending: ["a", "b"], rejected: [] });
    expect(clock.pending).toBe(0);
  });

  test("wait: a silent proxy does not hold it up for ever, and a minimum is waited for", async () => {
    const clock = new VirtualClock();
    const table = new ProxyTable(clock);
    const waiting = table.wait(1, 60_000, 2);
    table.update(status("a", 1), true);
    table.update(status("b", 1), true);
    expect((await waiting).ok).toBe(true);
    table.update(status("c", 0), false);
    clock.advance(HEARTBEAT_MS * 5);
    expect((await table.wait(1, 1_000, 0)).ok).toBe(true);
  });

  test("strangers cannot fill it", () => {
    const table = new ProxyTable(new VirtualClock());
    for (let i = 0; i <= CONTROL_LIMITS.proxies; i++) table.update(status(`p${i}`, 1), false);
    expect(table.list()).toHaveLength(CONTROL_LIMITS.proxies);
    table.update(status("p0", 2), false);
    expect(table.list()[0]?.revision).toBe(2);
  });

  test("a full table takes new ones as soon as old ones are silent, also when nobody asks for the list", () => {
    const clock = new VirtualClock();
    const table = new ProxyTable(clock);
    for (let i = 0; i < CONTROL_LIMITS.proxies; i++) table.update(status(`ghost${i}`, 1), false);
    table.update(status("real", 1), false);
    clock.advance(HEARTBEAT_MS * 4.1);
    table.update(status("real", 1), false);
    expect(table.list().map((each) => each.id)).toEqual(["real"]);
  });
});
