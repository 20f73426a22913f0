import assert from "node:assert/strict";
import { canonicalCopy, canonicalJson } from "../../src/config/canonical.ts";
import { compileSnapshot } from "../../src/config/compile.ts";
import { parseResources } from "../../src/config/parse.ts";
import type { Resource } from "../../src/config/schema/index.ts";
import { joinSections, SectionJoiner } from "../../src/config/section-joiner.ts";
import { shardCount, shardOf } from "../../src/config/section-layout.ts";
import { redactSnapshot, splitSections } from "../../src/config/sections.ts";
import type { Snapshot } from "../../src/config/snapshot.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { compileText, TEST_MODULES } from "../kit/config.ts";
import { manyRoutes, WHOLE_CONFIG } from "../kit/config-texts.ts";
import { describe, test } from "../kit/suite.ts";

function compileGood(text: string, revision = 1): Snapshot {
  const { snapshot, all } = compileText(text, { revision });
  assert.deepEqual(all, []);
  assert.ok(snapshot !== undefined);
  return snapshot;
}

const split = (snapshot: Snapshot) => splitSections(snapshot, 0);

describe("compiled snapshots", () => {
  test("are the same bytes for the same resources in any order", () => {
    const documents = `${WHOLE_CONFIG}---\n${manyRoutes(200)}`.split("---\n");
    const wanted = compileGood(documents.join("---\n"));
    const rng = new SeededRng(3);
    for (let round = 0; round < 8; round++) {
      for (let i = documents.length - 1; i > 0; i--) {
        const j = rng.below(i + 1);
        [documents[i], documents[j]] = [documents[j] as string, documents[i] as string];
      }
      const found = compileGood(documents.join("---\n"));
      assert.equal(found.digest, wanted.digest);
      assert.equal(canonicalJson(found), canonicalJson(wanted));
    }
  });

  test("survive JSON, are frozen, and hold no undefined", () => {
    const snapshot = compileGood(WHOLE_CONFIG);
    assert.deepEqual(JSON.parse(JSON.stringify(snapshot)), snapshot);
    assert.ok(Object.isFrozen(snapshot) && Object.isFrozen(snapshot.routes[0]?.rules[0]?.action));
    assert.throws(() => Object.assign(snapshot.mesh, { tracing: 1 }));
  });

  test("the digest changes with any value, and not with the revision", () => {
    const first = compileGood(WHOLE_CONFIG);
    assert.equal(compileGood(WHOLE_CONFIG, 9).digest, first.digest);
    for (const [from, to] of [
      ["weight: 9", "weight: 8"],
      ["10.0.0.1:80", "10.0.0.3:80"],
      ["timeout: 15s", "timeout: 16s"],
      ["limit: 10", "limit: 11"],
      ["grace: 5s", "grace: 6s"],
      ["minVersion: TLSv1.3", "minVersion: TLSv1.2"],
    ] as const) {
      assert.ok(WHOLE_CONFIG.includes(from), from);
      assert.notEqual(compileGood(WHOLE_CONFIG.replace(from, to)).digest, first.digest, from);
    }
  });
});

describe("compiling again", () => {
  const options = { revision: 1, modules: TEST_MODULES, readFile: () => new Uint8Array() };
  const route = (name: string, backend: string): string =>
    `apiVersion: selvedge.dev/v1\nkind: Route\nmetadata: { name: ${name} }\nspec: { hosts: [${name}.example], rules: [{ backends: [${backend}] }] }\n`;
  const service = (name: string, subsets: string): string =>
    `apiVersion: selvedge.dev/v1\nkind: Service\nmetadata: { name: ${name} }\nspec: { endpoints: [], subsets: [${subsets}] }\n`;
  const parse = (text: string) => parseResources(text, { file: "f" }).resources.map((each) => each.resource);
  const codesOf = (resources: readonly Resource[], refused: readonly string[] = []) =>
    compileSnapshot(resources, { ...options, refused }).issues.map((each) => each.code);

  test("keeps what stayed, and still sees what a kept route lost", () => {
    const [plain, subset] = parse(`${route("a", "shop")}---\n${route("b", "{ service: shop, subset: v1 }")}`);
    const [withSubset] = parse(service("shop", "{ name: v1, labels: {} }"));
    const [without] = parse(service("shop", ""));
    assert.ok(plain !== undefined && subset !== undefined && withSubset !== undefined && without !== undefined);
    const first = compileSnapshot([plain, subset, withSubset], options).snapshot;
    const second = compileSnapshot([withSubset, plain, subset], options).snapshot;
    assert.ok(first !== undefined && first.routes[0] === second?.routes[0]);
    assert.equal(first.digest, second?.digest);
    assert.deepEqual(codesOf([plain, subset]), ["dangling_reference", "dangling_reference"]);
    assert.deepEqual(codesOf([plain, subset, without]), ["dangling_reference"]);
    assert.deepEqual(codesOf([plain, subset, withSubset]), []);
  });

  test("a reference to a refused resource is not dangling, and is not remembered", () => {
    const [plain] = parse(route("c", "gone"));
    assert.ok(plain !== undefined);
    assert.deepEqual(codesOf([plain], ["Service default/gone"]), []);
    assert.deepEqual(codesOf([plain]), ["dangling_reference"]);
  });
});

