import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { PLAIN_HTTP_CODE } from "../../src/runtime/net.ts";
import type { IssueOptions } from "../kit/certs.ts";
import { until } from "../kit/until.ts";
import { bytesOf, type Case, dial, type End, pattern, sameBytes, serverTls, turns, withListener } from "./net-kit.ts";
import {
  asNobody,
  asStranger,
  asWorkload,
  ca,
  certificate,
  clientTls,
  dialTls,
  echo,
  expectEcho,
  expectRefused,
  fallback,
  otherCa,
  renewed,
  settings,
  shop,
  shown,
  workload,
} from "./net-tls-kit.ts";

/** How a broken handshake is told here. */
const WORDS: Readonly<Record<string, string>> = { ETIMEDOUT: "late", [PLAIN_HTTP_CODE]: "plain" };

/** What listeners with TLS do. */
export const TLS_SERVER_CASES: readonly Case[] = [
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
    name: "TLS: client certificates that are expired, not yet valid or a server's are refused",
    run: (subject) =>
      withListener(
        subject.net,
        { tls: settings({ clientAuth: "required", clientCaPem: ca.certificatePem }), ...echo },
        async (accepting) => {
          const wrong: readonly IssueOptions[] = [{ validity: "expired" }, { validity: "future" }, { usage: "server" }];
          for (const options of wrong) {
            const made = await ca.issue({ uri: ["spiffe://mesh.test/x"], ...options });
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
    name: "TLS: a listener hears of handshakes: done, broken, given up, late, refused",
    run: async (subject) => {
      const said: string[] = [];
      let room = 100;
      const handshakes = {
        begin: () => {
          said.push("begin");
          return room-- > 0;
        },
        end: (error: (Error & { readonly code?: string }) | undefined) =>
          void said.push(error === undefined ? "done" : (WORDS[error.code ?? ""] ?? "broken")),
        plainHttp: () => undefined,
      };
      // `accept` comes behind the end of its handshake.
      const prepare = (): void => void said.push("accept");
      const take = (): string => said.splice(0).join(" ");
      await withListener(subject.net, { tls: settings(), handshakeMs: 200, handshakes, prepare }, async (accepting) => {
        const raw = async (bytes: Uint8Array): Promise<End> => {
          const near = dial(subject.net, accepting.address);
          await near.untilHeard("open");
          near.open().write(bytes);
          return near;
        };
        const good = await dialTls(subject, accepting, clientTls());
        await accepting.at(0);
        assert.equal(take(), "begin done accept");
        good.open().destroy();

        const rubbish = await raw(bytesOf("\u0001 no TLS, no HTTP\r\n\r\n"));
        await until(() => said.length === 2);
        assert.equal(take(), "begin broken");
        rubbish.open().destroy();

        const plain = await raw(bytesOf("GET / HTTP/1.1\r\n\r\n"));
        await until(() => said.length === 2);
        assert.equal(take(), "begin plain");
        plain.open().destroy();

        const gone = await raw(new Uint8Array([0x16, 0x03, 0x01]));
        await until(() => said.length === 1);
        gone.open().destroy();
        await until(() => said.length === 2);
        // Deno hears of it when the time is over.
        assert.match(take(), /^begin (broken|late)$/);

        const slow = await raw(new Uint8Array([0x16, 0x03, 0x01]));
        await until(() => said.length === 2);
        assert.equal(take(), "begin late");
        slow.open().destroy();

        room = 0;
        const refused = dial(subject.net, accepting.address, { tls: clientTls() });
        await refused.untilHeard("close");
        assert.equal(take(), "begin");
        assert.equal(accepting.ends.length, 1);
      });
    },
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
    name: "TLS: pausing at every piece of what came at once keeps the order, and the end waits",
    run: (subject) =>
      withListener(subject.net, { tls: settings() }, async (accepting) => {
        const near = await dialTls(subject, accepting, clientTls());
        const far = await accepting.at(0);
        let paused = false;
        near.onBytes = (socket) => {
          assert.equal(paused, false, "data in spite of pause");
          paused = true;
          socket.pause();
          setImmediate(() => {
            paused = false;
            socket.resume();
          });
        };
        near.onFin = () => assert.equal(paused, false, "the end in spite of pause");
        near.open().end();
        await far.untilHeard("end");
        const whole = pattern(100_000, 9);
        // Many records, read by the kernel in few pieces.
        for (let at = 0; at < whole.byteLength; at += 5_000) far.open().write(whole, at, at + 5_000);
        far.open().end();
        await near.untilHeard("close");
        assert.ok(sameBytes(near.all(), whole), `${near.bytes} bytes`);
        assert.deepEqual(near.heard, ["open", "data", "end", "close"]);
        assert.equal(near.error, undefined);
      }),
  },
  {
    name: "TLS: who paused in front of bytes and an end, took both and then ends as well hears of the close",
    run: (subject) =>
      withListener(subject.net, { tls: settings() }, async (accepting) => {
        const near = await dialTls(subject, accepting, clientTls());
        const far = await accepting.at(0);
        far.onBytes = (socket) => {
          socket.pause();
          setTimeout(() => socket.resume(), 50);
        };
        const whole = pattern(30_000, 7);
        for (let at = 0; at < whole.byteLength; at += 5_000) near.open().write(whole, at, at + 5_000);
        near.open().end();
        await far.untilHeard("end");
        assert.ok(sameBytes(far.all(), whole), `${far.bytes} bytes`);
        await turns();
        far.open().end();
        await Promise.all([near.untilHeard("close"), far.untilHeard("close")]);
        assert.deepEqual([near.error, far.error], [undefined, undefined]);
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
