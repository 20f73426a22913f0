// Invariant: what compiling keeps from one time to the next changes nothing: neither bytes nor issues.
import { expect, test } from "bun:test";
import { SeededRng } from "../core/rng.ts";
import { type CompileResult, compileSnapshot } from "./compile.ts";
import { builtinModules } from "./modules.ts";
import { parseResources } from "./parse.ts";
import type { Resource } from "./schema/index.ts";
import { splitSections } from "./sections.ts";

const options = { revision: 1, modules: builtinModules(new Map()), readFile: () => new Uint8Array() };

function parse(kind: string, name: string, spec: object): Resource {
  const text = JSON.stringify({ apiVersion: "selvedge.dev/v1", kind, metadata: { name }, spec });
  const resource = parseResources(text, { file: "a" }).resources[0]?.resource;
  if (resource === undefined) throw new Error(text);
  return resource;
}

test("500 changes one by one compile to the same as from nothing", () => {
  const rng = new SeededRng(7);
  const pick = (count: number): number => Math.floor(rng.next() * count);
  const service = () =>
    parse("Service", `s${pick(4)}`, { endpoints: [`127.0.0.1:${1 + pick(5)}`], subsets: [{ name: "v1", labels: { v: "1" } }] });
  const route = () => {
    const backend =
      pick(4) === 0 ? { service: `s${pick(4)}`, subset: pick(8) === 0 ? "gone" : "v1" } : { service: `s${pick(4)}` };
    const rules = [{ matches: [{ path: { prefix: `/p${pick(60)}` } }], backends: [backend] }];
    return parse("Route", `r${pick(80)}`, { hosts: [`h${pick(12)}.example`, `h${12 + pick(12)}.example`], rules });
  };
  const current = new Map<string, Resource>();
  const put = (resource: Resource): void => void current.set(`${resource.kind} ${resource.metadata.name}`, resource);
  // First all with what is kept, then all from nothing: what the latter keep must not help the former.
  const steps: { readonly resources: readonly Resource[]; readonly again: CompileResult }[] = [];
  let [good, conflicts, dangling] = [0, 0, 0];
  for (let step = 0; step < 500; step++) {
    const dice = pick(10);
    const keys = [...current.keys()];
    if (dice === 0 && keys.length > 0) current.delete(keys[pick(keys.length)] ?? "");
    else put(dice < 3 ? service() : route());
    // In the order of their keys now and then, as a control plane has them.
    const kept = step % 3 === 0 ? [...current.keys()].sort() : [...current.keys()];
    const resources = kept.flatMap((key) => current.get(key) ?? []);
    const again = compileSnapshot(resources, options);
    steps.push({ resources, again });
    if (again.issues.some((each) => each.code === "route_conflict")) conflicts++;
    if (again.issues.some((each) => each.code === "dangling_reference")) dangling++;
    // What is refused does not stay, as in a control plane; so there are good ones to go on from.
    if (again.snapshot === undefined && rng.next() < 0.7)
      current.delete(keys.length > 0 ? ([...current.keys()].at(-1) ?? "") : "");
  }
  for (const { resources, again } of steps) {
    const fresh = compileSnapshot(structuredClone(resources), options);
    expect(again.issues).toEqual(fresh.issues);
    expect(again.snapshot).toEqual(fresh.snapshot);
    if (again.snapshot !== undefined) {
      good++;
      const [one, other] = [splitSections(again.snapshot, 0, again.sections), splitSections(structuredClone(again.snapshot), 0)];
      expect(one.manifest).toEqual(other.manifest);
      expect([...one.sections]).toEqual([...other.sections]);
    }
  }
  expect([good > 20, conflicts > 20, dangling > 20]).toEqual([true, true, true]);
});
