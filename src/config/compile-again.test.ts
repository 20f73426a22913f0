// Invariant: what compiling keeps from one time to the next changes nothing: neither bytes nor issues.
import { expect, setDefaultTimeout, test } from "bun:test";
import { TEST_MS } from "../../test/kit/patience.ts";
import { SeededRng } from "../core/rng.ts";
import { Catalogue } from "./catalogue.ts";
import { type CompileOptions, type CompileResult, compileSnapshot } from "./compile.ts";
import { builtinModules } from "./modules.ts";
import { parseResources } from "./parse.ts";
import { Refused } from "./refused.ts";
import { type Resource, resourceKey } from "./schema/index.ts";
import { splitSections } from "./sections.ts";
import { SnapshotCompiler } from "./snapshot-compiler.ts";

setDefaultTimeout(TEST_MS);

const MODULE = { digest: `sha256:${"1".repeat(64)}`, bytes: new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) };
const modules = { ...builtinModules(new Map()), byDigest: () => MODULE };

function parse(kind: string, name: string, spec: object): Resource {
  const text = JSON.stringify({ apiVersion: "selvedge.dev/v1", kind, metadata: { name }, spec });
  const { resources, issues } = parseResources(text, { file: "a" });
  const resource = resources[0]?.resource;
  if (resource === undefined) throw new Error(`${text} ${JSON.stringify(issues)}`);
  return resource;
}

/** Makes resources of every kind that refer to each other, also to what is not there. */
class Author {
  constructor(readonly rng: SeededRng) {}

  pick(count: number): number {
    return this.rng.below(count);
  }

  any(): Resource {
    const dice = this.pick(20);
    if (dice === 0) return this.#gateway();
    if (dice === 1)
      return parse("Filter", `f${this.pick(3)}`, { module: { digest: MODULE.digest }, settings: { a: this.pick(3) } });
    if (dice === 2) return this.#authentication();
    if (dice === 3) return parse("Mesh", "default", { accessLog: { sample: this.pick(3) / 2 } });
    return dice < 8 ? this.#service() : this.#route();
  }

  #gateway(): Resource {
    const web = { name: "a", port: 1_000 + this.pick(4) };
    const streams = { name: `t${this.pick(2)}`, port: 2_000 + this.pick(4), protocol: "TCP" };
    const listeners = [[web], [web, streams], [streams]][this.pick(3)];
    return parse("Gateway", `g${this.pick(3)}`, { listeners });
  }

  #authentication(): Resource {
    const key = (index: number): string => Buffer.from(`${index}`.repeat(32)).toString("base64url");
    const jwks = JSON.stringify({ keys: [{ kty: "oct", alg: "HS256", k: key(this.pick(3)) }] });
    const provider = { name: "p", issuer: "i", audiences: ["a"], algorithms: ["HS256"], jwks: { inline: jwks } };
    return parse("Authentication", `a${this.pick(2)}`, { jwt: [provider] });
  }

  #service(): Resource {
    const subsets = this.pick(4) === 0 ? [] : [{ name: "v1", labels: { v: "1" } }];
    // Its certificates are read from a file, which is another one now and then.
    const tls = this.pick(5) === 0 ? { tls: { serverName: `n${this.pick(3)}` } } : {};
    return parse("Service", `s${this.pick(6)}`, { endpoints: [`127.0.0.1:${1 + this.pick(5)}`], subsets, ...tls });
  }

  #route(): Resource {
    const backend = {
      service: `s${this.pick(6)}`,
      ...(this.pick(4) === 0 ? { subset: this.pick(9) === 0 ? "gone" : "v1" } : {}),
    };
    const rule = {
      matches: [{ path: { prefix: `/p${this.pick(90)}` } }],
      backends: [backend],
      ...(this.pick(6) === 0 ? { filters: [`f${this.pick(3)}`] } : {}),
      ...(this.pick(8) === 0 ? { authentication: `a${this.pick(2)}` } : {}),
    };
    if (this.pick(9) === 0) {
      const filters = this.pick(9) === 0 ? [`f${this.pick(3)}`] : [];
      const gateways = this.pick(2) === 0 ? [] : [`g${this.pick(3)}`];
      return parse("Route", `r${this.pick(400)}`, {
        gateways,
        tcp: { listener: `t${this.pick(2)}`, backends: [backend], filters },
      });
    }
    const hosts = [`h${this.pick(12)}.example`, `h${12 + this.pick(12)}.example`];
    return parse("Route", `r${this.pick(400)}`, {
      hosts,
      rules: [rule],
      ...(this.pick(9) === 0 ? { gateways: [`g${this.pick(3)}`] } : {}),
    });
  }
}

