import assert from "node:assert/strict";
import net from "node:net";
import tls from "node:tls";
import type { ListenerConfig, UpstreamTlsConfig } from "../../src/config/snapshot.ts";
import { DEFAULT_DOWNSTREAM_TIMES } from "../../src/core/limits.ts";
import { type TestAuthority, type TestCertificate, testAuthority } from "../kit/certs.ts";
import { withProxy } from "../kit/end-to-end.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { connectRaw, startRawUpstream } from "../kit/raw.ts";
import { endpointsOf, serviceOf, snapshotOf } from "../kit/snapshot.ts";
import {
  codesOf,
  echo,
  onlyStream,
  seenStreams,
  startEcho,
  tcpListener,
  tcpParts,
  tcpRoute,
  withStreams,
} from "../kit/streams.ts";
import { beforeAll, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

// What stands before and behind a stream of bytes: TLS, names, PROXY headers, peers that mean no good.

let authority: TestAuthority;
const certificates = new Map<string, TestCertificate>();

beforeAll(async () => {
  authority = await testAuthority("tcp-suite");
  for (const name of ["a.test", "b.test", "default.test"]) certificates.set(name, await authority.issue({ dns: [name] }));
});

function listenerTls(part: Partial<ListenerConfig["tls"]> = {}): ListenerConfig["tls"] {
  const serving = [...certificates].map(([name, { certificatePem, keyPem }]) => ({ hosts: [name], certificatePem, keyPem }));
  const [first, ...others] = serving.reverse();
  return {
    certificates: [{ ...(first as NonNullable<typeof first>), hosts: ["*"] }, ...others],
    ...{ clientAuth: "none", clientCaPem: undefined, minVersion: "TLSv1.2", ...part },
  };
}

const tlsListener = (part: Partial<ListenerConfig> = {}): ListenerConfig =>
  tcpListener({ protocol: "tls", tls: listenerTls(), ...part });

interface Said {
  readonly text: string;
  readonly alpn: string | false | null;
}

/** A handshake, a text and an end; all that comes back. Rejects when the connection breaks. */
function sayOverTls(
  proxy: TestProxy,
  text: string,
  options: tls.ConnectionOptions & { readonly endsAfter?: number } = {},
  preface = "",
): Promise<Said> {
  return new Promise((resolve, reject) => {
    const raw = net.connect(proxy.port(), "127.0.0.1");
    raw.on("error", reject);
    if (preface !== "") raw.write(preface);
    const socket = tls.connect({ socket: raw, rejectUnauthorized: false, ...options }, () => {
      if (options.endsAfter === undefined) socket.end(text);
      else socket.write(text);
    });
    let heard = "";
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
      if (heard.length === options.endsAfter) socket.end();
    });
    socket.on("end", () => resolve({ text: heard, alpn: socket.alpnProtocol }));
    socket.on("close", () => reject(new Error("closed")));
    socket.on("error", reject);
  });
}

/** What came back before it ended or broke: not every runtime shows which. */
const heardOf = (saying: Promise<Said>): Promise<string> =>
  saying.then(
    ({ text }) => text,
    () => "",
  );

/** An endpoint that speaks TLS and says back what it hears. */
async function startTlsEcho({ certificatePem, keyPem }: TestCertificate): Promise<{ port: number; stop(): Promise<void> }> {
  const raws = new Set<net.Socket>();
  const server = tls.createServer({ cert: certificatePem, key: keyPem, allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk) => void socket.write(chunk));
    socket.on("end", () => socket.end());
  });
  server.on("tlsClientError", () => {});
  server.on("connection", (raw: net.Socket) => void raws.add(raw));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    async stop() {
      for (const raw of raws) raw.destroy();
      server.close();
    },
  };
}

