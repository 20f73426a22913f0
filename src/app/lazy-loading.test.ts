import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ANY_PATH, routeOf, ruleOf, snapshotOf } from "../../test/kit/snapshot.ts";
import type { JwtProviderConfig, Snapshot } from "../config/snapshot.ts";
import { SystemClock } from "../core/clock.ts";
import { SILENT_LOG } from "../core/log.ts";
import { ANY_PLACE } from "../proxy/observe/log-place.ts";
import { ownCounters } from "./filters.ts";

/** A public key of nobody (the example of RFC 7517, appendix A.1). */
const KEY = {
  kty: "EC",
  crv: "P-256",
  x: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
  y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
  alg: "ES256",
  kid: "1",
};

/** Packages that a file and everything that it imports load at once; `import()` and types are not followed. */
function packagesOf(entry: string): string[] {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(file, "utf8");
    for (const [, named] of text.matchAll(/^(?:import|export)\b(?!\s+type\b)(?:[\w*\s{},$]*\sfrom)?\s*"([^"]+)"/gm)) {
      if (named === undefined || named.startsWith("node:") || named.startsWith("bun")) continue;
      if (named.startsWith(".")) visit(join(dirname(file), named));
      else packages.add(named);
    }
  };
  visit(join(import.meta.dir, entry));
  expect(seen.size).toBeGreaterThan(1);
  return [...packages].sort();
}

test("a data plane loads no package before a snapshot needs it: no jose, no re2js, no zod", () => {
  expect(packagesOf("create-proxy.ts")).toEqual([]);
  expect(packagesOf("run-proxy.ts")).toEqual([]);
  expect(packagesOf("../filters/jwt/authenticator.ts")).toEqual(["jose"]);
});

test("a regex and an authentication are served all the same", async () => {
  const { createProxy } = await import("./create-proxy.ts");
  const tools = { clock: new SystemClock(), log: SILENT_LOG, counters: ownCounters(), reusePort: false, logPlaces: ANY_PLACE };
  const { proxy } = await createProxy(tools);
  const apply = (part: Partial<Snapshot>) =>
    proxy.apply({ snapshot: snapshotOf(part), modules: new Map(), publishedAtMs: undefined });
  const rule = ruleOf({
    action: { kind: "respond", status: 200, headers: [], body: "" },
    matches: [{ ...ANY_PATH, path: { kind: "regex", value: "/a+" } }],
    authentication: "default/users",
  });
  const provider: JwtProviderConfig = {
    ...{ name: "issuer", issuer: "https://issuer.example", audiences: [], algorithms: ["ES256"] },
    ...{ fromHeaders: [], fromQuery: [], forward: true, clockSkewMs: 0, requireExpiration: true, maxTokenBytes: 8192 },
    keys: { kind: "inline", jwks: JSON.stringify({ keys: [KEY] }) },
  };
  const authentications = [{ name: "default/users", jwt: [provider], required: true }];
  try {
    expect(await apply({ routes: [routeOf("a", [rule])], authentications })).toEqual([]);
    const address = [...proxy.addresses.values()][0];
    const port = address?.kind === "tcp" ? address.port : 0;
    expect((await fetch(`http://127.0.0.1:${port}/aaa`)).status).toBe(401);
    expect((await fetch(`http://127.0.0.1:${port}/b`)).status).toBe(404);
    // Keys that cannot be used: the snapshot is refused with the reason, and what served goes on.
    const broken = { ...provider, keys: { kind: "inline" as const, jwks: "nonsense" } };
    const issues = await apply({
      routes: [routeOf("a", [rule])],
      authentications: [{ name: "default/users", jwt: [broken], required: true }],
    });
    expect(issues.map((each) => each.code)).toEqual(["generation_failed"]);
    expect((await fetch(`http://127.0.0.1:${port}/aaa`)).status).toBe(401);
  } finally {
    await proxy.stop();
  }
});
