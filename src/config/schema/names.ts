import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import { z } from "zod";
import { canonicalIpv6Host } from "../../core/ip.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { Refusal, textOf } from "./text.ts";

const { nameChars, partNameChars, valueBytes } = CONFIG_LIMITS;

/** Name of a resource: lower-case letters, digits, `-` and `.`, as in Kubernetes (RFC 1123 subdomain). */
export function readName(text: string): string | Refusal {
  if (text.length <= nameChars && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text)) return text;
  return new Refusal("bad_name", `${show(text)} is not a name.`, nameHint("-` and `.", nameChars));
}

/** Name of a namespace, or of a listener, rule or subset: lower-case letters, digits and `-` (RFC 1123 label). */
export function readPartName(text: string): string | Refusal {
  if (text.length <= partNameChars && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(text)) return text;
  return new Refusal("bad_name", `${show(text)} is not a name.`, nameHint("-", partNameChars));
}

const nameHint = (marks: string, most: number) =>
  `lower-case letters, digits and \`${marks}\`, beginning and ending with a letter or digit, at most ${most}`;

/** `name` in the same namespace, or `namespace/name`. */
export function readReference(text: string): string | Refusal {
  const slash = text.indexOf("/");
  const namespace = slash < 0 ? undefined : readPartName(text.slice(0, slash));
  if (namespace instanceof Refusal) return namespace;
  const name = readName(text.slice(slash + 1));
  return name instanceof Refusal ? name : text;
}

/** A host in lower case without trailing dot; `wildcards` allows `*` and `*.example.org`. */
export function readHost(text: string, wildcards: boolean): string | Refusal {
  const bad = (why: string, hint = "") => new Refusal("bad_host", `${show(text)} is not a host${why}.`, hint);
  const lower = text.toLowerCase().replace(/\.$/, "");
  if (wildcards && lower === "*") return "*";
  const rest = lower.startsWith("*.") ? lower.slice(2) : lower;
  if (!wildcards && rest !== lower) return bad(": no wildcard may be here");
  if (rest.startsWith("[") && rest.endsWith("]")) {
    const address = rest === lower ? canonicalIpv6Host(rest.slice(1, -1)) : undefined;
    return address ?? bad(": its address is malformed, or has a zone");
  }
  if (/:\d+$/.test(rest)) return bad(": it has a port", "hosts match every port: leave it out");
  const inUrl = /^[a-z]+:\/\/([a-z0-9.-]{1,253})(?:[:/].*)?$/.exec(rest)?.[1];
  if (inUrl !== undefined) return bad(": it is a URL", `only the host: ${inUrl}`);
  if (rest.includes("*")) return bad("", "a wildcard stands for the whole first label: *.example.org");
  if (lower.length <= nameChars && rest.split(".").every((label) => /^[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?$/.test(label))) {
    return lower;
  }
  const ascii = /[^\0-\x7f]/.test(rest) ? domainToASCII(rest) : "";
  return bad("", ascii === "" ? "" : `write its ASCII form: ${ascii}`);
}

function canonicalIp6(address: string): string {
  return new URL(`http://[${address}]/`).hostname.slice(1, -1);
}

/** An IP address as the kernel writes it; undefined when it is none. Zones (`%eth0`) are none. */
export function canonicalIp(text: string): string | undefined {
  if (text.includes("%")) return undefined;
  const version = isIP(text);
  if (version === 4) return text;
  return version === 6 ? canonicalIp6(text) : undefined;
}

/** `10.0.0.0/8`, `::1`: always with the length of the prefix when read, and without host bits. */
export function readCidr(text: string): string | Refusal {
  const bad = (why: string, hint = "") => new Refusal("bad_cidr", `${show(text)} is not an address block${why}.`, hint);
  const slash = text.lastIndexOf("/");
  const address = canonicalIp(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return bad("", "write it like 10.0.0.0/8 or fd00::/8");
  const bits = isIP(address) === 4 ? 32 : 128;
  const prefixText = slash < 0 ? String(bits) : text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(prefixText) || Number(prefixText) > bits) return bad(`: its prefix is not 0 to ${bits}`);
  const prefix = Number(prefixText);
  const network = maskIp(address, bits, prefix);
  return network === address
    ? `${address}/${prefix}`
    : bad(": bits behind the prefix are set", `did you mean ${network}/${prefix}`);
}

function maskIp(address: string, bits: 32 | 128, prefix: number): string {
  const value = bits === 32 ? ip4Value(address) : ip6Value(address);
  const masked = (value >> BigInt(bits - prefix)) << BigInt(bits - prefix);
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => (masked >> shift) & 255n).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((masked >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  return canonicalIp6(groups.join(":"));
}

const ip4Value = (address: string): bigint => address.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);

function ip6Value(address: string): bigint {
  const [head = "", tail] = address.split("::");
  const groups = (text: string) => (text === "" ? [] : text.split(":"));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const zeros = new Array<string>(8 - before.length - after.length).fill("0");
  return [...before, ...zeros, ...after].reduce((sum, group) => (sum << 16n) + BigInt(`0x${group}`), 0n);
}

/** Longest prefix of a value that is good to show in a message. */
export const show = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);

export const name = () => textOf("name", readName);
export const partName = () => textOf("name", readPartName);
export const reference = () => textOf("name or namespace/name", readReference);
export const host = () => textOf("host", (text) => readHost(text, false));
export const hostPattern = () => textOf("host", (text) => readHost(text, true));
export const cidr = () => textOf("CIDR", readCidr);

/** Text of at most `maxBytes` without NUL. */
export const plainText = (maxBytes: number = valueBytes) =>
  textOf("text", (text) => {
    if (Buffer.byteLength(text) > maxBytes) return new Refusal("out_of_range", `The text is longer than ${maxBytes} bytes.`);
    return text.includes("\0") ? new Refusal("out_of_range", "The text contains NUL.") : text;
  });

/** Path of a file or socket on the machine that reads the configuration. */
export const filePath = () =>
  textOf("path", (text) => {
    if (text === "" || Buffer.byteLength(text) > 4096) return new Refusal("out_of_range", "A path has 1 to 4096 bytes.");
    return hasControl(text) ? new Refusal("out_of_range", "The path has a control character.") : text;
  });

/** Control characters: nothing that is shown, logged or opened has them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
export const hasControl = (text: string): boolean => /[\0-\x1f\x7f]/.test(text);

/** A list with the general bound. */
export const list = <T extends z.ZodType>(item: T, most: number = CONFIG_LIMITS.listItems) => z.array(item).max(most);

/** A TCP port; 0 lets the system choose (for listeners). */
export const port = (least: 0 | 1 = 1) => z.int().min(least).max(65535);
