import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import type { ListenerConfig } from "../../src/config/snapshot.ts";
import { DEFAULT_DOWNSTREAM_TIMES, DEFAULT_UPSTREAM_LIMITS } from "../../src/core/limits.ts";
import { readProxyHeader, writeProxyHeader } from "../../src/proxy/listeners/proxy-header.ts";
import { testAuthority } from "../kit/certs.ts";
import { CLOSE, GET, judge, partsFor, wholeBody, withProxy, withUpstream } from "../kit/end-to-end.ts";
import { connectRaw, okText, type RawUpstream, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { forwardTo, listenerOf, routeOf, serviceOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const field = (head: string, name: string): string => new RegExp(`\r\n${name}: ([^\r]*)`).exec(head)?.[1] ?? "";

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const V1 = "PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n";
const V2 = latin1(writeProxyHeader("v2", { address: "2001:db8::9", port: 4711 }, { address: "2001:db8::1", port: 443 }));

const accepting = (required: boolean, trusted = ["127.0.0.0/8"], more: Partial<ListenerConfig> = {}) => ({
  listeners: [listenerOf({ proxyProtocol: { trusted, required }, ...more })],
});

/** Answers with the address that it was told the caller has. */
const tellAddress = (): Promise<RawUpstream> => startUpstream(({ head }) => okText(field(head, "x-forwarded-for")));

describe("PROXY protocol from downstream", () => {
  test("versions 1 and 2, whole, byte by byte, and for nobody (LOCAL, UNKNOWN)", async () => {
    await withUpstream(
      await tellAddress(),
      async (proxy) => {
        assert.equal(wholeBody(await sayRaw(proxy.port(), V1 + GET)), "203.0.113.9");
        assert.equal(wholeBody(await sayRaw(proxy.port(), V2 + GET)), "2001:db8::9");
        const local = latin1(writeProxyHeader("v2", undefined, undefined));
        for (const header of ["PROXY UNKNOWN\r\n", local]) {
          assert.equal(wholeBody(await sayRaw(proxy.port(), header + GET)), "127.0.0.1");
        }
        // A path may be any bytes; only addresses stand in headers.
        for (const path of ["/run/a.sock", "1.1.1.1, 2.2.2.2", "a\r\nx-b: c"]) {
          const unix = latin1(writeProxyHeader("v2", { address: path, port: 0 }, { address: "/b", port: 0 }));
          assert.equal(wholeBody(await sayRaw(proxy.port(), unix + GET)), "unknown");
        }
        for (const header of [V1, V2]) {
          const connection = await connectRaw(proxy.port());
          for (const byte of header + GET) {
            connection.send(byte);
            await new Promise((resolve) => setImmediate(resolve));
          }
          assert.equal(judge(await connection.closed()), "200");
          connection.destroy();
        }
        assert.deepEqual((await proxy.seen(2)).map(({ clientAddress }) => clientAddress).slice(0, 2), [
          "203.0.113.9",
          "2001:db8::9",
        ]);
      },
      accepting(true),
    );
  });

  test("missing: refused where it is required, else the socket's own address; malformed: refused", async () => {
    await withUpstream(
      await tellAddress(),
      async (proxy) => {
        assert.equal(judge(await sayRaw(proxy.port(), GET)), "nothing");
        assert.equal(judge(await sayRaw(proxy.port(), V1.replace("4711", "99999") + GET)), "nothing");
        assert.equal(judge(await sayRaw(proxy.port(), V1.replace("TCP4", "TCP6") + GET)), "nothing");
        assert.equal(judge(await sayRaw(proxy.port(), `PROXY ${"x".repeat(200)}`)), "nothing");
        // A version 2 header that says it is longer than the cap.
        assert.equal(judge(await sayRaw(proxy.port(), `${V2.slice(0, 14)}\xff\xff${V2.slice(16)}`)), "nothing");
        assert.deepEqual(new Set(proxy.observer.connectionFailures), new Set(["bad_proxy_header"]));
        assert.equal(proxy.observer.connectionFailures.length, 5);
      },
      accepting(true),
    );
    await withUpstream(
      await tellAddress(),
      async (proxy) => {
        assert.equal(wholeBody(await sayRaw(proxy.port(), GET)), "127.0.0.1");
        assert.equal(wholeBody(await sayRaw(proxy.port(), V1 + GET)), "203.0.113.9");
        // Not a second one: that would be a request line.
        assert.equal(judge(await sayRaw(proxy.port(), V1 + V1 + GET)), "400 bad_request_line");
      },
      accepting(false),
    );
  });

  test("from an untrusted peer: refused, and its header believed by nobody on a listener without", async () => {
    const upstream = await tellAddress();
    await withUpstream(
      upstream,
      async (proxy) => {
        assert.equal(judge(await sayRaw(proxy.port(), V1 + GET)), "nothing");
        assert.deepEqual(proxy.observer.connectionFailures, ["bad_proxy_header"]);
      },
      accepting(false, ["10.0.0.0/8"]),
    );
    await withUpstream(await tellAddress(), async (proxy) => {
      assert.equal(judge(await sayRaw(proxy.port(), V1 + GET)), "400 bad_request_line");
    });
    assert.equal(upstream.received.join(""), "");
  });

  test("before TLS; a header that never comes is a time-out", async () => {
    const authority = await testAuthority("proxy-protocol");
    const own = await authority.issue({ dns: ["a.test"] });
    const certificates = [{ hosts: ["*"], certificatePem: own.certificatePem, keyPem: own.keyPem }];
    const secured: Partial<ListenerConfig> = {
      protocol: "https",
      tls: { certificates, clientAuth: "none", clientCaPem: undefined, minVersion: "TLSv1.2" },
      times: { ...DEFAULT_DOWNSTREAM_TIMES, handshakeMs: 2_000 },
    };
    await withUpstream(
      await tellAddress(),
      async (proxy) => {
        for (const [header, address] of [
          [V1, "203.0.113.9"],
          [V2, "2001:db8::9"],
        ] as const) {
          const raw = net.connect(proxy.port(), "127.0.0.1");
          await new Promise((resolve) => raw.once("connect", resolve));
          raw.write(Buffer.from(header, "latin1"));
          const socket = tls.connect({ socket: raw, servername: "a.test", ca: authority.certificatePem });
          let heard = "";
          socket.on("data", (chunk: Buffer) => {
            heard += chunk.toString("latin1");
          });
          socket.write(GET);
          await new Promise((resolve) => socket.once("end", resolve));
          socket.destroy();
          assert.equal(wholeBody(heard), address);
        }
        const silent = await Promise.all([sayRaw(proxy.port(), V1), sayRaw(proxy.port(), "")]);
        assert.deepEqual(silent.map(judge), ["nothing", "nothing"]);
        await until(() => proxy.observer.connectionFailures.length === 2);
      },
      accepting(true, ["127.0.0.1"], secured),
    );
  });
});

describe("PROXY protocol to upstreams", () => {
  for (const version of ["v1", "v2"] as const) {
    test(`${version}: each caller's address on a connection of its own, never used for another`, async () => {
      const headers: string[] = [];
      const upstream = await startRawUpstream((socket) => {
        let heard = Buffer.alloc(0);
        let isRead = false;
        socket.on("data", (chunk: Buffer) => {
          heard = Buffer.concat([heard, chunk]);
          if (!isRead) {
            const header = readProxyHeader(heard);
            if (typeof header === "string" || !("consumed" in header)) return;
            isRead = true;
            headers.push(`${header.source?.address}`);
            heard = heard.subarray(header.consumed);
          }
          if (heard.includes("\r\n\r\n")) {
            heard = Buffer.alloc(0);
            socket.write(okText("ok"));
          }
        });
      });
      const limits = { ...DEFAULT_UPSTREAM_LIMITS, connectionsPerEndpoint: 1 };
      const addresses = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"];
      await withUpstream(
        upstream,
        async (proxy) => {
          // With one connection at a time, they wait for each other: who waited must not get the former one's connection.
          const say = (address: string): Promise<string> =>
            sayRaw(proxy.port(), `${V1.replace("203.0.113.9", address)}${GET.replace(CLOSE, "")}${GET}`);
          for (const heard of await Promise.all(addresses.map(say))) assert.equal(heard.split("HTTP/1.1 200").length, 3);
          assert.deepEqual(
            [...headers].sort(),
            addresses.flatMap((each) => [each, each]),
          );
          assert.equal(upstream.connections, 8);
        },
        { ...accepting(true), services: [serviceOf("up", { proxyProtocol: version, limits })] },
      );
    });
  }
});

describe("Unix sockets and IPv6", () => {
  test("a Unix listener in front of a Unix upstream; the path is free afterwards", async () => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-unix-"));
    const [own, up] = [join(folder, "own.sock"), join(folder, "up.sock")];
    const server = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (chunk) => socket.write(okText(field(chunk.toString("latin1"), "x-forwarded-for"))));
    });
    await new Promise<void>((resolve) => server.listen(up, resolve));
    const parts = {
      listeners: [listenerOf({ address: { kind: "unix", path: own } })],
      routes: [routeOf("r", [forwardTo("up")])],
      services: [serviceOf("up")],
      endpoints: [{ service: "default/up", endpoints: [{ address: { kind: "unix", path: up }, labels: {}, weight: 1 }] }],
    } as const;
    await withProxy(parts, async () => {
      for (let i = 0; i < 2; i++) {
        const heard = await new Promise<string>((resolve) => {
          let text = "";
          const socket = net.connect(own, () => socket.write(GET));
          socket.on("data", (chunk) => {
            text += chunk.toString("latin1");
          });
          socket.once("close", () => resolve(text));
        });
        assert.equal(wholeBody(heard), "unknown");
      }
    });
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });

  test("IPv6 on both sides", async () => {
    const server = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (chunk) => socket.write(okText(field(chunk.toString("latin1"), "x-forwarded-for"))));
    });
    await new Promise<void>((resolve) => server.listen(0, "::1", resolve));
    const { port } = server.address() as net.AddressInfo;
    const parts = {
      listeners: [listenerOf({ address: { kind: "tcp", host: "::1", port: 0 } })],
      routes: [routeOf("r", [forwardTo("up")])],
      services: [serviceOf("up")],
      endpoints: [{ service: "default/up", endpoints: [{ address: { kind: "tcp", host: "::1", port }, labels: {}, weight: 1 }] }],
    } as const;
    await withProxy(parts, async (proxy) => {
      const connection = await connectRaw(proxy.port(), "::1");
      connection.send(GET);
      assert.equal(wholeBody(await connection.closed()), "::1");
      connection.destroy();
      assert.equal((await proxy.seen())[0]?.endpoint, `[::1]:${port}`);
    });
    await new Promise((resolve) => server.close(resolve));
  });
});

