import assert from "node:assert/strict";
import net from "node:net";
import tls from "node:tls";
import type { ListenerConfig, ListenerTlsConfig, Snapshot, UpstreamTlsConfig } from "../../src/config/snapshot.ts";
import { DEFAULT_UPSTREAM_LIMITS } from "../../src/core/limits.ts";
import { type TestAuthority, type TestCertificate, testAuthority } from "../kit/certs.ts";
import { DnsTestServer } from "../kit/dns-server.ts";
import { GET, judge, withProxy } from "../kit/end-to-end.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { connectRaw, sayRaw } from "../kit/raw.ts";
import { endpointsOf, forwardTo, listenerOf, routeOf, ruleOf, serviceOf, snapshotOf } from "../kit/snapshot.ts";
import { beforeAll, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

let authority: TestAuthority;
let other: TestAuthority;
const certificates = new Map<string, TestCertificate>();

beforeAll(async () => {
  [authority, other] = await Promise.all([testAuthority("tls-suite"), testAuthority("tls-other")]);
  for (const name of ["a.test", "*.w.test", "default.test"]) certificates.set(name, await authority.issue({ dns: [name] }));
});

const certificate = (name: string): TestCertificate => {
  const found = certificates.get(name);
  if (found === undefined) throw new Error(name);
  return found;
};

const serving = (hosts: readonly string[], { certificatePem, keyPem }: TestCertificate) => ({ hosts, certificatePem, keyPem });

function tlsOf(part: Partial<ListenerTlsConfig> = {}): ListenerTlsConfig {
  return {
    certificates: [
      serving(["*"], certificate("default.test")),
      serving(["a.test"], certificate("a.test")),
      serving(["*.w.test"], certificate("*.w.test")),
    ],
    clientAuth: "none",
    clientCaPem: undefined,
    minVersion: "TLSv1.2",
    ...part,
  };
}

const secure = (part: Partial<ListenerTlsConfig> = {}, more: Partial<ListenerConfig> = {}): Partial<Snapshot> => ({
  listeners: [listenerOf({ protocol: "https", tls: tlsOf(part), ...more })],
  routes: [routeOf("r", [ruleOf({ action: { kind: "respond", status: 200, headers: [], body: "here" } })])],
});

interface Session {
  readonly socket: tls.TLSSocket;
  readonly fingerprint: string;
  say(text: string): Promise<string>;
}

function open(proxy: TestProxy, options: tls.ConnectionOptions): Promise<Session> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: "127.0.0.1", port: proxy.port(), rejectUnauthorized: false, ...options }, () => {
      resolve({
        socket,
        fingerprint: socket.getPeerCertificate().fingerprint256.replaceAll(":", "").toLowerCase(),
        say: (text) =>
          new Promise((answered, failed) => {
            let heard = "";
            const onData = (chunk: Buffer): void => {
              heard += chunk.toString("latin1");
              const end = heard.indexOf("\r\n\r\n");
              if (end < 0 || heard.length < end + 4 + Number(/content-length: (\d+)/.exec(heard)?.[1] ?? 0)) return;
              socket.off("data", onData);
              answered(heard);
            };
            socket.on("data", onData);
            socket.once("close", () => failed(new Error(`closed; heard ${heard}`)));
            socket.write(text);
          }),
      });
    });
    socket.once("error", reject);
  });
}

const ask = (host: string): string => `GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`;

async function fingerprintOf({ der }: TestCertificate): Promise<string> {
  const { createHash } = await import("node:crypto");
  return createHash("sha256").update(der).digest("hex");
}