const plainRoutes = (count: number): Resource[] =>
  Array.from({ length: count }, (_, i) =>
    parse("Route", `r${i}`, { hosts: [`own${i}.example`], rules: [{ respond: { status: 200 } }] }),
  );

interface Step {
  readonly resources: readonly Resource[];
  readonly options: CompileOptions;
  readonly again: CompileResult;
}

/** As a control plane does: one apply after the other, what is refused does not stay. */
function runSteps(seed: number, count: number): Step[] {
  const rng = new SeededRng(seed);
  const author = new Author(rng);
  const compiler = new SnapshotCompiler();
  let current = Catalogue.of(plainRoutes(140)).catalogue;
  const steps: Step[] = [];
  const all = (catalogue: Catalogue): Resource[] => [...catalogue.kinds.values()].flat();
  for (let i = 0; i < count; i++) {
    const known = all(current);
    // First few, then beyond a shard of routes, then few again.
    const goes = i < count / 2 ? 0.15 : 0.6;
    const removed = rng.next() < goes && known.length > 0 ? [known[rng.below(known.length)] as Resource] : [];
    const added = Array.from({ length: rng.below(4) }, () => author.any());
    const next = current.with(removed, new Map(added.map((each) => [resourceKey(each), each])).values());
    const refused = rng.next() < 0.05 ? [`Service default/s${rng.below(6)}`] : [];
    const options = { revision: 1, modules, readFile: () => new Uint8Array(), refused };
    // Whole lists in any order, and with one resource twice, now and then.
    const dice = rng.next();
    const twice =
      dice < 0.05
        ? all(next)
            .slice(0, 1)
            .map((each) => structuredClone(each))
        : [];
    const resources = [...all(next), ...twice];
    if (dice < 0.2 && twice.length === 0) resources.reverse();
    const again = compiler.compile(dice < 0.2 ? resources : next, options);
    steps.push({ resources, options, again });
    if (again.snapshot !== undefined && refused.length === 0) current = next;
  }
  return steps;
}

for (const seed of [1, 2, 3]) {
  test(`250 changes one by one compile to the same as from nothing (seed ${seed})`, () => {
    // First all with what is kept, then all from nothing: what the latter keep must not help the former.
    const steps = runSteps(seed, 250);
    let [good, conflicts, dangling, routes] = [0, 0, 0, 0];
    for (const { resources, options, again } of steps) {
      const fresh = compileSnapshot(structuredClone(resources), options);
      expect(again.issues).toEqual(fresh.issues);
      expect(again.warnings).toEqual(fresh.warnings);
      expect(JSON.stringify(again.snapshot)).toBe(JSON.stringify(fresh.snapshot));
      if (again.issues.some((each) => each.code === "route_conflict")) conflicts++;
      if (again.issues.some((each) => each.code === "dangling_reference")) dangling++;
      if (again.snapshot === undefined) continue;
      good++;
      routes = Math.max(routes, again.snapshot.routes.length);
      const one = splitSections(again.snapshot, 0, again.sections);
      const other = splitSections(structuredClone(again.snapshot), 0);
      expect(JSON.stringify(one.manifest)).toBe(JSON.stringify(other.manifest));
      const texts = (sections: ReadonlyMap<string, Uint8Array>) =>
        [...sections].map(([digest, bytes]) => `${digest} ${Buffer.from(bytes)}`);
      expect(texts(one.sections).join("\n")).toBe(texts(other.sections).join("\n"));
    }
    expect([good > 100, conflicts > 5, dangling > 20, routes > 128]).toEqual([true, true, true, true]);
  });
}