describe("sections", () => {
  test("join to what was split, over JSON too", () => {
    const snapshot = compileGood(`${WHOLE_CONFIG}---\n${manyRoutes(700)}`, 7);
    const { manifest, sections } = split(snapshot);
    const again = JSON.parse(JSON.stringify(manifest));
    assert.deepEqual(
      joinSections(again, (digest) => sections.get(digest)),
      snapshot,
    );
    assert.equal(manifest.digest, snapshot.digest);
    assert.equal(manifest.modules.length, 2);
  });

  test("one changed route among 10,000 changes one section of modest size", () => {
    const startedMs = performance.now();
    const text = `${WHOLE_CONFIG}---\n${manyRoutes(10_000)}`;
    const before = split(compileGood(text));
    const tookMs = performance.now() - startedMs;
    const after = split(compileGood(text.replace("prefix: /p7777 ", "prefix: /q7777 ")));
    const changed = Object.keys(after.manifest.sections).filter(
      (name) => after.manifest.sections[name] !== before.manifest.sections[name],
    );
    assert.equal(changed.length, 1);
    assert.match(changed[0] as string, /^routes-\d+of128$/);
    const bytes = after.sections.get(after.manifest.sections[changed[0] as string] as string)?.byteLength ?? 0;
    assert.ok(bytes > 1_000 && bytes < 60_000, `${bytes} bytes`);
    process.stdout.write(`10,000 routes: parse, compile, split ${Math.round(tookMs)} ms; a change of one sends ${bytes} bytes\n`);
  });

  test("a joiner keeps the objects of sections that stayed", () => {
    const joiner = new SectionJoiner();
    const text = `${WHOLE_CONFIG}---\n${manyRoutes(1_000)}`;
    const one = split(compileGood(text));
    const two = split(compileGood(text.replace("prefix: /p77 ", "prefix: /q77 "), 2));
    const first = joiner.join(one.manifest, (digest) => one.sections.get(digest));
    const asked: string[] = [];
    const second = joiner.join(two.manifest, (digest) => {
      asked.push(digest);
      return two.sections.get(digest);
    });
    assert.equal(asked.length, 1);
    const same = second.routes.filter((route, i) => route === first.routes[i]).length;
    assert.ok(same > 800 && same < second.routes.length, `${same} of ${second.routes.length}`);
    assert.equal(second.mesh, first.mesh);
  });

  test("refuse what is missing or altered", () => {
    const { manifest, sections } = split(compileGood(WHOLE_CONFIG));
    const get = (digest: string) => sections.get(digest);
    for (const [name, digest] of Object.entries(manifest.sections)) {
      assert.throws(() => joinSections(manifest, (asked) => (asked === digest ? undefined : get(asked))), /missing/, name);
      assert.throws(
        () => joinSections(manifest, (asked) => (asked === digest ? new Uint8Array([0x5b, 0x5d, 0x20]) : get(asked))),
        /does not fit/,
        name,
      );
      const { [name]: _, ...fewer } = manifest.sections;
      assert.throws(() => joinSections({ ...manifest, sections: fewer }, get), /does not fit/, name);
    }
  });

  test("keep secrets in one section, and dumps without them", () => {
    const snapshot = compileGood(WHOLE_CONFIG);
    const { manifest, sections } = split(snapshot);
    const keys = [snapshot.listeners[0]?.tls?.certificates[0]?.keyPem, snapshot.services[0]?.tls?.keyPem].map((pem) => {
      const line = pem?.split("\n")[1] ?? "";
      assert.ok(line.length > 20);
      return line;
    });
    const hmac = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    for (const [name, digest] of Object.entries(manifest.sections)) {
      const text = new TextDecoder().decode(sections.get(digest));
      for (const secret of [...keys, hmac]) assert.equal(text.includes(secret), name === "secrets", name);
    }
    const dump = JSON.stringify(redactSnapshot(snapshot));
    for (const secret of [...keys, hmac, "PRIVATE KEY", "hunter2"]) assert.ok(!dump.includes(secret), secret);
    assert.ok(JSON.stringify(snapshot).includes("hunter2"));
  });

  test("shards: a power of two, at most 128 on average, and every name in one of them", () => {
    assert.deepEqual([0, 1, 128, 129, 256, 257, 10_000].map(shardCount), [1, 1, 1, 2, 2, 4, 128]);
    const counts = new Array<number>(64).fill(0);
    for (let i = 0; i < 6_400; i++) {
      const shard = shardOf(`default/route-${i}`, 64);
      counts[shard] = (counts[shard] ?? 0) + 1;
    }
    assert.ok(Math.min(...counts) > 50 && Math.max(...counts) < 160, counts.join(" "));
  });
});

describe("canonical JSON", () => {
  test("sorts keys, drops undefined, keeps arrays", () => {
    const value = { b: [{ z: 1, a: undefined, c: "\u2028\ud800" }], a: null, A: -0 };
    assert.equal(canonicalJson(value), '{"A":0,"a":null,"b":[{"c":"\u2028\\ud800","z":1}]}');
    assert.deepEqual(canonicalCopy(value), { A: -0, a: null, b: [{ c: "\u2028\ud800", z: 1 }] });
  });
});
