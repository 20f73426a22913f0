import assert from "node:assert/strict";
import type { NatsConnection } from "@nats-io/nats-core";
import { connectNats } from "../../src/config/nats/connect.ts";
import { type Announcement, digestsOf, formatAnnouncement, parseAnnouncement } from "../../src/config/nats/manifest.ts";
import { manifestGetSubject, snapshotSubject } from "../../src/config/nats/names.ts";
import { type Manifest, splitSections } from "../../src/config/sections.ts";
import type { RouteConfig, Snapshot } from "../../src/config/snapshot.ts";
import { createNatsSource, type NatsSource } from "../../src/config/source-nats.ts";
import { NatsDistributor } from "../../src/control/distribute/nats.ts";
import { NatsLink } from "../../src/control/nats/link.ts";
import { SystemClock, VirtualClock } from "../../src/core/clock.ts";
import { CONFIG_LIMITS } from "../../src/core/limits.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import { type NatsServer, startNats } from "../kit/nats.ts";
import { forwardTo, routeOf, snapshotOf } from "../kit/snapshot.ts";
import { afterAll, afterEach, beforeAll, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const route = (name: string, host = "a.test"): RouteConfig => routeOf(name, [forwardTo("shop")], [host]);
/** Its section does not fit an announcement. */
const largeRoute = (name: string): RouteConfig =>
  routeOf(
    name,
    [forwardTo("shop")],
    Array.from({ length: 4_000 }, (_, i) => `${"h".repeat(16)}${i}.${name}.test`),
  );

describe("announcements", () => {
  let server: NatsServer;
  let observer: NatsConnection;
  let revision = 0;
  const opened: { close(): Promise<void> }[] = [];
  const sources: NatsSource[] = [];

  beforeAll(async () => {
    server = await startNats();
    observer = await connectNats({ servers: [server.url] }, "observer");
  });
  afterAll(async () => {
    await observer.close();
    await server.stop();
  });
  afterEach(async () => {
    for (const source of sources.splice(0)) await source.stop();
    for (const each of opened.splice(0)) await each.close();
  });

  /** A publisher of its own process, as it were. Its clock stands still: nothing becomes an object unless it must. */
  async function startPublisher(): Promise<{ readonly distributor: NatsDistributor; readonly link: NatsLink }> {
    const link = new NatsLink(() => connectNats({ servers: [server.url] }, "control"));
    const distributor = new NatsDistributor(link, new VirtualClock(), SILENT_LOG);
    await distributor.open();
    opened.push(link);
    return { distributor, link };
  }

  async function publish(distributor: NatsDistributor, routes: readonly RouteConfig[], group = "gateway"): Promise<Snapshot> {
    const sorted = routes.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    const open = snapshotOf({ routes: sorted, filters: [], revision: ++revision, group });
    const snapshot = { ...open, digest: splitSections(open, 0).manifest.digest };
    await distributor.publish({ snapshot, modules: new Map(), publishedAtMs: 1 });
    return snapshot;
  }

  async function startProxy(id: string, group = "gateway"): Promise<{ seen(): Snapshot | undefined; requests(): string[] }> {
    let last: Snapshot | undefined;
    const asked: string[] = [];
    const source = createNatsSource({
      ...{ address: { servers: [server.url] }, id, group, version: "t", clock: new SystemClock() },
      ...{ rng: systemRng(), log: SILENT_LOG },
      connect: async (address, name) => {
        const connection = await connectNats(address, name);
        const request = connection.request.bind(connection);
        connection.request = (subject, ...rest) => {
          asked.push(subject);
          return request(subject, ...rest);
        };
        return connection;
      },
    });
    sources.push(source);
    await source.start((update) => {
      last = update.snapshot;
    });
    return { seen: () => last, requests: () => asked.splice(0) };
  }

  const newest = async (group = "gateway"): Promise<Announcement> =>
    parseAnnouncement((await observer.request(manifestGetSubject(group))).data);

  /** Sections that a proxy without anything can neither find inside nor fetch. */
  async function unreachable(link: NatsLink, group = "gateway"): Promise<string[]> {
    const { manifest, inline } = await newest(group);
    const missing: string[] = [];
    for (const digest of digestsOf(manifest))
      if (!inline.has(digest) && (await link.parts.objects.findSealed(digest)) === undefined) missing.push(digest);
    return missing;
  }

  test("a proxy that follows asks for nothing when a route changes", async () => {
    const { distributor } = await startPublisher();
    await publish(distributor, [route("a"), route("b")]);
    const proxy = await startProxy("follower");
    proxy.requests();
    for (const host of ["b.test", "c.test", "d.test"]) {
      const wanted = await publish(distributor, [route("a"), route("b", host)]);
      await until(() => proxy.seen()?.revision === revision);
      assert.deepEqual(proxy.seen(), JSON.parse(JSON.stringify(wanted)));
    }
    assert.deepEqual(proxy.requests(), []);
  });

  test("what does not fit is an object before it is announced", async () => {
    const { distributor, link } = await startPublisher();
    const proxy = await startProxy("large", "large");
    const wanted = await publish(distributor, [largeRoute("large")], "large");
    const { manifest, inline } = await newest("large");
    const digest = manifest.sections["routes-0of1"] ?? "";
    assert.ok(!inline.has(digest));
    assert.ok(((await link.parts.objects.findSealed(digest))?.byteLength ?? 0) > CONFIG_LIMITS.inlineBytes);
    await until(() => proxy.seen()?.digest === wanted.digest);
    // The small ones are inside.
    assert.ok(inline.has(manifest.sections.listeners ?? ""));
  });

  test("private keys are never inside", async () => {
    const { distributor } = await startPublisher();
    await publish(distributor, [route("a")]);
    const { manifest, inline } = await newest();
    assert.ok(!inline.has(manifest.sections.secrets ?? ""));
  });

  test("what died with its publisher before it was an object is taken along by the next one", async () => {
    const group = "dies";
    for (let round = 0; round < 6; round++) {
      // Each has another route, so that another section changes; a large one takes the room now and then.
      const { distributor, link } = await startPublisher();
      const routes = Array.from({ length: 300 }, (_, i) => route(`r${i}`, `v${Math.max(0, round - (i % 3))}.test`));
      const wanted = await publish(distributor, round % 2 === 1 ? [...routes, largeRoute(`large${round}`)] : routes, group);
      assert.deepEqual(await unreachable(link, group), []);
      const proxy = await startProxy(`new-${round}`, group);
      assert.deepEqual(proxy.seen(), JSON.parse(JSON.stringify(wanted)));
    }
  });

  test("an orderly end makes objects of what is inside, and the next one is small", async () => {
    const group = "orderly";
    const first = await startPublisher();
    await publish(first.distributor, [route("a")], group);
    await first.distributor.close();
    const { manifest } = await newest(group);
    for (const digest of Object.values(manifest.sections))
      assert.ok((await first.link.parts.objects.findSealed(digest)) !== undefined);
    await publish(first.distributor, [route("a", "b.test")], group);
    assert.deepEqual([...(await newest(group)).inline.keys()], [(await newest(group)).manifest.sections["routes-0of1"]]);
  });

  test("a proxy that knows nothing of sections inside fetches them once they are objects", async () => {
    const group = "older";
    const { distributor, link } = await startPublisher();
    await publish(distributor, [route("a")], group);
    await distributor.close();
    const { manifest } = await newest(group);
    // As an older proxy reads it: the same manifest without what is inside.
    const plain: Manifest = { ...manifest, revision: manifest.revision + 1 };
    link.parts.connection.publish(snapshotSubject(group), JSON.stringify(plain));
    const proxy = await startProxy("older", group);
    link.parts.connection.publish(snapshotSubject(group), JSON.stringify(plain));
    await until(() => proxy.seen()?.revision === plain.revision);
    assert.equal(proxy.seen()?.digest, plain.digest);
  });

  test("what was altered inside is fetched instead", async () => {
    const group = "altered";
    const { distributor, link } = await startPublisher();
    await publish(distributor, [route("a")], group);
    const proxy = await startProxy("altered", group);
    const next = snapshotOf({ routes: [route("a", "other.test")], filters: [], revision: ++revision, group });
    const { manifest, sections } = splitSections(next, 1);
    for (const bytes of sections.values()) await link.parts.objects.putSealed(bytes);
    const digest = manifest.sections["routes-0of1"] ?? "";
    const text = new TextDecoder().decode(sections.get(digest));
    const altered = JSON.stringify(text.replace("other.test", "wrong.test"));
    assert.notEqual(altered, JSON.stringify(text));
    proxy.requests();
    link.parts.connection.publish(snapshotSubject(group), formatAnnouncement(manifest, new Map([[digest, altered]])));
    await until(() => proxy.seen()?.revision === revision);
    assert.deepEqual(proxy.seen()?.routes[0]?.hosts, ["other.test"]);
    assert.ok(proxy.requests().length > 0);
  });
});
