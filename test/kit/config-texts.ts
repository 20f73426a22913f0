/** A configuration that uses every kind and nearly every field; files are the golden fixtures. */
export const WHOLE_CONFIG = `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: edge, labels: { team: a }, annotations: { note: b } }
spec:
  listeners:
    - name: secure
      address: 127.0.0.1
      port: 8443
      hosts: [shop.example, "*.shop.example"]
      tls:
        certificates:
          - certificate: { file: edge.crt }
            key: { file: edge.key }
            hosts: [shop.example]
        clientAuth: optional
        clientCa: { file: edge.crt }
        minVersion: TLSv1.3
      proxyProtocol: { trusted: [10.0.0.0/8], required: false }
      limits: { body: 10MiB }
      times: { header: 5s }
      forwarding: { trustedHops: 1, via: edge, requestIdHeader: x-id }
      compression: { types: [text/html] }
    - unix: /run/selvedge.sock
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: whole }
spec:
  gateways: [edge]
  hosts: [whole.example]
  rules:
    - name: api
      matches:
        - path: { prefix: /api }
          methods: [GET]
          headers: [{ name: x-version, exact: "2" }, { name: x-b, regex: "a+" }]
          query: [{ name: debug, absent: true }]
      backends: [{ service: shop, subset: v1, weight: 9 }, { service: shop, subset: v2 }]
      rewrite: { host: inner.example, path: { prefix: /v2 } }
      filters: [limit, change]
      authentication: users
      requestHeaders: { set: { x-a: "1" }, add: { x-c: "2" }, remove: [cookie] }
      responseHeaders: { set: { x-d: "3" } }
      timeout: 15s
      maxBody: 1MiB
    - name: template
      matches: [{ path: { template: "/u/{id}" } }]
      redirect: { scheme: https, host: other.example, port: 444, path: { template: "/users/{id}" }, status: 308 }
    - name: hello
      matches: [{ path: { exact: /hello } }, { path: { regex: "/h.*o" } }]
      respond: { status: 201, headers: { x-e: "4" }, body: hello }
    - name: closed
      matches: [{ path: { prefix: /closed } }]
      maintenance: { retryAfter: 60s, body: later }
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: shop }
spec:
  endpoints:
    - { address: "10.0.0.1:80", labels: { version: "1" }, weight: 2 }
    - "shop.example:80"
    - "unix:/run/shop.sock"
  subsets: [{ name: v1, labels: { version: "1" } }, { name: v2, labels: { version: "2" } }]
  balancing: round-robin
  tls: { serverName: shop.example, ca: { file: edge.crt }, certificate: { file: edge.crt }, key: { file: edge.key } }
  limits: { connections: 10 }
  times: { connect: 1s }
  proxyProtocol: v2
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: found, namespace: team }
spec:
  dns: { host: found.example, port: 80, servers: [10.0.0.2] }
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: limit }
spec:
  module: { builtin: rate-limit }
  settings: { limits: [{ limit: 10 }], apiKey: hunter2 }
  onFailure: open
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: change }
spec:
  module: { file: empty.wasm }
  isolated: true
  budget: { memory: 1MiB }
  capabilities: { callouts: [team/found], sharedData: shared }
---
apiVersion: selvedge.dev/v1
kind: Authentication
metadata: { name: users }
spec:
  jwt:
    - name: main
      issuer: https://issuer.example
      audiences: [shop]
      jwks: { file: jwks-hmac.json }
      fromHeaders: [{ name: x-token, prefix: "T " }]
      fromQuery: [token]
    - name: other
      issuer: https://other.example
      jwks: { url: "https://other.example/jwks" }
---
apiVersion: selvedge.dev/v1
kind: Mesh
metadata: { name: mesh }
spec:
  accessLog: { filter: { minStatus: 400, minDuration: 1s, routes: [whole] }, requestHeaders: [user-agent] }
  tracing: { start: true, sample: 0.5, export: { url: "http://collector.example:4318", serviceName: edge, timeout: 2s } }
  trustedProxies: [192.0.2.0/24]
  drain: { grace: 5s }
`;

/** `count` routes over 1,000 hosts, to the service of the whole configuration. */
export function manyRoutes(count: number): string {
  const routes = Array.from(
    { length: count },
    (_, i) => `apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: r${i} }
spec:
  hosts: [h${i % 1000}.example]
  rules:
    - matches: [{ path: { prefix: /p${i} } }]
      backends: [shop]
`,
  );
  return routes.join("---\n");
}
