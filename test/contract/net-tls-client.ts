import assert from "node:assert/strict";
import { type Accepting, bytesOf, type Case, dial, End, plainListen, serverTls, withListener } from "./net-kit.ts";
import { certificate, clientTls, dialTls, echo, expectEcho, otherCa, settings, shop, wild } from "./net-tls-kit.ts";

/** Why a client must not go on, by the certificate that it is shown. */
const clientCases: readonly Case[] = [
  {
    name: "TLS client: a wrong or injected name, an unknown CA, an expired, a future and a client's certificate are refused; verify: false takes them",
    run: async (subject) => {
      const expired = await certificate(["shop.test"], { validity: "expired" });
      const future = await certificate(["shop.test"], { validity: "future" });
      const unknown = await certificate(["shop.test"], {}, otherCa);
      const wrongName = await certificate(["elsewhere.test"]);
      const wrongUsage = await certificate(["shop.test"], { usage: "client" });
      // One name that pretends to be two (CVE-2021-44532).
      const injected = await certificate(["*"], { dns: ["x.test"], uri: ["http://x.test/, DNS:shop.test"] });
      const all = { expired, future, unknown, wrongName, wrongUsage, injected };
      for (const [what, shownCertificate] of Object.entries(all)) {
        const tls = serverTls({ certificates: [{ ...shownCertificate, hosts: ["*"] }] });
        await withListener(subject.net, { tls, ...echo }, async (accepting) => {
          const near = await dialTls(subject, accepting, clientTls());
          assert.deepEqual(near.heard, ["close"], what);
          assert.match(near.error?.message ?? "", /^connect to 127\.0\.0\.1:\d+: .*certificate|handshake/, what);
          const careless = await dialTls(subject, accepting, clientTls({ verify: false }));
          assert.deepEqual(careless.heard, ["open"], what);
          await expectEcho(careless, "whatever");
          careless.open().destroy();
        });
      }
    },
  },
  {
    name: "TLS client: verifyName replaces the name; empty, only the chain counts; an address is checked as an address",
    run: async (subject) => {
      const byAddress = await certificate(["*"], { ip: ["127.0.0.1"], dns: ["named.test"] });
      await withListener(subject.net, { tls: serverTls({ certificates: [byAddress] }), ...echo }, async (accepting) => {
        const good = [
          clientTls({ serverName: "127.0.0.1" }),
          clientTls({ serverName: "shop.test", verifyName: "named.test" }),
          clientTls({ serverName: "shop.test", verifyName: "" }),
          clientTls({ serverName: "" }),
        ];
        for (const tls of good) {
          const near = await dialTls(subject, accepting, tls);
          assert.deepEqual(near.heard, ["open"], `${tls.serverName} ${tls.verifyName}: ${near.error?.message}`);
          assert.equal(near.open().tls?.peer?.verified, true);
          near.open().destroy();
        }
        const bad = [
          clientTls({ serverName: "127.0.0.2" }),
          clientTls({ serverName: "named.test", verifyName: "shop.test" }),
          clientTls({ serverName: "", caPem: otherCa.certificatePem }),
          clientTls({ serverName: "shop.test", verifyName: "", caPem: otherCa.certificatePem }),
        ];
        for (const tls of bad) {
          const near = await dialTls(subject, accepting, tls);
          assert.deepEqual(near.heard, ["close"], `${tls.serverName} ${tls.verifyName}`);
        }
      });
    },
  },
  {
    name: "TLS client: what is written before the handshake is encrypted; a preface is not",
    run: async (subject) => {
      const wire: Uint8Array[] = [];
      await withListener(
        subject.net,
        { prepare: (end) => (end.onBytes = (_, bytes) => void wire.push(new Uint8Array(bytes))) },
        async (accepting) => {
          const near = dial(subject.net, accepting.address, { tls: clientTls(), preface: bytesOf("PROXY header\r\n") });
          near.open().write(bytesOf("secret"));
          const far = await accepting.at(0);
          await far.until(() => far.bytes > 100);
          assert.ok(far.text().startsWith("PROXY header\r\n\x16\x03\x01"));
          assert.ok(!Buffer.concat(wire).includes("secret"));
          assert.deepEqual(near.heard, []);
          far.open().destroy();
          await near.untilHeard("close");
          assert.ok(near.error instanceof Error);
        },
      );
    },
  },
];

