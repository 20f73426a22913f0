import assert from "node:assert/strict";
import type { EndpointConfig, ServiceConfig } from "../../src/config/snapshot.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import { type Rng, SeededRng } from "../../src/core/rng.ts";
import { createPicker } from "../../src/proxy/balance/create.ts";
import { DECAY_MS, FAILURE_PENALTY_MS } from "../../src/proxy/balance/ewma.ts";
import { type Endpoint, type Lease, NO_HINT, type Outcome, type Picker } from "../../src/proxy/balance/picker.ts";
import { selectSubset } from "../../src/proxy/balance/subset.ts";
import { describe, test } from "../kit/suite.ts";

const POLICIES: readonly ServiceConfig["balancing"][] = ["p2c", "round-robin", "least-request", "random"];
const OK: Outcome = { kind: "success", latencyMs: 5 };

const endpoint = (host: string, weight = 1, labels: Record<string, string> = {}): EndpointConfig => ({
  address: { kind: "tcp", host, port: 80 },
  labels,
  weight,
});

function take(picker: Picker, exclude: readonly Endpoint[] = []): Lease {
  const lease = picker.pick({ exclude });
  assert.ok(lease !== undefined, "an endpoint");
  return lease;
}

/** Picks and settles one after the other; how often each host came. */
function countPicks(picker: Picker, clock: VirtualClock, picks: number, exclude: readonly Endpoint[] = []): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i < picks; i++) {
    const lease = take(picker, exclude);
    counts.set(lease.endpoint.key, (counts.get(lease.endpoint.key) ?? 0) + 1);
    clock.advance(1);
    lease.settle(OK);
  }
  return counts;
}

const inFlightOf = (picker: Picker): Record<string, number> =>
  Object.fromEntries(picker.snapshot().map((each) => [each.endpoint.key, each.inFlight]));

/** What every policy must do, in virtual time and from a seed. */
for (const policy of POLICIES) {
  describe(`picker contract: ${policy}`, () => {
    const make = (endpoints: readonly EndpointConfig[], clock = new VirtualClock(), rng: Rng = new SeededRng(11)) => ({
      picker: createPicker(policy, endpoints, clock, rng),
      clock,
    });

    test("no endpoint, no lease; also after all went away, and again with some", () => {
      const { picker } = make([]);
      assert.equal(picker.pick(NO_HINT), undefined);
      picker.update([endpoint("a")]);
      const lease = take(picker);
      assert.equal(lease.endpoint.key, "a:80");
      picker.update([]);
      assert.equal(picker.pick(NO_HINT), undefined);
      lease.settle(OK);
      picker.update([endpoint("b"), endpoint("c")]);
      assert.match(take(picker).endpoint.key, /^[bc]:80$/);
    });

    test("equal endpoints get equal shares", () => {
      const { picker, clock } = make(["a", "b", "c", "d"].map((host) => endpoint(host)));
      const counts = countPicks(picker, clock, 8_000);
      for (const [key, count] of counts) assert.ok(Math.abs(count - 2_000) < 250, `${key}: ${count}`);
      assert.equal(counts.size, 4);
    });

    test("shares follow the weights", () => {
      const { picker, clock } = make([endpoint("a", 6), endpoint("b", 3), endpoint("c", 1)]);
      const counts = countPicks(picker, clock, 10_000);
      const share = (key: string) => (counts.get(key) ?? 0) / 10_000;
      assert.ok(Math.abs(share("a:80") - 0.6) < 0.05, String(share("a:80")));
      assert.ok(Math.abs(share("b:80") - 0.3) < 0.05, String(share("b:80")));
      assert.ok(Math.abs(share("c:80") - 0.1) < 0.05, String(share("c:80")));
    });

    for (const weights of [
      [1, 1, 1],
      [5, 2, 1],
    ]) {
      test(`what was tried is not picked again (weights ${weights})`, () => {
        const { picker, clock } = make(["a", "b", "c"].map((host, i) => endpoint(host, weights[i])));
        const first = take(picker);
        const counts = countPicks(picker, clock, 300, [first.endpoint]);
        assert.equal(counts.get(first.endpoint.key), undefined);
        assert.equal(counts.size, 2);
        const second = take(picker, [first.endpoint]);
        const third = take(picker, [first.endpoint, second.endpoint]);
        assert.equal(new Set([first, second, third].map((lease) => lease.endpoint.key)).size, 3);
        assert.equal(picker.pick({ exclude: [first.endpoint, second.endpoint, third.endpoint] }), undefined);
      });
    }

    test("one endpoint: picked again and again, not when it is excluded", () => {
      const { picker, clock } = make([endpoint("a")]);
      assert.deepEqual([...countPicks(picker, clock, 5)], [["a:80", 5]]);
      assert.equal(picker.pick({ exclude: [take(picker).endpoint] }), undefined);
    });

    test("an update keeps what is known about endpoints that stay, while leases are out", () => {
      const { picker, clock } = make([endpoint("a"), endpoint("b")]);
      const leases = Array.from({ length: 6 }, () => take(picker));
      clock.advance(40);
      leases[0]?.settle({ kind: "success", latencyMs: 40 });
      const settled = leases[0]?.endpoint;
      const before = inFlightOf(picker);
      picker.update([endpoint("c"), endpoint("b", 2), endpoint("a", 1, { zone: "x" })]);
      assert.deepEqual(inFlightOf(picker), { ...before, "c:80": 0 });
      const view = picker.snapshot().find((each) => each.endpoint.key === settled?.key);
      // Identity: pools and breakers key on it.
      assert.equal(view?.endpoint, settled);
      assert.equal(view?.ewmaMs, 40);
      assert.deepEqual(picker.snapshot().find((each) => each.endpoint.key === "a:80")?.endpoint.config.labels, { zone: "x" });
      for (const lease of leases.slice(1)) lease.settle(OK);
      assert.deepEqual(inFlightOf(picker), { "a:80": 0, "b:80": 0, "c:80": 0 });
    });

    test("settling after the endpoint went away harms nobody; if it comes back it is new", () => {
      const { picker } = make([endpoint("a"), endpoint("b")]);
      const leases = Array.from({ length: 4 }, () => take(picker));
      picker.update([endpoint("b")]);
      for (const lease of leases) lease.settle({ kind: "failure", latencyMs: 9_000 });
      assert.deepEqual(inFlightOf(picker), { "b:80": 0 });
      picker.update([endpoint("a"), endpoint("b")]);
      assert.deepEqual(inFlightOf(picker), { "a:80": 0, "b:80": 0 });
      assert.equal(picker.snapshot().find((each) => each.endpoint.key === "a:80")?.ewmaMs, 0);
    });

    test("a lease is settled exactly once", () => {
      const { picker } = make([endpoint("a")]);
      const lease = take(picker);
      lease.settle(OK);
      assert.throws(() => lease.settle(OK), /settled once/);
      assert.deepEqual(inFlightOf(picker), { "a:80": 0 });
    });

    test("the same address twice is one endpoint; keys are readable", () => {
      const { picker } = make([
        endpoint("a"),
        endpoint("a", 5),
        endpoint("::1"),
        { address: { kind: "unix", path: "/run/x.sock" }, labels: {}, weight: 1 },
      ]);
      assert.deepEqual(Object.keys(inFlightOf(picker)).sort(), ["[::1]:80", "a:80", "unix:/run/x.sock"]);
    });

    test("the same seed picks the same", () => {
      const run = () => {
        const { picker } = make([endpoint("a", 2), endpoint("b"), endpoint("c")], new VirtualClock(), new SeededRng(5));
        return Array.from({ length: 50 }, () => take(picker).endpoint.key).join();
      };
      assert.equal(run(), run());
    });
  });
}

