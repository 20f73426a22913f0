import { Failure } from "../../core/failure.ts";
import type { HeaderBlock } from "../../core/head.ts";
import { kindOf as forwardingKindOf, isAlias, NAME } from "../forwarding-names.ts";
import { type FieldRules, HeadFields, readFields } from "./fields.ts";
import { KIND, kindOf } from "./names.ts";
import type { LineScanner } from "./scan.ts";

/**
 * Fields that mean something only in front of the body (RFC 9110 §6.5.1): dropped from trailers, so that nobody merges them
 * into a head that was already judged. The codec's own ones (framing, Host, Connection) are refused: they can only be an attack.
 */
const DROPPED = new Set(
  `authorization proxy-authorization proxy-authenticate www-authenticate cookie set-cookie cache-control content-encoding
  content-type content-range content-language content-location trailer max-forwards pragma range if-match if-none-match
  if-modified-since if-unmodified-since if-range age date expires location retry-after vary warning forwarded via origin
  x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-forwarded-client-cert x-real-ip x-request-id
  x-api-key traceparent tracestate`.split(/\s+/),
);

/** Besides: whatever says where a request came from, and what is the mesh's own, in all spellings. In a head both were replaced. */
const isDropped = (name: string): boolean =>
  DROPPED.has(name) || forwardingKindOf(name) !== NAME.keep || isAlias(name, "x-request-id");

/** May this field stand in trailers that we write? */
export const isTrailer = (name: string): boolean => kindOf(name) === KIND.plain && !isDropped(name);

/** The trailers in the scanner; undefined when there are none left. */
export function readTrailers(scanner: LineScanner, rules: FieldRules): HeaderBlock | undefined | Failure {
  if (scanner.lines === 0) return undefined;
  const fields = new HeadFields();
  const text = scanner.bytes.latin1Slice(0, scanner.at);
  const failure = readFields(scanner, text, 0, rules, fields);
  if (failure !== undefined) return failure;
  if (fields.special > 0) return new Failure("bad_header", "framing or routing in trailers");
  const { block } = fields;
  for (const name of block.names.slice()) if (isDropped(name)) block.remove(name);
  return block.length > 0 ? block : undefined;
}
