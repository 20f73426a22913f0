import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { ClientTls, ServerCertificate, ServerTls, Socket } from "../../src/runtime/net.ts";
import { type IssueOptions, testAuthority } from "../kit/certs.ts";
import {
  type Accepting,
  bytesOf,
  type Case,
  dial,
  End,
  pattern,
  plainListen,
  sameBytes,
  serverTls,
  turns,
  withListener,
} from "./net-kit.ts";

const ca = await testAuthority();
const otherCa = await testAuthority("Other CA");

async function certificate(hosts: readonly string[], options: IssueOptions = {}, authority = ca): Promise<ServerCertificate> {
  const made = await authority.issue({ dns: hosts.filter((host) => host !== "*"), ...options });
  return { hosts, certificatePem: made.certificatePem, keyPem: made.keyPem };
}

const shop = await certificate(["shop.test"]);
const wild = await certificate(["*.wild.test"]);
const fallback = await certificate(["*"], { dns: ["default.test"] });
const renewed = await certificate(["shop.test"], { commonName: "renewed", dns: ["shop.test"] });
const workload = await ca.issue({ uri: ["spiffe://mesh.test/ns/shop/sa/cart"], dns: ["cart.test"], commonName: "cart" });
const stranger = await otherCa.issue({ uri: ["spiffe://mesh.test/ns/shop/sa/cart"] });

const clientTls = (over: Partial<ClientTls> = {}): ClientTls => ({
  serverName: "shop.test",
  caPem: ca.certificatePem,
  verify: true,
  certificatePem: undefined,
  keyPem: undefined,
  alpn: [],
  minVersion: "TLSv1.2",
  ...over,
});

const asWorkload = clientTls({ certificatePem: workload.certificatePem, keyPem: workload.keyPem });
const asStranger = clientTls({ certificatePem: stranger.certificatePem, keyPem: stranger.keyPem });
const asNobody = clientTls();

/** Connects and waits until it is open or closed. */
async function dialTls(subject: { net: Parameters<typeof dial>[0] }, accepting: Accepting, tls: ClientTls): Promise<End> {
  const near = dial(subject.net, accepting.address, { tls });
  await near.until(() => near.heard.length > 0);
  return near;
}

/** The DNS names of the certificate that the peer showed. */
const shown = (end: End): readonly string[] => end.open().tls?.peer?.dnsNames ?? [];

const echo = { prepare: (end: End) => (end.onBytes = (socket: Socket, bytes: Uint8Array) => void socket.write(bytes)) };

async function expectEcho(end: End, text: string): Promise<void> {
  const before = end.text();
  end.open().write(bytesOf(text));
  await end.untilText(before + text);
}

/** Sends after the handshake and waits for what a server that refused us does: with TLS 1.3 it can only say so then. */
async function expectRefused(end: End): Promise<void> {
  if (end.heard.includes("open")) end.open().write(bytesOf("let me in"));
  await end.until(() => end.heard.includes("end") || end.heard.includes("close"));
  assert.equal(end.text(), "", "a refused connection got an answer");
  end.open().destroy();
}

const settings = (over: Partial<ServerTls> = {}): ServerTls => serverTls({ certificates: [shop, wild, fallback], ...over });

