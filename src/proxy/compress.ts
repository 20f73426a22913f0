import type { CompressionConfig } from "../config/snapshot.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../core/head.ts";
import { type CompressionAlgorithm, supportsAlgorithm } from "./body-encoder.ts";
import { readQuality } from "./quality.ts";

export { BodyEncoder, type BodyEncoderHandler, type CompressionAlgorithm, supportsAlgorithm } from "./body-encoder.ts";

/**
 * Decides whether the answer's body is compressed, and how. Undefined: sent as it is. Changes `response` in place: `vary` whenever
 * the answer depends on Accept-Encoding; content-encoding, content-length, etag, accept-ranges and digests when it is compressed.
 * Left alone: HEAD, 206 and answers without body, those that are encoded already or say `no-transform`, types that are not
 * listed, and known lengths below `minBytes`. `text/event-stream` only when it is listed by its full name.
 */
export function negotiateCompression(
  config: CompressionConfig,
  request: RequestHead,
  response: ResponseHead,
): CompressionAlgorithm | undefined {
  const { headers } = response;
  if (!isEligible(config, response)) return undefined;
  addVary(headers);
  // The answer to HEAD has no body; its `vary` is that of GET.
  if (request.method === "HEAD") return undefined;
  const algorithm = chooseAlgorithm(config.algorithms, request.headers);
  if (algorithm === undefined) return undefined;
  headers.set("content-encoding", algorithm);
  headers.remove("content-length");
  // Ranges and digests are of bytes that nobody gets now (RFC 9110 §8.4, RFC 9530 §2).
  for (const name of ["accept-ranges", "content-digest", "repr-digest", "digest", "content-md5"]) headers.remove(name);
  // Two encodings are not byte for byte the same: a strong validator would claim it (RFC 9110 §8.8.1).
  const etag = headers.get("etag");
  if (etag?.startsWith('"')) headers.set("etag", `W/${etag}`);
  return algorithm;
}

// ---------------------------------------------------------------- what may be compressed

function isEligible(config: CompressionConfig, response: ResponseHead): boolean {
  const { status, headers, upgrade } = response;
  if (status < 200 || status === 204 || status === 205 || status === 206 || status === 304 || upgrade !== undefined) return false;
  if (headers.has("content-encoding") || headers.has("content-range")) return false;
  const length = headers.get("content-length");
  if (length !== undefined && Number(length) < config.minBytes) return false;
  const type = mediaType(headers.get("content-type"));
  if (type === "" || !isListed(config.types, type)) return false;
  return !headers.getAll("cache-control").some((value) => hasToken(value, "no-transform"));
}

/** `text/html` of `Text/HTML; charset=utf-8`; "" when there is none. */
function mediaType(value: string | undefined): string {
  if (value === undefined) return "";
  const end = value.indexOf(";");
  return (end < 0 ? value : value.slice(0, end)).trim().toLowerCase();
}

function isListed(types: readonly string[], type: string): boolean {
  if (types.includes(type)) return true;
  // Events must arrive one by one; an encoder would only hold them up.
  if (type === "text/event-stream") return false;
  return types.includes(`${type.slice(0, type.indexOf("/"))}/*`) || types.includes("*/*");
}

const hasToken = (value: string, token: string): boolean => value.split(",").some((each) => each.trim().toLowerCase() === token);

function addVary(headers: HeaderBlock): void {
  const values = headers.getAll("vary");
  if (values.some((value) => hasToken(value, "accept-encoding") || hasToken(value, "*"))) return;
  headers.set("vary", [...values, "accept-encoding"].filter((value) => value !== "").join(", "));
}

// ---------------------------------------------------------------- what the caller takes

/** RFC 9110 §12.5.3: the best quality wins, the configured order among equals; `identity` wins only when it is rated higher. */
function chooseAlgorithm(algorithms: readonly CompressionAlgorithm[], headers: HeaderBlock): CompressionAlgorithm | undefined {
  const accepted = readQualities(headers.getAll("accept-encoding"));
  if (accepted.size === 0) return undefined;
  const rest = accepted.get("*") ?? 0;
  let best: CompressionAlgorithm | undefined;
  let bestQuality = 0;
  for (const algorithm of algorithms) {
    const quality = accepted.get(algorithm) ?? rest;
    if (quality <= bestQuality || !supportsAlgorithm(algorithm)) continue;
    best = algorithm;
    bestQuality = quality;
  }
  return (accepted.get("identity") ?? 0) > bestQuality ? undefined : best;
}

/** Quality by coding, lower case. A coding named twice counts with its lowest; one that is malformed not at all. */
function readQualities(values: readonly string[]): Map<string, number> {
  const qualities = new Map<string, number>();
  for (const part of values.join(",").split(",")) {
    const [coding = "", ...parameters] = part.split(";").map((each) => each.trim().toLowerCase());
    if (coding === "") continue;
    const quality = readQuality(parameters);
    // RFC 9110 §8.4.1.3: `x-gzip` is `gzip`.
    const name = coding === "x-gzip" ? "gzip" : coding;
    qualities.set(name, Math.min(qualities.get(name) ?? 1, quality));
  }
  return qualities;
}
