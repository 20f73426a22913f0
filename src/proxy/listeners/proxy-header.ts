import type { Bytes } from "../../core/bytes.ts";
import { crc32c } from "../../core/crc32c.ts";
import { Failure } from "../../core/failure.ts";
import { addressBytes, formatAddress } from "../../core/ip.ts";
import { PROXY_HEADER_LIMITS } from "../../core/limits.ts";

/**
 * PROXY protocol, versions 1 and 2 (https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt). Sans-IO. Whether a peer may send
 * one at all is the listener's business: only trusted ranges may.
 */

/** One side of the proxied connection; for Unix sockets the path, and port 0. */
export interface ProxyPeer {
  readonly address: string;
  readonly port: number;
}

/** What a PROXY header said. */
export interface ProxyHeader {
  readonly kind: "header";
  readonly version: 1 | 2;
  /** Bytes of the header: what follows belongs to the connection. */
  readonly consumed: number;
  /** Undefined for LOCAL (v2) and UNKNOWN (v1): the connection's own addresses count. */
  readonly source: ProxyPeer | undefined;
  readonly destination: ProxyPeer | undefined;
}

/** `need-more`: a prefix of a header. `absent`: these bytes cannot begin a header. A failure: it began as one and is malformed. */
export type ProxyHeaderResult = ProxyHeader | "need-more" | "absent" | Failure;

const V1_START = Buffer.from("PROXY ", "latin1");
const V2_START = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const V2_FIXED_BYTES = 16;

const bad = (detail: string): Failure => new Failure("bad_proxy_header", detail);

/** Reads the header at the start of `bytes` (everything received so far). */
export function readProxyHeader(bytes: Bytes): ProxyHeaderResult {
  if (startsAlike(bytes, V1_START)) return bytes.length < V1_START.length ? "need-more" : readVersion1(bytes);
  if (startsAlike(bytes, V2_START)) return bytes.length < V2_FIXED_BYTES ? "need-more" : readVersion2(bytes);
  return "absent";
}

/** As far as both go, are they the same? */
function startsAlike(bytes: Bytes, start: Bytes): boolean {
  const length = Math.min(bytes.length, start.length);
  for (let i = 0; i < length; i++) if (bytes[i] !== start[i]) return false;
  return true;
}

// ---------------------------------------------------------------- version 1

function readVersion1(bytes: Bytes): ProxyHeaderResult {
  const { v1Bytes } = PROXY_HEADER_LIMITS;
  const end = bytes.subarray(0, v1Bytes).indexOf(0x0d);
  if (end < 0 || (end === bytes.length - 1 && bytes.length < v1Bytes))
    return bytes.length < v1Bytes ? "need-more" : bad(`no line end within ${v1Bytes} bytes`);
  if (end + 1 >= v1Bytes || bytes[end + 1] !== 0x0a) return bad("CR without LF");
  const line = Buffer.from(bytes.buffer, bytes.byteOffset, end).latin1Slice(0, end);
  const parts = line.split(" ");
  const consumed = end + 2;
  // UNKNOWN may be followed by anything; it is to be ignored.
  if (parts[1] === "UNKNOWN") return { kind: "header", version: 1, consumed, source: undefined, destination: undefined };
  const family = parts[1] === "TCP4" ? 4 : parts[1] === "TCP6" ? 6 : 0;
  if (family === 0 || parts.length !== 6) return bad("expected TCP4, TCP6 or UNKNOWN, two addresses and two ports");
  const source = readPeer(parts[2] as string, parts[4] as string, family);
  const destination = readPeer(parts[3] as string, parts[5] as string, family);
  if (source === undefined || destination === undefined) return bad("malformed address or port");
  return { kind: "header", version: 1, consumed, source, destination };
}