const deferredCases: readonly Case[] = [
  {
    name: "deferTls: bytes first, then TLS with what was already read of the handshake",
    run: (subject) => {
      const upgraded: End[] = [];
      const secured =
        (accepting: Accepting, head: string): Accepting["prepare"] =>
        (end) => {
          end.onBytes = (socket) => {
            const read = end.all();
            if (read.byteLength <= head.length) return;
            const next = new End();
            next.onBytes = (encrypted, bytes) => void encrypted.write(bytes);
            upgraded.push(next);
            next.socket = accepting.listener?.startTls(socket, read.subarray(head.length), next);
          };
        };
      const head = "PROXY TCP4 192.0.2.1\r\n";
      return withListener(subject.net, { tls: settings({ alpn: ["h2"] }), deferTls: true }, async (accepting) => {
        Object.assign(accepting, { prepare: secured(accepting, head) });
        for (const preface of [head, head]) {
          const near = dial(subject.net, accepting.address, { tls: clientTls({ alpn: ["h2"] }), preface: bytesOf(preface) });
          await near.until(() => near.heard.length > 0);
          assert.equal(near.error, undefined);
          await expectEcho(near, "through TLS");
          const far = upgraded.at(-1) as End;
          assert.deepEqual(far.heard, ["open", "data"]);
          assert.equal(far.open().tls?.serverName, "shop.test");
          assert.equal(far.open().tls?.alpn, "h2");
          assert.equal(far.open().remoteAddress, "127.0.0.1");
          near.open().end();
          await far.untilHeard("end");
          far.open().end();
          await far.untilHeard("close");
          await near.untilHeard("close");
          assert.deepEqual([far.error, near.error], [undefined, undefined]);
        }
      });
    },
  },
  {
    name: "deferTls: a failed handshake ends in onClose with an error; plain traffic stays possible",
    run: (subject) =>
      withListener(subject.net, { tls: settings(), deferTls: true }, async (accepting) => {
        const near = dial(subject.net, accepting.address);
        const far = await accepting.at(0);
        near.open().write(bytesOf("plain"));
        await far.untilText("plain");
        far.open().write(bytesOf("plain too"));
        await near.untilText("plain too");
        const upgraded = new End();
        upgraded.socket = accepting.listener?.startTls(far.open(), bytesOf("this is no TLS at all"), upgraded);
        await upgraded.untilHeard("close");
        assert.deepEqual(upgraded.heard, ["close"]);
        assert.ok(upgraded.error instanceof Error);
        assert.deepEqual(far.heard, ["data"], "the plain socket hears nothing more");
        near.open().destroy();
      }),
  },
];

const settingsCases: readonly Case[] = [
  {
    name: "TLS: certificates that cannot be used are refused by name, and the old ones stay",
    run: (subject) =>
      withListener(subject.net, { tls: settings(), ...echo }, async (accepting) => {
        const broken = { ...shop, keyPem: wild.keyPem };
        assert.throws(
          () => accepting.listener?.updateTls(settings({ certificates: [broken] })),
          /certificate for shop\.test cannot/,
        );
        assert.throws(() => accepting.listener?.updateTls(settings({ certificates: [] })), /needs a certificate/);
        await assert.rejects(
          subject.net.listen(plainListen({ tls: settings({ clientAuth: "required" }) }), () => new End()),
          /no CA is given/,
        );
        const near = await dialTls(subject, accepting, clientTls());
        await expectEcho(near, "as before");
        near.open().destroy();
      }),
  },
];

/** What connecting with TLS does, and TLS that begins late. */
export const TLS_CLIENT_CASES: readonly Case[] = [...clientCases, ...deferredCases, ...settingsCases];
