import { type FetchServer, serveFetch } from "../runtime/serve.ts";

/** Two small services to put the gateway in front of, on free ports of this machine. */
export interface DemoServices {
  readonly helloPort: number;
  readonly echoPort: number;
  close(): Promise<void>;
}

const BODY_MAX = 64 * 1024;

/** `hello` greets; `echo` answers with the request as it arrived, as JSON. */
export async function startDemoServices(): Promise<DemoServices> {
  const hello = await listen((request) => new Response(`Hello from ${new URL(request.url).pathname}\n`));
  const echo = await listen(async (request) => {
    const url = new URL(request.url);
    const body = (await request.text()).slice(0, BODY_MAX);
    return Response.json({
      method: request.method,
      path: url.pathname,
      query: url.search,
      headers: Object.fromEntries(request.headers),
      body,
    });
  });
  return {
    helloPort: portOf(hello),
    echoPort: portOf(echo),
    close: async () => {
      await Promise.all([hello.close(), echo.close()]);
    },
  };
}

function listen(fetch: (request: Request) => Response | Promise<Response>): Promise<FetchServer> {
  return serveFetch({ address: { kind: "tcp", host: "127.0.0.1", port: 0 }, fetch });
}

function portOf(server: FetchServer): number {
  return server.address.kind === "tcp" ? server.address.port : 0;
}

/** The services under the names that the demo's routes use. Their ports change with every start. */
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
# One line of JSON for each request.
apiVersion: selvedge.dev/v1
kind: Mesh
metadata: { name: demo }
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