describe("TCP streams over TLS", () => {
  test("ended here; the name of SNI chooses the route, the most specific host first", async () => {
    const upstreams = await Promise.all(
      // Not at once: Deno loses what a server writes in the moment in which its peer ends.
      ["a", "b", "rest"].map((name) => startRawUpstream((socket) => void socket.once("data", () => socket.end(name)))),
    );
    const route = (service: string, hosts: readonly string[]) =>
      tcpRoute({ backends: [{ service: `default/${service}`, subset: undefined, weight: 1 }] }, service, hosts);
    const names = ["a", "b", "rest"];
    const parts = {
      listeners: [tlsListener({ hosts: ["*.test", "only.example"] })],
      routes: [route("a", ["a.test"]), route("b", ["*.b.test", "b.test"]), route("rest", ["*"])],
      services: names.map((name) => serviceOf(name)),
      endpoints: names.map((name, i) => endpointsOf(name, [upstreams[i]?.port ?? 0])),
    };
    await withProxy(parts, async (proxy) => {
      for (const [servername, expected] of [
        ["a.test", "a"],
        ["A.Test", "a"],
        ["x.y.b.test", "b"],
        ["b.test", "b"],
        ["c.test", "rest"],
        ["only.example", "rest"],
      ] as const)
        assert.equal((await sayOverTls(proxy, "?", { servername })).text, expected, servername);
      // The listener does not serve these.
      for (const options of [{ servername: "other.example" }, {}])
        assert.equal(await heardOf(sayOverTls(proxy, "?", options)), "", JSON.stringify(options));
      assert.deepEqual((await codesOf(proxy, 8)).slice(6), ["no_route", "no_route"]);
    });
    for (const upstream of upstreams) await upstream.stop();
  });

  test("both sides encrypted, bytes and ends pass; nobody is told of HTTP", async () => {
    const endpoint = await startTlsEcho(certificates.get("a.test") as TestCertificate);
    const services = [serviceOf("up", { tls: upstreamTls("a.test") })];
    await withProxy({ ...tcpParts([endpoint.port]), listeners: [tlsListener()], services }, async (proxy) => {
      // TLS on Deno loses an end that comes while bytes in front of it are held back.
      const text = "secret ".repeat(20_000);
      const said = await sayOverTls(proxy, text, {
        servername: "a.test",
        ALPNProtocols: ["postgresql", "http/1.1"],
        endsAfter: text.length,
      });
      assert.deepEqual(said, { text, alpn: false });
      assert.equal((await onlyStream(proxy)).code, "");
      // Whose name is another is not spoken to.
      const wrong = {
        ...tcpParts([endpoint.port]),
        listeners: [tlsListener()],
        services: [serviceOf("up", { tls: upstreamTls("b.test") })],
      };
      await proxy.apply(snapshotOf(wrong));
      assert.equal(await heardOf(sayOverTls(proxy, "hi", { servername: "a.test" })), "");
      const [, refused] = await seenStreams(proxy, 2);
      assert.deepEqual([refused?.code, refused?.attempts, refused?.receivedBytes !== undefined], ["upstream_tls", 1, true]);
    });
    await endpoint.stop();
  });

  test("client certificates: asked for, and a stream that has none does not outlive the day they are", async () => {
    const client = await authority.issue({ uri: ["spiffe://m/ns/a/sa/b"], usage: "client" });
    const demanding = listenerTls({ clientAuth: "required", clientCaPem: authority.certificatePem });
    await withStreams(
      echo,
      async (proxy, upstream) => {
        const open = tls.connect({ port: proxy.port(), host: "127.0.0.1", rejectUnauthorized: false, servername: "a.test" });
        open.on("error", () => {});
        open.write("hi");
        await new Promise((resolve) => open.once("data", resolve));
        const closed = new Promise((resolve) => open.once("close", resolve));
        await proxy.apply(snapshotOf({ ...tcpParts([upstream.port]), listeners: [tlsListener({ tls: demanding })] }));
        await closed;
        assert.equal((await onlyStream(proxy)).code, "forbidden");
        assert.equal(await heardOf(sayOverTls(proxy, "hi", { servername: "a.test" })), "");
        const { certificatePem: cert, keyPem: key } = client;
        assert.equal((await sayOverTls(proxy, "hi", { servername: "a.test", cert, key })).text, "hi");
      },
      { listeners: [tlsListener()] },
    );
  });
});

function upstreamTls(serverName: string): UpstreamTlsConfig {
  return {
    ...{ serverName, caPem: authority.certificatePem, verify: true, certificatePem: undefined, keyPem: undefined },
    minVersion: "TLSv1.2",
  };
}

