/** OCI registries that lie, where credentials go, and who may be asked at all. Over real sockets. */
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import type { RegistryError } from "../../src/config/oci/failure.ts";
import { RegistryPolicy } from "../../src/config/oci/policy.ts";
import type { PulledModule } from "../../src/config/oci/pull.ts";
import { OCI_LIMITS } from "../../src/core/limits.ts";
import { testAuthority } from "../kit/certs.ts";
import { LAYER, PASSWORD, pullFrom, refuses, useRegistries, WASM } from "../kit/pulls.ts";
import { digestOf, type Misbehave, manifestOf, startRegistry } from "../kit/registry.ts";
import { describe, test } from "../kit/suite.ts";

const on = useRegistries();

describe("registries that lie", () => {
  const blob = `/v2/acme/geo/blobs/${digestOf(WASM)}`;
  const manifest = "/v2/acme/geo/manifests/1";
  const good = (): void => void on.tagged("acme/geo:1", on.layerOf(WASM));
  const say =
    (bytes: Uint8Array, headers: Record<string, string | number> = {}, status = 200): Misbehave =>
    (_, response) => {
      response.writeHead(status, headers).end(bytes);
    };

  test("an altered layer, a shorter one, a longer one", async () => {
    good();
    const altered = Uint8Array.from(WASM);
    altered[WASM.byteLength - 1] = 0xff;
    on.registry.instead.set(blob, say(altered));
    await refuses(on.pull("acme/geo:1"), /^artifact_altered: the layer sha256:.* has the digest/);
    on.registry.instead.set(blob, say(WASM.slice(0, -1)));
    await refuses(on.pull("acme/geo:1"), /^artifact_altered: the layer .* has \d+ bytes, not the/);
    on.registry.instead.set(blob, say(Buffer.concat([WASM, WASM])));
    await refuses(on.pull("acme/geo:1"), /^artifact_too_large/);
  });

  test("an altered manifest under its digest, and one that is not what its own header says", async () => {
    const digest = on.tagged("acme/geo:1", on.layerOf(WASM));
    on.registry.instead.set(`/v2/acme/geo/manifests/${digest}`, say(Buffer.from(JSON.stringify(manifestOf()))));
    await refuses(on.pull(`acme/geo@${digest}`), /^artifact_altered: the manifest/);
    on.registry.instead.set(manifest, say(Buffer.from(JSON.stringify(manifestOf())), { "docker-content-digest": digest }));
    await refuses(on.pull("acme/geo:1"), /^artifact_altered: the manifest 1 has the digest/);
  });

  test("a body without an end, one that is cut, a length that is not true", async () => {
    good();
    const pour = (response: ServerResponse): void => {
      if (!response.destroyed && response.write(Buffer.alloc(64 * 1024))) setImmediate(pour, response);
      else response.once("drain", () => pour(response));
    };
    on.registry.instead.set(manifest, (_, response) => pour(response.writeHead(200)));
    await refuses(on.pull("acme/geo:1"), /^artifact_too_large/);
    on.registry.instead.clear();
    on.registry.instead.set(blob, (_, response) => {
      response.writeHead(200, { "content-length": WASM.byteLength });
      response.write(WASM.slice(0, 5), () => response.destroy());
    });
    await refuses(on.pull("acme/geo:1"), /^(registry_unreachable|artifact_altered)/);
    on.registry.instead.set(blob, (_, response) => {
      response.socket?.end("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nabc");
    });
    await refuses(on.pull("acme/geo:1"), /^artifact_too_large/);
    on.registry.instead.set(blob, (_, response) => {
      response.socket?.end("220 smtp ready\r\n");
    });
    await refuses(on.pull("acme/geo:1"), /^registry_unreachable/);
  });

  test("what is not there, and errors of its own", async () => {
    await refuses(on.pull("acme/geo:1"), /^artifact_not_found: .* has no acme\/geo 1$/);
    good();
    on.registry.instead.set(blob, say(Buffer.alloc(0), {}, 404));
    await refuses(on.pull("acme/geo:1"), /^artifact_not_found/);
    on.registry.instead.set(manifest, say(Buffer.alloc(OCI_LIMITS.errorBytes + 1, "x"), {}, 500));
    await refuses(on.pull("acme/geo:1"), /^registry_unreachable: .* answers 500$/);
    on.registry.instead.set(manifest, say(Buffer.alloc(0), {}, 429));
    await refuses(on.pull("acme/geo:1"), /answers 429: it is asked too often/);
  });

  test("redirects: as many as allowed, one more, in a circle; to where none may go", async () => {
    good();
    const chain = (length: number): void => {
      for (let i = 0; i < length; i++)
        on.registry.instead.set(
          i === 0 ? manifest : `/r/${i}`,
          say(Buffer.alloc(0), { location: i === length - 1 ? "/end" : `/r/${i + 1}` }, 307),
        );
      on.registry.instead.set("/end", say(on.registry.manifests.get("acme/geo:1")?.bytes ?? new Uint8Array(0)));
    };
    chain(OCI_LIMITS.redirects);
    assert.equal((await on.pull("acme/geo:1")).digest, digestOf(WASM));
    chain(OCI_LIMITS.redirects + 1);
    await refuses(on.pull("acme/geo:1"), /^registry_not_allowed: .* redirects more than 5 times/);
    on.registry.instead.set(manifest, say(Buffer.alloc(0), { location: manifest }, 302));
    await refuses(on.pull("acme/geo:1"), /redirects more than 5 times/);
    const target = async (location: string, pattern: RegExp): Promise<void> => {
      on.registry.instead.set(manifest, say(Buffer.alloc(0), { location }, 302));
      await refuses(on.pull("acme/geo:1"), pattern);
    };
    await target("http://192.0.2.1/x", /^registry_not_allowed: http:\/\/192.0.2.1 is not https/);
    await target("https://10.0.0.1/x", /^registry_not_allowed: 10.0.0.1 is not in the public Internet/);
    await target("https://169.254.169.254/latest/meta-data/", /not in the public Internet/);
    await target("https://[::ffff:10.0.0.1]/x", /not in the public Internet/);
    await target("file:///etc/passwd", /is not https/);
    await target("http://joe:secret@127.0.0.1/", /named with credentials/);
    await target("http://[", /no URL/);
  });
});

