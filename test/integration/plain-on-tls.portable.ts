import assert from "node:assert/strict";
import net from "node:net";
import tls from "node:tls";
import type { ListenerConfig, Snapshot } from "../../src/config/snapshot.ts";
import { type TestCertificate, testAuthority } from "../kit/certs.ts";
import { GET, judge, wholeBody, withProxy } from "../kit/end-to-end.ts";
import { connectRaw, sayRaw } from "../kit/raw.ts";
import { listenerOf, routeOf, ruleOf, snapshotOf } from "../kit/snapshot.ts";
import { beforeAll, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

let made: TestCertificate;
beforeAll(async () => {
  made = await (await testAuthority("plain-suite")).issue({ dns: ["a.test"] });
});

const proxyProtocol = { trusted: ["127.0.0.0/8"], required: true };
const PROXY_LINE = "PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n";

const secure = (more: Partial<ListenerConfig> = {}): Partial<Snapshot> => {
  const { certificatePem, keyPem } = made;
  const certificates = [{ hosts: ["*"], certificatePem, keyPem }];
  return {
    listeners: [
      listenerOf({
        protocol: "https",
        tls: { certificates, clientAuth: "none", clientCaPem: undefined, minVersion: "TLSv1.2" },
        ...more,
      }),
    ],
    routes: [routeOf("r", [ruleOf({ action: { kind: "respond", status: 200, headers: [], body: "here" } })])],
  };
};

/** TLS on a connection that has said `before`; what a request in it is answered. */
function sayOverTls(port: number, before: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const raw = net.connect(port, "127.0.0.1", () => {
      raw.write(before);
      // A turn later, so that the header comes alone.
      setImmediate(() => {
        const socket = tls.connect({ socket: raw, servername: "a.test", rejectUnauthorized: false }, () => socket.write(GET));
        let heard = "";
        socket.on("data", (chunk) => {
          heard += chunk.toString("latin1");
        });
        socket.once("error", reject);
        socket.once("close", () => resolve(heard));
      });
    });
    raw.once("error", reject);
  });
}

describe("HTTP in plain text on a port for TLS", () => {
  test("is told so: 400 in plain text, whole, with a date; in log and metrics", async () => {
    await withProxy(secure(), async (proxy) => {
      const { observer } = proxy;
      const heard = await sayRaw(proxy.port(), GET);
      assert.equal(judge(heard), "400 plain_http");
      assert.match(heard, /\r\ncontent-type: text\/plain/);
      assert.match(heard, /\r\nconnection: close\r\n/);
      assert.match(heard, /\r\ndate: [A-Z]/);
      assert.match(wholeBody(heard) ?? "", /^Client sent an HTTP request to an HTTPS server\.\n/);
      await until(() => observer.handshakes === 0);
      assert.deepEqual(observer.connectionFailures, ["plain_http"]);
      const [seen] = observer.exchanges;
      assert.equal(seen?.flag, "DPE");
      assert.equal(seen?.clientAddress, "127.0.0.1");
      assert.equal(observer.exchanges.length, 1);
      assert.equal(proxy.proxy.core.sockets.downstream, 0);
      assert.equal(judge(await sayOverTls(proxy.port(), "")), "200");
    });
  });

  test("a large upload does not lose the answer", async () => {
    await withProxy(secure(), async (proxy) => {
      const body = "x".repeat(4_000_000);
      const heard = await sayRaw(
        proxy.port(),
        `POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
      assert.equal(judge(heard), "400 plain_http");
      await until(() => proxy.observer.handshakes === 0);
    });
  });

  test("behind a PROXY header as well, under the address that it gives; TLS that comes later than the header is served", async () => {
    await withProxy(secure({ proxyProtocol }), async (proxy) => {
      const { observer } = proxy;
      assert.equal(judge(await sayRaw(proxy.port(), PROXY_LINE + GET)), "400 plain_http");
      const late = await connectRaw(proxy.port());
      late.send(PROXY_LINE);
      await until(() => observer.handshakes === 1);
      late.send(`POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\n`);
      assert.equal(judge(await late.closed()), "400 plain_http");
      late.send("more of it, which nobody reads");
      late.end();
      await until(() => observer.handshakes === 0);
      late.destroy();
      assert.deepEqual(observer.connectionFailures, ["plain_http", "plain_http"]);
      assert.deepEqual(
        observer.exchanges.map((each) => `${each.clientAddress} ${each.flag}`),
        ["192.0.2.7 DPE", "192.0.2.7 DPE"],
      );
      assert.equal(judge(await sayOverTls(proxy.port(), PROXY_LINE)), "200");
      await until(() => proxy.proxy.core.sockets.downstream === 0);
    });
  });

  test("a listener for streams says nothing: what it carries need not be HTTP", async () => {
    for (const more of [{}, { proxyProtocol }]) {
      const { listeners = [] } = secure({ protocol: "tls", ...more });
      await withProxy(snapshotOf({ listeners }), async (proxy) => {
        const connection = await connectRaw(proxy.port());
        connection.send((more.proxyProtocol === undefined ? "" : PROXY_LINE) + GET);
        assert.doesNotMatch(await connection.closed(), /HTTP/);
        connection.destroy();
        await until(() => proxy.observer.connectionFailures.length === 1);
        assert.deepEqual(proxy.observer.connectionFailures, ["plain_http"]);
        assert.deepEqual(proxy.observer.exchanges, []);
      });
    }
  });
});
