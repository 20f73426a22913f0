import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../test/kit/ports.ts";
import { threeFiltersYaml } from "../test/kit/three-filters.ts";

/**
 * How each proxy is started for the bench, with the same duties, which are what Selvedge does as shipped: one worker, kept
 * connections upstream, `x-forwarded-for`, `-proto` and `-host` and a request id to the service, the id in the answer as well, and
 * a line of JSON with the same facts per request. nginx, Envoy and Selvedge write it to a file in batches; HAProxy cannot, and
 * writes to its standard output (thrown away here), one call a line.
 */

/** `filter`: one module for proxy-wasm, the same in Envoy (filter-guest.ts); `filters`: what each proxy has for three duties. */
export type Scenario = "plain" | "tls" | "filter" | "filters";

export interface Contender {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly port: number;
  readonly scheme: "http" | "https";
}

export interface BenchFiles {
  readonly folder: string;
  readonly certificatePath: string;
  readonly keyPath: string;
  /** The module of scenario `filter`. */
  readonly filterPath: string;
}

function fileIn(folder: string, name: string, text: string): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** The service behind every proxy: nginx, one worker, 56 bytes, no log. */
export async function backend(folder: string): Promise<Contender> {
  const port = await freePort();
  const path = fileIn(
    join(folder, "backend"),
    "nginx.conf",
    `worker_processes 1; daemon off; pid ${folder}/backend/nginx.pid; error_log ${folder}/backend/error.log;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
  server { listen 127.0.0.1:${port} backlog=4096; location / { default_type text/plain; return 200 "0123456789abcdef0123456789abcdef0123456789abcdef01234567"; } } }
`,
  );
  return { name: "backend", command: ["nginx", "-c", path], port, scheme: "http" };
}

/** What wrk agrees on with Selvedge and Envoy, which leave no choice: the others are told, so that it stays the same for all. */
const CIPHER = "TLS_AES_256_GCM_SHA384";

