/** References, credentials, challenges, and what an apply pulls: bounds in virtual time, without a registry. */
import assert from "node:assert/strict";
import { readChallenges } from "../../src/config/oci/challenge.ts";
import { RegistryCredentials } from "../../src/config/oci/credentials.ts";
import { RegistryError } from "../../src/config/oci/failure.ts";
import { type PinnedModules, type PullModule, pinModules } from "../../src/config/oci/pin.ts";
import { readOciReference } from "../../src/config/oci/reference.ts";
import { SilentRegistries } from "../../src/config/oci/silent.ts";
import { type ParsedResource, parseResources } from "../../src/config/parse.ts";
import { Refusal } from "../../src/config/schema/text.ts";
import { Budget } from "../../src/core/budgets.ts";
import { SystemClock, VirtualClock } from "../../src/core/clock.ts";
import { OCI_LIMITS } from "../../src/core/limits.ts";
import { digestOf } from "../kit/registry.ts";
import { describe, test } from "../kit/suite.ts";

const HEX = "0123456789abcdef".repeat(4);

describe("references", () => {
  test("registry, repository and version; the digest counts", () => {
    const read = (text: string): string => {
      const reference = readOciReference(text);
      if (reference instanceof Refusal) return `${reference.code}: ${reference.message}`;
      return [reference.registry, reference.repository, reference.version].join(" ");
    };
    assert.equal(read("ghcr.io/acme/geo:1.2"), "ghcr.io acme/geo 1.2");
    assert.equal(read("oci://GHCR.io/acme/geo:1.2"), "ghcr.io acme/geo 1.2");
    assert.equal(read(`localhost:5000/geo@sha256:${HEX}`), `localhost:5000 geo sha256:${HEX}`);
    assert.equal(read(`[::1]:5000/a/b_c/d-e.f:x@sha256:${HEX}`), `[::1]:5000 a/b_c/d-e.f sha256:${HEX}`);
    const refused: readonly (readonly [string, RegExp])[] = [
      ["acme/geo:1", /does not say which registry/],
      ["geo", /does not say which registry/],
      ["/geo:1", /does not say which registry/],
      ["ghcr.io/acme/geo", /neither tag nor digest/],
      ["ghcr.io/Acme/geo:1", /repository is no name/],
      ["ghcr.io/../v2/x:1", /repository is no name/],
      ["ghcr.io/a//b:1", /repository is no name/],
      ["ghcr.io/a/%2e%2e:1", /repository is no name/],
      ["ghcr.io/a:1/../../x", /tag is none/],
      ["ghcr.io/a:", /tag is none/],
      [`ghcr.io/a:${"x".repeat(129)}`, /tag is none/],
      ["ghcr.io/a@sha256:12", /digest is not/],
      [`ghcr.io/a@sha512:${HEX}`, /digest is not/],
      ["ghcr.io:99999/a:1", /registry is no host/],
      ["[:::]:5000/a:1", /registry is no host/],
      ["256.256.256.256/a:1", /registry is no host/],
      ["joe:pw@ghcr.io/a:1", /registry is no host/],
      ["https://ghcr.io/a:1", /registry is no host/],
      [`ghcr.io/${"a".repeat(600)}:1`, /at most 600/],
    ];
    for (const [text, pattern] of refused) assert.match(read(text), pattern, text);
  });
});

