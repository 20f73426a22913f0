import type { HeaderBlock } from "../core/head.ts";

/** What a header name is to forwarding. */
export const NAME = {
  keep: 0,
  /** Says where a request came from: believed of trusted peers only. */
  forwarding: 1,
  /** Of the mesh itself, or an attack: nobody outside may send it. */
  internal: 2,
  trace: 3,
} as const;

/** Other names under which software believes a caller's address, host, method or path. Lower case, dashes. */
const FORWARDING_NAMES: ReadonlySet<string> = new Set([
  "fastly-client-ip",
  "forwarded",
  "true-client-ip",
  "x-appengine-user-ip",
  "x-azure-clientip",
  "x-azure-socketip",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-host",
  "x-original-forwarded-for",
  "x-original-host",
  "x-original-method",
  "x-original-path",
  "x-original-uri",
  "x-original-url",
  "x-originating-ip",
  "x-proxyuser-ip",
  "x-real-ip",
  "x-remote-addr",
  "x-remote-ip",
  "x-rewrite-url",
]);

/** What this proxy says of itself begins so. */
const OWN_PREFIX = "x-selvedge-";

/** Takes what only this proxy may say out of an upstream's answer, other spellings with it: nobody else speaks for the proxy. */
export function dropOwnHeaders(headers: HeaderBlock): void {
  const { names } = headers;
  for (let i = names.length - 1; i >= 0; i--) {
    const name = names[i] as string;
    // `x`, and `s` behind the dash: few names come further.
    if (name.charCodeAt(0) !== 0x78 || name.charCodeAt(2) !== 0x73) continue;
    if (name.startsWith(OWN_PREFIX) || name.replace(/[_.]/g, "-").startsWith(OWN_PREFIX)) headers.removeAt(i);
  }
}

/** One of `NAME` for a lower-case name. By the first letter almost every header is done with. */
export function kindOf(name: string): number {
  switch (name.charCodeAt(0)) {
    case 0x63 /* c */:
      return name === "client-ip" || name.startsWith("cf-connecting-ip") ? NAME.forwarding : NAME.keep;
    case 0x70 /* p */:
      // To CGI it is HTTP_PROXY, which many libraries take for their own proxy (CVE-2016-5385).
      return name === "proxy" ? NAME.internal : NAME.keep;
    case 0x74 /* t */:
      if (name === "traceparent" || name === "tracestate") return NAME.trace;
      break;
    case 0x66 /* f */:
    case 0x78 /* x */:
      break;
    default:
      return NAME.keep;
  }
  if (name.startsWith(OWN_PREFIX) || name === "x-forwarded-client-cert") return NAME.internal;
  if (name.startsWith("x-forwarded") || name.startsWith("x-envoy-") || FORWARDING_NAMES.has(name)) return NAME.forwarding;
  return NAME.keep;
}

/**
 * `x_forwarded_for`, `X.Forwarded.For`: gateways to CGI and its heirs take them for the same header, so no such alias of a header
 * that we own passes, whoever sent it. `owned`: names besides those of this file, lower case.
 */
export function isAlias(name: string, owned: ReadonlySet<string>): boolean {
  if (name.indexOf("_") < 0 && name.indexOf(".") < 0) return false;
  const plain = name.replace(/[_.]/g, "-");
  return kindOf(plain) !== NAME.keep || owned.has(plain);
}
