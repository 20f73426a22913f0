import { describe, expect, test } from "bun:test";
import { builtinModules } from "../../config/modules.ts";
import { SystemClock } from "../../core/clock.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { SeededRng } from "../../core/rng.ts";
import { createControlPlane } from "../create.ts";
import type { CreatedControlPlane } from "../options.ts";
import { parseOwners } from "./file.ts";
import { Owners } from "./owners.ts";

const FILE = `
publishers:
  ann: { namespaces: [shop], hosts: [shop.example.org, "*.shop.example.org"], uses: [shared] }
  wide: { namespaces: [wide], hosts: ["*.example.org"] }
  eve: { namespaces: [eve], kinds: [Route], hosts: [eve.example.org] }
  net: { namespaces: [net], endpoints: [127.0.0.0/8, "*.internal.example", "::1"] }
  root: { namespaces: ["*"], kinds: ["*"], hosts: ["*"], uses: ["*"], endpoints: ["0.0.0.0/0", "::/0", "*"], publishes: [">"] }
  pub: { namespaces: [pub], kinds: [Filter], publishes: [pub.orders, "pub.x.*", "pub.deep.>"] }
  quiet: { namespaces: [quiet], kinds: [Filter] }
`;

const resource = (kind: string, name: string, spec: unknown): string =>
  `${JSON.stringify({ apiVersion: "selvedge.dev/v1", kind, metadata: meta(name), spec })}\n---\n`;
const meta = (name: string) => ({ namespace: name.split("/")[0], name: name.split("/")[1] });
const route = (name: string, hosts: readonly string[] | undefined, rule: object = { respond: { body: "x" } }): string =>
  resource("Route", name, { ...(hosts === undefined ? {} : { hosts }), rules: [rule] });
const service = (name: string, ...endpoints: string[]): string => resource("Service", name, { endpoints });

async function planeWith(owners: Owners): Promise<CreatedControlPlane> {
  const plane = createControlPlane({
    ...{ backend: { kind: "memory" }, modules: builtinModules(new Map()), version: "t", owners },
    ...{ clock: new SystemClock(), rng: new SeededRng(1), log: SILENT_LOG },
  });
  await plane.start();
  return plane;
}

/** `ok`, or the paths and codes of the issues. */
async function judge(plane: CreatedControlPlane, author: string, text: string, remove = false): Promise<string> {
  const request = { text, author, origin: "nats" };
  const outcome = await (remove ? plane.delete(request) : plane.apply(request));
  if (outcome.ok) return "ok";
  return outcome.issues.map(({ code, path }) => `${code} ${path}`.trim()).join(", ");
}

const withPlane = async (body: (plane: CreatedControlPlane, owners: Owners) => Promise<void>): Promise<void> => {
  const owners = new Owners(await parseOwners(FILE));
  const plane = await planeWith(owners);
  try {
    await body(plane, owners);
  } finally {
    await plane.stop();
  }
};