const serverCases: readonly Case[] = [
  {
    name: "TLS: SNI selects the certificate: exact, wildcard of one label, default",
    run: (subject) =>
      withListener(subject.net, { tls: settings(), ...echo }, async (accepting) => {
        const expected: readonly (readonly [string, string])[] = [
          ["shop.test", "shop.test"],
          ["a.wild.test", "*.wild.test"],
          ["a.b.wild.test", "default.test"],
          ["wild.test", "default.test"],
          ["unknown.test", "default.test"],
          ["", "default.test"],
        ];
        for (const [serverName, name] of expected) {
          const near = await dialTls(subject, accepting, clientTls({ serverName, verifyName: name.replace("*", "a") }));
          assert.equal(near.error, undefined);
          assert.deepEqual([...shown(near)], [name], `for "${serverName}"`);
          await expectEcho(near, "hello");
          const far = accepting.ends.at(-1) as End;
          assert.equal(far.open().tls?.serverName, serverName === "" ? undefined : serverName);
          assert.match(far.open().tls?.version ?? "", /^TLSv1\.[23]$/);
          assert.match(far.open().tls?.cipher ?? "", /AES|CHACHA20/);
          assert.deepEqual(far.heard, ["data"]);
          near.open().destroy();
        }
      }),
  },
  {
    name: "TLS: after a rotation new handshakes see the new certificates, old connections live on",
    run: (subject) =>
      withListener(subject.net, { tls: settings(), ...echo }, async (accepting) => {
        const old = await dialTls(subject, accepting, clientTls());
        const subjectOf = (end: End): string => new X509Certificate(end.open().tls?.peer?.der ?? new Uint8Array()).subject;
        assert.equal(subjectOf(old), "CN=shop.test");
        const newDefault = await certificate(["*"], { dns: ["new-default.test"] });
        accepting.listener?.updateTls(serverTls({ certificates: [renewed, newDefault] }));
        const fresh = await dialTls(subject, accepting, clientTls());
        assert.equal(subjectOf(fresh), "CN=renewed");
        const nameless = await dialTls(subject, accepting, clientTls({ serverName: "", verifyName: "new-default.test" }));
        assert.equal(nameless.error, undefined);
        const gone = await dialTls(subject, accepting, clientTls({ serverName: "a.wild.test", verifyName: "new-default.test" }));
        assert.equal(gone.error, undefined);
        for (const end of [old, fresh, nameless, gone]) await expectEcho(end, "alive");
        for (const end of [old, fresh, nameless, gone]) end.open().destroy();
      }),
  },
  {
    name: "TLS: many handshakes while certificates rotate: none is lost",
    run: (subject) =>
      withListener(subject.net, { tls: settings(), ...echo }, async (accepting) => {
        const ends: End[] = [];
        for (let i = 0; i < 60; i++) {
          ends.push(dial(subject.net, accepting.address, { tls: clientTls() }));
          if (i % 3 === 0) accepting.listener?.updateTls(settings({ certificates: [i % 2 === 0 ? renewed : shop, fallback] }));
          if (i % 7 === 0) await turns(3);
        }
        for (const end of ends) await end.untilHeard("open");
        for (const end of ends) await expectEcho(end, "x");
        for (const end of ends) end.open().destroy();
      }),
  },
  {
    name: "TLS: a rotation changes everything: client certificates, their CA, versions, ALPN",
    run: (subject) =>
      withListener(subject.net, { tls: settings(), ...echo }, async (accepting) => {
        const first = await dialTls(subject, accepting, asNobody);
        await expectEcho(first, "open to all");
        const required = { clientAuth: "required", clientCaPem: ca.certificatePem } as const;
        accepting.listener?.updateTls(settings({ ...required, minVersion: "TLSv1.3", alpn: ["h2"] }));
        await expectRefused(await dialTls(subject, accepting, asNobody));
        const known = await dialTls(subject, accepting, { ...asWorkload, alpn: ["h2"] });
        await expectEcho(known, "known");
        assert.equal(known.open().tls?.alpn, "h2");
        assert.equal(accepting.ends.at(-1)?.open().tls?.version, "TLSv1.3");
        accepting.listener?.updateTls(settings({ ...required, clientCaPem: otherCa.certificatePem }));
        await expectRefused(await dialTls(subject, accepting, asWorkload));
        const other = await dialTls(subject, accepting, asStranger);
        await expectEcho(other, "other");
        accepting.listener?.updateTls(settings());
        const last = await dialTls(subject, accepting, asNobody);
        await expectEcho(last, "open again");
        await expectEcho(known, "still alive");
        for (const end of [first, known, other, last]) end.open().destroy();
      }),
  },
  {
    name: "TLS: client certificates required: none and one of another CA are refused, ours is read",
    run: (subject) =>
      withListener(
        subject.net,
        { tls: settings({ clientAuth: "required", clientCaPem: ca.certificatePem }), ...echo },
        async (accepting) => {
          await expectRefused(await dialTls(subject, accepting, asNobody));
          await expectRefused(await dialTls(subject, accepting, asStranger));
          assert.equal(accepting.ends.length, 0, "accept was called for a refused connection");
          const near = await dialTls(subject, accepting, asWorkload);
          await expectEcho(near, "hello");
          const peer = accepting.ends[0]?.open().tls?.peer;
          assert.deepEqual([...(peer?.uris ?? [])], ["spiffe://mesh.test/ns/shop/sa/cart"]);
          assert.deepEqual([...(peer?.dnsNames ?? [])], ["cart.test"]);
          assert.equal(peer?.verified, true);
          assert.equal(peer?.subject, "CN=cart");
          const reference = new X509Certificate(workload.certificatePem);
          assert.ok(sameBytes(peer?.der ?? new Uint8Array(), workload.der));
          assert.equal(peer?.fingerprint, reference.fingerprint256.replaceAll(":", "").toLowerCase());
          near.open().destroy();
        },
      ),
  },
  {
    name: "TLS: client certificates optional: none is let in, one of another CA is refused",
    run: (subject) =>
      withListener(
        subject.net,
        { tls: settings({ clientAuth: "optional", clientCaPem: ca.certificatePem }), ...echo },
        async (accepting) => {
          const nobody = await dialTls(subject, accepting, asNobody);
          await expectEcho(nobody, "hello");
          assert.equal(accepting.ends[0]?.open().tls?.peer, undefined);
          const known = await dialTls(subject, accepting, asWorkload);
          await expectEcho(known, "hello");
          assert.equal(accepting.ends[1]?.open().tls?.peer?.verified, true);
          await expectRefused(await dialTls(subject, accepting, asStranger));
          assert.equal(accepting.ends.length, 2);
          nobody.open().destroy();
          known.open().destroy();
        },
      ),
  },
  {
    name: "TLS: client certificates that are expired or not yet valid are refused",
    run: (subject) =>
      withListener(
        subject.net,
        { tls: settings({ clientAuth: "required", clientCaPem: ca.certificatePem }), ...echo },
        async (accepting) => {
          for (const validity of ["expired", "future"] as const) {
            const made = await ca.issue({ uri: ["spiffe://mesh.test/x"], validity });
            await expectRefused(
              await dialTls(subject, accepting, clientTls({ certificatePem: made.certificatePem, keyPem: made.keyPem })),
            );
          }
          assert.equal(accepting.ends.length, 0);
        },
      ),
  },
  {
    name: "TLS: a certificate shown in one session is checked again in the next: no resumption past a CA change",
    run: (subject) =>
      withListener(
        subject.net,
        { tls: settings({ clientAuth: "required", clientCaPem: ca.certificatePem }), ...echo },
        async (accepting) => {
          const { connect } = await import("node:tls");
          const options = {
            host: "127.0.0.1",
            port: accepting.port,
            servername: "shop.test",
            ca: ca.certificatePem,
            cert: workload.certificatePem,
            key: workload.keyPem,
          };
          const sessions: Buffer[] = [];
          await new Promise<void>((resolve, reject) => {
            const first = connect(options, () => first.write("hi"));
            first.on("session", (session) => void sessions.push(session));
            first.on("data", () => first.destroy());
            first.on("error", reject);
            first.on("close", () => resolve());
          });
          accepting.listener?.updateTls(settings({ clientAuth: "required", clientCaPem: otherCa.certificatePem }));
          const answers: string[] = [];
          for (const session of [undefined, ...sessions]) {
            await new Promise<void>((resolve) => {
              const next = connect({ ...options, ...(session === undefined ? {} : { session }) }, () => next.write("hi"));
              next.on("data", (data) => void answers.push(String(data)));
              next.on("data", () => next.destroy());
              next.on("error", () => {});
              next.on("close", () => resolve());
            });
          }
          assert.deepEqual(answers, []);
        },
      ),
  },
  {
    name: "TLS: a version below the minimum is refused",
    run: (subject) =>
      withListener(subject.net, { tls: settings({ minVersion: "TLSv1.3" }), ...echo }, async (accepting) => {
        const { connect } = await import("node:tls");
        const heard = await new Promise<string>((resolve) => {
          const near = connect(
            {
              host: "127.0.0.1",
              port: accepting.port,
              maxVersion: "TLSv1.2",
              rejectUnauthorized: false,
              servername: "shop.test",
            },
            () => resolve("connected"),
          );
          near.on("error", () => resolve("refused"));
          near.on("close", () => resolve("refused"));
        });
        assert.equal(heard, "refused");
        assert.equal(accepting.ends.length, 0);
        const modern = await dialTls(subject, accepting, clientTls());
        await expectEcho(modern, "1.3");
        modern.open().destroy();
      }),
  },
  {
    name: "TLS: ALPN: our order decides; nothing in common fails; who offers nothing is served",
    run: (subject) =>
      withListener(subject.net, { tls: settings({ alpn: ["h2", "http/1.1"] }), ...echo }, async (accepting) => {
        const expected: readonly (readonly [readonly string[], string | undefined])[] = [
          [["http/1.1", "h2"], "h2"],
          [["http/1.1"], "http/1.1"],
          [[], undefined],
        ];
        for (const [alpn, chosen] of expected) {
          const near = await dialTls(subject, accepting, clientTls({ alpn }));
          await expectEcho(near, "hello");
          assert.equal(near.open().tls?.alpn, chosen);
          assert.equal(accepting.ends.at(-1)?.open().tls?.alpn, chosen);
          near.open().destroy();
        }
        await expectRefused(await dialTls(subject, accepting, clientTls({ alpn: ["spdy/3"] })));
      }),
  },
  {
    name: "TLS: bytes that are no TLS are closed, without accept",
    run: (subject) =>
      withListener(subject.net, { tls: settings(), ...echo }, async (accepting) => {
        const near = dial(subject.net, accepting.address);
        near.open().write(bytesOf("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
        await near.until(() => near.heard.includes("end") || near.heard.includes("close"));
        assert.equal(accepting.ends.length, 0);
        near.open().destroy();
      }),
  },
  {
    name: "TLS: a handshake that does not come to its end is broken off",
    run: (subject) =>
      withListener(subject.net, { tls: settings(), handshakeMs: 200 }, async (accepting) => {
        const near = dial(subject.net, accepting.address);
        await near.untilHeard("open");
        near.open().write(new Uint8Array([0x16, 0x03, 0x01]));
        await near.until(() => near.heard.includes("end") || near.heard.includes("close"));
        assert.equal(accepting.ends.length, 0);
        near.open().destroy();
      }),
  },
  {
    name: "TLS: a large transfer through a slow reader",
    run: (subject) =>
      withListener(subject.net, { tls: settings() }, async (accepting) => {
        const near = await dialTls(subject, accepting, clientTls());
        const far = await accepting.at(0);
        const whole = pattern(6 * 1024 * 1024, 3);
        far.open().pause();
        near.open().write(whole);
        near.open().end();
        await turns();
        assert.equal(far.bytes, 0);
        far.open().resume();
        await far.untilHeard("end");
        assert.ok(sameBytes(far.all(), whole));
        far.open().write(whole);
        far.open().end();
        await far.untilHeard("close");
        await near.untilHeard("close");
        assert.ok(sameBytes(near.all(), whole));
        assert.deepEqual([near.error, far.error], [undefined, undefined]);
      }),
  },
  {
    name: "TLS: who pauses can still write",
    run: (subject) =>
      withListener(subject.net, { tls: settings() }, async (accepting) => {
        const near = await dialTls(subject, accepting, clientTls());
        const far = await accepting.at(0);
        const whole = pattern(6 * 1024 * 1024, 3);
        far.open().pause();
        near.open().write(whole);
        near.open().end();
        far.open().write(whole);
        far.open().end();
        await near.untilHeard("end");
        assert.ok(sameBytes(near.all(), whole));
        far.open().resume();
        await far.untilHeard("close");
        assert.ok(sameBytes(far.all(), whole));
      }),
  },
  {
    name: "TLS: half-close: the other side goes on sending after close_notify",
    run: (subject) =>
      withListener(subject.net, { tls: settings() }, async (accepting) => {
        const near = await dialTls(subject, accepting, clientTls());
        const far = await accepting.at(0);
        near.open().write(bytesOf("question"));
        near.open().end();
        await far.untilHeard("end");
        await turns();
        far.open().write(bytesOf("answer"));
        await near.untilText("answer");
        far.open().end();
        await near.untilHeard("close");
        await far.untilHeard("close");
        assert.deepEqual(near.heard, ["open", "data", "end", "close"]);
        assert.deepEqual([near.error, far.error], [undefined, undefined]);
      }),
  },
];

/** Why a client must not go on, by the certificate that it is shown. */
const clientCases: readonly Case[] = [
  {
    name: "TLS client: a wrong name, an unknown CA, an expired and a future certificate are refused; verify: false takes them",
    run: async (subject) => {
      const expired = await certificate(["shop.test"], { validity: "expired" });
      const future = await certificate(["shop.test"], { validity: "future" });
      const unknown = await certificate(["shop.test"], {}, otherCa);
      const wrongName = await certificate(["elsewhere.test"]);
      for (const [what, shownCertificate] of Object.entries({ expired, future, unknown, wrongName })) {
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

/** What sockets with TLS do. */
export const TLS_CASES: readonly Case[] = [...serverCases, ...clientCases, ...deferredCases, ...settingsCases];
