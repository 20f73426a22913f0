import { Failure } from "../../core/failure.ts";
import { canonicalIpv6Host } from "../../core/ip.ts";
import { HOST_NAME } from "./chars.ts";

const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: "80", https: "443" };

/**
 * An authority as routing, policy, filters and upstream see it (RFC 9110 §4.2.3, RFC 3986 §3.2.2):
 *
 * | written | becomes |
 * |---|---|
 * | `Shop.Example.ORG` | `shop.example.org` |
 * | `shop.example.org.` | `shop.example.org` (one trailing dot) |
 * | `a:80` on http, `a:443` on https | `a` |
 * | `a:8080`, `[::1]:8080` | kept |
 * | `a:`, `a:080`, `a:0`, `a:65536`, `a:b` | refused |
 * | `u@a`, `a/b`, `a,b`, `a%2eb`, `..`, `a..b`, empty | refused |
 * | `1.2.3.4` | kept; `1.2.3`, `1.2.3.256`, `01.2.3.4`, `0x7f.1`: a last label that looks like a number must end a dotted quad |
 * | `[2001:DB8:0:0::1]` | `[2001:db8::1]` (RFC 5952 §4) |
 * | `[::ffff:1.2.3.4]`, `[::ffff:102:304]` | `1.2.3.4`, which is what they stand for |
 * | `[fe80::1%25eth0]`, `[fe80::1%eth0]`, `[v1.x]`, `[1.2.3.4]` | refused: zone ids, IPvFuture, malformed addresses |
 */
export function normaliseAuthority(raw: string, scheme: string): string | Failure {
  const text = raw.toLowerCase();
  let nameEnd = text.length;
  let port = "";
  let address: string | undefined;
  if (text.charCodeAt(0) === 0x5b /* [ */) {
    const close = text.indexOf("]");
    address = canonicalIpv6Host(text.substring(1, close));
    if (close < 0 || address === undefined) return new Failure("bad_host", "malformed IPv6 address");
    nameEnd = close + 1;
    if (nameEnd < text.length && text.charCodeAt(nameEnd) !== 0x3a) return new Failure("bad_host", "bytes behind the address");
  } else {
    nameEnd = 0;
    while (nameEnd < raw.length && HOST_NAME[raw.charCodeAt(nameEnd)] === 1) nameEnd++;
    if (nameEnd < raw.length && raw.charCodeAt(nameEnd) !== 0x3a) return new Failure("bad_host", "malformed name");
  }
  if (nameEnd < text.length) {
    port = text.substring(nameEnd + 1);
    if (!isPort(port)) return new Failure("bad_host", "malformed port");
    if (port === DEFAULT_PORTS[scheme]) port = "";
  }
  let name = address ?? text.substring(0, nameEnd);
  if (address === undefined) {
    if (name.length > 1 && name.charCodeAt(name.length - 1) === 0x2e) name = name.substring(0, name.length - 1);
    if (!isHostName(name)) return new Failure("bad_host", "malformed name");
  }
  return port === "" ? name : `${name}:${port}`;
}

function isPort(port: string): boolean {
  if (port.length === 0 || port.length > 5 || port.charCodeAt(0) === 0x30) return false;
  let value = 0;
  for (let i = 0; i < port.length; i++) {
    const digit = port.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return false;
    value = value * 10 + digit;
  }
  return value <= 65_535;
}

function isHostName(name: string): boolean {
  if (name.length > 253) return false;
  const labels = name.split(".");
  for (const label of labels) if (label === "" || label.length > 63) return false;
  const last = labels[labels.length - 1] as string;
  return looksNumeric(last) ? labels.length === 4 && labels.every(isOctet) : true;
}

/** What `inet_aton` and browsers would take for a number. */
function looksNumeric(label: string): boolean {
  if (label.startsWith("0x")) return true;
  for (let i = 0; i < label.length; i++) {
    const code = label.charCodeAt(i);
    if (code < 0x30 || code > 0x39) return false;
  }
  return true;
}

function isOctet(text: string): boolean {
  if (text.length > 3 || (text.length > 1 && text.charCodeAt(0) === 0x30)) return false;
  return looksNumeric(text) && Number(text) <= 255;
}
