import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Json } from "../config/parse.ts";
import { writeAtomically } from "../runtime/files.ts";
import { type FetchHandler, type FetchServer, serveFetch } from "../runtime/serve.ts";

/** Two small services to put the gateway in front of, on ports of this machine. */
export interface DemoServices {
  readonly helloPort: number;
  readonly echoPort: number;
  close(): Promise<void>;
}

/** What is kept in the state folder: 0 stands for "none yet". */
interface DemoPorts {
  readonly hello: number;
  readonly echo: number;
}

const BODY_MAX = 64 * 1024;
const PORTS_FILE = "demo-ports.json";

/**
 * `hello` greets; `echo` answers with the request as it arrived, as JSON. Both listen where they did at the last start, as `folder` keeps it:
 * revisions of before name those ports, and who goes back to one must find somebody there. A port that another program has by now is
 * left, and `say` tells.
 */
export async function startDemoServices(folder: string, say: (line: string) => void): Promise<DemoServices> {
  const place = join(folder, PORTS_FILE);
  const kept = readPorts(place);
  const hello = await listen(
    "hello",
    kept.hello,
    say,
    (request) => new Response(`Hello from ${new URL(request.url).pathname}\n`),
  );
  const echo = await listen("echo", kept.echo, say, answerEcho);
  const ports: DemoPorts = { hello: hello.address.port, echo: echo.address.port };
  if (ports.hello !== kept.hello || ports.echo !== kept.echo) writeAtomically(place, `${JSON.stringify(ports)}\n`);
  return {
    helloPort: ports.hello,
    echoPort: ports.echo,
    close: async () => {
      await Promise.all([hello.close(), echo.close()]);
    },
  };
}

async function answerEcho(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const body = (await request.text()).slice(0, BODY_MAX);
  return Response.json({
    method: request.method,
    path: url.pathname,
    query: url.search,
    headers: Object.fromEntries(request.headers),
    body,
  });
}

function readPorts(place: string): DemoPorts {
  try {
    const { hello, echo } = JSON.parse(readFileSync(place, "utf8")) as { hello?: unknown; echo?: unknown };
    return { hello: isPort(hello) ? hello : 0, echo: isPort(echo) ? echo : 0 };
  } catch {
    // The first start, or a file that is none of ours.
    return { hello: 0, echo: 0 };
  }
}

const isPort = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) < 65_536;

/** On a port of before, or on any when there was none or it is not to be had. */
async function listen(name: string, port: number, say: (line: string) => void, fetch: FetchHandler): Promise<FetchServer> {
  try {
    return await serveFetch({ address: { host: "127.0.0.1", port }, fetch });
  } catch (error) {
    if (port === 0) throw error;
    say(`${(error as Error).message}: the demo service ${name} takes another; revisions of before name ${port}`);
    return listen(name, 0, say, fetch);
  }
}

/** The services under the names that the demo's routes use. */
export function demoServiceYaml({ helloPort, echoPort }: DemoServices): string {
  return `apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: hello }
spec: { endpoints: ["127.0.0.1:${helloPort}"] }
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: echo }
spec: { endpoints: ["127.0.0.1:${echoPort}"] }
`;
}

/** Ports that somebody asks for by flag, environment or file; undefined: nobody does. */
export type AskedPorts = Readonly<Record<"http" | "https", number | undefined>>;

/**
 * A gateway as it was left, with its first listener for HTTP and that for HTTPS on the ports that are asked for, each by itself. `without`
 * names those that it has no listener for.
 */
export function moveListeners(gateway: Json, asked: AskedPorts): { readonly gateway: Json; readonly without: readonly string[] } {
  const moved = structuredClone(gateway) as { spec?: { listeners?: { protocol?: string; port?: unknown }[] } };
  const without: string[] = [];
  for (const name of ["http", "https"] as const) {
    if (asked[name] === undefined) continue;
    const listener = moved.spec?.listeners?.find(
      ({ protocol = "HTTP", port }) => port !== undefined && protocol === name.toUpperCase(),
    );
    if (listener === undefined) without.push(name);
    else listener.port = asked[name];
  }
  return { gateway: moved as Json, without };
}

/** Certificate of the HTTPS listener, PEM. */
export interface DemoCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
}

const inline = (pem: string): string => JSON.stringify(pem);

/** A gateway, two routes and the three built-in filters. */
export function demoConfigYaml(httpPort: number, httpsPort: number, certificate: DemoCertificate, accessLogPath: string): string {
  return `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: demo }
spec:
  listeners:
    - port: ${httpPort}
    - port: ${httpsPort}
      protocol: HTTPS
      tls:
        certificates:
          - certificate: { inline: ${inline(certificate.certificatePem)} }
            key: { inline: ${inline(certificate.keyPem)} }
---
# One line of JSON for each request. Named as in the documentation: what stands there can be applied here.
apiVersion: selvedge.dev/v1
kind: Mesh
metadata: { name: mesh }
spec: { accessLog: { path: ${JSON.stringify(accessLogPath)} } }
---
# 20 requests in 10 seconds for each caller, exact across all workers.
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: limit }
spec:
  module: { builtin: rate-limit }
  settings:
    limits: [{ name: callers, requests: 20, per: 10, key: [clientIp] }]
---
# Everybody may read; writing needs the header x-demo-user.
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: access }
spec:
  module: { builtin: authz }
  settings:
    rules:
      - { name: read, effect: allow, when: { methods: [GET, HEAD] } }
      - { name: write, effect: allow, when: { headers: [{ name: x-demo-user, present: true }] } }
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: headers }
spec:
  module: { builtin: transform }
  settings:
    request: { headers: [{ op: set, name: x-demo, value: selvedge }] }
    response: { headers: [{ op: set, name: x-served-by, value: selvedge }] }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: hello }
spec:
  gateways: [demo]
  rules:
    - backends: [hello]
      filters: [limit]
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: echo }
spec:
  gateways: [demo]
  rules:
    - matches: [{ path: { prefix: /echo } }]
      backends: [echo]
      filters: [limit, access, headers]
`;
}
