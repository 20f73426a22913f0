import { Failure } from "../../core/failure.ts";
import type { HeaderBlock } from "../../core/head.ts";
import { isForbiddenTrailer } from "../../core/trailer-names.ts";
import { kindOf as forwardingKindOf, isAlias, NAME } from "../forwarding-names.ts";
import { isAll, TOKEN } from "./chars.ts";
import { trimSpace } from "./connection.ts";
import { type FieldRules, HeadFields, readFields } from "./fields.ts";
import { KIND, kindOf } from "./names.ts";
import type { LineScanner } from "./scan.ts";

/**
 * Fields that mean something only in front of the body are dropped from trailers (src/core/trailer-names.ts), so that nobody
 * merges them into a head that was already judged. The codec's own ones (framing, Host, Connection) are refused: they can only
 * be an attack. Which others a request may have is the listener's business.
 */
const REQUEST_ID: ReadonlySet<string> = new Set(["x-request-id"]);

/** Besides: whatever says where a request came from, and what is the mesh's own, in all spellings. In a head both were replaced. */
const isDropped = (name: string): boolean =>
  isForbiddenTrailer(name) || forwardingKindOf(name) !== NAME.keep || isAlias(name, REQUEST_ID);

/** May this field stand in trailers that we write? */
export const isTrailer = (name: string): boolean => kindOf(name) === KIND.plain && !isDropped(name);

/** The trailers in the scanner; undefined when there are none left. */
export function readTrailers(scanner: LineScanner, rules: FieldRules): HeaderBlock | undefined | Failure {
  if (scanner.lines === 0) return undefined;
  const fields = new HeadFields();
  const failure = readFields(scanner, 0, rules, fields);
  if (failure !== undefined) return failure;
  if (fields.special > 0) return new Failure("bad_header", "framing or routing in trailers");
  const { block } = fields;
  for (const name of block.names.slice()) if (isDropped(name)) block.remove(name);
  return block.length > 0 ? block : undefined;
}

/** What of a value of `Trailer` is true of trailers that we write; "": nothing. Untouched when all of it is. */
export function announcedIn(value: string, isSent: (name: string) => boolean): string {
  const names = value.split(",").map(trimSpace);
  const sent = names.filter((name) => isAll(name, TOKEN) && isSent(name.toLowerCase()));
  return sent.length === names.length ? value : sent.join(", ");
}

/** Takes out of `Trailer` what `keepTrailers` will take out of the trailers: all of it, when the body is one that has none. */
export function keepAnnounced(headers: HeaderBlock, allowed: readonly string[]): void {
  if (!headers.has("trailer")) return;
  const { names, values } = headers;
  const isBare = headers.has("content-length");
  for (let i = names.length - 1; i >= 0; i--) {
    if (names[i] !== "trailer") continue;
    const said = isBare ? "" : announcedIn(values[i] as string, (name) => allowed.includes(name));
    if (said === "") headers.removeAt(i);
    else values[i] = said;
  }
}

/** Those of `allowed` only; undefined when there are none left. */
export function keepTrailers(trailers: HeaderBlock, allowed: readonly string[]): HeaderBlock | undefined {
  for (let i = trailers.length - 1; i >= 0; i--) if (!allowed.includes(trailers.names[i] as string)) trailers.removeAt(i);
  return trailers.length > 0 ? trailers : undefined;
}
