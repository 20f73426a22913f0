import assert from "node:assert/strict";
import { compileText } from "../kit/config.ts";
import { describe, test } from "../kit/suite.ts";

/** A kind and its spec (or a whole text), and what is said: code, path and hint of every issue, in order. */
type Mistake = readonly [kind: string, text: string, ...said: string[]];

/** What people write who know other gateways, or YAML by half. */
const MISTAKES: readonly Mistake[] = [
  ["Route", "{ rules: [{ redirect: { status: 305, host: a } }] }", "unknown_value spec.rules[0].redirect.status"],
  ["Route", "{ rules: [{ redirect: { scheme: ftp } }] }", "unknown_value spec.rules[0].redirect.scheme (did you mean http?)"],
  ["Route", "{ rules: [{ respond: { status: 99 } }] }", "out_of_range spec.rules[0].respond.status"],
  ["Route", "{ rules: [{ respond: { status: 20x } }] }", "wrong_type spec.rules[0].respond.status"],
  ["Route", '{ rules: [{ respond: { status: "200" } }] }', "wrong_type spec.rules[0].respond.status (write it without quotes)"],
  ["Route", "{ rules: [{ respond: 200 }] }", "wrong_type spec.rules[0].respond (with status, headers, body)"],
  ["Route", "{ rules: [{ backend: [a] }] }", "unknown_key spec.rules[0].backend (did you mean backends?)"],
  ["Route", "{ rules: [{ backends: a }] }", "wrong_type spec.rules[0].backends (write it as a list: [ … ])"],
  [
    "Route",
    "{ rules: [{ backends: [{ name: a }] }] }",
    "missing_field spec.rules[0].backends[0].service",
    "unknown_key spec.rules[0].backends[0].name (known: service, subset, weight)",
  ],
  [
    "Route",
    "{ rules: [{ backends: [{ service: a, port: 80 }] }] }",
    "dangling_reference spec.rules[0].backends[0].service",
    "unknown_key spec.rules[0].backends[0].port (known: service, subset, weight)",
  ],
  [
    "Route",
    "{ rules: [{ matches: [{ path: /x }], respond: {} }] }",
    "wrong_type spec.rules[0].matches[0].path (with exact, prefix, template, regex)",
  ],
  [
    "Route",
    "{ rules: [{ matches: { path: { prefix: /x } }, respond: {} }] }",
    "wrong_type spec.rules[0].matches (write it as a list: [ … ])",
  ],
  [
    "Route",
    "{ rules: [{ matches: [{ method: GET }], respond: {} }] }",
    "unknown_key spec.rules[0].matches[0].method (did you mean methods?)",
  ],
  [
    "Route",
    "{ rules: [{ matches: [{ methods: GET }], respond: {} }] }",
    "wrong_type spec.rules[0].matches[0].methods (write it as a list: [ … ])",
  ],
  [
    "Route",
    "{ rules: [{ matches: [{ path: { type: Prefix, value: /x } }], respond: {} }] }",
    "choose_one spec.rules[0].matches[0].path",
    "unknown_key spec.rules[0].matches[0].path.type (known: exact, prefix, template, regex)",
    "unknown_key spec.rules[0].matches[0].path.value (known: exact, prefix, template, regex)",
  ],
  [
    "Route",
    "{ rules: [{ matches: [{ path: { prefx: /x } }], respond: {} }] }",
    "unknown_key spec.rules[0].matches[0].path.prefx (did you mean prefix?)",
  ],
  [
    "Route",
    "{ rules: [{ matches: [{ headers: [{ name: x, value: y }] }], respond: {} }] }",
    "unknown_key spec.rules[0].matches[0].headers[0].value (known: name, exact, regex, present, absent)",
  ],
  [
    "Route",
    "{ rules: [{ matches: [{ headers: { x: y } }], respond: {} }] }",
    "wrong_type spec.rules[0].matches[0].headers (write it as a list: [ … ])",
  ],
  ["Route", "{ rules: [{ timeout: 5, respond: {} }] }", "wrong_type spec.rules[0].timeout (with its unit: 5s)"],
  [
    "Route",
    "{ rules: [{ timeout: 5sec, respond: {} }] }",
    "bad_duration spec.rules[0].timeout (write it like 250ms, 15s, 1m30s or 1h)",
  ],
  [
    "Route",
    "{ rules: [{ timeout: 5 s, respond: {} }] }",
    "bad_duration spec.rules[0].timeout (write it like 250ms, 15s, 1m30s or 1h)",
  ],
  ["Route", "{ rules: [{ maxBody: 10mb, respond: {} }] }", "bad_size spec.rules[0].maxBody (write it like 512B, 64KiB or 1MB)"],
  ["Route", "{ rules: [{ maxBody: 10, respond: {} }] }", "wrong_type spec.rules[0].maxBody (with its unit: 10B)"],
  [
    "Route",
    "{ rules: [{ rewrite: /x, backends: [a] }] }",
    "wrong_type spec.rules[0].rewrite (with host, path)",
    "dangling_reference spec.rules[0].backends[0].service",
  ],
  [
    "Route",
    "{ rules: [{ rewrite: { prefix: / }, backends: [a] }] }",
    "unknown_key spec.rules[0].rewrite.prefix (it belongs into spec.rules[].rewrite.path)",
    "dangling_reference spec.rules[0].backends[0].service",
  ],
  [
    "Route",
    "{ rules: [{ redirect: https://x.example }] }",
    "wrong_type spec.rules[0].redirect (with status, scheme, host, port, path, stripQuery)",
  ],
  [
    "Route",
    "{ rules: [{ requestHeaders: { set: [{ name: a, value: b }] }, respond: {} }] }",
    "wrong_type spec.rules[0].requestHeaders.set",
  ],
  [
    "Route",
    "{ rules: [{ requestHeaders: { x-a: b }, respond: {} }] }",
    "unknown_key spec.rules[0].requestHeaders.x-a (known: set, add, remove)",
  ],
  [
    "Route",
    "{ rules: [{ responseHeaders: { set: { x-a: 1 } }, respond: {} }] }",
    'wrong_type spec.rules[0].responseHeaders.set.x-a (quote it: "1")',
  ],
  ["Route", "{ rules: [{ upgrades: websocket, respond: {} }] }", "wrong_type spec.rules[0].upgrades (write it as a list: [ … ])"],
  [
    "Route",
    "{ rules: [{ upgrades: [ws], backends: [a] }] }",
    "unknown_value spec.rules[0].upgrades[0]",
    "dangling_reference spec.rules[0].backends[0].service",
  ],
  ["Route", "{ host: a.example, rules: [{ respond: {} }] }", "unknown_key spec.host (did you mean hosts?)"],
  ["Route", "{ hosts: a.example, rules: [{ respond: {} }] }", "wrong_type spec.hosts (write it as a list: [ … ])"],
  [
    "Route",
    "{ hosts: ['a.example:80'], rules: [{ respond: {} }] }",
    "bad_host spec.hosts[0] (hosts match every port: leave it out)",
  ],
  ["Route", "{ hosts: ['http://a.example'], rules: [{ respond: {} }] }", "bad_host spec.hosts[0] (only the host: a.example)"],
  [
    "Route",
    "{ hosts: ['*'] , backends: [a] }",
    "missing_field spec.rules (or tcp, for a TCP or TLS listener)",
    "unknown_key spec.backends (it belongs into spec.rules[])",
  ],
  ["Route", "{ rules: { respond: {} } }", "wrong_type spec.rules (write it as a list: [ … ])"],
  ["Route", "[]", "wrong_type spec (with gateways, hosts, rules, tcp)"],
  ["Route", "", "wrong_type spec (indent what belongs to it further than the key)"],
  ["Service", "{ endpoints: [127.0.0.1] }", "bad_address spec.endpoints[0] (like 127.0.0.1:80, [::1]:80, name:80 or unix:/path)"],
  [
    "Service",
    "{ endpoints: ['http://127.0.0.1:80'] }",
    "bad_address spec.endpoints[0] (like 127.0.0.1:80, [::1]:80, name:80 or unix:/path)",
  ],
  [
    "Service",
    "{ endpoints: [{ host: a, port: 80 }] }",
    "missing_field spec.endpoints[0].address",
    "unknown_key spec.endpoints[0].host (known: address, labels, weight)",
    "unknown_key spec.endpoints[0].port (known: address, labels, weight)",
  ],
  ["Service", "{ endpoints: 127.0.0.1:80 }", "wrong_type spec.endpoints (write it as a list: [ … ])"],
  ["Service", "{ endpoint: ['127.0.0.1:80'] }", "unknown_key spec.endpoint (did you mean endpoints?)"],
  [
    "Service",
    "{ endpoints: ['127.0.0.1:80'], balancing: round_robin }",
    "unknown_value spec.balancing (did you mean round-robin?)",
  ],
  ["Service", "{ endpoints: ['127.0.0.1:80'], balancing: leastconn }", "unknown_value spec.balancing"],
  [
    "Service",
    "{ endpoints: ['127.0.0.1:80'], tls: true }",
    "wrong_type spec.tls (with serverName, ca, verify, certificate, key, minVersion)",
  ],
  [
    "Service",
    "{ endpoints: ['127.0.0.1:99999'] }",
    "bad_address spec.endpoints[0] (like 127.0.0.1:80, [::1]:80, name:80 or unix:/path)",
  ],
  ["Service", "{ dns: a.example }", "wrong_type spec.dns (with host, type, port, minTtl, maxTtl, servers)"],
  ["Service", "{ dns: { host: a.example, type: CNAME } }", "unknown_value spec.dns.type"],
  ["Gateway", "{ listeners: [{ port: '8080' }] }", "wrong_type spec.listeners[0].port (write it without quotes)"],
  ["Gateway", "{ listeners: [{ port: 8080, protocol: http }] }", "unknown_value spec.listeners[0].protocol (did you mean HTTP?)"],
  [
    "Gateway",
    "{ listeners: [{ port: 8080, protocol: HTTP2 }] }",
    "unknown_value spec.listeners[0].protocol (did you mean HTTP?)",
  ],
  ["Gateway", "{ listeners: { port: 8080 } }", "wrong_type spec.listeners (write it as a list: [ … ])"],
  ["Gateway", "{ port: 8080 }", "missing_field spec.listeners", "unknown_key spec.port (it belongs into spec.listeners[])"],
  ["Gateway", "{ listeners: [{ port: 70000 }] }", "out_of_range spec.listeners[0].port"],
  [
    "Gateway",
    "{ listeners: [{ port: 8443, protocol: HTTPS }] }",
    "conflicting_fields spec.listeners[0].protocol (add tls.certificates)",
  ],
  [
    "Gateway",
    "{ listeners: [{ port: 8443, tls: { certificate: a.pem, key: b.pem } }] }",
    "unknown_key spec.listeners[0].tls.certificate (did you mean certificates?)",
    "unknown_key spec.listeners[0].tls.key (it belongs into spec.listeners[].tls.certificates[])",
  ],
  [
    "Gateway",
    "{ listeners: [{ port: 8443, tls: { minVersion: 1.2, certificates: [{ certificate: a.pem, key: b.pem }] } }] }",
    "unknown_value spec.listeners[0].tls.minVersion",
    "wrong_type spec.listeners[0].tls.certificates[0].certificate (with file, inline)",
    "wrong_type spec.listeners[0].tls.certificates[0].key (with file, inline)",
  ],
  [
    "Gateway",
    "{ listeners: [{ port: 80, compression: true }] }",
    "wrong_type spec.listeners[0].compression (with algorithms, minSize, types, level)",
  ],
  [
    "Gateway",
    "{ listeners: [{ port: 80, compression: { algorithms: [brotli] } }] }",
    "unknown_value spec.listeners[0].compression.algorithms[0] (did you mean br?)",
  ],
  ["Gateway", "{ listeners: [{ port: 80, allowTrace: yes }] }", "wrong_type spec.listeners[0].allowTrace (write true)"],
  [
    "Gateway",
    "{ listeners: [{ port: 80, address: '*' }] }",
    "bad_address spec.listeners[0].address (like 0.0.0.0, 127.0.0.1 or ::)",
  ],
  ["Filter", "{ module: rate-limit }", "wrong_type spec.module (with builtin, file, digest, oci)"],
  ["Filter", "{ module: { builtin: ratelimit } }", "unknown_value spec.module.builtin (did you mean rate-limit?)"],
  ["Filter", "{ module: { builtin: authz }, onFailure: open-it }", "unknown_value spec.onFailure (did you mean open?)"],
  ["Filter", "{ module: { builtin: authz }, onFailure: allow }", "unknown_value spec.onFailure"],
  ["Filter", "{ builtin: authz }", "missing_field spec.module", "unknown_key spec.builtin (it belongs into spec.module)"],
  [
    "Filter",
    "{ module: { builtin: authz }, config: {} }",
    "unknown_key spec.config (known: module, settings, onFailure, pauseHolds, rootId, isolated, disabled, release, budget, capabilities)",
  ],
  ["Filter", "{ module: { builtin: authz }, settings: [] }", "wrong_type spec.settings"],
  ["Filter", "{ module: { builtin: authz, file: x.wasm } }", "choose_one spec.module"],
  ["Filter", "{ module: { digest: abc } }", "unknown_module spec.module.digest (sha256: and 64 hex digits)"],
  [
    "Filter",
    "{ module: { builtin: authz }, capabilities: [log] }",
    "wrong_type spec.capabilities (with callouts, sharedData, rateLimit, clock, random, metrics, log, respond, bodies, headers, attributes, nats)",
  ],
  [
    "Filter",
    "{ module: { builtin: authz }, capabilities: { bodies: read } }",
    "wrong_type spec.capabilities.bodies (with request, response)",
  ],
  [
    "Filter",
    "{ module: { builtin: authz }, capabilities: { bodies: { request: rw } } }",
    "unknown_value spec.capabilities.bodies.request",
  ],
  [
    "Mesh",
    "{ accessLog: false }",
    "wrong_type spec.accessLog (with enabled, path, sample, filter, filters, slowFilter, requestHeaders, responseHeaders)",
  ],
  ["Mesh", "{ accessLog: { sample: 50 } }", "out_of_range spec.accessLog.sample"],
  ["Mesh", "{ trustedProxies: 10.0.0.0/8 }", "wrong_type spec.trustedProxies (write it as a list: [ … ])"],
  ["Mesh", "{ trustedProxies: [10.0.0.1/8] }", "bad_cidr spec.trustedProxies[0] (did you mean 10.0.0.0/8)"],
  ["Mesh", "{ drain: 5s }", "wrong_type spec.drain (with grace, tunnelGrace)"],
  ["Mesh", "{ accesslog: {} }", "unknown_key spec.accesslog (did you mean accessLog?)"],
  ["Authentication", "{ jwt: { issuer: a } }", "wrong_type spec.jwt (write it as a list: [ … ])"],
  [
    "Authentication",
    "{ jwt: [{ name: a, issuer: i, audiences: a, jwks: x }] }",
    "wrong_type spec.jwt[0].audiences (write it as a list: [ … ])",
    "wrong_type spec.jwt[0].jwks (with inline, file, url, ca, cache, allowPrivate)",
  ],
  [
    "Authentication",
    "{ jwt: [{ name: a, issuer: i, audiences: [a], jwks: { url: 'http://x' } }] }",
    "bad_url spec.jwt[0].jwks.url (http needs allowPrivate: true)",
  ],
  [
    "Authentication",
    "{ jwt: [{ name: a, issuer: i, audiences: [a], algorithms: [none], jwks: { url: 'https://x' } }] }",
    "unknown_value spec.jwt[0].algorithms[0]",
  ],
  [
    "Authentication",
    "{ jwt: [{ name: a, issuer: i, audiences: [a], algorithms: [rs256], jwks: { url: 'https://x' } }] }",
    "unknown_value spec.jwt[0].algorithms[0] (did you mean RS256?)",
  ],
  ["", "kind: Route\n", "not_a_resource  (apiVersion: selvedge.dev/v1, kind, metadata and spec)"],
  ["", "apiVersion: v1\nkind: Route\nmetadata: { name: a }\nspec: {}\n", "unsupported_dialect apiVersion"],
  [
    "",
    "apiVersion: selvedge/v1\nkind: Route\nmetadata: { name: a }\nspec: {}\n",
    "unknown_api_version apiVersion (it is selvedge.dev/v1)",
  ],
  ["route", "{}", "unknown_kind kind (did you mean Route?)"],
  ["Routes", "{}", "unknown_kind kind (did you mean Route?)"],
  ["VirtualService", "{}", "unknown_kind kind (known: Gateway, Route, Service, Filter, Authentication, Mesh)"],
  ["", "hello\n", "not_a_resource  (apiVersion: selvedge.dev/v1, kind, metadata and spec)"],
  ["", "- a\n", "not_a_resource  (apiVersion: selvedge.dev/v1, kind, metadata and spec)"],
  [
    "",
    "apiVersion: selvedge.dev/v1\nkind: Route\nname: a\nspec: { rules: [{ respond: {} }] }\n",
    "missing_field metadata",
    "unknown_key name (it belongs into metadata)",
  ],
  [
    "",
    "apiVersion: selvedge.dev/v1\nkind: Route\nmetadata:\nname: a\nspec: { rules: [{ respond: {} }] }\n",
    "wrong_type metadata (indent what belongs to it further than the key)",
    "unknown_key name (it belongs into metadata)",
  ],
  [
    "",
    "apiVersion: selvedge.dev/v1\nkind: Route\nmetadata: { name: a }\nrules: [{ respond: {} }]\n",
    "missing_field spec",
    "unknown_key rules (it belongs into spec)",
  ],
  [
    "",
    "apiVersion: selvedge.dev/v1\nkind: Route\nmetadata: { name: a_b }\nspec: { rules: [{ respond: {} }] }\n",
    "bad_name metadata.name (lower-case letters, digits and `-` and `.`, beginning and ending with a letter or digit, at most 253)",
  ],
  // `nats pub selvedge.config.apply shop.yaml`
  ["", "shop.yaml", 'not_a_resource  (that is the name of a file: send what is in it, "$(cat shop.yaml)")'],
  // `nats pub selvedge.config.apply < shop.yaml`
  ["", "!nil!", 'yaml_syntax  (`nats pub` got no text to send: put it behind the subject, "$(cat shop.yaml)")'],
  ["", "shop.yaml is it", "not_a_resource  (apiVersion: selvedge.dev/v1, kind, metadata and spec)"],
];

describe("typical mistakes", () => {
  for (const [kind, text, ...said] of MISTAKES) {
    test(`${kind} ${text}`.replaceAll("\n", " | "), () => {
      const whole = kind === "" ? text : `apiVersion: selvedge.dev/v1\nkind: ${kind}\nmetadata: { name: r }\nspec: ${text}\n`;
      const { all } = compileText(whole);
      assert.deepEqual(
        all.map(({ code, path, hint }) => `${code} ${path}${hint === "" ? "" : ` (${hint})`}`),
        said,
      );
      for (const { line, column } of all) assert.ok(line > 0 && column > 0);
    });
  }
});
