/** Invariant: joining one manifest after another gives what joining each from nothing gives, and keeps the objects of what stayed. */
import assert from "node:assert/strict";
import { compareText } from "../../src/config/canonical.ts";
import { joinSections, SectionJoiner } from "../../src/config/section-joiner.ts";
import { splitSections } from "../../src/config/sections.ts";
import type {
  AuthenticationConfig,
  EndpointSetConfig,
  ListenerConfig,
  RouteConfig,
  ServiceConfig,
  Snapshot,
} from "../../src/config/snapshot.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { endpointsOf, forwardTo, listenerOf, routeOf, serviceOf, snapshotOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";

const upstreamTls = (keyPem: string | undefined): ServiceConfig["tls"] => ({
  ...{ serverName: "", caPem: undefined, verify: true, certificatePem: "cert", keyPem, minVersion: "TLSv1.2" as const },
});
const listener = (name: string, key: string): ListenerConfig =>
  listenerOf({
    name: `default/edge/${name}`,
    tls: {
      certificates: [{ hosts: [], certificatePem: "cert", keyPem: key }],
      ...{ clientAuth: "none" as const, clientCaPem: undefined, minVersion: "TLSv1.2" as const },
    },
  });
const authentication = (name: string, secret: string): AuthenticationConfig => ({
  name: `default/${name}`,
  required: true,
  jwt: [
    {
      ...{ name: "p", issuer: "i", audiences: [], algorithms: ["HS256"], keys: { kind: "inline", jwks: secret } },
      ...{ fromHeaders: [], fromQuery: [], forward: false, clockSkewMs: 0, requireExpiration: true, maxTokenBytes: 1_000 },
    },
  ],
});

/** Named items that come, change and go. */
class Items<T> {
  readonly all = new Map<string, T>();
  constructor(readonly make: (name: string, version: number) => T) {}
  mutate(rng: SeededRng, names: number, goes: number): void {
    const name = `n${rng.below(names)}`;
    if (rng.next() < goes) this.all.delete(name);
    else this.all.set(name, this.make(name, rng.below(3)));
  }
  sorted(nameOf: (item: T) => string): T[] {
    return [...this.all.values()].sort((a, b) => compareText(nameOf(a), nameOf(b)));
  }
}

const nameOf = (item: RouteConfig | ServiceConfig | ListenerConfig | AuthenticationConfig): string => item.name;
const LISTS = ["routes", "services", "endpoints", "listeners", "authentications"] as const;

describe("joining one after another", () => {
  for (const seed of [1, 2, 3, 4]) {
    test(`is joining from nothing, whatever changes (seed ${seed})`, () => {
      const rng = new SeededRng(seed);
      const routes = new Items((name, version) => routeOf(name, [forwardTo("s")], [`v${version}.test`]));
      const services = new Items((name, version) =>
        serviceOf(name, { tls: upstreamTls(version === 0 ? undefined : `key ${version}`) }),
      );
      const endpoints = new Items((name, version): EndpointSetConfig => endpointsOf(name, [version]));
      const listeners = new Items((name, version) => listener(name, `key ${version}`));
      const authentications = new Items((name, version) => authentication(name, `jwks ${version}`));
      const joiner = new SectionJoiner();
      let before: Snapshot | undefined;
      let parsed = new Set<string>();
      let kept = 0;
      for (let step = 0; step < 150; step++) {
        // Grows beyond one shard, two, and shrinks again.
        const growing = step < 75;
        for (let i = rng.below(growing ? 12 : 8); i >= 0; i--) routes.mutate(rng, 400, growing ? 0.05 : 0.7);
        if (rng.next() < 0.3) services.mutate(rng, 5, 0.3);
        if (rng.next() < 0.3) endpoints.mutate(rng, 5, 0.3);
        if (rng.next() < 0.2) listeners.mutate(rng, 3, 0.3);
        if (rng.next() < 0.2) authentications.mutate(rng, 3, 0.3);
        const snapshot = snapshotOf({
          revision: step + 1,
          routes: routes.sorted(nameOf),
          services: services.sorted(nameOf),
          endpoints: endpoints.sorted((each) => each.service),
          listeners: listeners.sorted(nameOf),
          authentications: authentications.sorted(nameOf),
        });
        const { manifest, sections } = splitSections(snapshot, 0);
        const asked: string[] = [];
        const get = (digest: string): Uint8Array | undefined => {
          asked.push(digest);
          return sections.get(digest);
        };
        const next = joiner.join(manifest, get);
        // Empty sections of different names have one digest.
        const known = asked.filter((digest) => parsed.has(digest) && (sections.get(digest)?.byteLength ?? 0) > 2);
        assert.deepEqual(known, [], "a section that stayed is not parsed again");
        parsed = new Set(Object.values(manifest.sections));
        assert.deepEqual(
          next,
          joinSections(manifest, (digest) => sections.get(digest)),
        );
        assert.deepEqual(next, { ...JSON.parse(JSON.stringify(snapshot)), digest: manifest.digest });
        for (const list of LISTS) kept += expectKept(before?.[list] ?? [], next[list]);
        if (before !== undefined && JSON.stringify(before.mesh) === JSON.stringify(next.mesh))
          assert.equal(next.mesh, before.mesh);
        before = next;
      }
      assert.ok(kept > 1_000, `${kept} objects were kept`);
    });
  }

  test("a manifest that cannot be joined changes nothing", () => {
    const joiner = new SectionJoiner();
    const one = splitSections(snapshotOf({ routes: [routeOf("a", [forwardTo("s")])] }), 0);
    const two = splitSections(snapshotOf({ routes: [routeOf("a", [forwardTo("t")])] }), 0);
    const first = joiner.join(one.manifest, (digest) => one.sections.get(digest));
    assert.throws(() => joiner.join(two.manifest, () => undefined), /missing/);
    const again = joiner.join({ ...one.manifest, revision: 9 }, () => assert.fail("all of it is known"));
    assert.equal(again.routes, first.routes);
    assert.equal(again.services, first.services);
  });
});

/** Equal data, the same object; an equal list, the same list. Answers how many items stayed. */
function expectKept(before: readonly object[], after: readonly object[]): number {
  const known = new Map(before.map((each) => [JSON.stringify(each), each]));
  let kept = 0;
  for (const item of after) {
    const former = known.get(JSON.stringify(item));
    if (former === undefined) continue;
    assert.equal(item, former);
    kept++;
  }
  if (kept === after.length && before.length === after.length && kept > 0) assert.equal(after, before);
  return kept;
}