/** The fields of our access log that the others know as well, by what they call them. */
const FACTS: readonly { readonly name: string; readonly nginx: string; readonly haproxy: string; readonly envoy: string }[] = [
  { name: "time", nginx: "$time_iso8601", haproxy: "%T", envoy: "%START_TIME%" },
  { name: "id", nginx: "$request_id", haproxy: "%ID", envoy: "%REQ(X-REQUEST-ID)%" },
  { name: "client", nginx: "$remote_addr", haproxy: "%ci", envoy: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" },
  { name: "listener", nginx: "$server_name", haproxy: "%f", envoy: "%DOWNSTREAM_LOCAL_ADDRESS%" },
  { name: "method", nginx: "$request_method", haproxy: "%HM", envoy: "%REQ(:METHOD)%" },
  { name: "authority", nginx: "$http_host", haproxy: "%[capture.req.hdr(0)]", envoy: "%REQ(:AUTHORITY)%" },
  { name: "path", nginx: "$uri", haproxy: "%HP", envoy: "%REQ(:PATH)%" },
  { name: "protocol", nginx: "$server_protocol", haproxy: "%HV", envoy: "%PROTOCOL%" },
  { name: "status", nginx: "$status", haproxy: "%ST", envoy: "%RESPONSE_CODE%" },
  { name: "service", nginx: "$proxy_host", haproxy: "%b", envoy: "%UPSTREAM_CLUSTER%" },
  { name: "endpoint", nginx: "$upstream_addr", haproxy: "%si:%sp", envoy: "%UPSTREAM_HOST%" },
  { name: "request_bytes", nginx: "$request_length", haproxy: "%U", envoy: "%BYTES_RECEIVED%" },
  { name: "response_bytes", nginx: "$body_bytes_sent", haproxy: "%B", envoy: "%BYTES_SENT%" },
  { name: "duration", nginx: "$request_time", haproxy: "%Ta", envoy: "%DURATION%" },
  { name: "first_byte", nginx: "$upstream_header_time", haproxy: "%Tr", envoy: "%RESPONSE_DURATION%" },
];
const nginxFacts = (): string => `'{${FACTS.map(({ name, nginx }) => `"${name}":"${nginx}"`).join(",")}}'`;
const haproxyFacts = (): string => `{${FACTS.map(({ name, haproxy }) => `"${name}":"${haproxy}"`).join(",")}}`;
const ENVOY_FACTS = Object.fromEntries(FACTS.map(({ name, envoy }) => [name, envoy]));

export async function nginx(scenario: Scenario, files: BenchFiles, backendPort: number): Promise<Contender> {
  const port = await freePort();
  const folder = join(files.folder, `nginx-${scenario}`);
  const tls =
    scenario === "tls"
      ? ` ssl; ssl_certificate ${files.certificatePath}; ssl_certificate_key ${files.keyPath}; ssl_protocols TLSv1.2 TLSv1.3; ssl_conf_command Ciphersuites ${CIPHER}`
      : "";
  const path = fileIn(
    folder,
    "nginx.conf",
    `worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 4096; }
http { log_format facts escape=json ${nginxFacts()};
  access_log ${folder}/access.log facts buffer=64k flush=1s; keepalive_requests 1000000000; keepalive_timeout 300s;
  upstream up { server 127.0.0.1:${backendPort}; keepalive 256; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${port}${tls}; location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Request-Id $request_id; add_header X-Request-Id $request_id always; } } }
`,
  );
  return { name: "nginx", command: ["nginx", "-c", path], port, scheme: scenario === "tls" ? "https" : "http" };
}

export async function haproxy(scenario: Scenario, files: BenchFiles, backendPort: number): Promise<Contender> {
  const port = await freePort();
  const folder = join(files.folder, `haproxy-${scenario}`);
  const tls = scenario === "tls" ? ` ssl crt ${files.folder}/both.pem` : "";
  const path = fileIn(
    folder,
    "haproxy.cfg",
    `global
  nbthread 1
  maxconn 8192
  log stdout format raw local0 info
  ssl-default-bind-ciphersuites ${CIPHER}
defaults
  mode http
  log global
  log-format '${haproxyFacts()}'
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  option forwardfor
frontend f
  bind 127.0.0.1:${port}${tls}
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto ${scenario === "tls" ? "https" : "http"}
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request capture req.hdr(host) len 64
  http-response set-header X-Request-Id %[unique-id]
  default_backend b
backend b
  http-reuse always
  server s 127.0.0.1:${backendPort}
`,
  );
  return { name: "haproxy", command: ["haproxy", "-f", path], port, scheme: scenario === "tls" ? "https" : "http" };
}

/** `wasm`: path of a proxy-wasm module for the filter scenario, beside Envoy's own rate limit and RBAC. */
export async function envoy(
  program: string,
  scenario: Scenario,
  files: BenchFiles,
  backendPort: number,
  wasm: string | undefined,
): Promise<Contender> {
  const port = await freePort();
  const folder = join(files.folder, `envoy-${scenario}`);
  const filters: unknown[] = [];
  if (scenario === "filters") filters.push(localRateLimit(), rbac());
  if (scenario === "filters" && wasm !== undefined) filters.push(wasmFilter(wasm, TRANSFORM_SETTINGS));
  if (scenario === "filter") filters.push(wasmFilter(files.filterPath, {}));
  filters.push({
    name: "envoy.filters.http.router",
    typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
  });
  const config = {
    static_resources: {
      listeners: [
        {
          address: { socket_address: { address: "127.0.0.1", port_value: port } },
          filter_chains: [
            {
              ...(scenario === "tls" ? { transport_socket: downstreamTls(files) } : {}),
              filters: [connectionManager(folder, filters)],
            },
          ],
        },
      ],
      clusters: [cluster("up", backendPort)],
    },
  };
  const path = fileIn(folder, "envoy.json", JSON.stringify(config));
  return {
    name: "envoy",
    command: [program, "-c", path, "--concurrency", "1", "--base-id", String(port), "-l", "error"],
    port,
    scheme: scenario === "tls" ? "https" : "http",
  };
}

function connectionManager(folder: string, filters: readonly unknown[]): unknown {
  return {
    name: "envoy.filters.network.http_connection_manager",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
      stat_prefix: "bench",
      use_remote_address: true,
      always_set_request_id_in_response: true,
      access_log: [
        {
          name: "envoy.access_loggers.file",
          typed_config: {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            path: join(folder, "access.log"),
            log_format: { json_format: ENVOY_FACTS },
          },
        },
      ],
      route_config: {
        virtual_hosts: [{ name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "up" } }] }],
      },
      http_filters: filters,
    },
  };
}