describe("TLS downstream", () => {
  test("certificates by SNI: exact, wildcard of one label, default", async () => {
    await withProxy(secure(), async (proxy) => {
      for (const [servername, expected] of [
        ["a.test", "a.test"],
        ["A.TEST", "a.test"],
        ["x.w.test", "*.w.test"],
        ["x.y.w.test", "default.test"],
        ["b.test", "default.test"],
        ["", "default.test"],
      ] as const) {
        const session = await open(proxy, servername === "" ? {} : { servername });
        assert.equal(session.fingerprint, await fingerprintOf(certificate(expected)), servername);
        assert.equal(judge(await session.say(ask("a.test"))), "200");
        session.socket.destroy();
      }
    });
  });

  test("rotation by a reload: new handshakes see the new certificate, old connections go on", async () => {
    await withProxy(secure(), async (proxy) => {
      const before = await open(proxy, { servername: "a.test" });
      const renewed = await authority.issue({ dns: ["a.test"], commonName: "renewed" });
      await proxy.apply(
        snapshotOf(secure({ certificates: [serving(["*"], certificate("default.test")), serving(["a.test"], renewed)] })),
      );
      const after = await open(proxy, { servername: "a.test" });
      assert.equal(after.fingerprint, await fingerprintOf(renewed));
      for (const session of [before, after]) {
        assert.equal(judge(await session.say(ask("a.test"))), "200");
        session.socket.destroy();
      }
    });
  });

  test("TLS 1.1 is refused, and 1.2 where 1.3 is the least", async () => {
    const refused = (proxy: TestProxy, maxVersion: tls.SecureVersion) =>
      assert.rejects(open(proxy, { servername: "a.test", minVersion: "TLSv1", maxVersion, ciphers: "ALL:@SECLEVEL=0" }));
    await withProxy(secure(), async (proxy) => {
      await refused(proxy, "TLSv1.1");
      const session = await open(proxy, { servername: "a.test", maxVersion: "TLSv1.2" });
      assert.equal(session.socket.getProtocol(), "TLSv1.2");
      session.socket.destroy();
    });
    await withProxy(secure({ minVersion: "TLSv1.3" }), async (proxy) => {
      await refused(proxy, "TLSv1.2");
    });
  });

  test("client certificates: required, optional, of a stranger; SNI and Host must agree (421)", async () => {
    const known = await authority.issue({ commonName: "caller", usage: "client" });
    const stranger = await other.issue({ commonName: "stranger", usage: "client" });
    const options = (each: TestCertificate | undefined): tls.ConnectionOptions =>
      each === undefined ? { servername: "a.test" } : { servername: "a.test", cert: each.certificatePem, key: each.keyPem };
    /** What TLS 1.3 refuses shows at the first read only. */
    const tryIt = async (proxy: TestProxy, each: TestCertificate | undefined, host = "a.test"): Promise<string> => {
      try {
        const session = await open(proxy, options(each));
        session.socket.on("error", () => {});
        const heard = await session.say(ask(host));
        session.socket.destroy();
        return judge(heard);
      } catch {
        return "refused";
      }
    };
    const clientCaPem = authority.certificatePem;
    await withProxy(secure({ clientAuth: "required", clientCaPem }), async (proxy) => {
      assert.deepEqual(
        [await tryIt(proxy, known), await tryIt(proxy, undefined), await tryIt(proxy, stranger)],
        ["200", "refused", "refused"],
      );
      assert.equal(await tryIt(proxy, known, "other.test"), "421 misdirected");
      assert.equal(await tryIt(proxy, known, "A.Test:443"), "200");
      const unnamed = await open(proxy, { cert: known.certificatePem, key: known.keyPem });
      assert.equal(judge(await unnamed.say(ask("a.test"))), "421 misdirected");
      unnamed.socket.destroy();
    });
    await withProxy(secure({ clientAuth: "optional", clientCaPem }), async (proxy) => {
      assert.deepEqual(
        [await tryIt(proxy, known), await tryIt(proxy, undefined), await tryIt(proxy, stranger)],
        ["200", "200", "refused"],
      );
    });
  });

  test("a reload that asks for client certificates: who came without one before is not served any more", async () => {
    await withProxy(secure(), async (proxy) => {
      const [idle, busy] = [await open(proxy, { servername: "a.test" }), await open(proxy, { servername: "a.test" })];
      assert.equal(judge(await idle.say(ask("a.test"))), "200");
      const closed = ({ socket }: Session): Promise<string> =>
        new Promise((resolve) => {
          socket.once("end", () => resolve(""));
          socket.once("close", () => resolve(""));
          socket.on("error", () => {});
          socket.resume();
        });
      const [gone, cut] = [closed(idle), closed(busy)];
      // The first half of a request is there: the connection is not idle, but what comes is not served.
      busy.socket.write(ask("a.test").slice(0, 20));
      await until(() => proxy.observer.connections === 2);
      await proxy.apply(snapshotOf(secure({ clientAuth: "required", clientCaPem: authority.certificatePem })));
      await gone;
      const heard = await Promise.race([busy.say(ask("a.test").slice(20)).catch(() => ""), cut]);
      assert.match(judge(heard), /^(421 misdirected|nothing)$/);
      busy.socket.destroy();
    });
  });

  test("a handshake that never comes is broken off; plain HTTP on a TLS port is not served", async () => {
    const { routes = [] } = secure();
    const listener = (name: string, handshakeMs: number): ListenerConfig =>
      listenerOf({ name, protocol: "https", tls: tlsOf(), times: { ...listenerOf().times, handshakeMs } });
    await withProxy({ routes, listeners: [listener("hasty", 500), listener("patient", 600_000)] }, async (proxy) => {
      const patient = await connectRaw(proxy.port("patient"));
      const hasty = await connectRaw(proxy.port("hasty"));
      await hasty.closed();
      assert.equal(patient.isClosed, false);
      for (const each of [patient, hasty]) each.destroy();
      assert.match(await sayRaw(proxy.port("hasty"), GET), /^HTTP\/1\.1 400 /);
    });
  });
});

