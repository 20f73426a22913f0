import { expect, test } from "bun:test";
import { FilterBench } from "../../test/kit/filters.ts";
import { Failure } from "../core/failure.ts";
import type { PeerCertificate, TlsInfo } from "../runtime/net.ts";
import { type ExchangeFacts, readAttribute } from "./attributes.ts";

const NAMES = ["uri_san_peer_certificate", "dns_san_peer_certificate", "subject_peer_certificate"];

/** What a filter reads of the connection when its peer shows a certificate. */
function readOf(peer: Partial<PeerCertificate> | undefined, serverName = "shop.example"): (name: string) => unknown {
  const exchange = new FilterBench().exchange([]);
  const uris = ["spiffe://mesh/ns/shop/sa/cart"];
  const shown = { der: new Uint8Array(), uris, dnsNames: ["cart.example"], subject: "CN=cart", fingerprint: "ab" };
  const certificate = peer === undefined ? undefined : { verified: false, ...shown, ...peer };
  const tls: TlsInfo = { version: "TLSv1.3", cipher: "x", serverName, alpn: undefined, peer: certificate };
  const facts: ExchangeFacts = Object.assign(Object.create(exchange) as ExchangeFacts, {
    connection: { ...exchange.connection, tls },
  });
  const messages = { request: exchange.request, response: undefined, requestTrailers: undefined, responseTrailers: undefined };
  return (name) => readAttribute(["connection", name], messages, facts);
}

test("names in a certificate are read when our CA vouches for them", () => {
  const read = readOf({ verified: true });
  expect(NAMES.map(read)).toEqual(["spiffe://mesh/ns/shop/sa/cart", "cart.example", "CN=cart"]);
  expect(read("mtls")).toBe(true);
});

test("and are not there when nobody does: anybody can call himself anything", () => {
  for (const read of [readOf({ verified: false }), readOf(undefined)]) {
    expect(NAMES.map(read)).toEqual([undefined, undefined, undefined]);
    expect(read("mtls")).toBe(false);
  }
  // The key is proven in either case, so its certificate may be pinned.
  expect(readOf({ verified: false })("sha256_peer_certificate_digest")).toBe("ab");
});

test("a name that was asked for is its bytes: none becomes another, of which it has only the lower half", () => {
  expect(readOf(undefined)("requested_server_name")).toBe("shop.example");
  expect(readOf(undefined, "a\u010d\u010ab")("requested_server_name")).toBe("a\u00c4\u008d\u00c4\u008ab");
});

/** What a filter reads of the upstream when its connection is like this. */
function readUpstreamOf(change: Partial<ExchangeFacts>): (name: string) => unknown {
  const exchange = new FilterBench().exchange([]);
  const facts: ExchangeFacts = Object.assign(Object.create(exchange) as ExchangeFacts, change);
  const messages = { request: exchange.request, response: undefined, requestTrailers: undefined, responseTrailers: undefined };
  return (name) => readAttribute(["upstream", name], messages, facts);
}

test("the certificate of an upstream is read like that of a downstream, and its PEM as Envoy writes it", () => {
  const der = Uint8Array.from({ length: 100 }, (_, i) => i * 7);
  const peer: PeerCertificate = {
    ...{ verified: true, der, uris: ["spiffe://mesh/ns/shop/sa/stock"], dnsNames: [], subject: "CN=stock", fingerprint: "cd" },
  };
  const readOfPeer = (verified: boolean): ((name: string) => unknown) => {
    const tls: TlsInfo = { version: "TLSv1.2", cipher: "x", serverName: undefined, alpn: undefined, peer: { ...peer, verified } };
    const socket = { localAddress: "::1", localPort: 4000, tls };
    return readUpstreamOf({ attempt: { socket, endpoints: 3, connectMs: 2.5, backendMs: -1 } });
  };
  const read = readOfPeer(true);
  expect(["tls_version", "local_address", "num_endpoints"].map(read)).toEqual(["TLSv1.2", "[::1]:4000", 3]);
  expect(read("cx_pool_ready_duration")).toBe(2_000_000n);
  expect([...NAMES, "sha256_peer_certificate_digest"].map(read)).toEqual([peer.uris[0], undefined, "CN=stock", "cd"]);
  const pem = decodeURIComponent(read("peer_certificate") as string);
  expect(read("peer_certificate")).toMatch(/^-----BEGIN%20CERTIFICATE-----%0A[A-Za-z0-9%]+%0A-----END%20CERTIFICATE-----%0A$/);
  expect(pem.split("\n").map((line) => line.length)).toEqual([27, 64, 64, 8, 25, 0]);
  expect(Buffer.from(pem.split("\n").slice(1, 4).join(""), "base64")).toEqual(Buffer.from(der));
  const unvouched = readOfPeer(false);
  expect([...NAMES, "peer_certificate"].map(unvouched)).toEqual([undefined, undefined, undefined, undefined]);
  expect(unvouched("sha256_peer_certificate_digest")).toBe("cd");
});

test("why a connection failed is told in codes, never in a peer's words", () => {
  const reason = (failure: Failure | undefined): unknown => readUpstreamOf({ failure })("transport_failure_reason");
  const coded = (code: unknown): Error => Object.assign(new Error("not in the cert's names: DNS:<evil>"), { code });
  expect(reason(undefined)).toBe("");
  expect(reason(new Failure("upstream_tls", "", coded("CERT_HAS_EXPIRED")))).toBe("upstream_tls: CERT_HAS_EXPIRED");
  expect(reason(new Failure("upstream_tls", "", coded("<evil>")))).toBe("upstream_tls");
  expect(reason(new Failure("upstream_tls", "", coded("A".repeat(65))))).toBe("upstream_tls");
  expect(reason(new Failure("connect_failed", "", coded(7)))).toBe("connect_failed");
  expect(reason(new Failure("connect_timeout", "2000 ms"))).toBe("connect_timeout");
  // There was a connection: nothing is wrong with how it is made.
  expect(reason(new Failure("upstream_reset", "", coded("ECONNRESET")))).toBe("");
  expect(readUpstreamOf({ endpointKey: "" })("transport_failure_reason")).toBeUndefined();
});
