import { afterAll, beforeAll, describe, test } from "bun:test";
import assert from "node:assert/strict";
import { connect as connectTls } from "node:tls";
import { testAuthority } from "../kit/certs.ts";
import { TEST_MS } from "../kit/patience.ts";
import { type RawUpstream, sayRaw, startRawUpstream } from "../kit/raw.ts";
import { until } from "../kit/until.ts";
import { startRequests, startTunnels } from "./clients.ts";
import { type Mesh, startMesh } from "./mesh.ts";

/** Reloads of the issue's table; fewer by hand with SELVEDGE_RELOADS. */
const RELOADS = Number(process.env.SELVEDGE_RELOADS ?? 1_000);
const TUNNELS = 200;
const CONNECTIONS = 32;
const WORKERS = 2;
/** New connections asked after each reload: the kernel spreads them, so each worker answers some. */
const PROBES = 6;

let mesh: Mesh;
let upstreams: RawUpstream[];
let certificates: { certificatePem: string; keyPem: string; fingerprint: string }[];

function startEcho(name: string): Promise<RawUpstream> {
  return startRawUpstream((socket) => {
    let tunnel = false;
    let heard = "";
    socket.on("data", (chunk) => {
      if (tunnel) {
        socket.write(chunk);
        return;
      }
      heard += chunk.toString("latin1");
      while (heard.includes("\r\n\r\n")) {
        const head = heard.slice(0, heard.indexOf("\r\n\r\n"));
        heard = heard.slice(head.length + 4);
        if (/\r\nupgrade: websocket/i.test(head)) {
          tunnel = true;
          socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        } else {
          socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${name.length}\r\n\r\n${name}`);
        }
      }
    });
    socket.on("end", () => socket.end());
  });
}

interface State {
  readonly route: number;
  readonly filter: number;
  readonly endpoint: number;
  readonly certificate: number;
}

const indent = (pem: string): string => JSON.stringify(pem);

function resources(state: State): string {
  const certificate = certificates[state.certificate % certificates.length] as { certificatePem: string; keyPem: string };
  const port = upstreams[state.endpoint % upstreams.length]?.port;
  return `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: {name: edge}
spec:
  listeners:
    - {name: http, address: 127.0.0.1, port: ${mesh.httpPort}}
    - name: https
      address: 127.0.0.1
      port: ${mesh.httpsPort}
      protocol: HTTPS
      tls: {certificates: [{certificate: {inline: ${indent(certificate.certificatePem)}}, key: {inline: ${indent(certificate.keyPem)}}}]}
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: {name: mark}
spec:
  module: {builtin: transform}
  settings: {response: {headers: [{op: set, name: x-filter, value: "${state.filter}"}]}}
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: {name: all}
spec:
  rules:
    - backends: [{service: up}]
      filters: [mark]
      upgrades: [websocket]
      responseHeaders: {set: {x-route: "${state.route}"}}
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: {name: up}
spec: {endpoints: [{address: "127.0.0.1:${port}"}]}
---
apiVersion: selvedge.dev/v1
kind: Mesh
metadata: {name: mesh}
spec: {accessLog: {enabled: false}}
`;
}

function fingerprint(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false, servername: "long.test" }, () => {
      resolve(socket.getPeerCertificate().fingerprint256.replaceAll(":", "").toLowerCase());
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

/** What a new connection is answered must be of the newest state, whichever worker takes it. */
async function probe(state: State): Promise<void> {
  const answers = await Promise.all(
    Array.from({ length: PROBES }, () => sayRaw(mesh.httpPort, "GET / HTTP/1.1\r\nhost: long.test\r\nconnection: close\r\n\r\n")),
  );
  for (const answer of answers) {
    assert.ok(answer.includes(`x-route: ${state.route}\r\n`), `route ${state.route}: ${answer}`);
    assert.ok(answer.includes(`x-filter: ${state.filter}\r\n`), `filter ${state.filter}: ${answer}`);
    assert.ok(answer.endsWith(state.endpoint % 2 === 0 ? "even" : "odd"), `endpoint ${state.endpoint}: ${answer}`);
  }
  const expected = certificates[state.certificate % certificates.length]?.fingerprint;
  const seen = await Promise.all(Array.from({ length: 2 }, () => fingerprint(mesh.httpsPort)));
  for (const each of seen) assert.equal(each, expected, "certificate");
}

async function workerMegabytes(): Promise<number> {
  const { workers } = await mesh.status();
  return workers.reduce((sum, worker) => sum + worker.residentBytes, 0) / 2 ** 20;
}

beforeAll(async () => {
  upstreams = [await startEcho("even"), await startEcho("odd")];
  const authority = await testAuthority("long");
  const { createHash } = await import("node:crypto");
  certificates = [];
  for (const commonName of ["one", "two"]) {
    const { certificatePem, keyPem, der } = await authority.issue({ commonName, dns: ["long.test"] });
    certificates.push({ certificatePem, keyPem, fingerprint: createHash("sha256").update(der).digest("hex") });
  }
  mesh = await startMesh(WORKERS);
}, TEST_MS);

afterAll(async () => {
  await mesh?.stop();
  for (const upstream of upstreams ?? []) await upstream.stop();
}, TEST_MS);

describe("reloads under load", () => {
  test(
    `${RELOADS} reloads over NATS, ${TUNNELS} live WebSockets, ${CONNECTIONS} busy connections: nothing fails, nothing drops`,
    async () => {
      let state: State = { route: 0, filter: 0, endpoint: 0, certificate: 0 };
      await mesh.applied(await mesh.apply(resources(state)));
      await probe(state);
      const tunnels = startTunnels(mesh.httpPort, TUNNELS);
      const requests = startRequests(mesh.httpPort, CONNECTIONS);
      const kinds = ["route", "filter", "endpoint", "certificate"] as const;
      const megabytes: number[] = [];
      for (let i = 1; i <= RELOADS; i++) {
        const kind = kinds[i % kinds.length] as (typeof kinds)[number];
        state = { ...state, [kind]: state[kind] + 1 };
        await mesh.applied(await mesh.apply(resources(state)));
        await probe(state);
        if (i % Math.ceil(RELOADS / 20) === 0) {
          megabytes.push(await workerMegabytes());
          process.stderr.write(
            `· ${i} reloads, ${requests.count()} requests, ${tunnels.count()} echoes, workers ${megabytes.at(-1)?.toFixed(0)} MB\n`,
          );
        }
        assert.deepEqual([...tunnels.failures, ...requests.failures], []);
      }
      const before = { requests: requests.count(), echoes: tunnels.count() };
      // Requests and every tunnel go on.
      await until(() => requests.count() > before.requests && tunnels.count() >= before.echoes + TUNNELS);
      await requests.stop();
      await tunnels.stop();
      assert.deepEqual([...tunnels.failures, ...requests.failures], []);
      // Flat: the last quarter is not above the second one by more than the noise of a collector.
      const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
      const early = mean(megabytes.slice(5, 10));
      const late = mean(megabytes.slice(15, 20));
      assert.ok(
        late <= early * 1.15 + 8,
        `workers grew from ${early.toFixed(0)} to ${late.toFixed(0)} MB: ${megabytes.map((each) => each.toFixed(0)).join(" ")}`,
      );
    },
    30 * 60_000,
  );
});