describe("what upstreams are told", () => {
  const told = async (text: string, forwarding: Partial<ListenerConfig["forwarding"]>, trustedProxies: string[] = []) => {
    const upstream = await startUpstream(() => okText("ok"));
    let heard = "";
    let seen = { clientAddress: "", requestId: "" };
    const mesh = { ...(await import("../kit/snapshot.ts")).snapshotOf().mesh, trustedProxies };
    await withUpstream(
      upstream,
      async (proxy) => {
        heard = await sayRaw(proxy.port(), text);
        seen = (await proxy.seen())[0] ?? seen;
      },
      { ...partsFor(upstream), mesh, listeners: [listenerOf({ forwarding: { ...listenerOf().forwarding, ...forwarding } })] },
    );
    return { head: upstream.received.join(""), heard, seen };
  };
  const SPOOFED = [
    "x-forwarded-for: 198.51.100.1",
    "x_forwarded_for: 198.51.100.1",
    "x-real-ip: 198.51.100.1",
    "forwarded: for=198.51.100.1",
    "x-envoy-external-address: 198.51.100.1",
    "x-envoy-original-path: /admin",
    "x-selvedge-identity: spiffe://x",
    "x-forwarded-client-cert: By=x",
    "x-original-url: /admin",
    "x-request-id: mine",
  ];

  test("of a stranger nothing is believed and nothing goes on; id, Via, Forwarded and trace are ours", async () => {
    const text = GET.replace("host: a", `host: a\r\n${SPOOFED.filter((each) => !each.includes("_")).join("\r\n")}`);
    const { head, heard, seen } = await told(text, { via: "edge", forwarded: true });
    assert.ok(!/198\.51|spiffe|admin|By=x|: mine/.test(head), head);
    assert.equal(field(head, "x-forwarded-for"), "127.0.0.1");
    assert.equal(field(head, "x-forwarded-proto"), "http");
    assert.equal(field(head, "x-forwarded-host"), "a");
    assert.equal(field(head, "forwarded"), "for=127.0.0.1;host=a;proto=http");
    assert.equal(field(head, "via"), "1.1 edge");
    assert.match(field(head, "traceparent"), /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
    assert.equal(seen.clientAddress, "127.0.0.1");
    assert.equal(field(head, "x-request-id"), seen.requestId);
    assert.equal(field(heard, "x-request-id"), seen.requestId);
    assert.equal(field(heard, "via"), "1.1 edge");
    // Another spelling of a header that is ours: refused by default.
    const refused = await told(GET.replace("host: a", "host: a\r\nx_forwarded_for: 198.51.100.1"), {});
    assert.equal(judge(refused.heard), "400 bad_header");
    assert.equal(refused.head, "");
  });

  test("a trusted proxy is believed as far as hops are trusted: the right-most stranger is the caller", async () => {
    const trace = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    const text = GET.replace(
      "host: a",
      `host: a\r\nx-forwarded-for: 198.51.100.1, 203.0.113.7, 127.0.0.2\r\nx-forwarded-proto: https\r\nx-request-id: theirs\r\ntraceparent: ${trace}\r\ntracestate: k=v`,
    );
    const { head, seen } = await told(text, { trustRequestId: true }, ["127.0.0.0/8"]);
    assert.equal(seen.clientAddress, "203.0.113.7");
    assert.equal(seen.requestId, "theirs");
    assert.equal(field(head, "x-forwarded-for"), "198.51.100.1, 203.0.113.7, 127.0.0.2, 127.0.0.1");
    assert.equal(field(head, "x-forwarded-proto"), "https");
    assert.ok(field(head, "traceparent").startsWith(`00-${"a".repeat(32)}-`));
    assert.equal(field(head, "tracestate"), "k=v");
    // One hop, whoever it is.
    const byCount = await told(text, { trustedHops: 1 });
    assert.equal(byCount.seen.clientAddress, "127.0.0.2");
  });
});
