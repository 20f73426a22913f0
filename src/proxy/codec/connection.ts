import { Failure } from "../../core/failure.ts";
import { CODEC_LIMITS } from "../../core/limits.ts";
import { isAll, TOKEN } from "./chars.ts";

/** What `Connection` says (RFC 9110 §7.6.1). */
export interface ConnectionOptions {
  close: boolean;
  persist: boolean;
  upgradeOption: boolean;
  options: string[] | undefined;
}

/**
 * Fields that no Connection option may take out: they frame, route, authenticate or trace the message, so whoever names one
 * wants the next hop to see another message than we saw. Downstream that is refused; an upstream's slip leaves the field in.
 */
const PROTECTED = new Set(
  `host content-length content-type content-encoding content-range authorization proxy-authorization cookie set-cookie
  cache-control expect date range forwarded via max-forwards traceparent tracestate x-api-key x-forwarded-for
  x-forwarded-proto x-forwarded-host x-forwarded-port x-forwarded-client-cert x-real-ip x-request-id origin`.split(/\s+/),
);

/** Adds what one Connection field says. */
export function readConnection(
  value: string,
  protectedOption: "reject" | "ignore",
  into: ConnectionOptions,
): Failure | undefined {
  // By far the most common ones.
  if (value === "keep-alive") {
    into.persist = true;
    return undefined;
  }
  if (value === "close") {
    into.close = true;
    return undefined;
  }
  for (const part of value.toLowerCase().split(",")) {
    const option = trimSpace(part);
    if (option === "") continue;
    if (!isAll(option, TOKEN)) return new Failure("bad_header", "malformed Connection");
    if (option === "close") into.close = true;
    else if (option === "keep-alive") into.persist = true;
    else if (option === "upgrade") into.upgradeOption = true;
    else if (option === "te" || option === "transfer-encoding") continue;
    else if (PROTECTED.has(option)) {
      if (protectedOption === "reject") return new Failure("bad_header", "Connection names an end-to-end field");
    } else {
      into.options ??= [];
      if (into.options.length >= CODEC_LIMITS.connectionOptions) return new Failure("bad_header", "too many Connection options");
      into.options.push(option);
    }
  }
  return undefined;
}

/** Without SP and HTAB at both ends (not what `trim` takes for space). */
export function trimSpace(text: string): string {
  let from = 0;
  let to = text.length;
  while (from < to && isSpace(text.charCodeAt(from))) from++;
  while (to > from && isSpace(text.charCodeAt(to - 1))) to--;
  return text.substring(from, to);
}

const isSpace = (code: number): boolean => code === 0x20 || code === 0x09;
