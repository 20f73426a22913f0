import { latin1Text, utf8Bytes } from "../core/bytes.ts";
import type { Failure } from "../core/failure.ts";
import { type HeaderBlock, type RequestHead, type ResponseHead, targetOf } from "../core/head.ts";
import type { TlsInfo } from "../runtime/net.ts";
import type { AttributeValue } from "./contract.ts";

/**
 * Envoy's attributes (docs: intro/arch_overview/advanced/attributes): what a filter reads as properties and what templates
 * and rate-limit keys are made of. Texts are wire text: one character is one byte.
 */

/** What is known about the downstream connection; `ConnectionInfo` of the proxy fits. */
export interface ConnectionFacts {
  readonly id: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly listener: string;
  readonly tls: TlsInfo | undefined;
}

/** What attributes are read from. The exchange implements it with plain fields, so nothing is copied per request. */
export interface ExchangeFacts {
  readonly connection: ConnectionFacts;
  /** The caller's address after trusted hops. */
  readonly clientAddress: string;
  readonly requestId: string;
  /** "" while there is none. */
  readonly routeName: string;
  readonly serviceName: string;
  /** `host:port` of the upstream, "" while there is none. */
  readonly endpointKey: string;
  /** Tries at upstreams so far. */
  readonly attempts: number;
  /** Body bytes so far. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** Wall-clock time of the request's first byte, ms since 1970. */
  readonly startWallMs: number;
  /** Ms from the first byte to now, or to the end once it is over. */
  readonly durationMs: number;
  readonly failure: Failure | undefined;
  /**
   * `["metadata", "filter_metadata", namespace, key, …]` and the like: what authentication and others left behind, as Envoy
   * names it. Undefined: not found.
   */
  dynamicAttribute(path: readonly string[]): AttributeValue | undefined;
}

/** The messages as the chain has them at the moment. */
export interface MessageFacts {
  readonly request: RequestHead;
  readonly response: ResponseHead | undefined;
  readonly requestTrailers: HeaderBlock | undefined;
  readonly responseTrailers: HeaderBlock | undefined;
}

/** Bits of `response.flags` as Envoy counts them, by the letters of our failure table. */
const FLAG_BITS: Readonly<Record<string, number>> = {
  UH: 0x2,
  UT: 0x4,
  UF: 0x20,
  UC: 0x40,
  UO: 0x80,
  NR: 0x100,
  DC: 0x4000,
};

/** The value of an attribute; undefined: not found. */
export function readAttribute(path: readonly string[], messages: MessageFacts, facts: ExchangeFacts): AttributeValue | undefined {
  switch (path[0]) {
    case "request":
      return readRequest(path, messages, facts);
    case "response":
      return readResponse(path, messages, facts);
    case "source":
      return readSource(path, facts);
    case "destination":
      if (path[1] === "address") return joinAddress(facts.connection.localAddress, facts.connection.localPort);
      return path[1] === "port" ? facts.connection.localPort : undefined;
    case "connection":
      return readConnection(path, facts);
    case "upstream":
      return readUpstream(path, facts);
    case "xds":
      return readXds(path[1], facts);
    case "cluster_name":
    case "route_name":
      return readXds(path[0], facts);
    case "connection_id":
      return facts.connection.id;
    default:
      return facts.dynamicAttribute(path);
  }
}

function readRequest(path: readonly string[], messages: MessageFacts, facts: ExchangeFacts): AttributeValue | undefined {
  const { request } = messages;
  switch (path[1]) {
    case "path":
      return targetOf(request);
    case "url_path":
      return request.path;
    case "query":
      return request.query ?? "";
    case "host":
      return request.authority;
    case "scheme":
      return request.scheme;
    case "method":
      return request.method;
    case "headers":
      return path.length > 2 ? readRequestField(request, path[2] as string) : requestEntries(request);
    case "referer":
      return request.headers.get("referer");
    case "useragent":
      return request.headers.get("user-agent");
    case "time":
      return millisToNanos(facts.startWallMs);
    case "id":
      return facts.requestId === "" ? undefined : facts.requestId;
    case "protocol":
      return protocolName(request.version);
    case "size":
      return declaredLength(request) ?? facts.requestBytes;
    case "total_size":
      return facts.requestBytes + sizeOf(request.headers) + sizeOf(messages.requestTrailers);
    case "duration":
      return millisToNanos(facts.durationMs);
    default:
      return undefined;
  }
}

/** As Envoy does: what the request says of its body counts, as long as it says something. */
function declaredLength(request: RequestHead): number | undefined {
  const text = request.headers.get("content-length");
  return text === undefined || text.length === 0 || text.length > 15 ? undefined : Number(text);
}

/** Header maps of attributes have the pseudo headers in them. */
function readRequestField(request: RequestHead, name: string): string | undefined {
  switch (name) {
    case ":path":
      return targetOf(request);
    case ":method":
      return request.method;
    case ":scheme":
      return request.scheme;
    case ":authority":
    case "host":
      return request.authority;
    default:
      return joinValues(request.headers, name);
  }
}

const readResponseField = (response: ResponseHead, name: string): string | undefined =>
  name === ":status" ? String(response.status) : joinValues(response.headers, name);

function requestEntries(request: RequestHead): [string, string][] {
  const { authority, method, scheme, headers } = request;
  return [
    [":authority", authority],
    [":path", targetOf(request)],
    [":method", method],
    [":scheme", scheme],
    ...headers.entries(),
  ];
}

const responseEntries = (response: ResponseHead): [string, string][] => [
  [":status", String(response.status)],
  ...response.headers.entries(),
];

