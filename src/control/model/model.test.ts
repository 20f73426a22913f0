// Invariant: what the model carries on from change to change is what it would make from nothing.
import { expect, test } from "bun:test";
import { formatIssue } from "../../config/issue.ts";
import { parseResources } from "../../config/parse.ts";
import { SeededRng } from "../../core/rng.ts";
import { applyEntry, EMPTY_STATE, type LogEntry } from "../store/store.ts";
import { ResourceDigests } from "./digests.ts";
import { ControlModel } from "./model.ts";
import { planApply } from "./plan.ts";
import type { ResourceKey, StoredResource } from "./resource.ts";

const service = (index: number, port: number) => ({
  apiVersion: "selvedge.dev/v1",
  kind: "Service",
  metadata: { name: `s${index}` },
  spec: { endpoints: [`127.0.0.1:${port}`] },
});
const keyOf = (index: number): ResourceKey => `Service/default/s${index}`;

test("300 entries one by one give what all of them give at once", () => {
  const rng = new SeededRng(3);
  const stored = new Map<ResourceKey, StoredResource>();
  let model = ControlModel.fromState(EMPTY_STATE);
  for (let revision = 1; revision <= 300; revision++) {
    const changes = Array.from({ length: rng.below(4) }, () => rng.below(40)).map((index) => {
      const dice = rng.below(10);
      // One that this version cannot read, now and then.
      const written = dice === 0 ? { ...service(index, 1), kind: "Unknown" } : service(index, 1 + rng.below(3));
      return dice < 3 && stored.has(keyOf(index)) ? { key: keyOf(index) } : { key: keyOf(index), after: written };
    });
    const unique = [...new Map(changes.map((each) => [each.key, each])).values()];
    const entry: LogEntry = {
      ...{ revision, previous: revision - 1, author: "", origin: "", timeMs: revision, digest: `d${revision}` },
      ...{ inboxSequence: revision, changes: unique },
    };
    applyEntry(stored, entry);
    model = model.after(entry);
    const { digest, timeMs, inboxSequence } = entry;
    const fresh = ControlModel.fromState({ revision, digest, timeMs, inboxSequence, resources: stored });
    expect([...model.resources.values()]).toEqual([...fresh.resources.values()]);
    expect([...model.resources.keys()]).toEqual([...stored.keys()].sort());
    expect(model.catalogue).toEqual(fresh.catalogue);
    expect(model.digests.digest).toBe(fresh.digests.digest);
    expect(model.unreadable).toEqual(fresh.unreadable);
  }
  expect(model.resources.size).toBeGreaterThan(10);
});

test("a plan's digest is that of the model that comes of it", () => {
  let model = ControlModel.fromState(EMPTY_STATE);
  for (let i = 0; i < 20; i++) {
    const plan = planApply(parseResources(JSON.stringify(service(i % 7, 1 + i)), { file: "f" }), undefined)(model);
    const { digest } = plan.next.digests;
    const head = { revision: i + 1, previous: i, author: "", origin: "", timeMs: 0, inboxSequence: 0 };
    model = model.after({ ...head, digest, changes: plan.changes }, plan.parsed);
    expect(model.digests.digest).toBe(digest);
    expect(model.catalogue).toEqual(plan.next.catalogue);
  }
});

test("two resources of one name in an apply are refused, with both places", () => {
  const route = (name: string, body: string): string =>
    `---\napiVersion: selvedge.dev/v1\nkind: Route\nmetadata: { name: ${name} }\nspec: { rules: [{ respond: { body: ${body} } }] }\n`;
  const parsed = parseResources(`${route("a", "one")}${route("b", "two")}${route("a", "three")}`, { file: "f.yaml" });
  const { issues } = planApply(parsed, undefined)(ControlModel.fromState(EMPTY_STATE));
  expect(issues.map(formatIssue)).toEqual([
    "f.yaml:14:19 duplicate_resource Route default/a metadata.name: There is another Route default/a in the same apply, at f.yaml:4:19. (rename or remove one)",
  ]);
});

test("the digest depends on keys and hashes alone, not on their order", () => {
  const entries = Array.from({ length: 500 }, (_, i) => ({ key: keyOf(i), hash: `h${i}` }));
  const { digest } = ResourceDigests.of(entries);
  expect(ResourceDigests.of(entries.toReversed()).digest).toBe(digest);
  expect(
    ResourceDigests.of(entries)
      .with([keyOf(3)], [])
      .with([], [{ key: keyOf(3), hash: "h3" }]).digest,
  ).toBe(digest);
  expect(ResourceDigests.of(entries).with([], [{ key: keyOf(3), hash: "h4" }]).digest).not.toBe(digest);
  expect(ResourceDigests.of(entries.slice(1)).digest).not.toBe(digest);
  expect(
    ResourceDigests.of(entries).with(
      entries.map((each) => each.key),
      [],
    ).digest,
  ).toBe(ResourceDigests.EMPTY.digest);
});