function cluster(name: string, port: number): unknown {
  const endpoint = { address: { socket_address: { address: "127.0.0.1", port_value: port } } };
  return {
    name,
    type: "STATIC",
    connect_timeout: "5s",
    circuit_breakers: { thresholds: [{ max_connections: 4096, max_pending_requests: 4096, max_requests: 4096 }] },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint }] }] },
  };
}

function downstreamTls(files: BenchFiles): unknown {
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
      common_tls_context: {
        tls_certificates: [{ certificate_chain: { filename: files.certificatePath }, private_key: { filename: files.keyPath } }],
      },
    },
  };
}

function localRateLimit(): unknown {
  const all = { default_value: { numerator: 100, denominator: "HUNDRED" } };
  return {
    name: "envoy.filters.http.local_ratelimit",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
      stat_prefix: "bench",
      token_bucket: { max_tokens: 100_000_000, tokens_per_fill: 100_000_000, fill_interval: "1s" },
      filter_enabled: all,
      filter_enforced: all,
    },
  };
}

function rbac(): unknown {
  const policy = { permissions: [{ header: { name: ":method", string_match: { exact: "GET" } } }], principals: [{ any: true }] };
  return {
    name: "envoy.filters.http.rbac",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
      rules: { action: "ALLOW", policies: { get: policy } },
    },
  };
}

const TRANSFORM_SETTINGS = { response: { headers: [{ op: "set", name: "x-bench", value: "1" }] } };

function wasmFilter(path: string, settings: object): unknown {
  return {
    name: "envoy.filters.http.wasm",
    typed_config: {
      "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
      config: {
        name: "wasm",
        root_id: "wasm",
        configuration: { "@type": "type.googleapis.com/google.protobuf.StringValue", value: JSON.stringify(settings) },
        vm_config: { runtime: "envoy.wasm.runtime.v8", code: { local: { filename: path } } },
      },
    },
  };
}

/** The line of the route, and the resources. */
function filtersOf(scenario: Scenario, files: BenchFiles): readonly [string, string] {
  if (scenario === "filters") return ["\n      filters: [limit, guard, mark]", threeFiltersYaml(["GET"], "x-bench")];
  if (scenario !== "filter") return ["", ""];
  const resource = `---\napiVersion: selvedge.dev/v1\nkind: Filter\nmetadata: {name: one}\nspec: {module: {file: ${files.filterPath}}}\n`;
  return ["\n      filters: [one]", resource];
}

/** Us, as a user starts it: `selvedge proxy -f`, one worker, shipped defaults. */
export async function selvedge(root: string, scenario: Scenario, files: BenchFiles, backendPort: number): Promise<Contender> {
  const port = await freePort();
  const adminPort = await freePort();
  const folder = join(files.folder, `selvedge-${scenario}`);
  const tls =
    scenario === "tls"
      ? `\n      tls: {certificates: [{certificate: {file: ${files.certificatePath}}, key: {file: ${files.keyPath}}}]}`
      : "";
  const [names, filters] = filtersOf(scenario, files);
  const path = fileIn(
    folder,
    "config.yaml",
    `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: {name: edge}
spec:
  listeners:
    - name: main
      address: 127.0.0.1
      port: ${port}
      protocol: ${scenario === "tls" ? "HTTPS" : "HTTP"}${tls}
---
apiVersion: selvedge.dev/v1
kind: Mesh
metadata: {name: mesh}
spec: {accessLog: {path: ${folder}/access.log}}
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: {name: all}
spec:
  rules:
    - backends: [{service: up}]${names}
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: {name: up}
spec: {endpoints: [{address: "127.0.0.1:${backendPort}"}]}
${filters}`,
  );
  return {
    name: "selvedge",
    command: [
      join(root, "node_modules/.bin/bun"),
      join(root, "src/app/main.ts"),
      "proxy",
      "-f",
      path,
      "--workers",
      "1",
      "--admin",
      `127.0.0.1:${adminPort}`,
    ],
    port,
    scheme: scenario === "tls" ? "https" : "http",
  };
}