function readResponse(path: readonly string[], messages: MessageFacts, facts: ExchangeFacts): AttributeValue | undefined {
  const { response } = messages;
  if (response === undefined) return undefined;
  switch (path[1]) {
    case "code":
      return response.status;
    case "code_details":
      return facts.failure === undefined ? "via_upstream" : facts.failure.code;
    case "flags":
      return facts.failure === undefined ? 0 : (FLAG_BITS[facts.failure.row.flag] ?? 0);
    case "grpc_status":
      return readGrpcStatus(messages);
    case "headers":
      return path.length > 2 ? readResponseField(response, path[2] as string) : responseEntries(response);
    case "trailers": {
      const trailers = messages.responseTrailers;
      if (trailers === undefined) return undefined;
      return path.length > 2 ? joinValues(trailers, path[2] as string) : trailers.entries();
    }
    case "size":
      return facts.responseBytes;
    case "total_size":
      return facts.responseBytes + sizeOf(response.headers) + sizeOf(messages.responseTrailers);
    default:
      return undefined;
  }
}

function readGrpcStatus(messages: MessageFacts): number | undefined {
  const text = messages.responseTrailers?.get("grpc-status") ?? messages.response?.headers.get("grpc-status");
  if (text === undefined || text.length > 3) return undefined;
  const status = Number(text);
  return Number.isInteger(status) ? status : undefined;
}

function readSource(path: readonly string[], facts: ExchangeFacts): AttributeValue | undefined {
  const { connection } = facts;
  // Like Envoy: an address that came from a trusted hop's header has no port.
  const port = facts.clientAddress === connection.remoteAddress ? connection.remotePort : 0;
  if (path[1] === "address") return joinAddress(facts.clientAddress, port);
  return path[1] === "port" ? port : undefined;
}

function readConnection(path: readonly string[], facts: ExchangeFacts): AttributeValue | undefined {
  const { tls } = facts.connection;
  // Names in a certificate that nobody vouches for are what its owner likes to be called: no policy may see them.
  const vouched = tls?.peer?.verified === true ? tls.peer : undefined;
  switch (path[1]) {
    case "id":
      return facts.connection.id;
    case "mtls":
      return tls?.peer?.verified ?? false;
    case "requested_server_name":
      return tls?.serverName ?? "";
    case "tls_version":
      return tls?.version;
    case "subject_peer_certificate":
      return vouched === undefined ? undefined : wireText(vouched.subject);
    case "dns_san_peer_certificate":
      return vouched?.dnsNames[0];
    case "uri_san_peer_certificate":
      return vouched?.uris[0];
    case "sha256_peer_certificate_digest":
      // Says which key was proven, not who it is.
      return tls?.peer?.fingerprint;
    default:
      return undefined;
  }
}

function readUpstream(path: readonly string[], facts: ExchangeFacts): AttributeValue | undefined {
  const key = facts.endpointKey;
  if (key === "") return undefined;
  if (path[1] === "address") return wireText(key);
  if (path[1] === "request_attempt_count") return facts.attempts;
  if (path[1] !== "port") return undefined;
  const port = Number(key.slice(key.lastIndexOf(":") + 1));
  return Number.isInteger(port) ? port : undefined;
}

function readXds(name: string | undefined, facts: ExchangeFacts): AttributeValue | undefined {
  if (name === "cluster_name") return facts.serviceName === "" ? undefined : wireText(facts.serviceName);
  if (name === "route_name") return facts.routeName === "" ? undefined : wireText(facts.routeName);
  if (name === "listener_name") return wireText(facts.connection.listener);
  return undefined;
}

/** Every value of a field joined by commas (RFC 9110 §5.3), so that none stays unseen; undefined: no such field. */
export function joinValues(headers: HeaderBlock, name: string): string | undefined {
  const { names, values } = headers;
  let joined: string | undefined;
  for (let i = 0; i < names.length; i++) {
    if (names[i] === name) joined = joined === undefined ? (values[i] as string) : `${joined},${values[i] as string}`;
  }
  return joined;
}

/** Joined addresses by port: those of kept connections are asked for again and again. Bounded: the newer one wins. */
const JOINED_SLOTS = 1024;
const joinedAddresses = new Array<string>(JOINED_SLOTS).fill("");
const joinedPorts = new Array<number>(JOINED_SLOTS).fill(0);
const joinedTexts = new Array<string>(JOINED_SLOTS).fill("");

/** `1.2.3.4:80`, `[::1]:80`; a path of a Unix socket as it is. */
function joinAddress(address: string, port: number): string {
  if (address === "") return "";
  const slot = port & (JOINED_SLOTS - 1);
  if (joinedPorts[slot] === port && joinedAddresses[slot] === address) return joinedTexts[slot] as string;
  const joined = formatAddress(address, port);
  joinedAddresses[slot] = address;
  joinedPorts[slot] = port;
  joinedTexts[slot] = joined;
  return joined;
}

function formatAddress(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** As Envoy counts: names and values, without separators. */
function sizeOf(block: HeaderBlock | undefined): number {
  if (block === undefined) return 0;
  let size = 0;
  for (let i = 0; i < block.length; i++) size += (block.names[i] as string).length + (block.values[i] as string).length;
  return size;
}

function protocolName(version: number): string {
  if (version === 20) return "HTTP/2";
  return version === 10 ? "HTTP/1.0" : "HTTP/1.1";
}

/** Whole milliseconds only: full precision is a capability. */
function millisToNanos(ms: number): bigint {
  return BigInt(Math.floor(ms)) * 1_000_000n;
}

/** Text of configuration as wire text: UTF-8, one character per byte. */
export function wireText(text: string): string {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return latin1Text(utf8Bytes(text));
  return text;
}
