import { expect, test } from "bun:test";
import { FilterBench } from "../../test/kit/filters.ts";
import type { PeerCertificate, TlsInfo } from "../runtime/net.ts";
import { type ExchangeFacts, readAttribute } from "./attributes.ts";

const NAMES = ["uri_san_peer_certificate", "dns_san_peer_certificate", "subject_peer_certificate"];

/** What a filter reads of the connection when its peer shows a certificate. */
function readOf(peer: Partial<PeerCertificate> | undefined): (name: string) => unknown {
  const exchange = new FilterBench().exchange([]);
  const uris = ["spiffe://mesh/ns/shop/sa/cart"];
  const shown = { der: new Uint8Array(), uris, dnsNames: ["cart.example"], subject: "CN=cart", fingerprint: "ab" };
  const certificate = peer === undefined ? undefined : { verified: false, ...shown, ...peer };
  const tls: TlsInfo = { version: "TLSv1.3", cipher: "x", serverName: "shop.example", alpn: undefined, peer: certificate };
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
