import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import type { AuthenticationConfig, JwtProviderConfig } from "../../src/config/snapshot.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import { HeaderBlock, type RequestHead } from "../../src/core/head.ts";
import { JWT_LIMITS } from "../../src/core/limits.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { isPrivateAddress } from "../../src/core/private-addresses.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { readJwtAttribute } from "../../src/filters/jwt/attribute.ts";
import { JwtAuthenticator, type JwtOutcome } from "../../src/filters/jwt/authenticator.ts";
import { fetchKeys } from "../../src/filters/jwt/fetch-keys.ts";
import { RemoteKeys } from "../../src/filters/jwt/key-source.ts";
import { isRocaModulus } from "../../src/filters/jwt/roca.ts";
import { testAuthority } from "../kit/certs.ts";
import { describe, test } from "../kit/suite.ts";

const NOW_S = 1_700_000_000;
const tools = () => ({ clock: new VirtualClock(NOW_S * 1000), rng: new SeededRng(1), log: SILENT_LOG });

async function newKey(kid: string, alg = "ES256") {
  const pair = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, jwk: { ...(await exportJWK(pair.publicKey)), kid, alg }, privateKey: pair.privateKey };
}
type Key = Awaited<ReturnType<typeof newKey>>;

const sign = (key: Key, claims: JWTPayload, header: Record<string, unknown> = {}) =>
  new SignJWT({ iss: "https://idp", sub: "joe", exp: NOW_S + 600, ...claims })
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
    .sign(key.privateKey, { crit: { "urn:x": true } });

const jwksOf = (...keys: Key[]) => JSON.stringify({ keys: keys.map((key) => key.jwk) });

function provider(keys: string, more: Partial<JwtProviderConfig> = {}): JwtProviderConfig {
  return {
    name: "idp",
    issuer: "https://idp",
    audiences: [],
    algorithms: ["ES256"],
    keys: { kind: "inline", jwks: keys },
    fromHeaders: [],
    fromQuery: [],
    forward: false,
    clockSkewMs: 60_000,
    requireExpiration: true,
    maxTokenBytes: 8192,
    ...more,
  };
}

const config = (required: boolean, ...jwt: JwtProviderConfig[]): AuthenticationConfig => ({ name: "default/a", required, jwt });

function head(headers: [string, string][] = [], query?: string): RequestHead {
  return {
    method: "GET",
    scheme: "http",
    authority: "a",
    path: "/",
    query,
    version: 11,
    upgrade: undefined,
    headers: HeaderBlock.from(headers),
  };
}
const bearer = (token: string) => head([["authorization", `Bearer ${token}`]]);
const why = (outcome: JwtOutcome) => (outcome.kind === "denied" ? `${outcome.status} ${outcome.reason}` : outcome.kind);