/** Open loop: an arrival each millisecond, an endpoint that serves one after the other. Answers the requests each got. */
function simulate(
  picker: Picker,
  clock: VirtualClock,
  requests: number,
  serve: (key: string) => Outcome,
): Map<string, { count: number; waitMs: number }> {
  const got = new Map<string, { count: number; waitMs: number }>();
  const freeAtMs = new Map<string, number>();
  for (let i = 0; i < requests; i++) {
    clock.advance(1);
    const lease = take(picker);
    const { key } = lease.endpoint;
    const outcome = serve(key);
    const startMs = Math.max(clock.nowMs(), freeAtMs.get(key) ?? 0);
    freeAtMs.set(key, startMs + outcome.latencyMs);
    const latencyMs = startMs + outcome.latencyMs - clock.nowMs();
    const tally = got.get(key) ?? { count: 0, waitMs: 0 };
    got.set(key, { count: tally.count + 1, waitMs: tally.waitMs + latencyMs });
    clock.setTimer(latencyMs, () => lease.settle({ kind: outcome.kind, latencyMs }));
  }
  clock.advance(1e6);
  return got;
}

describe("balancing: simulations", () => {
  const hosts = ["a", "b", "c", "d"];
  const run = (policy: ServiceConfig["balancing"], serve: (key: string) => Outcome, requests = 5_000) => {
    const clock = new VirtualClock();
    return simulate(
      createPicker(
        policy,
        hosts.map((host) => endpoint(host)),
        clock,
        new SeededRng(3),
      ),
      clock,
      requests,
      serve,
    );
  };
  const total = (got: Map<string, { count: number; waitMs: number }>, what: "count" | "waitMs") =>
    [...got.values()].reduce((sum, each) => sum + each[what], 0);

  test("p2c and least-request send a slow endpoint far less, random and round-robin do not", () => {
    const slow = (key: string): Outcome => ({ kind: "success", latencyMs: key === "a:80" ? 20 : 2 });
    const share = (policy: ServiceConfig["balancing"]) => {
      const got = run(policy, slow);
      return (got.get("a:80")?.count ?? 0) / total(got, "count");
    };
    assert.ok(share("p2c") < 0.06, `p2c ${share("p2c")}`);
    assert.ok(share("least-request") < 0.12, `least-request ${share("least-request")}`);
    assert.ok(share("random") > 0.2, `random ${share("random")}`);
    assert.ok(share("round-robin") > 0.2, `round-robin ${share("round-robin")}`);
  });

  test("with a slow endpoint callers wait least under p2c", () => {
    const slow = (key: string): Outcome => ({ kind: "success", latencyMs: key === "a:80" ? 20 : 2 });
    const waits = new Map(POLICIES.map((policy) => [policy, total(run(policy, slow), "waitMs")]));
    assert.ok((waits.get("p2c") ?? 0) < (waits.get("round-robin") ?? 0) / 10);
    assert.ok((waits.get("p2c") ?? 0) < (waits.get("random") ?? 0) / 10);
  });

  test("an endpoint that fails fast gets few requests, not all", () => {
    const got = run("p2c", (key) => (key === "b:80" ? { kind: "failure", latencyMs: 0.1 } : { kind: "success", latencyMs: 2 }));
    const share = (got.get("b:80")?.count ?? 0) / total(got, "count");
    assert.ok(share < 0.02, String(share));
  });

  test("an endpoint that was slow and has recovered gets its share again", () => {
    const clock = new VirtualClock();
    const picker = createPicker(
      "p2c",
      hosts.map((host) => endpoint(host)),
      clock,
      new SeededRng(4),
    );
    simulate(picker, clock, 2_000, (key) => ({ kind: "success", latencyMs: key === "a:80" ? 50 : 2 }));
    const got = simulate(picker, clock, 4_000, () => ({ kind: "success", latencyMs: 2 }));
    assert.ok((got.get("a:80")?.count ?? 0) > 600, String(got.get("a:80")?.count));
  });

  test("a cold endpoint is probed by one attempt at a time", () => {
    const clock = new VirtualClock();
    const picker = createPicker("p2c", [endpoint("a"), endpoint("b")], clock, new SeededRng(6));
    countPicks(picker, clock, 50);
    picker.update([endpoint("a"), endpoint("b"), endpoint("new")]);
    const probes = Array.from({ length: 60 }, () => take(picker)).filter((lease) => lease.endpoint.key === "new:80");
    assert.equal(probes.length, 1);
  });

  test("peak EWMA: up at once, down slowly; a failure counts as slow, a cancelled attempt as slow as it was at least", () => {
    const clock = new VirtualClock();
    const picker = createPicker("p2c", [endpoint("a")], clock, new SeededRng(1));
    const ewmaMs = () => Math.round((picker.snapshot()[0]?.ewmaMs ?? 0) * 100) / 100;
    const observe = (kind: Outcome["kind"], latencyMs: number) => take(picker).settle({ kind, latencyMs });
    observe("success", 10);
    assert.equal(ewmaMs(), 10);
    observe("success", 50);
    assert.equal(ewmaMs(), 50);
    observe("success", 10);
    assert.equal(ewmaMs(), 50);
    clock.advance(DECAY_MS);
    observe("success", 10);
    // 50/e + 10 (1 - 1/e)
    assert.equal(ewmaMs(), 24.72);
    observe("cancelled", 5);
    assert.equal(ewmaMs(), 24.72);
    observe("cancelled", 70);
    assert.equal(ewmaMs(), 70);
    observe("failure", 0.1);
    assert.equal(ewmaMs(), FAILURE_PENALTY_MS);
    clock.advance(10 * DECAY_MS);
    assert.ok(ewmaMs() < 0.1);
  });

  test("weighted round robin is smooth", () => {
    const picker = createPicker(
      "round-robin",
      [endpoint("a", 5), endpoint("b"), endpoint("c")],
      new VirtualClock(),
      new SeededRng(1),
    );
    const order = Array.from({ length: 7 }, () => take(picker).endpoint.key[0]).join("");
    assert.equal(order, "aabacaa");
  });
});

describe("subsets", () => {
  test("all labels must be there with their values", () => {
    const endpoints = [
      endpoint("a", 1, { version: "v1", zone: "x" }),
      endpoint("b", 1, { version: "v2", zone: "x" }),
      endpoint("c", 1, {}),
    ];
    const hosts = (labels: Record<string, string>) =>
      selectSubset(endpoints, labels).map((each) => (each.address.kind === "tcp" ? each.address.host : ""));
    assert.deepEqual(hosts({ version: "v1" }), ["a"]);
    assert.deepEqual(hosts({ zone: "x" }), ["a", "b"]);
    assert.deepEqual(hosts({ zone: "x", version: "v2" }), ["b"]);
    assert.deepEqual(hosts({ zone: "y" }), []);
    assert.deepEqual(hosts({ toString: "x" }), []);
    assert.equal(selectSubset(endpoints, {}), endpoints);
  });
});