// ---------------------------------------------------------------- upstream

interface Seen {
  readonly servername: string;
  readonly client: string;
}

async function startTlsUpstream(own: TestCertificate, more: tls.TlsOptions = {}) {
  const seen: Seen[] = [];
  const sockets = new Set<tls.TLSSocket>();
  const server = tls.createServer({ cert: own.certificatePem, key: own.keyPem, ...more }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    const { servername } = socket as unknown as { servername?: string | false };
    seen.push({ servername: servername || "", client: socket.getPeerCertificate()?.subject?.CN?.toString() ?? "" });
    socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nup"));
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    seen,
    port: (server.address() as net.AddressInfo).port,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const upstreamTls = (part: Partial<UpstreamTlsConfig> = {}): UpstreamTlsConfig => ({
  serverName: "up.test",
  caPem: authority.certificatePem,
  verify: true,
  certificatePem: undefined,
  keyPem: undefined,
  minVersion: "TLSv1.2",
  ...part,
});

describe("TLS upstream", () => {
  /** What a GET through a service with that TLS is answered. */
  async function through(
    own: TestCertificate,
    settings: UpstreamTlsConfig,
    options: { server?: tls.TlsOptions; service?: Parameters<typeof serviceOf>[1] } = {},
  ): Promise<{ answer: string; seen: readonly Seen[] }> {
    const upstream = await startTlsUpstream(own, options.server);
    let answer = "";
    try {
      const parts = {
        routes: [routeOf("r", [forwardTo("up")])],
        services: [serviceOf("up", { tls: settings, ...options.service })],
        endpoints: [endpointsOf("up", [upstream.port])],
      };
      await withProxy(parts, async (proxy) => {
        answer = judge(await sayRaw(proxy.port(), GET));
        if (answer === "502 upstream_tls") assert.equal((await proxy.seen())[0]?.flag, "UF");
      });
    } finally {
      await upstream.stop();
    }
    return { answer, seen: upstream.seen };
  }

  test("verified by name and authority, SNI sent; else 502 upstream_tls", async () => {
    const good = await authority.issue({ dns: ["up.test"] });
    assert.deepEqual(await through(good, upstreamTls()), { answer: "200", seen: [{ servername: "up.test", client: "" }] });
    assert.equal((await through(good, upstreamTls({ serverName: "else.test" }))).answer, "502 upstream_tls");
    assert.equal((await through(good, upstreamTls({ caPem: other.certificatePem }))).answer, "502 upstream_tls");
    assert.equal((await through(good, upstreamTls({ caPem: undefined }))).answer, "502 upstream_tls");
    const expired = await authority.issue({ dns: ["up.test"], validity: "expired" });
    assert.equal((await through(expired, upstreamTls())).answer, "502 upstream_tls");
    const client = await authority.issue({ dns: ["up.test"], usage: "client" });
    assert.equal((await through(client, upstreamTls())).answer, "502 upstream_tls");
    assert.equal((await through(expired, upstreamTls({ verify: false, serverName: "else.test" }))).answer, "200");
  });

  test("an address as name: checked as such, no SNI", async () => {
    const byAddress = await authority.issue({ ip: ["127.0.0.1"], commonName: "address" });
    assert.deepEqual(await through(byAddress, upstreamTls({ serverName: "" })), {
      answer: "200",
      seen: [{ servername: "", client: "" }],
    });
    const byName = await authority.issue({ dns: ["up.test"] });
    assert.equal((await through(byName, upstreamTls({ serverName: "" }))).answer, "502 upstream_tls");
  });

  test("own certificate where the upstream wants one", async () => {
    const good = await authority.issue({ dns: ["up.test"] });
    const own = await authority.issue({ commonName: "gateway", usage: "client" });
    const server = { requestCert: true, rejectUnauthorized: true, ca: authority.certificatePem };
    const mutual = upstreamTls({ certificatePem: own.certificatePem, keyPem: own.keyPem });
    assert.deepEqual(await through(good, mutual, { server }), {
      answer: "200",
      seen: [{ servername: "up.test", client: "gateway" }],
    });
    // With TLS 1.3 the refusal comes behind the handshake.
    assert.match((await through(good, upstreamTls(), { server })).answer, /^502 upstream_(tls|reset)$/);
  });

  test("an endpoint that speaks no TLS: 502 upstream_tls", async () => {
    const plain = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    const parts = {
      routes: [routeOf("r", [forwardTo("up")])],
      services: [serviceOf("up", { tls: upstreamTls() })],
      endpoints: [endpointsOf("up", [(plain.address() as net.AddressInfo).port])],
    };
    await withProxy(parts, async (proxy) => {
      assert.equal(judge(await sayRaw(proxy.port(), GET)), "502 upstream_tls");
    });
    await new Promise((resolve) => plain.close(resolve));
  });

  test("an endpoint that never answers the handshake: 504, and no connection counts as made", async () => {
    const silent = net.createServer((socket) => void socket.on("error", () => {}));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const limits = { ...DEFAULT_UPSTREAM_LIMITS, connectMs: 200 };
    const parts = {
      routes: [routeOf("r", [forwardTo("up")])],
      services: [serviceOf("up", { tls: upstreamTls(), limits })],
      endpoints: [endpointsOf("up", [(silent.address() as net.AddressInfo).port])],
    };
    await withProxy(parts, async (proxy) => {
      assert.equal(judge(await sayRaw(proxy.port(), GET)), "504 connect_timeout");
      await until(() => proxy.observer.upstreamConnects > 0);
    });
    silent.close();
  });

  test("endpoints by DNS: the certificate is for the name, and the name is SNI", async () => {
    const names = await DnsTestServer.start();
    names.zone.set("up.test", [{ type: "A", address: "127.0.0.1" }]);
    const good = await authority.issue({ dns: ["up.test"] });
    const upstream = await startTlsUpstream(good);
    const dns = { host: "up.test", port: upstream.port, type: "A", minTtlMs: 1_000, maxTtlMs: 60_000 } as const;
    const parts = {
      routes: [routeOf("r", [forwardTo("up")])],
      services: [serviceOf("up", { tls: upstreamTls({ serverName: "" }), dns: { ...dns, servers: [names.address] } })],
    };
    try {
      await withProxy(parts, async (proxy) => {
        await until(() => proxy.proxy.core.generation?.services.get("default/up")?.endpoints.length === 1);
        assert.equal(judge(await sayRaw(proxy.port(), GET)), "200");
        assert.deepEqual(upstream.seen, [{ servername: "up.test", client: "" }]);
      });
    } finally {
      await upstream.stop();
      await names.stop();
    }
  });
});
