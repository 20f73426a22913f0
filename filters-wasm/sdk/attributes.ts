import { out, outLength, property, propertyAt } from "./host";
import { arenaAlloc, ByteString, utf8 } from "./memory";

/** Attributes that several filters read (Envoy's names, so that the modules run there as well). */

export const SOURCE_ADDRESS = utf8("source\0address");
/** Who the caller is, as the authz filter found out; later filters of the chain read it. */
export const PRINCIPAL = utf8("selvedge.principal");
const PEER_URI_SAN = utf8("connection\0uri_san_peer_certificate");
const ROUTE_NAME = utf8("xds\0route_name");
const ROUTE_NAME_OLD = utf8("route_name");
const CLAIMS = utf8("metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0");

/** The route's name; empty counts as missing. */
export function routeName(): bool {
  return (property(ROUTE_NAME) && outLength() > 0) || (property(ROUTE_NAME_OLD) && outLength() > 0);
}

/** URI SAN of the peer's certificate. */
export function peerIdentity(): bool {
  return property(PEER_URI_SAN) && outLength() > 0;
}

/** What authz found out, else the peer's certificate. */
export function principal(): bool {
  return (property(PRINCIPAL) && outLength() > 0) || peerIdentity();
}

/** Property path of a claim: `payload` is the metadata key of the verified token, `claim` names and indexes separated by dots. */
export function claimPath(payload: string, claim: string): ByteString {
  return utf8(String.UTF8.decodeUnsafe(changetype<usize>(CLAIMS), CLAIMS.length) + payload + "\0" + claim.split(".").join("\0"));
}

/** Element `index` of the list at a path; false when there is none or the value is no list. */
export function element(path: ByteString, index: i32): bool {
  const at = arenaAlloc(path.length + 4);
  memory.copy(at, changetype<usize>(path), path.length);
  store<u8>(at + path.length, 0);
  let length: usize = path.length + 1;
  if (index >= 10) store<u8>(at + length++, <u8>(0x30 + index / 10));
  store<u8>(at + length++, <u8>(0x30 + (index % 10)));
  return propertyAt(at, length);
}

/** Elements of one list that are looked at. */
export const LIST_MAX: i32 = 100;

/** A scalar claim as text that identifies it: strings are themselves. */
export function claimText(path: ByteString): bool {
  return property(path) && out() != 0 && outLength() > 0;
}
