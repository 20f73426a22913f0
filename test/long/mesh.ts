import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { type NatsServer, startNats } from "../kit/nats.ts";
import { WAIT_MS } from "../kit/patience.ts";
import { freePort, type RunningProgram, startSelvedge, until } from "../kit/selvedge.ts";

/** The real thing: nats-server, a control plane and a gateway with workers, each a process. */
export interface Mesh {
  readonly nats: NatsServer;
  readonly client: NatsConnection;
  readonly httpPort: number;
  readonly httpsPort: number;
  readonly adminPort: number;
  readonly gateway: RunningProgram;
  readonly folder: string;
  /** Applies resources by a request over NATS; resolves with the revision. Throws when they are refused. */
  apply(yaml: string): Promise<number>;
  /** The gateway's /status. */
  status(): Promise<MeshStatus>;
  /** Resolves when every worker serves that revision. */
  applied(revision: number): Promise<void>;
  stop(): Promise<void>;
}

export interface MeshStatus {
  readonly appliedRevision: number;
  readonly workers: readonly {
    readonly pid: number;
    readonly running: boolean;
    readonly revision: number;
    readonly residentBytes: number;
  }[];
}

export async function startMesh(workers: number): Promise<Mesh> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-long-"));
  const nats = await startNats();
  const [httpPort, httpsPort, adminPort, apiPort] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const control = startSelvedge(["control", "--nats", nats.url, "--listen", `127.0.0.1:${apiPort}`, "--log-level", "warn"]);
  const gateway = startSelvedge([
    "proxy",
    "--nats",
    nats.url,
    "--workers",
    String(workers),
    "--admin",
    `127.0.0.1:${adminPort}`,
    "--id",
    "long-1",
    "--cache-dir",
    join(folder, "cache"),
    "--log-level",
    "warn",
  ]);
  const client = await connect({ servers: nats.url });
  const mesh: Mesh = {
    nats,
    client,
    httpPort,
    httpsPort,
    adminPort,
    gateway,
    folder,
    async apply(yaml) {
      const answer = await client.request("selvedge.config.apply", yaml, { timeout: WAIT_MS });
      const said = answer.json<{ ok: boolean; revision?: number; issues?: unknown }>();
      if (!said.ok || said.revision === undefined) throw new Error(`refused: ${answer.string()}`);
      return said.revision;
    },
    async status() {
      const answer = await fetch(`http://127.0.0.1:${adminPort}/status`);
      return (await answer.json()) as MeshStatus;
    },
    async applied(revision) {
      let seen: MeshStatus | undefined;
      try {
        await until(async () => {
          seen = await mesh.status();
          return seen.appliedRevision >= revision;
        });
      } catch (error) {
        throw new Error(`revision ${revision} is not served: ${JSON.stringify(seen)}\n${gateway.error()}`, { cause: error });
      }
    },
    async stop() {
      await client.close();
      for (const program of [gateway, control]) {
        program.child.kill("SIGTERM");
        const late = setTimeout(() => program.child.kill("SIGKILL"), WAIT_MS);
        await program.finished;
        clearTimeout(late);
      }
      await nats.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  // Both are up once a request is answered.
  await until(async () => {
    try {
      await client.request("selvedge.config.get", "", { timeout: 500 });
      return (await fetch(`http://127.0.0.1:${adminPort}/healthz`)).ok;
    } catch {
      return false;
    }
  });
  return mesh;
}