test("a file is read each time: it may have changed while its resource did not", () => {
  let content = "one";
  const reads: string[] = [];
  const options = {
    ...{ revision: 1, modules },
    readFile: (path: string) => {
      reads.push(path);
      return new TextEncoder().encode(content);
    },
  };
  const service = parse("Service", "s", { endpoints: [], tls: { ca: { file: "ca.pem" } } });
  const compiler = new SnapshotCompiler();
  const { catalogue } = Catalogue.of([service]);
  const first = compiler.compile(catalogue, options);
  content = "other";
  const second = compiler.compile(catalogue, options);
  expect(reads).toEqual(["ca.pem", "ca.pem"]);
  for (const { issues } of [first, second]) expect(issues.map((each) => each.code)).toEqual(["bad_certificate"]);
});

test("what stayed is the same object", () => {
  const options = { revision: 1, modules, readFile: () => new Uint8Array() };
  const compiler = new SnapshotCompiler();
  const { catalogue } = Catalogue.of([...plainRoutes(300), parse("Gateway", "g", { listeners: [{ name: "a", port: 1 }] })]);
  const first = compiler.compile(catalogue, options).snapshot;
  const changed = parse("Route", "r7", { hosts: ["other.example"], rules: [{ respond: { status: 200 } }] });
  const second = compiler.compile(catalogue.with([], [changed]), options).snapshot;
  expect(second?.routes.filter((each, i) => each !== first?.routes[i]).map((each) => each.name)).toEqual(["default/r7"]);
  for (const part of ["mesh", "listeners", "services", "endpoints", "filters", "authentications"] as const)
    expect(second?.[part]).toBe(first?.[part] as never);
});

test("the kind of a key ends at the blank: a kind whose name begins with another's is another", () => {
  expect(new Refused(["Mesh default/mesh"]).mayHave("Mesh")).toBe(true);
  expect(new Refused(["MeshPolicy default/mesh"]).mayHave("Mesh")).toBe(false);
  expect(new Refused(["* default/mesh"]).mayHave("Mesh")).toBe(true);
  const keys = ["Route default/a", "* shop/b", "Service */c", "Filter shop/*"];
  const may = (...names: ["Route" | "Service" | "Filter", `${string}/${string}`][]): boolean[] =>
    names.map(([kind, name]) => new Refused(keys).mayBe(kind, name));
  expect(may(["Route", "default/a"], ["Route", "shop/b"], ["Service", "any/c"], ["Filter", "shop/x"])).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(may(["Service", "default/a"], ["Route", "default/b"], ["Route", "any/c"], ["Filter", "any/x"])).toEqual([
    false,
    false,
    false,
    false,
  ]);
});

test("references that lead nowhere get hints as long as that is no work", () => {
  const services = Array.from({ length: 2_000 }, (_, i) =>
    parse("Service", `back-end-${i}`, { endpoints: [{ address: "127.0.0.1:1" }] }),
  );
  const backends = Array.from({ length: 100 }, (_, i) => ({ service: `back-end-${i}x` }));
  const options = { revision: 1, modules, readFile: () => new Uint8Array() };
  const { issues } = new SnapshotCompiler().compile([...services, parse("Route", "r", { rules: [{ backends }] })], options);
  const hints = issues.filter(({ code }) => code === "dangling_reference").map(({ hint }) => hint);
  expect([hints.length, hints.filter((hint) => hint.startsWith("did you mean back-end-")).length]).toEqual([100, 50]);
});
