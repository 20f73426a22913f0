import { latin1Text, utf8Bytes } from "../core/bytes.ts";
import type { Failure } from "../core/failure.ts";
import { type HeaderBlock, type RequestHead, type ResponseHead, targetOf } from "../core/head.ts";
import type { PeerCertificate, Socket, TlsInfo } from "../runtime/net.ts";
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

/** A connection that we made; what is known of it stays known when it is closed. */
export type UpstreamConnection = Pick<Socket, "localAddress" | "localPort" | "tls">;

/** The proxy that filters run in, as it reports to the control plane. */
export interface NodeFacts {
  readonly id: string;
  /** Its proxy group. */
  readonly group: string;
}

/** What is known about a try at an upstream; the try itself implements it. Times in ms, -1: not yet, or never. */
export interface AttemptFacts {
  /** Undefined: none was made (yet). */
  readonly socket: UpstreamConnection | undefined;
  /** Endpoints that the service has, tried or not. */
  readonly endpoints: number;
  /** From the choice of the endpoint until there was a connection. */
  readonly connectMs: number;
  /** From the first byte of the request that was sent to the last of the answer. */
  readonly backendMs: number;
}

/** What attributes are read from. The exchange implements it with plain fields, so nothing is copied per request. */
export interface ExchangeFacts {
  readonly connection: ConnectionFacts;
  /** The caller's address after trusted hops. */
  readonly clientAddress: string;
  readonly requestId: string;
  /** "" while there is none. */
  readonly routeName: string;
  /** Which of the route's hosts covered the caller's (`shop.example.org`, `*.example.org`, `*`); "" while there is none. */
  readonly virtualHost: string;
  readonly serviceName: string;
  /** `host:port` of the upstream, "" while there is none. */
  readonly endpointKey: string;
  /** Tries at upstreams so far, and the newest of them. */
  readonly attempts: number;
  readonly attempt: AttemptFacts | undefined;
  /** Body bytes so far. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** Wall-clock time of the request's first byte, ms since 1970. */
  readonly startWallMs: number;
  /** Ms from the first byte to now, or to the end once it is over. */
  readonly durationMs: number;
  readonly failure: Failure | undefined;
  /** `upstream`, `filter` or `route`; "" while nobody has answered. */
  readonly answeredBy: string;
  /** What a filter that answered said about it, else "". */
  readonly answerDetails: string;
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

const NO_PAIRS: readonly [string, string][] = [];
/** Envoy's `TrafficDirection` of a listener that says nothing: ours know none. */
const UNSPECIFIED = 0;

/** Those whose values have no parts of their own: `request.path.x` is nothing, as in Envoy. Fields of a head are one level deeper. */
const FLAT = new Set(["request", "response", "source", "destination", "connection", "upstream", "xds"]);

const isBelowValue = (path: readonly string[]): boolean =>
  FLAT.has(path[0] as string) && (path.length > 3 || (path[1] !== "headers" && path[1] !== "trailers"));

/** The value of an attribute; undefined: not found. */
export function readAttribute(path: readonly string[], messages: MessageFacts, facts: ExchangeFacts): AttributeValue | undefined {
  if (path.length > 2 && isBelowValue(path)) return undefined;
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
      return path.length === 1 ? readXds(path[0], facts) : undefined;
    case "connection_id":
      return path.length === 1 ? facts.connection.id : undefined;
    default:
      return facts.dynamicAttribute(path);
  }
}

/**
 * `node.id`, `node.cluster` and `node.metadata` (which is empty here), and the same behind `xds`: they belong to no exchange. Undefined:
 * not found, or no attribute of the node.
 */
export function readNode(path: readonly string[], node: NodeFacts | undefined): AttributeValue | undefined {
  const at = path[0] === "xds" ? 1 : 0;
  if (path[at] !== "node" || path.length !== at + 2) return undefined;
  switch (path[at + 1]) {
    case "id":
      return wireText(node?.id ?? "");
    case "cluster":
      return wireText(node?.group ?? "");
    case "metadata":
      return NO_PAIRS;
    default:
      return undefined;
  }
}

