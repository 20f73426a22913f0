import assert from "node:assert/strict";
import { type Endpoints, PLAIN_HTTP_CODE } from "../../src/runtime/net.ts";
import { until } from "../kit/until.ts";
import { bytesOf, type Case, dial, turns, withListener } from "./net-kit.ts";
import { clientTls, dialTls, echo, expectEcho, settings } from "./net-tls-kit.ts";

/** Peers that speak HTTP without TLS to a listener with TLS. */
export const TLS_PLAIN_CASES: readonly Case[] = [
  {
    name: "TLS: HTTP in plain text gets the answer in plain text, whole, and a close; also in pieces",
    run: async (subject) => {
      const peers: Endpoints[] = [];
      const ended: (string | undefined)[] = [];
      const handshakes = {
        begin: () => true,
        plainHttp: (peer: Endpoints) => {
          const { remoteAddress, remotePort, localAddress, localPort } = peer;
          peers.push({ remoteAddress, remotePort, localAddress, localPort });
          return bytesOf("not here");
        },
        end: (error: (Error & { readonly code?: string }) | undefined) => void ended.push(error?.code),
      };
      await withListener(subject.net, { tls: settings(), handshakes, ...echo }, async (accepting) => {
        const pieces = [
          ["GET / HTTP/1.1\r\n\r\n"],
          ["P", "OST /a HTTP/1.1\r\n\r\n"],
          ["HEAD", " / HTTP/1.1\r\n\r\n"],
          ["PUT /a "],
          ["CONNECT a:1 "],
        ];
        for (const [i, texts] of pieces.entries()) {
          const near = dial(subject.net, accepting.address);
          await near.untilHeard("open");
          for (const text of texts) {
            near.open().write(bytesOf(text));
            await turns(3);
          }
          await near.until(() => near.heard.includes("end") || near.heard.includes("close"));
          assert.equal(near.text(), "not here", texts.join(""));
          near.open().end();
          await near.untilHeard("close");
          assert.equal(near.error, undefined);
          await until(() => ended.length === i + 1);
        }
        assert.deepEqual(new Set(ended), new Set([PLAIN_HTTP_CODE]));
        assert.deepEqual(new Set(peers.map((peer) => peer.localPort)), new Set([accepting.port]));
        assert.ok(peers.every((peer) => peer.remoteAddress === "127.0.0.1" && peer.remotePort > 0));
        // Who does speak TLS is served as ever.
        const near = await dialTls(subject, accepting, clientTls());
        await expectEcho(near, "hello");
        near.open().destroy();
        assert.equal(accepting.ends.length, 1);
      });
    },
  },
  {
    name: "TLS: who was answered in plain text may go on sending: it is read and thrown away, and nothing resets the answer",
    run: async (subject) => {
      let ended = 0;
      const handshakes = { begin: () => true, plainHttp: () => bytesOf("not here"), end: () => void ended++ };
      await withListener(subject.net, { tls: settings(), handshakes, ...echo }, async (accepting) => {
        let tries = 0;
        // Reading on has an end in time: on a machine that stood still meanwhile it may be over, so there is another try.
        for (let kept = false; !kept; ) {
          const near = dial(subject.net, accepting.address);
          await near.untilHeard("open");
          near.open().write(bytesOf("POST / HTTP/1.1\r\ncontent-length: 9000000\r\n\r\n"));
          await near.until(() => near.heard.includes("end") || near.heard.includes("close"));
          assert.equal(near.text(), "not here");
          const early = ended === ++tries;
          near.open().write(new Uint8Array(300_000));
          near.open().end();
          await near.untilHeard("close");
          await until(() => ended === tries);
          kept = !early && near.error === undefined;
          assert.ok(kept || tries < 5, "the connection was closed while its peer was sending");
        }
      });
    },
  },
];
