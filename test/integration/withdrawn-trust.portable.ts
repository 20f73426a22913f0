import assert from "node:assert/strict";
import tls from "node:tls";
import type { ListenerConfig, Snapshot } from "../../src/config/snapshot.ts";
import { type TestAuthority, type TestCertificate, testAuthority } from "../kit/certs.ts";
import { judge, partsFor, withUpstream } from "../kit/end-to-end.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { type RawUpstream, startRawUpstream } from "../kit/raw.ts";
import { listenerOf, snapshotOf } from "../kit/snapshot.ts";
import { tcpListener, tcpParts } from "../kit/streams.ts";
import { beforeAll, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

let kept: TestAuthority;
let withdrawn: TestAuthority;
let server: TestCertificate;
let ours: TestCertificate;
let theirs: TestCertificate;

beforeAll(async () => {
  [kept, withdrawn] = await Promise.all([testAuthority("trust-kept"), testAuthority("trust-withdrawn")]);
  server = await kept.issue({ dns: ["a.test"] });
  [ours, theirs] = await Promise.all([
    kept.issue({ commonName: "ours", usage: "client" }),
    withdrawn.issue({ commonName: "theirs", usage: "client" }),
  ]);
});

const tlsOf = (clientCaPem: string): NonNullable<ListenerConfig["tls"]> => ({
  certificates: [{ hosts: ["*"], certificatePem: server.certificatePem, keyPem: server.keyPem }],
  ...{ clientAuth: "required", clientCaPem, minVersion: "TLSv1.2" },
});

interface Caller {
  readonly heard: () => string;
  readonly isOpen: () => boolean;
  say(text: string): void;
  end(): void;
}

function call(proxy: TestProxy, { certificatePem: cert, keyPem: key }: TestCertificate): Caller {
  let heard = "";
  let open = true;
  const options = { host: "127.0.0.1", port: proxy.port(), servername: "a.test", rejectUnauthorized: false, cert, key };
  const socket = tls.connect(options);
  socket.on("data", (chunk: Buffer) => {
    heard += chunk.toString("latin1");
  });
  for (const event of ["error", "end", "close"]) {
    socket.on(event, () => {
      open = false;
      socket.destroy();
    });
  }
  return { heard: () => heard, isOpen: () => open, say: (text) => void socket.write(text), end: () => socket.destroy() };
}

const REQUEST =
  "GET /ws HTTP/1.1\r\nhost: a.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n";
const ACCEPT = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/** Agrees to upgrades to `/ws`, leaves others waiting, and says back what comes. */
const echoing = (): Promise<RawUpstream> =>
  startRawUpstream((socket) => {
    let begun = false;
    socket.on("data", (chunk: Buffer) => {
      if (!begun && !chunk.toString("latin1").startsWith("GET /ws ")) return;
      socket.write(begun ? chunk : ACCEPT);
      begun = true;
    });
  });

const both = (): string => kept.certificatePem + withdrawn.certificatePem;

describe("an authority of client certificates that a reload takes away", () => {
  test("WebSockets of its certificates end, those that are asked for and new requests too; others live on", async () => {
    const upstream = await echoing();
    const listeners = (pem: string): ListenerConfig[] => [listenerOf({ protocol: "https", tls: tlsOf(pem) })];
    const parts = (pem: string): Partial<Snapshot> => ({ ...partsFor(upstream), listeners: listeners(pem) });
    await withUpstream(
      upstream,
      async (proxy) => {
        const [mine, its, waiting, half] = [call(proxy, ours), call(proxy, theirs), call(proxy, theirs), call(proxy, theirs)];
        mine.say(REQUEST);
        its.say(REQUEST);
        waiting.say(REQUEST.replace("/ws", "/later"));
        half.say(REQUEST.slice(0, 20));
        await until(() => [mine, its].every((each) => each.heard().includes(" 101 ")) && proxy.observer.inFlight === 3);
        await until(() => proxy.observer.connections === 4);
        // Another one beside them: nobody lost trust.
        await proxy.apply(snapshotOf(parts(both() + server.certificatePem)));
        its.say("still here");
        await until(() => its.heard().endsWith("still here"));
        await proxy.apply(snapshotOf(parts(kept.certificatePem)));
        await until(() => !its.isOpen() && waiting.heard() !== "");
        assert.equal(judge(waiting.heard()), "421 misdirected");
        half.say(REQUEST.slice(20));
        await until(() => !half.isOpen());
        assert.ok(!half.heard().includes(" 101 "), half.heard());
        mine.say("and I");
        await until(() => mine.heard().endsWith("and I"));
        assert.ok(mine.isOpen());
        for (const each of [mine, waiting]) each.end();
      },
      parts(both()),
    );
  });

  test("so do streams of a TLS listener", async () => {
    const upstream = await startRawUpstream((socket) => socket.on("data", (chunk: Buffer) => void socket.write(chunk)));
    const parts = (pem: string): Partial<Snapshot> => ({
      ...tcpParts([upstream.port]),
      listeners: [tcpListener({ protocol: "tls", tls: tlsOf(pem) })],
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        const [mine, its] = [call(proxy, ours), call(proxy, theirs)];
        for (const each of [mine, its]) each.say("hi");
        await until(() => mine.heard() === "hi" && its.heard() === "hi");
        await proxy.apply(snapshotOf(parts(kept.certificatePem)));
        await until(() => !its.isOpen());
        mine.say(" again");
        await until(() => mine.heard() === "hi again");
        mine.end();
      },
      parts(both()),
    );
  });
});