function readPeer(address: string, portText: string, family: 4 | 6): ProxyPeer | undefined {
  if (address.includes(":") !== (family === 6) || address.includes("%")) return undefined;
  const bytes = addressBytes(address);
  if (bytes === undefined || !/^(0|[1-9]\d{0,4})$/.test(portText) || Number(portText) > 0xffff) return undefined;
  return { address: formatAddress(bytes), port: Number(portText) };
}

// ---------------------------------------------------------------- version 2

const COMMAND_LOCAL = 0x0;
const COMMAND_PROXY = 0x1;

/** Length of the address block by family and transport; only streams are possible here. */
const ADDRESS_BYTES: Readonly<Record<number, number>> = { 0: 0, 17: 12, 33: 36, 49: 216 };

function readVersion2(bytes: Bytes): ProxyHeaderResult {
  const versionAndCommand = bytes[12] as number;
  if (versionAndCommand >> 4 !== 2) return bad("unknown version");
  const command = versionAndCommand & 0x0f;
  if (command !== COMMAND_LOCAL && command !== COMMAND_PROXY) return bad("unknown command");
  const payloadBytes = readUint16(bytes, 14);
  const limit = PROXY_HEADER_LIMITS.v2PayloadBytes;
  if (payloadBytes > limit) return bad(`${payloadBytes} bytes of addresses and TLVs, more than ${limit}`);
  const consumed = V2_FIXED_BYTES + payloadBytes;
  const family = bytes[13] as number;
  const addressLength = ADDRESS_BYTES[family];
  // What is wrong already need not be waited for.
  if (command === COMMAND_PROXY && addressLength === undefined) return bad("unknown address family or not a stream");
  if (command === COMMAND_PROXY && (addressLength ?? 0) > payloadBytes) return bad("shorter than its addresses");
  if (bytes.length < consumed) return "need-more";
  const header = bytes.subarray(0, consumed);
  const local = { kind: "header", version: 2, consumed, source: undefined, destination: undefined } as const;
  // LOCAL: a health check of the proxy itself; whatever addresses it has are to be ignored.
  if (command === COMMAND_LOCAL) return local;
  const problem = checkTlvs(header, V2_FIXED_BYTES + (addressLength ?? 0));
  if (problem !== "") return bad(problem);
  if (family === 0x00) return local;
  const [source, destination] = family === 0x31 ? readUnixPeers(header) : readIpPeers(header, family === 0x11 ? 4 : 16);
  return { kind: "header", version: 2, consumed, source, destination };
}

const readUint16 = (bytes: Bytes, at: number): number => ((bytes[at] as number) << 8) | (bytes[at + 1] as number);

function readIpPeers(header: Bytes, width: 4 | 16): [ProxyPeer, ProxyPeer] {
  const at = V2_FIXED_BYTES;
  const ports = at + 2 * width;
  return [
    { address: formatAddress(header.subarray(at, at + width)), port: readUint16(header, ports) },
    { address: formatAddress(header.subarray(at + width, ports)), port: readUint16(header, ports + 2) },
  ];
}

const UNIX_PATH_BYTES = 108;

function readUnixPeers(header: Bytes): [ProxyPeer, ProxyPeer] {
  const path = (at: number): ProxyPeer => {
    const field = Buffer.from(header.subarray(at, at + UNIX_PATH_BYTES));
    // A path that fills the field has no NUL; one in the abstract namespace starts with it.
    const end = field.indexOf(0, 1);
    return { address: field.latin1Slice(0, end < 0 ? UNIX_PATH_BYTES : end).replace(/\0/g, ""), port: 0 };
  };
  return [path(V2_FIXED_BYTES), path(V2_FIXED_BYTES + UNIX_PATH_BYTES)];
}

const TLV_CRC32C = 0x03;

