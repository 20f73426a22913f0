/**
 * Which fields may stand behind a body (RFC 9110 §6.5.1). One table for the codec, which drops what may not, and for
 * configuration, which refuses to allow it.
 */

/** Fields that mean something only in front of the body; lower case. */
const FORBIDDEN: ReadonlySet<string> = new Set(
  // In turn: framing and routing; credentials; request modifiers; response control; content; browser policy; ids.
  `content-length transfer-encoding trailer te host connection keep-alive proxy-connection upgrade http2-settings
  forwarded via origin referer from user-agent x-requested-with alt-svc alt-used
  authorization proxy-authorization proxy-authenticate www-authenticate cookie cookie2 set-cookie set-cookie2 x-api-key
  cache-control expect max-forwards pragma range prefer priority
  if-match if-none-match if-modified-since if-unmodified-since if-range
  accept accept-charset accept-encoding accept-language accept-patch accept-post accept-ranges
  x-http-method x-http-method-override x-method-override
  age date expires location retry-after vary warning refresh link allow
  content-encoding content-type content-range content-language content-location content-disposition content-md5
  content-security-policy content-security-policy-report-only strict-transport-security clear-site-data
  cross-origin-embedder-policy cross-origin-opener-policy cross-origin-resource-policy permissions-policy referrer-policy
  x-frame-options x-content-type-options x-xss-protection
  x-request-id traceparent tracestate`.split(/\s+/),
);

/** May this field never stand in a trailer section? What says where a request came from is judged besides (forwarding names). */
export function isForbiddenTrailer(name: string): boolean {
  return FORBIDDEN.has(name) || name.startsWith("access-control-") || name.startsWith("sec-");
}

/** Fields of requests that are made for trailers: integrity and signatures of a body that is streamed. Default of listeners. */
export const REQUEST_TRAILERS = [
  "content-digest",
  "digest",
  "repr-digest",
  "signature",
  "signature-input",
  "x-amz-checksum-crc32",
  "x-amz-checksum-crc32c",
  "x-amz-checksum-crc64nvme",
  "x-amz-checksum-sha1",
  "x-amz-checksum-sha256",
  "x-amz-trailer-signature",
] as const;