/** What a stream of bytes has of `request` and `response`: no heads, but a beginning and bytes, as in Envoy. */
export function readStreamMessage(path: readonly string[], facts: ExchangeFacts): AttributeValue | undefined {
  const isRequest = path[0] === "request";
  switch (path.length > 2 ? undefined : path[1]) {
    case "time":
      return isRequest ? millisToNanos(facts.startWallMs) : undefined;
    case "size":
    case "total_size":
      return isRequest ? facts.requestBytes : facts.responseBytes;
    case "flags":
      return isRequest ? undefined : flagsOf(facts.failure);
    default:
      return undefined;
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
      return facts.requestBytes + requestSize(request);
    case "headers_bytes":
      return requestSize(request);
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
  const { response, responseTrailers } = messages;
  switch (path[1]) {
    case "code":
      return response?.status;
    case "code_details":
      return response === undefined ? undefined : codeDetails(facts);
    case "flags":
      return flagsOf(facts.failure);
    case "grpc_status":
      return readGrpcStatus(messages);
    case "headers":
      if (path.length > 2) return response === undefined ? undefined : readResponseField(response, path[2] as string);
      return response === undefined ? NO_PAIRS : responseEntries(response);
    case "trailers":
      if (path.length > 2) return responseTrailers === undefined ? undefined : joinValues(responseTrailers, path[2] as string);
      return responseTrailers?.entries() ?? NO_PAIRS;
    case "size":
      return facts.responseBytes;
    case "total_size":
      return facts.responseBytes + responseSize(response) + sizeOf(responseTrailers);
    case "headers_bytes":
      return responseSize(response);
    case "backend_latency":
      return elapsed(facts.attempt?.backendMs);
    default:
      return undefined;
  }
}

const flagsOf = (failure: Failure | undefined): number => (failure === undefined ? 0 : (FLAG_BITS[failure.row.flag] ?? 0));

/** Envoy's words where it is the same thing, else the code of our failure, or what a filter said. */
function codeDetails({ failure, answeredBy, answerDetails }: ExchangeFacts): string {
  if (failure !== undefined) return failure.code;
  if (answeredBy === "filter") return wireText(answerDetails);
  return answeredBy === "route" ? "direct_response" : "via_upstream";
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
  switch (path[1]) {
    case "id":
      return facts.connection.id;
    case "mtls":
      return tls?.peer?.verified ?? false;
    case "requested_server_name":
      // Whatever bytes the peer sent.
      return wireText(tls?.serverName ?? "");
    default:
      return tls === undefined ? undefined : readTls(path[1], tls);
  }
}

/** Names in a certificate that nobody vouches for are what its owner likes to be called: no policy may see them. */
function readTls(name: string | undefined, { version, peer }: TlsInfo): string | undefined {
  const vouched = peer?.verified === true ? peer : undefined;
  switch (name) {
    case "tls_version":
      return version;
    case "subject_peer_certificate":
      return vouched === undefined ? undefined : wireText(vouched.subject);
    case "dns_san_peer_certificate":
      return vouched?.dnsNames[0];
    case "uri_san_peer_certificate":
      return vouched?.uris[0];
    case "sha256_peer_certificate_digest":
      // Says which key was proven, not who it is.
      return peer?.fingerprint;
    case "peer_certificate":
      return vouched === undefined ? undefined : encodedPem(vouched);
    default:
      return undefined;
  }
}

/** As Envoy puts a certificate into a text. */
function encodedPem({ der }: PeerCertificate): string {
  const lines = Buffer.from(der)
    .toString("base64")
    .replace(/.{64}(?=.)/g, "$&\n");
  return encodeURIComponent(`-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`);
}

function readUpstream(path: readonly string[], facts: ExchangeFacts): AttributeValue | undefined {
  const { endpointKey, attempt } = facts;
  switch (path[1]) {
    case "address":
      return endpointKey === "" ? undefined : wireText(endpointKey);
    case "port":
      return portOf(endpointKey);
    case "request_attempt_count":
      return facts.attempts;
    case "num_endpoints":
      return attempt?.endpoints;
    case "local_address":
      return attempt?.socket && joinAddress(attempt.socket.localAddress, attempt.socket.localPort);
    case "transport_failure_reason":
      return endpointKey === "" ? undefined : transportFailure(facts.failure);
    case "cx_pool_ready_duration":
      return elapsed(attempt?.connectMs);
    default:
      return attempt?.socket?.tls && readTls(path[1], attempt.socket.tls);
  }
}

function portOf(endpointKey: string): number | undefined {
  const port = Number(endpointKey.slice(endpointKey.lastIndexOf(":") + 1));
  return endpointKey === "" || !Number.isInteger(port) ? undefined : port;
}

/** Why no connection came about: our code and the system's or the TLS library's. Their texts may hold what a peer wrote into its certificate. */
function transportFailure(failure: Failure | undefined): string {
  const code = failure?.code;
  if (code !== "connect_failed" && code !== "connect_timeout" && code !== "upstream_tls") return "";
  const cause = (failure?.cause as { readonly code?: unknown } | undefined)?.code;
  return typeof cause === "string" && /^[A-Z0-9_]{1,64}$/.test(cause) ? `${code}: ${cause}` : code;
}

function readXds(name: string | undefined, facts: ExchangeFacts): AttributeValue | undefined {
  switch (name) {
    case "cluster_name":
      return facts.serviceName === "" ? undefined : wireText(facts.serviceName);
    case "route_name":
      return facts.routeName === "" ? undefined : wireText(facts.routeName);
    case "virtual_host_name":
      return facts.virtualHost === "" ? undefined : wireText(facts.virtualHost);
    case "listener_name":
      return wireText(facts.connection.listener);
    case "listener_direction":
      return UNSPECIFIED;
    case "filter_chain_name":
      return "";
    default:
      return undefined;
  }
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

/** Pseudo headers are counted like all others. */
function requestSize(request: RequestHead): number {
  const { authority, method, scheme, headers } = request;
  const pseudo = ":authority:path:method:scheme".length + authority.length + targetOf(request).length + method.length;
  return pseudo + scheme.length + sizeOf(headers);
}

const responseSize = (response: ResponseHead | undefined): number =>
  response === undefined ? 0 : ":status".length + String(response.status).length + sizeOf(response.headers);

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

/** A duration that may not be known (yet). */
const elapsed = (ms = -1): bigint | undefined => (ms < 0 ? undefined : millisToNanos(ms));

/** Whole milliseconds only: full precision is a capability. */
function millisToNanos(ms: number): bigint {
  return BigInt(Math.floor(ms)) * 1_000_000n;
}

/** Text of configuration as wire text: UTF-8, one character per byte. */
export function wireText(text: string): string {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return latin1Text(utf8Bytes(text));
  return text;
}
