import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type Accepting, type Case, withListener } from "./net-kit.ts";
import { ca, echo, otherCa, settings, stranger, workload } from "./net-tls-kit.ts";

interface Visit {
  /** What the echo said; empty: it let nobody in. */
  readonly heard: string;
  readonly reused: boolean;
  readonly session?: string;
}

interface Shown {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** Prints what came of it as JSON. Node's own client, in a process of its own: it keeps sessions and shows another's on every runtime. */
const CLIENT = `
const tls = require("node:tls");
const { port, cert, key, session } = JSON.parse(process.argv[1]);
let heard = "", reused = false, given;
const socket = tls.connect({ port, host: "127.0.0.1", servername: "shop.test", rejectUnauthorized: false, cert, key,
  ...(session === undefined ? {} : { session: Buffer.from(session, "base64") }) });
socket.on("session", (each) => { given = each.toString("base64"); });
socket.on("secureConnect", () => { reused = socket.isSessionReused(); socket.write("hello"); });
socket.on("data", (bytes) => { heard += bytes; if (heard === "hello") socket.destroy(); });
socket.on("error", () => socket.destroy());
socket.on("end", () => socket.destroy());
socket.on("close", () => process.stdout.write(JSON.stringify({ heard, reused, session: given })));
`;

/** A client of its own, which keeps its session and shows another one's. */
async function visit(accepting: Accepting, shown: Shown | undefined, session?: string): Promise<Visit> {
  const { address } = accepting;
  const port = address.kind === "tcp" ? address.port : 0;
  const settings = JSON.stringify({ port, cert: shown?.certificatePem, key: shown?.keyPem, session });
  const { stdout } = await promisify(execFile)("node", ["-e", CLIENT, settings]);
  return JSON.parse(stdout) as Visit;
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
          assert.equal((await visit(here, stranger, there.session)).heard, "");
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
