import assert from "node:assert/strict";
import tls from "node:tls";
import { type Accepting, type Case, withListener } from "./net-kit.ts";
import { ca, echo, otherCa, settings, stranger, workload } from "./net-tls-kit.ts";

interface Visit {
  /** What the echo said; empty: it let nobody in. */
  readonly heard: string;
  readonly reused: boolean;
  readonly session: Buffer | undefined;
}

interface Shown {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** A client of its own, which keeps its session and shows another one's. */
function visit(accepting: Accepting, shown: Shown | undefined, session?: Buffer): Promise<Visit> {
  const { address } = accepting;
  assert.equal(address.kind, "tcp");
  return new Promise((resolve) => {
    let heard = "";
    let reused = false;
    let given: Buffer | undefined;
    const socket = tls.connect({
      ...{
        port: address.kind === "tcp" ? address.port : 0,
        host: "127.0.0.1",
        servername: "shop.test",
        rejectUnauthorized: false,
      },
      ...(shown === undefined ? {} : { cert: shown.certificatePem, key: shown.keyPem }),
      ...(session === undefined ? {} : { session }),
    });
    socket.on("session", (each: Buffer) => {
      given = each;
    });
    socket.on("secureConnect", () => {
      reused = socket.isSessionReused();
      socket.write("hello");
    });
    socket.on("data", (bytes: Buffer) => {
      heard += bytes.toString("latin1");
      // A ticket comes before what is said behind the handshake.
      if (heard === "hello") socket.destroy();
    });
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.destroy());
    socket.on("close", () => resolve({ heard, reused, session: given }));
  });
}

const required = (caPem: string) => ({ tls: settings({ clientAuth: "required", clientCaPem: caPem }), ...echo });

export const TLS_SESSION_CASES: readonly Case[] = [
  {
    name: "TLS sessions: one made with a certificate elsewhere opens no listener that requires certificates",
    run: (subject) =>
      withListener(subject.net, required(otherCa.certificatePem), (elsewhere) =>
        withListener(subject.net, required(ca.certificatePem), async (here) => {
          assert.equal((await visit(here, undefined)).heard, "");
          const there = await visit(elsewhere, stranger);
          assert.equal(there.heard, "hello");
          assert.equal((await visit(here, undefined, there.session)).heard, "");
        }),
      ),
  },
  {
    name: "TLS sessions: one of an authority that was replaced is worth nothing; one of this listener may be resumed",
    run: (subject) =>
      withListener(subject.net, required(ca.certificatePem), async (here) => {
        const first = await visit(here, workload);
        assert.equal(first.heard, "hello");
        assert.equal((await visit(here, workload, first.session)).heard, "hello");
        here.listener?.updateTls(settings({ clientAuth: "required", clientCaPem: otherCa.certificatePem }));
        assert.equal((await visit(here, undefined, first.session)).heard, "");
        assert.equal((await visit(here, workload, first.session)).heard, "");
        assert.equal((await visit(here, stranger)).heard, "hello");
      }),
  },
];