describe("credentials", () => {
  const BASIC = `Basic ${Buffer.from(`joe:${PASSWORD}`).toString("base64")}`;
  const good = (): void => void on.tagged("acme/geo:1", on.layerOf(WASM));

  test("Basic: with them, without them, with others", async () => {
    good();
    on.registry.guard = { wanted: BASIC, challenge: 'Basic realm="registry"' };
    assert.equal((await on.pull("acme/geo:1", { user: true })).digest, digestOf(WASM));
    assert.deepEqual(
      on.registry.asked.map(({ authorization }) => authorization),
      [undefined, BASIC, BASIC],
    );
    await refuses(on.pull("acme/geo:1"), /^registry_unauthorized: .* wants credentials for acme\/geo$/);
    on.registry.guard = { ...on.registry.guard, wanted: "Basic x" };
    await refuses(on.pull("acme/geo:1", { user: true }), /^registry_unauthorized: .* wants other credentials/);
    on.registry.guard = { wanted: BASIC, challenge: "Negotiate" };
    await refuses(on.pull("acme/geo:1", { user: true }), /^registry_unauthorized/);
  });

  test("a token: asked with service, needed scope and credentials, or by nobody; used for all that follows", async () => {
    good();
    const realm = `http://${on.other.host}/token`;
    on.registry.guard = {
      wanted: "Bearer t.1",
      challenge: `Basic realm="x", Bearer realm="${realm}",service="reg \\"1\\"",scope="repository:secret:delete"`,
    };
    const query = `service=reg+%221%22&scope=${encodeURIComponent("repository:acme/geo:pull")}`;
    on.other.instead.set(`/token?${query}`, (_, response) => {
      response.end('{"token":"t.1"}');
    });
    assert.equal((await on.pull("acme/geo:1", { user: true })).digest, digestOf(WASM));
    assert.equal((await on.pull("acme/geo:1")).digest, digestOf(WASM));
    assert.deepEqual(
      on.other.asked.map(({ authorization }) => authorization),
      [BASIC, undefined],
    );
    assert.deepEqual(
      on.registry.asked.slice(0, 3).map(({ authorization }) => authorization),
      [undefined, "Bearer t.1", "Bearer t.1"],
    );
  });

  test("a token service that refuses, redirects, has no token, or too long a one, or is somewhere else", async () => {
    good();
    const challenge = (realm: string): void => {
      on.registry.guard = { wanted: "Bearer x", challenge: `Bearer realm="${realm}"` };
    };
    const path = `/token?scope=${encodeURIComponent("repository:acme/geo:pull")}`;
    const answers = async (answer: Misbehave, pattern: RegExp): Promise<void> => {
      on.other.instead.set(path, answer);
      await refuses(on.pull("acme/geo:1", { user: true }), pattern);
    };
    challenge(`http://${on.other.host}/token`);
    await answers(
      (_, response) => void response.writeHead(401).end(),
      /^registry_unauthorized: .* wants other credentials for acme\/geo at /,
    );
    await answers(
      (_, response) => void response.writeHead(302, { location: `http://${on.registry.host}/x` }).end(),
      /^registry_unauthorized/,
    );
    await answers((_, response) => void response.end("{}"), /^registry_unauthorized: .* gives no token/);
    await answers((_, response) => void response.end('{"token":"a\\r\\nx-evil: 1"}'), /gives no token/);
    await answers((_, response) => void response.writeHead(503).end(), /^registry_unreachable: .* answers 503/);
    const tokenOf = (bytes: number): string => `{"token":"x"}`.padEnd(bytes);
    await answers((_, response) => void response.end(tokenOf(OCI_LIMITS.tokenBytes + 1)), /^artifact_too_large/);
    on.other.instead.set(path, (_, response) => void response.end(tokenOf(OCI_LIMITS.tokenBytes)));
    assert.equal((await on.pull("acme/geo:1", { user: true })).digest, digestOf(WASM));
    on.other.asked.length = 0;
    for (const realm of [
      "http://192.0.2.1/token",
      "https://10.0.0.1/token",
      "ftp://127.0.0.1/",
      `http://u:p@${on.other.host}/token`,
    ]) {
      challenge(realm);
      await refuses(on.pull("acme/geo:1", { user: true }), /^registry_not_allowed/);
    }
    challenge("http://[");
    await refuses(on.pull("acme/geo:1", { user: true }), /^registry_not_allowed/);
    assert.equal(on.other.asked.length, 0);
  });

  test("where a redirect leads gets no credentials, and its challenge is not answered", async () => {
    good();
    on.registry.guard = { wanted: BASIC, challenge: "Basic" };
    const path = `/v2/acme/geo/blobs/${digestOf(WASM)}`;
    on.registry.instead.set(
      path,
      (_, response) => void response.writeHead(307, { location: `http://${on.other.host}/storage?sig=1` }).end(),
    );
    on.other.instead.set("/storage?sig=1", (_, response) => void response.end(WASM));
    assert.equal((await on.pull("acme/geo:1", { user: true })).digest, digestOf(WASM));
    assert.deepEqual(on.other.asked, [{ method: "GET", path: "/storage?sig=1", authorization: undefined }]);
    // Back to the registry itself they may go.
    on.other.instead.set(
      "/storage?sig=1",
      (_, response) => void response.writeHead(302, { location: `http://${on.registry.host}/back` }).end(),
    );
    on.registry.instead.set("/back", (_, response) => void response.end(WASM));
    assert.equal((await on.pull("acme/geo:1", { user: true })).digest, digestOf(WASM));
    assert.equal(on.registry.asked.at(-1)?.authorization, BASIC);
    on.other.asked.length = 0;
    on.other.guard = { wanted: BASIC, challenge: "Basic" };
    on.other.instead.clear();
    await refuses(on.pull("acme/geo:1", { user: true }), /^registry_unauthorized/);
    assert.deepEqual(
      on.other.asked.map(({ authorization }) => authorization),
      [undefined],
    );
  });
});