describe("owners", () => {
  test("subjects that a publisher's filters may publish to, at the edges of the patterns", () =>
    withPlane(async (plane) => {
      const filter = (name: string, ...publish: string[]): string =>
        resource("Filter", name, { module: { builtin: "transform" }, capabilities: { nats: { publish } } });
      const at = "spec.capabilities.nats.publish";
      // What comes behind the rights: this plane has no modules.
      const granted = "unknown_module spec.module.builtin";
      const cases: readonly (readonly [string, string, string])[] = [
        ["pub", filter("pub/a", "pub.orders", "pub.x.one", "pub.deep.er.still"), granted],
        ["pub", filter("pub/a", "pub.orders", "pub.payments"), `not_owned ${at}.1`],
        ["pub", filter("pub/a", "pub.x", "pub.x.one.two", "pub.deep"), `not_owned ${at}.0, not_owned ${at}.1, not_owned ${at}.2`],
        ["pub", filter("pub/a", "PUB.orders"), `not_owned ${at}.0`],
        ["quiet", filter("quiet/a"), granted],
        ["quiet", filter("quiet/a", "quiet.a"), `not_owned ${at}.0`],
        ["root", filter("infra/a", "any.thing"), granted],
        // Nobody: those of the configuration, of the server, of its buckets and answers.
        ...[
          "selvedge.config.apply",
          "Selvedge.x",
          "selvedge",
          "$JS.API.x",
          "$KV.selvedge_config.x",
          "$SYS.x",
          "_INBOX.x",
          ">",
          "*.config.apply",
        ].map((subject) => ["root", filter("infra/a", subject), `${granted}, bad_subject ${at}[0]`] as const),
      ];
      for (const [author, text, expected] of cases) expect([text, await judge(plane, author, text)]).toEqual([text, expected]);
    }));

  test("namespaces, kinds and hosts of a publisher, and nothing beside them", () =>
    withPlane(async (plane) => {
      const cases: readonly (readonly [string, string, string])[] = [
        ["ann", route("shop/a", ["shop.example.org"]), "ok"],
        ["ann", route("shop/b", ["x.shop.example.org", "*.y.shop.example.org", "*.shop.example.org"]), "ok"],
        ["ann", service("shop/s", "10.0.0.1:80"), "ok"],
        ["ann", route("shop/c", ["SHOP.example.org.", "other.example.org"]), "not_owned spec.hosts.1"],
        ["ann", route("shop/c", ["xshop.example.org"]), "not_owned spec.hosts.0"],
        ["ann", route("shop/c", ["*.example.org"]), "not_owned spec.hosts.0"],
        ["ann", route("shop/c", ["*"]), "not_owned spec.hosts.0"],
        ["ann", route("shop/c", undefined), "not_owned spec.hosts.0"],
        ["ann", route("eve/c", ["shop.example.org"]), "not_owned"],
        ["ann", resource("Mesh", "shop/m", {}), "not_owned"],
        ["ann", resource("Gateway", "shop/g", { listeners: [{ port: 80, hosts: ["shop.example.org"] }] }), "not_owned"],
        ["eve", service("eve/s", "10.0.0.1:80"), "not_owned"],
        ["nobody", route("shop/a", ["shop.example.org"]), "not_owned"],
        ["", route("shop/a", ["shop.example.org"]), "not_owned"],
        ["root", resource("Gateway", "infra/g", { listeners: [{ port: 80 }] }), "ok"],
        // All or nothing.
        [
          "ann",
          route("shop/d", ["shop.example.org"], { respond: { body: "d" } }) + route("eve/d", ["shop.example.org"]),
          "not_owned",
        ],
      ];
      for (const [author, text, expected] of cases) expect([text, await judge(plane, author, text)]).toEqual([text, expected]);
      expect(plane.get().map(({ key }) => key)).toEqual(["Gateway/infra/g", "Route/shop/a", "Route/shop/b", "Service/shop/s"]);
    }));

  test("of a resource with issues nothing is told that they could not learn from one without", () =>
    withPlane(async (plane) => {
      const broken = (host: string, service: string): string =>
        resource("Route", "shop/r", { hosts: [host], rules: [{ backends: [{ service, weight: "much" }] }] });
      const weight = "wrong_type spec.rules[0].backends[0].weight";
      expect(await judge(plane, "ann", broken("shop.example.org", "gone"))).toBe(
        `dangling_reference spec.rules[0].backends[0].service, ${weight}`,
      );
      for (const text of [broken("shop.example.org", "eve/gone"), broken("other.example.org", "gone")])
        expect(await judge(plane, "ann", text)).toBe(weight);
    }));

  test("a host that somebody has by a closer name is not covered by another's wildcard", () =>
    withPlane(async (plane) => {
      expect(await judge(plane, "wide", route("wide/a", ["a.example.org", "*.example.org"]))).toBe("ok");
      for (const host of ["eve.example.org", "shop.example.org", "a.shop.example.org", "*.shop.example.org"])
        expect(await judge(plane, "wide", route("wide/b", [host]))).toBe("not_owned spec.hosts.0");
    }));

  test("replacing and deleting: what is there must be theirs too, also when what comes would be", () =>
    withPlane(async (plane) => {
      const foreign = route("shop/x", ["other.example.org"]);
      expect((await plane.apply({ text: foreign, author: "operator", origin: "api" })).ok).toBe(true);
      expect(await judge(plane, "root", route("eve/e", ["eve.example.org"]))).toBe("ok");
      expect(await judge(plane, "ann", route("shop/x", ["shop.example.org"]))).toBe("not_owned");
      for (const key of ["Route/shop/x", "Route/eve/e", "Route/eve/there-is-none", foreign])
        expect(await judge(plane, "ann", key, true)).toBe("not_owned");
      expect(await judge(plane, "nobody", "Route/eve/e", true)).toBe("not_owned");
      expect(await judge(plane, "ann", "Route/shop/there-is-none", true)).toBe("unknown_resource");
      expect(await judge(plane, "eve", "Route/eve/e", true)).toBe("ok");
      expect(plane.get().map(({ key }) => key)).toEqual(["Route/shop/x"]);
      // The operator's own ways are not a publisher's.
      expect((await plane.delete({ text: "Route/shop/x", author: "nobody", origin: "api" })).ok).toBe(true);
    }));

  test("references into namespaces that are not theirs: services, filters, gateways, authentication", () =>
    withPlane(async (plane) => {
      const parts = service("shared/s", "10.0.0.1:80") + service("eve/s", "10.0.0.1:80") + service("shop/s", "10.0.0.1:80");
      expect((await plane.apply({ text: parts, author: "operator", origin: "api" })).ok).toBe(true);
      const to = (rule: object): string => route("shop/r", ["shop.example.org"], rule);
      const cases: readonly (readonly [string, string])[] = [
        [to({ backends: ["s"] }), "ok"],
        [to({ backends: ["shop/s", "shared/s"] }), "ok"],
        [to({ backends: ["s", { service: "eve/s" }] }), "not_owned spec.rules.0.backends.1"],
        [to({ backends: ["s"], filters: ["eve/f"] }), "not_owned spec.rules.0.filters.0"],
        [to({ backends: ["s"], authentication: "eve/a" }), "not_owned spec.rules.0.authentication"],
        [
          resource("Route", "shop/r", { hosts: ["shop.example.org"], gateways: ["infra/g"], rules: [{ respond: {} }] }),
          "not_owned spec.gateways.0",
        ],
      ];
      for (const [text, expected] of cases) expect([text, await judge(plane, "ann", text)]).toEqual([text, expected]);
    }));

  test("services lead neither to the proxy's own machine nor to names that are not allowed", () =>
    withPlane(async (plane) => {
      const refused = "not_owned spec.endpoints.0";
      const cases: readonly (readonly [string, string, string])[] = [
        ...[
          "127.0.0.1:8081",
          "127.9.9.9:1",
          "[::1]:80",
          "[::ffff:127.0.0.1]:80",
          "169.254.169.254:80",
          "0.0.0.0:80",
          "[fe80::1]:80",
          "[::127.0.0.1]:80",
          "[::ffff:0:127.0.0.1]:80",
          "[64:ff9b::7f00:1]:80",
          "[2002:7f00:1::]:80",
          "[fd00:ec2::254]:80",
        ].map((address) => ["shop", address, refused] as const),
        ["shop", "unix:/run/docker.sock", refused],
        ["shop", "localhost:80", refused],
        ["shop", "rebinding.example:80", refused],
        ["shop", "192.168.0.1:80", "ok"],
        ["net", "127.0.0.1:80", "ok"],
        ["net", "[::1]:80", "ok"],
        ["net", "db.internal.example:80", "ok"],
        ["net", "10.0.0.1:80", refused],
        ["net", "internal.example:80", refused],
        ["net", "unix:/run/x", refused],
      ];
      for (const [namespace, address, expected] of cases) {
        const author = namespace === "shop" ? "ann" : "net";
        expect([address, await judge(plane, author, service(`${namespace}/s`, address))]).toEqual([address, expected]);
      }
      const dns = (host: string, servers: string[]) => resource("Service", "net/d", { dns: { host, port: 80, servers } });
      expect(await judge(plane, "net", dns("a.internal.example", ["127.0.0.1:53", "[::1]:53"]))).toBe("ok");
      expect(await judge(plane, "net", dns("evil.example", ["10.6.6.6:53"]))).toBe(
        "not_owned spec.dns.host, not_owned spec.dns.servers.0",
      );
    }));

  test("the file: everything that is wrong is said; new rights hold at once", () =>
    withPlane(async (plane, owners) => {
      const of = (text: string) => parseOwners(text).then(String, (error: Error) => error.message);
      expect(await of("publishers: { a: { namespaces: [A], kinds: [Pod], hosts: ['a.*'], more: 1 } }")).toMatch(
        /namespaces.*kinds.*hosts.*more/,
      );
      expect(await of("publishers:\n  a:\n    namespace: [x]\n    kinds: [Pod]\n")).toBe(
        [
          "owners:3:5 missing_field publishers.a.namespaces: namespaces is missing.",
          'owners:3:5 unknown_key publishers.a.namespace: There is no field "namespace" here.',
          'owners:4:13 unknown_value publishers.a.kinds[0]: "Pod" is not one of *, Gateway, Route, Service, Filter, Authentication, Mesh.',
        ].join("; "),
      );
      for (const text of [
        "",
        "[]",
        "publishers: { 'a.b': { namespaces: [x] } }",
        "publishers: { a: { namespaces: [] } }",
        'publishers: { a: { namespaces: [x], publishes: ["a..b"] } }',
        'publishers: { a: { namespaces: [x], publishes: ["a.>.b"] } }',
        "x: 1",
      ])
        expect(await of(text)).not.toBe("[object Map]");
      expect(await of(FILE)).toBe("[object Map]");
      expect(await judge(plane, "new", route("n/a", ["n.example"]))).toBe("not_owned");
      owners.replace(await parseOwners("publishers: { new: { namespaces: [n], hosts: [n.example] } }"));
      expect(await judge(plane, "new", route("n/a", ["n.example"]))).toBe("ok");
      expect(await judge(plane, "root", route("n/b", ["n.example"]))).toBe("not_owned");
      expect([owners.mayRead("new", "Route/n/a"), owners.mayRead("new", "Route/m/a"), owners.mayRead("x", "Route/n/a")]).toEqual([
        true,
        false,
        false,
      ]);
    }));
});