/** Every TLV must fit exactly (CVE-2026-47692); a checksum must be right. Answers what is wrong, or "". */
function checkTlvs(header: Bytes, start: number): string {
  let at = start;
  let sawChecksum = false;
  while (at < header.length) {
    if (at + 3 > header.length) return "a TLV is cut off";
    const length = readUint16(header, at + 1);
    const value = at + 3;
    if (value + length > header.length) return "a TLV is longer than the header";
    if (header[at] === TLV_CRC32C) {
      if (sawChecksum || length !== 4) return "malformed checksum";
      sawChecksum = true;
      if (!checksumHolds(header, value)) return "wrong checksum";
    }
    at = value + length;
  }
  return "";
}

function checksumHolds(header: Bytes, at: number): boolean {
  const given = ((readUint16(header, at) << 16) | readUint16(header, at + 2)) >>> 0;
  // Not `slice`: that of a Buffer is a view.
  const zeroed = Uint8Array.from(header);
  zeroed.fill(0, at, at + 4);
  return crc32c(zeroed) === given;
}

// ---------------------------------------------------------------- writing

/** The header for a connection that we open. Undefined addresses, or such as the version cannot say, give UNKNOWN or LOCAL. */
export function writeProxyHeader(version: "v1" | "v2", source: ProxyPeer | undefined, destination: ProxyPeer | undefined): Bytes {
  return version === "v1" ? writeVersion1(source, destination) : writeVersion2(source, destination);
}

function writeVersion1(source: ProxyPeer | undefined, destination: ProxyPeer | undefined): Bytes {
  const from = source === undefined ? undefined : addressBytes(source.address);
  const to = destination === undefined ? undefined : addressBytes(destination.address);
  if (source === undefined || destination === undefined || from === undefined || to === undefined)
    return Buffer.from("PROXY UNKNOWN\r\n", "latin1");
  const ports = `${source.port} ${destination.port}`;
  const text =
    from.length === 4 && to.length === 4
      ? `TCP4 ${formatAddress(from)} ${formatAddress(to)} ${ports}`
      : `TCP6 ${formatWide(from)} ${formatWide(to)} ${ports}`;
  return Buffer.from(`PROXY ${text}\r\n`, "latin1");
}

/** One side IPv4, the other IPv6: the first is written as its mapped form. */
const formatWide = (bytes: Bytes): string => (bytes.length === 4 ? `::ffff:${bytes.join(".")}` : formatAddress(bytes));

function writeVersion2(source: ProxyPeer | undefined, destination: ProxyPeer | undefined): Bytes {
  if (source === undefined || destination === undefined) return frameVersion2(COMMAND_LOCAL, 0x00, []);
  const from = addressBytes(source.address);
  const to = addressBytes(destination.address);
  if (from !== undefined && to !== undefined) {
    const wide = from.length === 16 || to.length === 16;
    const address = (bytes: Bytes): Bytes => (wide && bytes.length === 4 ? mapToIpv6(bytes) : bytes);
    const ports = Buffer.from([source.port >> 8, source.port & 0xff, destination.port >> 8, destination.port & 0xff]);
    return frameVersion2(COMMAND_PROXY, wide ? 0x21 : 0x11, [address(from), address(to), ports]);
  }
  const paths = [source, destination].map(({ address }) => Buffer.from(address, "latin1"));
  if (!paths.every((path, i) => path.length <= UNIX_PATH_BYTES && ([source, destination][i]?.port ?? 0) === 0))
    return frameVersion2(COMMAND_LOCAL, 0x00, []);
  const fields = paths.map((path) => Buffer.concat([path, Buffer.alloc(UNIX_PATH_BYTES - path.length)]));
  return frameVersion2(COMMAND_PROXY, 0x31, fields);
}

const mapToIpv6 = (bytes: Bytes): Bytes => Buffer.concat([Buffer.from("00000000000000000000ffff", "hex"), bytes]);

function frameVersion2(command: number, family: number, parts: readonly Bytes[]): Bytes {
  const payload = Buffer.concat(parts);
  const fixed = Buffer.from([0x20 | command, family, payload.length >> 8, payload.length & 0xff]);
  return Buffer.concat([V2_START, fixed, payload]);
}