describe("TLS and who may be asked", () => {
  test("a certificate of an unknown authority, of a known one, for another name; no TLS at all", async () => {
    const authority = await testAuthority("Registry CA");
    const certificate = await authority.issue({ ip: ["127.0.0.1"] });
    const stranger = await authority.issue({ dns: ["other.test"] });
    for (const [cert, fits] of [[certificate, true] as const, [stranger, false] as const]) {
      const secure = await startRegistry(cert);
      try {
        secure.tag("a:1", manifestOf({ mediaType: LAYER, ...secure.addBlob(WASM) }));
        const given = { named: [`https://${secure.host}`] };
        const ask = (ca?: string): Promise<PulledModule> =>
          pullFrom(secure.host, "a:1", ca === undefined ? given : { ...given, ca });
        await refuses(ask(), /^registry_unreachable: the certificate of 127.0.0.1:\d+ is not trusted/);
        if (fits) assert.equal((await ask(authority.certificatePem)).digest, digestOf(WASM));
        else await refuses(ask(authority.certificatePem), /^registry_unreachable: the certificate/);
      } finally {
        await secure.stop();
      }
    }
    await refuses(on.pull("a:1", { named: [`https://${on.registry.host}`] }), /^registry_unreachable/);
  });

  test("names: only those that were given; plain HTTP where it was said or on this machine", () => {
    const code = (work: () => unknown): string => {
      try {
        return String(work());
      } catch (error) {
        return (error as RegistryError).code;
      }
    };
    const free = new RegistryPolicy([]);
    assert.equal(free.baseOf("docker.io").href, "https://registry-1.docker.io/");
    assert.equal(free.baseOf("ghcr.io").href, "https://ghcr.io/");
    assert.equal(free.baseOf("localhost:5000").href, "http://localhost:5000/");
    assert.equal(free.baseOf("[::1]:5000").href, "http://[::1]:5000/");
    const named = new RegistryPolicy(["ghcr.io", "http://10.0.0.5:5000", "https://localhost:5000/"]);
    assert.equal(named.baseOf("10.0.0.5:5000").href, "http://10.0.0.5:5000/");
    assert.equal(named.baseOf("localhost:5000").href, "https://localhost:5000/");
    assert.equal(
      code(() => named.baseOf("quay.io")),
      "registry_not_allowed",
    );
    const addresses = (policy: RegistryPolicy, base: string, url: string, ...found: string[]): string =>
      code(() => {
        const from = policy.baseOf(base);
        policy.check(new URL(url), from);
        return policy.checkAddresses(new URL(url), from, found);
      });
    assert.equal(addresses(free, "reg.test", "https://reg.test/", "192.0.2.7", "10.0.0.1"), "registry_not_allowed");
    assert.equal(addresses(free, "reg.test", "https://reg.test/", "93.184.216.34"), "undefined");
    assert.equal(addresses(free, "localhost:1", "http://localhost:2/", "127.0.0.1", "::1"), "undefined");
    // A name that only says that it is this machine.
    assert.equal(addresses(free, "localhost:1", "http://x.localhost:2/", "10.0.0.1"), "registry_not_allowed");
    assert.equal(addresses(named, "10.0.0.5:5000", "http://10.0.0.5:5000/", "10.0.0.5"), "undefined");
    assert.equal(addresses(named, "ghcr.io", "https://10.0.0.5:5000/", "10.0.0.5"), "undefined");
    assert.equal(
      addresses(new RegistryPolicy(["http://10.0.0.5:80"]), "10.0.0.5:80", "http://10.0.0.5/v2/", "10.0.0.5"),
      "undefined",
    );
    assert.equal(addresses(named, "ghcr.io", "https://10.0.0.6/", "10.0.0.6"), "registry_not_allowed");
    assert.equal(addresses(named, "ghcr.io", "http://localhost:5000/", "127.0.0.1"), "registry_not_allowed");
    for (const text of ["ftp://a.b", "a b", "", "a/b"]) assert.throws(() => new RegistryPolicy([text]), /is no registry/);
  });
});