describe("credentials", () => {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  test("of Docker's config.json in all its spellings, and those that are named, which count more", async () => {
    const auths = {
      "https://index.docker.io/v1/": { auth: base64("hub:a:b") },
      "Reg.example:5000": { username: "joe", password: "x" },
      "http://plain.example/v2/": { auth: base64("p:q\0\0") },
      "ghcr.io": { auth: base64("old:old") },
      "helper.example": {},
      "part.example/acme": { auth: base64("acme:part") },
      "token.example": { auth: base64("<token>:"), identitytoken: "t.1" },
      "odd.example": { auth: "!" },
    };
    const credentials = new RegistryCredentials(
      JSON.stringify({ auths, credsStore: "", credHelpers: { "part.example/acme": "none" } }),
      " ghcr.io=new:se:cret\nquay.io=q:q ",
    );
    const of = (registry: string) => credentials.of(registry, new AbortController().signal);
    assert.deepEqual(await of("docker.io"), { user: "hub", password: "a:b" });
    assert.deepEqual(await of("reg.example:5000"), { user: "joe", password: "x" });
    assert.equal(await of("reg.example"), undefined);
    assert.deepEqual(await of("plain.example"), { user: "p", password: "q" });
    assert.deepEqual(await of("ghcr.io"), { user: "new", password: "se:cret" });
    assert.deepEqual(await of("quay.io"), { user: "q", password: "q" });
    assert.deepEqual(await of("token.example"), { user: "<token>", password: "t.1" });
    for (const none of ["helper.example", "odd.example", "part.example", "io", "constructor"])
      assert.equal(await of(none), undefined);
  });

  test("what cannot be read is not quoted", () => {
    for (const [file, named] of [
      ["{se:cret", undefined],
      [undefined, "ghcr.io:se:cret"],
      [undefined, "ghcr.io=secret"],
    ] as const)
      assert.throws(
        () => new RegistryCredentials(file, named),
        (error: Error) => !/cret/.test(error.message),
      );
  });
});

test("challenges: several, quoted and not; too long a field is none", () => {
  const read = (field: string) => readChallenges(field).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);
  assert.deepEqual(read('Bearer realm="https://a/t", service = x , scope="a,b \\"c\\"", Basic realm="r"'), [
    ["bearer", { realm: "https://a/t", service: "x", scope: 'a,b "c"' }],
    ["basic", { realm: "r" }],
  ]);
  assert.deepEqual(read("Negotiate"), [["negotiate", {}]]);
  assert.deepEqual(read('realm="x"'), []);
  assert.deepEqual(read('Bearer realm="x'), [["bearer", {}]]);
  const fill = (chars: number): string => `Bearer realm="${"x".repeat(chars - 15)}"`;
  assert.equal(read(fill(OCI_LIMITS.challengeChars)).length, 1);
  assert.equal(read(fill(OCI_LIMITS.challengeChars + 1)).length, 0);
});

