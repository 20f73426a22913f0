import { assert } from "../../core/assert.ts";
import { TOKEN } from "./chars.ts";

/** What the codec itself does with a field. 0: nothing, it is passed on. */
export const KIND = {
  plain: 0,
  host: 1,
  contentLength: 2,
  transferEncoding: 3,
  connection: 4,
  keepAlive: 5,
  upgrade: 6,
  te: 7,
  expect: 8,
  /** Hop-by-hop and of no interest: dropped. */
  dropped: 9,
} as const;

/** Fields of credentials, and of addresses that may carry one: their values are not kept for the next head. */
const SECRET: ReadonlySet<string> = new Set([
  ...["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"],
  ...["location", "referer", "sec-websocket-protocol"],
]);

const SPECIAL: Readonly<Record<string, number>> = {
  host: KIND.host,
  "content-length": KIND.contentLength,
  "transfer-encoding": KIND.transferEncoding,
  connection: KIND.connection,
  "keep-alive": KIND.keepAlive,
  upgrade: KIND.upgrade,
  te: KIND.te,
  expect: KIND.expect,
  "proxy-connection": KIND.dropped,
  "http2-settings": KIND.dropped,
};

/** Names that come without an allocation; the special ones are added. */
const COMMON = `accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-credentials
access-control-allow-headers access-control-allow-methods access-control-allow-origin access-control-expose-headers
access-control-max-age access-control-request-headers access-control-request-method age allow alt-svc authorization baggage
cache-control content-disposition content-encoding content-language content-location content-range content-security-policy
content-type cookie date dnt etag forwarded from grpc-accept-encoding grpc-encoding grpc-timeout if-match if-modified-since
if-none-match if-range if-unmodified-since last-modified link location max-forwards nel origin permissions-policy pragma
priority proxy-authenticate proxy-authorization range referer referrer-policy report-to retry-after sec-ch-ua
sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user sec-gpc
sec-websocket-accept sec-websocket-extensions sec-websocket-key sec-websocket-protocol sec-websocket-version server
server-timing set-cookie strict-transport-security timing-allow-origin traceparent tracestate trailer transfer-encoding
upgrade-insecure-requests user-agent vary via warning www-authenticate x-api-key x-content-type-options x-correlation-id
x-envoy-upstream-service-time x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto
x-frame-options x-powered-by x-real-ip x-request-id x-requested-with x-xss-protection`.split(/\s+/);

/** tchars folded to 64 classes, 0 for what is no tchar. Upper and lower case are one class. */
export const CLASS = new Uint8Array(256);
{
  let classes = 0;
  for (let byte = 0; byte < 256; byte++) {
    if (TOKEN[byte] !== 1 || (byte >= 0x41 && byte <= 0x5a)) continue;
    CLASS[byte] = ++classes;
    if (byte >= 0x61 && byte <= 0x7a) CLASS[byte - 32] = classes;
  }
}

// A trie over classes: one look per byte both checks that it is a tchar and finds known names, with no second comparison.
const DEAD = 0;
const ROOT = 1;
const NEXT = new Uint16Array(4096 * 64);
const KNOWN: (string | undefined)[] = [undefined, undefined];
const KINDS: number[] = [0, 0];
/** A name that is not known may be one of a credential. */
const SECRETS: boolean[] = [true, true];
for (const name of [...Object.keys(SPECIAL), ...COMMON]) {
  let node = ROOT;
  for (let i = 0; i < name.length; i++) {
    const slot = (node << 6) | (CLASS[name.charCodeAt(i)] as number);
    if (NEXT[slot] === DEAD) NEXT[slot] = KNOWN.push(undefined) - 1;
    node = NEXT[slot] as number;
  }
  KNOWN[node] = name;
  KINDS[node] = SPECIAL[name] ?? KIND.plain;
  SECRETS[node] = SECRET.has(name);
}
// Beyond it names would be forgotten silently.
assert(KNOWN.length <= NEXT.length >> 6, "too many names for the trie");

/** Reads one field name; the result is in its fields until the next call (nothing is allocated for known names). */
export const nameReader = {
  /** Position of the first byte that is no tchar. */
  end: 0,
  /** The interned lower-case name, or undefined when it is not a known one. */
  name: undefined as string | undefined,
  kind: 0,
  /** The value may be a credential. */
  secret: false,

  read(bytes: Uint8Array, start: number, limit: number): void {
    let node = ROOT;
    let at = start;
    while (at < limit) {
      const each = CLASS[bytes[at] as number] as number;
      if (each === 0) break;
      node = NEXT[(node << 6) | each] as number;
      at++;
    }
    this.end = at;
    this.name = KNOWN[node];
    this.kind = KINDS[node] as number;
    this.secret = SECRETS[node] !== false;
  },
};

/** Special names and their kinds by first letter and length: nearly every other name is told from them without a look at it. */
const SLOT_NAMES: (string | undefined)[] = new Array(32 * 32).fill(undefined);
const SLOT_KINDS = new Array<number>(32 * 32).fill(KIND.plain);
const slotOf = (name: string): number => ((name.charCodeAt(0) & 31) << 5) | name.length;
for (const [name, kind] of Object.entries(SPECIAL)) {
  assert(SLOT_NAMES[slotOf(name)] === undefined, "two special names in one slot");
  SLOT_NAMES[slotOf(name)] = name;
  SLOT_KINDS[slotOf(name)] = kind;
}

/** The kind of a lower-case name; for writers. */
export function kindOf(name: string): number {
  if (name.length > 31) return KIND.plain;
  const slot = slotOf(name);
  return SLOT_NAMES[slot] === name ? (SLOT_KINDS[slot] as number) : KIND.plain;
}