describe("jwt", () => {
  test("a good token: claims, principal, the token is taken out; the second time without a promise", async () => {
    const key = await newKey("a");
    const authenticator = new JwtAuthenticator(config(true, provider(jwksOf(key))), tools());
    const token = await sign(key, { groups: ["dev"] });
    const first = bearer(token);
    const outcome = await authenticator.verify(first);
    assert.equal(outcome.kind === "ok" && outcome.payloads[0]?.principal, "https://idp/joe");
    assert.equal(first.headers.has("authorization"), false);
    const again = authenticator.verify(bearer(token));
    assert.equal(again instanceof Promise, false);
    assert.equal(authenticator.cached, 1);
  });

  test("no token: 401 when required, none otherwise; other schemes are no tokens", async () => {
    const key = await newKey("a");
    assert.equal(why(await new JwtAuthenticator(config(true, provider(jwksOf(key))), tools()).verify(head())), "401 no token");
    const optional = new JwtAuthenticator(config(false, provider(jwksOf(key))), tools());
    const basic = head([["authorization", "Basic abc"]]);
    assert.equal(why(await optional.verify(basic)), "none");
    assert.equal(basic.headers.has("authorization"), true);
    assert.match(why(await optional.verify(bearer("x.y.z"))), /^401 bad token/);
  });

  test("claims: issuer, audience, exp, nbf with skew; a remembered token expires as well", async () => {
    const key = await newKey("a");
    const own = tools();
    const authenticator = new JwtAuthenticator(config(true, provider(jwksOf(key), { audiences: ["me"] })), own);
    const check = async (claims: JWTPayload) =>
      why(await authenticator.verify(bearer(await sign(key, { aud: "me", ...claims }))));
    assert.equal(await check({}), "ok");
    assert.equal(await check({ aud: ["x", "me"] }), "ok");
    assert.match(await check({ aud: "you" }), /another audience/);
    assert.match(await check({ iss: "https://other" }), /no known issuer/);
    assert.equal(await check({ exp: NOW_S - 59 }), "ok");
    assert.match(await check({ exp: NOW_S - 60 }), /expired/);
    assert.equal(await check({ nbf: NOW_S + 60 }), "ok");
    assert.match(await check({ nbf: NOW_S + 61 }), /not valid yet/);
    const token = await sign(key, { aud: "me", exp: NOW_S + 10 });
    assert.equal(why(await authenticator.verify(bearer(token))), "ok");
    own.clock.advance(70_000);
    assert.match(why(await authenticator.verify(bearer(token))), /expired/);
  });

  test("a token without exp is refused, unless configuration lets it pass; what stands there must be a number", async () => {
    const key = await newKey("a");
    const check = async (requireExpiration: boolean, exp: unknown) => {
      const authenticator = new JwtAuthenticator(config(true, provider(jwksOf(key), { requireExpiration })), tools());
      const token = await sign(key, { exp } as JWTPayload);
      const first = why(await authenticator.verify(bearer(token)));
      // Remembered or not, the answer is the same.
      assert.equal(why(await authenticator.verify(bearer(token))), first);
      return first;
    };
    assert.match(await check(true, undefined), /never expires/);
    assert.equal(await check(false, undefined), "ok");
    assert.equal(await check(true, NOW_S + 1), "ok");
    assert.match(await check(false, NOW_S - 600), /expired/);
    for (const exp of [null, String(NOW_S + 600), true, [NOW_S + 600]]) {
      for (const required of [true, false]) assert.match(await check(required, exp), /must be numbers/, String(exp));
    }
  });

  test("algorithm and key are the provider's choice: other algorithms, crit, b64, wrong keys and long tokens are refused", async () => {
    const key = await newKey("a");
    const other = await newKey("a");
    const rsa = await newKey("r", "RS256");
    const jwks = JSON.stringify({ keys: [key.jwk, rsa.jwk] });
    const authenticator = new JwtAuthenticator(config(true, provider(jwks, { maxTokenBytes: 1000 })), tools());
    const check = async (token: string) => why(await authenticator.verify(bearer(token)));
    assert.match(await check(await sign(rsa, {})), /algorithm is not allowed/);
    assert.match(await check(await sign(other, {})), /signature is wrong/);
    assert.match(await check(await sign(key, {}, { crit: ["urn:x"], "urn:x": 1 })), /crit is not accepted/);
    assert.match(await check(await sign(key, { fill: "x".repeat(800) })), /too long/);
    const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${Buffer.from('{"iss":"https://idp"}').toString("base64url")}.`;
    assert.match(await check(none), /not a signed token/);
    assert.match(await check("a.b.c.d.e"), /encrypted/);
    assert.equal(await check(await sign(key, {})), "ok");
  });

  test("every token counts: two good ones pass, a bad one beside a good one does not, five are too many", async () => {
    const key = await newKey("a");
    const authenticator = new JwtAuthenticator(config(true, provider(jwksOf(key))), tools());
    const good = await sign(key, {});
    const second = await sign(key, { sub: "ann" });
    const both = (a: string, b: string) =>
      head([
        ["authorization", `Bearer ${a}`],
        ["authorization", `bearer ${b}`],
      ]);
    assert.equal(why(await authenticator.verify(both(good, second))), "ok");
    assert.match(why(await authenticator.verify(both(good, `${good}x`))), /^401/);
    assert.match(why(await authenticator.verify(both(`${good}x`, good))), /^401/);
    const many = head(Array.from({ length: JWT_LIMITS.tokensPerRequest + 1 }, () => ["authorization", `Bearer ${good}`]));
    assert.match(why(await authenticator.verify(many)), /too many tokens/);
  });

  test("places: header with prefix, query in any spelling; taken out unless forwarded", async () => {
    const key = await newKey("a");
    const from = { fromHeaders: [{ name: "x-token", prefix: "T " }], fromQuery: ["tok"] };
    const authenticator = new JwtAuthenticator(config(true, provider(jwksOf(key), from)), tools());
    const token = await sign(key, {});
    const request = head([["x-token", `T ${token}`]], `a=1&t%6Fk=${token}&b=2`);
    assert.equal(why(await authenticator.verify(request)), "ok");
    assert.deepEqual([request.headers.length, request.query], [0, "a=1&b=2"]);
    assert.equal(why(await authenticator.verify(bearer(token))), "401 no token");
    const forwarding = new JwtAuthenticator(config(true, provider(jwksOf(key), { forward: true })), tools());
    const kept = bearer(token);
    assert.equal(why(await forwarding.verify(kept)), "ok");
    assert.equal(kept.headers.has("authorization"), true);
  });

  test("remote keys: unreachable denies, last good stays, an unknown kid causes one fetch in a while, rotation forgets", async () => {
    const [first, second] = [await newKey("a"), await newKey("b")];
    const own = tools();
    let answer: string | undefined;
    let fetches = 0;
    const source = new RemoteKeys({
      ...own,
      provider: "idp",
      cacheMs: 300_000,
      fetch: () => {
        fetches++;
        return answer === undefined ? Promise.reject(new Error("down")) : Promise.resolve(answer);
      },
    });
    const authenticator = new JwtAuthenticator(config(true, provider("")), own, [source]);
    const check = async (key: Key, claims: JWTPayload = {}) =>
      why(await authenticator.verify(bearer(await sign(key, { exp: NOW_S + 9e6, ...claims }))));
    assert.equal(await check(first), "503 provider idp: no keys");
    // During the back-off nobody is asked again.
    assert.equal(await check(first), "503 provider idp: no keys");
    assert.equal(fetches, 1);
    answer = jwksOf(first);
    own.clock.advance(2_000);
    assert.equal(await check(first), "ok");
    assert.equal(fetches, 2);
    for (let i = 0; i < 5; i++) assert.match(await check(second, { n: i }), /no key fits/);
    assert.equal(fetches, 3);
    answer = undefined;
    own.clock.advance(400_000);
    assert.equal(await check(first), "ok");
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.equal(await check(first, { n: 1 }), "ok");
    assert.equal(fetches, 4);
    answer = jwksOf(second);
    own.clock.advance(400_000);
    assert.equal(await check(second), "ok");
    assert.match(await check(first), /no key fits/);
    answer = "{}";
    own.clock.advance(400_000);
    assert.equal(await check(second), "ok");
  });

  test("keys are fetched over HTTP: no redirect, bounded, private addresses only when allowed", async () => {
    const answers: Record<string, { status: number; body: string; location?: string }> = {
      "/good": { status: 200, body: '{"keys":[]}' },
      "/moved": { status: 302, body: "", location: "/good" },
      "/large": { status: 200, body: "x".repeat(JWT_LIMITS.jwksBytes + 1) },
    };
    const server: Server = createServer((request, response) => {
      const answer = answers[request.url ?? ""] ?? { status: 404, body: "" };
      response.writeHead(answer.status, answer.location === undefined ? {} : { location: answer.location });
      response.end(answer.body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const { clock } = tools();
    const from = (host: string, path: string, allowPrivate: boolean) =>
      fetchKeys({ url: `http://${host}:${port}${path}`, caPem: undefined, allowPrivate }, clock);
    try {
      assert.equal(await from("127.0.0.1", "/good", true), '{"keys":[]}');
      assert.equal(await from("localhost", "/good", true).catch(() => '{"keys":[]}'), '{"keys":[]}');
      await assert.rejects(from("127.0.0.1", "/moved", true), /status 302/);
      await assert.rejects(from("127.0.0.1", "/large", true), /more than/);
      await assert.rejects(from("127.0.0.1", "/good", false), /https/);
      await assert.rejects(
        fetchKeys({ url: `https://localhost:${port}/good`, caPem: undefined, allowPrivate: false }, clock),
        /private address/,
      );
      assert.equal(clock.pending, 0);
    } finally {
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
    }
  });

  test("keys over TLS: the name is checked against the certificate, though the connection goes to an address", async () => {
    const authority = await testAuthority("Key CA");
    for (const [name, fits] of [
      ["localhost", true],
      ["other.test", false],
    ] as const) {
      const certificate = await authority.issue({ dns: [name] });
      const server = createTlsServer({ cert: certificate.certificatePem, key: certificate.keyPem }, (_request, response) => {
        response.end('{"keys":[]}');
      });
      await new Promise<void>((resolve) => server.listen(0, resolve));
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      const { clock } = tools();
      const get = (caPem: string | undefined) =>
        fetchKeys({ url: `https://localhost:${port}/`, caPem, allowPrivate: true }, clock);
      try {
        if (fits) assert.equal(await get(authority.certificatePem), '{"keys":[]}');
        else await assert.rejects(get(authority.certificatePem));
        await assert.rejects(get(undefined));
      } finally {
        await new Promise((resolve) => {
          server.close(resolve);
          server.closeAllConnections();
        });
      }
    }
  });

  test("addresses of machines, neighbours and metadata services are private in every spelling", () => {
    const inside = ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1"];
    for (const address of [...inside, "64:ff9b::7f00:1", "2002:7f00:1::", "0.0.0.0", "::"])
      assert.equal(isPrivateAddress(address), true, address);
    for (const address of ["1.1.1.1", "2606:4700::1111", "172.32.0.1"]) assert.equal(isPrivateAddress(address), false, address);
  });

  test("a modulus of the broken generator is seen, others are not", async () => {
    const key = await newKey("r", "RS256");
    assert.equal(isRocaModulus(Buffer.from(String(key.jwk.n), "base64url")), false);
    // 65537 squared: a power of the generator modulo everything.
    assert.equal(isRocaModulus(Buffer.from((65537n ** 2n).toString(16).padStart(10, "0"), "hex")), true);
  });

  test("claims as attributes: the bytes that Envoy hands to a filter", () => {
    const claims = { sub: "jö", level: 3, admin: true, groups: ["a", "bc"], realm: { roles: ["r"] }, nothing: null };
    const read = (...path: string[]) => {
      const value = readJwtAttribute(
        [{ provider: "idp", claims }],
        ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", "idp", ...path],
      );
      return value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value;
    };
    assert.equal(read("sub"), Buffer.from("jö").toString("latin1"));
    assert.equal(read("level"), "\0\0\0\0\0\0\x08@");
    assert.equal(read("admin"), "\x01");
    assert.equal(read("groups", "1"), "bc");
    assert.equal(read("groups"), "\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0a\0\0bc\0\0");
    assert.equal(read("realm", "roles", "0"), "r");
    for (const path of [["groups", "2"], ["groups", "length"], ["groups", "01"], ["sub", "0"], ["nothing"], ["toString"], ["x"]])
      assert.equal(read(...path), undefined, path.join("."));
  });
});