describe("what an apply pulls", () => {
  const filter = (name: string, module: object) => ({
    apiVersion: "selvedge.dev/v1",
    kind: "Filter",
    metadata: { name },
    spec: { module },
  });
  const parse = (...filters: object[]): readonly ParsedResource[] => {
    const { resources, issues } = parseResources(filters.map((each) => JSON.stringify(each)).join("\n---\n"), { file: "f.yaml" });
    assert.deepEqual(issues, []);
    return resources;
  };
  const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
  const pulledOf = (text: string) => ({ bytes: bytesOf(text), digest: digestOf(text), manifestDigest: digestOf(`m${text}`) });
  const echo: PullModule = async ({ text }) => pulledOf(text);
  const run = (parsed: readonly ParsedResource[], pull: PullModule, known: readonly string[] = []): Promise<PinnedModules> =>
    pinModules(parsed, {
      pull,
      clock: new SystemClock(),
      known: async (digest) => (known.includes(digest) ? bytesOf("x") : undefined),
    });
  const codes = ({ failures }: PinnedModules): string[] => [...failures.values()].map((each) => each.code);

  test("the digest is written beside the reference; each reference is pulled once; what is known by its digest is not", async () => {
    const asked: string[] = [];
    const pull: PullModule = (...all) => {
      asked.push(all[0].text);
      return echo(...all);
    };
    const known = digestOf("known");
    const parsed = parse(
      filter("a", { oci: "oci://r.test/a:1" }),
      filter("b", { oci: "oci://r.test/a:1" }),
      filter("c", { oci: "r.test/c:1", digest: known }),
      filter("d", { builtin: "authz" }),
      filter("e", { oci: "r.test/e:1", digest: digestOf("r.test/e:1") }),
      filter("f", { oci: "r.test/f:1", digest: known.replace(/.$/, "x").replace("x", known.endsWith("0") ? "1" : "0") }),
    );
    const pinned = await run(parsed, pull, [known]);
    assert.deepEqual(asked.sort(), ["r.test/a:1", "r.test/e:1", "r.test/f:1"]);
    const written = pinned.resources.map((each) => (each.written as unknown as { spec: { module: object } }).spec.module);
    const digest = digestOf("r.test/a:1");
    assert.deepEqual(written.slice(0, 4), [
      { oci: "oci://r.test/a:1", digest },
      { oci: "oci://r.test/a:1", digest },
      { oci: "r.test/c:1", digest: known },
      { builtin: "authz" },
    ]);
    // Written and understood are the same.
    for (const each of pinned.resources) assert.deepEqual(parse(each.written as object)[0]?.resource, each.resource);
    assert.deepEqual([...pinned.modules.keys()].sort(), [digest, digestOf("r.test/e:1")].sort());
    assert.deepEqual(
      [...pinned.failures].map(([each, { code }]) => [each.metadata.name, code]),
      [["f", "artifact_altered"]],
    );
    assert.equal(pinned.resources[0]?.locate(["spec", "module", "oci"]).file, "f.yaml");
  });

  test("nothing is copied when nothing comes from a registry", async () => {
    const parsed = parse(filter("d", { builtin: "authz" }));
    assert.equal((await run(parsed, () => Promise.reject(new Error("asked")))).resources, parsed);
  });

  test("as many as one apply pulls, and one more; a few at a time", async () => {
    let [now, most] = [0, 0];
    const pull: PullModule = async (...all) => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setImmediate(resolve));
      now--;
      return echo(...all);
    };
    const fill = (count: number) => parse(...Array.from({ length: count }, (_, i) => filter(`f${i}`, { oci: `r.test/f:${i}` })));
    assert.deepEqual(codes(await run(fill(OCI_LIMITS.pulls), pull)), []);
    assert.equal(most, OCI_LIMITS.concurrent);
    assert.deepEqual(codes(await run(fill(OCI_LIMITS.pulls + 1), pull)), ["out_of_range"]);
  });

  test("as many bytes as one apply pulls, and one more", async () => {
    const parsed = parse(...[0, 1, 2, 3].map((i) => filter(`f${i}`, { oci: `r.test/f:${i}` })));
    // Only its length is looked at.
    const sized =
      (bytes: number): PullModule =>
      async (reference) => ({
        ...pulledOf(reference.text),
        bytes: Object.defineProperty(bytesOf("x"), "byteLength", { value: bytes }),
      });
    assert.deepEqual(codes(await run(parsed, sized(OCI_LIMITS.pulledBytes / 4))), []);
    assert.deepEqual(codes(await run(parsed, sized(OCI_LIMITS.pulledBytes / 4 + 1))), ["artifact_too_large"]);
  });

  test("as many bytes as all applies hold, and one more; what was pulled is given back, and what failed at once", async () => {
    const held = new Budget(1_000);
    const takes =
      (...amounts: readonly number[]): PullModule =>
      async ({ text }, _signal, _known, hold) => {
        for (const amount of amounts) hold(amount);
        return { ...pulledOf(text), bytes: new Uint8Array(600) };
      };
    const pin = (pull: PullModule): Promise<PinnedModules> =>
      pinModules(parse(filter("a", { oci: "r.test/a:1" })), {
        pull,
        clock: new SystemClock(),
        known: async () => undefined,
        held,
      });
    // A layer of a container image and the module in it: only the module stays.
    const first = await pin(takes(400, 600));
    assert.deepEqual([codes(first), held.held], [[], 600]);
    assert.deepEqual([codes(await pin(takes(400, 1))), held.held], [["registry_busy"], 600]);
    const second = await pin(takes(400));
    assert.deepEqual([codes(second), held.held], [[], 1_000]);
    second.release();
    second.release();
    assert.equal(held.held, 600);
    first.release();
    assert.equal(held.held, 0);
    assert.deepEqual([codes(await pin(takes(1_001))), held.held], [["registry_busy"], 0]);
  });

  test("a pull that goes on when its time is over holds nothing more", async () => {
    const [held, clock] = [new Budget(1_000), new VirtualClock()];
    let late = (): void => {};
    const pull: PullModule = (_reference, _signal, _known, hold) => {
      hold(500);
      late = () => hold(500);
      return new Promise(() => {});
    };
    const tools = { pull, clock, known: async () => undefined, held };
    const work = pinModules(parse(filter("a", { oci: "r.test/a:1" })), tools);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(held.held, 500);
    clock.advance(OCI_LIMITS.pullMs);
    assert.deepEqual(codes(await work), ["registry_unreachable"]);
    assert.throws(() => late(), RegistryError);
    assert.equal(held.held, 0);
  });

  test("all of them have one time; what fails in an unknown way is a refusal without its text", async () => {
    const clock = new VirtualClock();
    let signal: AbortSignal | undefined;
    const silent: PullModule = (_, given) => {
      signal = given;
      return new Promise(() => {});
    };
    const work = pinModules(parse(filter("a", { oci: "r.test/a:1" })), { pull: silent, clock, known: async () => undefined });
    // Until it waits.
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(OCI_LIMITS.pullMs - 1);
    assert.equal(signal?.aborted, false);
    clock.advance(1);
    const pinned = await work;
    assert.equal(signal?.aborted, true);
    assert.match([...pinned.failures.values()][0]?.message ?? "", /^it was not there within 20s$/);
    assert.equal(clock.pending, 0);
    const broken = await run(parse(filter("a", { oci: "r.test/a:1" })), () => Promise.reject(new Error("secret")));
    const [failure] = broken.failures.values();
    assert.ok(failure instanceof RegistryError);
    assert.doesNotMatch(failure.message, /secret/);
  });

  test("a registry that used up the time is not asked for a while by applies that others wait for; one that had no time is", async () => {
    const clock = new VirtualClock();
    const silent = new SilentRegistries(clock);
    const asked: string[] = [];
    let hears = false;
    const pull: PullModule = (...all) => {
      asked.push(all[0].text);
      return hears || all[0].registry === "good.test" ? echo(...all) : new Promise(() => {});
    };
    const all = parse(
      ...[0, 1, 2, 3].map((i) => filter(`f${i}`, { oci: `gone.test/f:${i}` })),
      ...["late.test/f:1", "good.test/f:1"].map((oci, i) => filter(`g${i}`, { oci })),
    );
    const pin = async (parsed: readonly ParsedResource[], waitMs: number, others: object = { silent }): Promise<string[]> => {
      const work = pinModules(parsed, { pull, clock, known: async () => undefined, ...others });
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(waitMs);
      return [...(await work).failures.values()].map(({ message }) => message);
    };
    // Four at a time: the one behind them has nothing left.
    assert.equal((await pin(all, OCI_LIMITS.pullMs)).length, 5);
    asked.length = 0;
    hears = true;
    for (const message of await pin(all, 0)) assert.match(message, /^it was not there in time a moment ago, .* 1m after that$/);
    assert.deepEqual(asked, ["late.test/f:1", "good.test/f:1"]);
    // Nobody waits for those of the API.
    assert.deepEqual(await pin(all, 0, {}), []);
    clock.advance(OCI_LIMITS.silentMs - 1);
    assert.equal((await pin(all, 0)).length, 4);
    clock.advance(1);
    assert.deepEqual(await pin(all, 0), []);
  });

  test("as many silent registries as are remembered, and one more", () => {
    const clock = new VirtualClock();
    const silent = new SilentRegistries(clock);
    clock.advance(OCI_LIMITS.pullMs);
    for (let i = 0; i <= OCI_LIMITS.silentRegistries; i++) {
      assert.equal(silent.refuse("r0.test") === undefined, i === 0);
      silent.note(`r${i}.test`, 0);
    }
    assert.equal(silent.refuse("r0.test"), undefined);
    assert.equal(silent.refuse("r1.test")?.code, "registry_unreachable");
    assert.equal(silent.refuse(`r${OCI_LIMITS.silentRegistries}.test`)?.code, "registry_unreachable");
  });
});
