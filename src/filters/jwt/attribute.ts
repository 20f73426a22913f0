import { Buffer } from "node:buffer";
import { type Bytes, utf8Bytes } from "../../core/bytes.ts";
import type { AttributeValue } from "../contract.ts";
import { principalOf } from "./claims.ts";

/** Who the caller is: the first token's `issuer/subject`, until a filter (authz) sets it to something better. */
export const PRINCIPAL_ATTRIBUTE = "selvedge.principal";

/** Where Envoy's jwt_authn leaves verified claims. */
export const JWT_NAMESPACE = "envoy.filters.http.jwt_authn";

/**
 * The attribute at `["metadata", "filter_metadata", "envoy.filters.http.jwt_authn", provider, claim, …]`, serialised as the
 * real Envoy does it: text in UTF-8, a number as a double (8 bytes little-endian), a boolean as one byte, an object as pairs,
 * a list as pairs of value and nothing. A list's elements are reached by index. Undefined: not found, or null.
 */
export function readJwtAttribute(
  payloads: readonly { readonly provider: string; readonly claims: Readonly<Record<string, unknown>> }[],
  path: readonly string[],
): AttributeValue | undefined {
  if (path[0] === PRINCIPAL_ATTRIBUTE && path.length === 1) {
    const principal = payloads[0] === undefined ? undefined : principalOf(payloads[0].claims);
    return principal === undefined ? undefined : utf8Bytes(principal);
  }
  if (path[0] !== "metadata" || path[1] !== "filter_metadata" || path[2] !== JWT_NAMESPACE) return undefined;
  let value: unknown = payloads.find((each) => each.provider === path[3])?.claims;
  for (let i = 4; i < path.length && value !== undefined; i++) value = step(value, path[i] as string);
  return value === undefined ? undefined : serialise(value);
}

function step(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  if (Array.isArray(value)) {
    const index = Number(key);
    return String(index) === key ? (value as readonly unknown[])[index] : undefined;
  }
  return Object.hasOwn(value, key) ? (value as Readonly<Record<string, unknown>>)[key] : undefined;
}

function serialise(value: unknown): Bytes | undefined {
  switch (typeof value) {
    case "string":
      return utf8Bytes(value);
    case "boolean":
      return Uint8Array.of(value ? 1 : 0);
    case "number": {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleLE(value);
      return bytes;
    }
    case "object": {
      if (value === null) return undefined;
      const empty = new Uint8Array(0);
      if (Array.isArray(value)) return pairs(value.map((each): [Bytes, Bytes] => [serialise(each) ?? empty, empty]));
      return pairs(Object.entries(value).map(([key, each]): [Bytes, Bytes] => [utf8Bytes(key), serialise(each) ?? empty]));
    }
    default:
      return undefined;
  }
}

/** `u32 count`, `u32 nameLength, u32 valueLength` each, then `name NUL value NUL` each. */
function pairs(entries: readonly (readonly [Bytes, Bytes])[]): Bytes {
  let size = 4;
  for (const [name, value] of entries) size += 10 + name.byteLength + value.byteLength;
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32LE(entries.length, 0);
  let at = 4 + entries.length * 8;
  entries.forEach(([name, value], i) => {
    bytes.writeUInt32LE(name.byteLength, 4 + i * 8);
    bytes.writeUInt32LE(value.byteLength, 8 + i * 8);
    bytes.set(name, at);
    at += name.byteLength + 1;
    bytes.set(value, at);
    at += value.byteLength + 1;
  });
  return bytes;
}
