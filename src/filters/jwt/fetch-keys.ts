import { Buffer } from "node:buffer";
import { lookup } from "node:dns/promises";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { type Bytes, concatBytes, utf8TextStrict } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import { JWT_LIMITS } from "../../core/limits.ts";
import { isPrivateAddress } from "../../core/private-addresses.ts";

/** Where keys are fetched from. */
export interface KeyUrl {
  readonly url: string;
  /** CAs trusted for it; undefined: the system's. */
  readonly caPem: string | undefined;
  /** Allow loopback, link-local and private addresses. */
  readonly allowPrivate: boolean;
}

/**
 * Fetches the text of a key set. Every address of the host is checked, and the connection goes to the very address that was
 * checked (no second look-up to rebind). No redirects, a bounded size and time. Rejects with an `Error` that says why.
 */
export async function fetchKeys(from: KeyUrl, clock: Clock): Promise<string> {
  const url = new URL(from.url);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && from.allowPrivate))
    throw new Error("keys are fetched over https");
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  let abandon: (() => void) | undefined;
  const late = new Promise<never>((_, reject) => {
    const timer = clock.setTimer(JWT_LIMITS.fetchMs, () => reject(new Error(`no answer within ${JWT_LIMITS.fetchMs} ms`)));
    abandon = () => timer.cancel();
  });
  const stop = new AbortController();
  try {
    const address = await Promise.race([resolvePublic(host, from.allowPrivate), late]);
    return await Promise.race([get(url, host, address, from.caPem, stop.signal), late]);
  } finally {
    abandon?.();
    stop.abort();
  }
}

/** One address of the host; refused when any of them is private, because which one is taken would be chance. */
async function resolvePublic(host: string, allowPrivate: boolean): Promise<string> {
  const addresses = isIP(host) !== 0 ? [host] : (await lookup(host, { all: true })).map((each) => each.address);
  const first = addresses[0];
  if (first === undefined) throw new Error(`${host} has no address`);
  if (!allowPrivate && addresses.some(isPrivateAddress)) throw new Error(`${host} leads to a private address`);
  return first;
}

function get(url: URL, host: string, address: string, ca: string | undefined, signal: AbortSignal): Promise<string> {
  const secure = url.protocol === "https:";
  const options = {
    host: address,
    port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    method: "GET",
    agent: false as const,
    signal,
    headers: { host: url.host, accept: "application/jwk-set+json, application/json", connection: "close" },
    ...(secure
      ? { servername: isIP(host) === 0 ? host : "", rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) }
      : {}),
  };
  return new Promise((resolve, reject) => {
    const outgoing = (secure ? httpsRequest : httpRequest)(options, (answer) => {
      // A redirect could lead anywhere: an answer is 200 or none.
      if (answer.statusCode !== 200) {
        reject(new Error(`status ${answer.statusCode}`));
        answer.destroy();
        return;
      }
      const parts: Bytes[] = [];
      let size = 0;
      answer.on("data", (part: Buffer) => {
        size += part.byteLength;
        if (size > JWT_LIMITS.jwksBytes) {
          reject(new Error(`more than ${JWT_LIMITS.jwksBytes} bytes`));
          answer.destroy();
          return;
        }
        parts.push(Buffer.from(part));
      });
      answer.on("end", () => {
        try {
          resolve(parts.length === 0 ? "" : utf8TextStrict(concatBytes(parts)));
        } catch (error) {
          reject(error as Error);
        }
      });
      answer.on("error", reject);
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}