describe("TCP streams with PROXY headers", () => {
  const trusting = (part: Partial<ListenerConfig> = {}): ListenerConfig =>
    tcpListener({ proxyProtocol: { trusted: ["127.0.0.0/8"], required: true }, ...part });

  test("the header is taken off, and its address is what the endpoint is told", async () => {
    for (const version of ["v1", "v2"] as const) {
      const upstream = await startEcho();
      const services = [serviceOf("up", { proxyProtocol: version })];
      await withProxy({ ...tcpParts([upstream.port]), listeners: [trusting()], services }, async (proxy) => {
        const connection = await connectRaw(proxy.port());
        connection.send("PROXY TCP4 192.0.2.7 192.0.2.8 4711 5432\r\nhello");
        connection.end();
        await connection.closed();
        const got = upstream.received[0] ?? "";
        assert.ok(got.endsWith("hello"), got);
        if (version === "v1") assert.match(got, /^PROXY TCP4 192\.0\.2\.7 127\.0\.0\.1 4711 \d+\r\nhello$/);
        else assert.equal(Buffer.from(got, "latin1").subarray(16, 20).join("."), "192.0.2.7");
        const before = await connectRaw(proxy.port());
        before.send("no header at all");
        await before.closed();
        assert.deepEqual(proxy.observer.connectionFailures, ["bad_proxy_header"]);
        connection.destroy();
      });
      await upstream.stop();
    }
  });

  test("in front of TLS, with the server speaking first", async () => {
    const greet = (socket: net.Socket): void => {
      socket.write("220 ");
      echo(socket);
    };
    await withStreams(
      greet,
      async (proxy) => {
        const said = await sayOverTls(proxy, "hi", { servername: "a.test" }, "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
        assert.equal(said.text, "220 hi");
      },
      { listeners: [trusting({ protocol: "tls", tls: listenerTls() })] },
    );
  });

  test("a header that never ends, or another protocol altogether, is not waited for", async () => {
    const times = { ...DEFAULT_DOWNSTREAM_TIMES, handshakeMs: 300 };
    await withStreams(
      echo,
      async (proxy, upstream) => {
        const slow = await connectRaw(proxy.port());
        slow.send("PROXY TCP4 ");
        await slow.closed();
        assert.deepEqual(proxy.observer.connectionFailures, ["request_timeout"]);
        assert.equal(upstream.connections, 0);
      },
      { listeners: [trusting({ times })] },
    );
  });
});

describe("TCP streams: peers that mean no good", () => {
  test("hundreds at once that reset, half-close, flood or fall silent in the middle: nothing is left", async () => {
    const moody = (socket: net.Socket): void => {
      let heard = 0;
      socket.on("data", (chunk) => {
        heard += chunk.length;
        if (heard % 5 === 0) socket.resetAndDestroy();
        else if (heard % 3 === 0) socket.end("enough");
        else if (heard % 2 === 0) socket.destroy();
        else socket.write(chunk);
      });
      socket.on("end", () => socket.end());
    };
    await withStreams(moody, async (proxy) => {
      const dial = async (i: number): Promise<void> => {
        const connection = await connectRaw(proxy.port());
        connection.send("x".repeat(1 + ((i * 7_919) % 60_000)));
        if (i % 4 === 0) connection.reset();
        else if (i % 4 === 1) connection.end();
        else if (i % 4 === 2) connection.pause();
        else connection.destroy();
        if (i % 4 === 1) await connection.closed();
        connection.reset();
      };
      await Promise.all(Array.from({ length: 200 }, (_, i) => dial(i)));
      await seenStreams(proxy, 200);
      await until(() => proxy.observer.connections === 0 && proxy.observer.upstreamConnections === 0);
    });
  });

  test("TLS that breaks off in the middle of a record, or is none", async () => {
    await withStreams(
      echo,
      async (proxy, upstream) => {
        const garbage = await connectRaw(proxy.port());
        garbage.send("\x16\x03\x01\xff\xff not a hello");
        garbage.end();
        await garbage.closed();
        garbage.destroy();
        const plain = await connectRaw(proxy.port());
        plain.send("SELECT 1;\r\n\r\n");
        await plain.closed();
        await until(() => proxy.observer.connectionFailures.length === 2);
        assert.equal(upstream.connections, 0);
        const raw = net.connect(proxy.port(), "127.0.0.1");
        raw.on("error", () => {});
        const socket = tls.connect({ socket: raw, rejectUnauthorized: false, servername: "a.test" });
        socket.on("error", () => {});
        socket.write("hello");
        await new Promise((resolve) => socket.once("data", resolve));
        raw.resetAndDestroy();
        await codesOf(proxy);
        await until(() => upstream.open === 0);
      },
      { listeners: [tlsListener()] },
    );
  });
});
