import { z } from "zod";
import {
  DEFAULT_LISTENER_CONNECTIONS,
  DEFAULT_LISTENER_HANDSHAKES,
  DEFAULT_HTTP_LIMITS as LIMITS,
  DEFAULT_DOWNSTREAM_TIMES as TIMES,
} from "../../core/limits.ts";
import { isForbiddenTrailer, REQUEST_TRAILERS } from "../../core/trailer-names.ts";
import { listenAddress, socketPath } from "./address.ts";
import { headerName, readEditableHeader } from "./headers.ts";
import { refuseHttpFields } from "./listener-streams.ts";
import { cidr, hostPattern, list, partName, port } from "./names.ts";
import { Refusal, refuse, textOf } from "./text.ts";
import { certificatePair, fileOrInline, minVersion } from "./tls.ts";
import { duration, formatDuration, formatSize, size, sizeOrUnlimited } from "./units.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

const tls = z.strictObject({
  certificates: list(certificatePair())
    .min(1)
    .describe("The first one also serves names that no other has, and clients without SNI."),
  clientAuth: z
    .enum(["none", "optional", "required"])
    .default("none")
    .describe(
      "Client certificates: `none`: not asked. `optional`: verified when sent. `required`: no handshake without a valid one.",
    ),
  clientCa: fileOrInline("PEM of the CAs")
    .optional()
    .describe("CAs that may have signed client certificates; needed unless clientAuth is `none`."),
  minVersion: minVersion(),
});

const proxyProtocol = z.strictObject({
  trusted: list(cidr()).min(1).describe("Peers that may send a PROXY header (v1 or v2). Nobody else may."),
  required: z.boolean().default(true).describe("A trusted peer without the header is refused."),
});

const limits = z.strictObject({
  connections: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(DEFAULT_LISTENER_CONNECTIONS)
    .describe("Open connections, per worker, handshakes included. Never more than the process's file descriptors allow."),
  handshakes: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(DEFAULT_LISTENER_HANDSHAKES)
    .describe("TLS handshakes and PROXY headers under way, per worker. Beyond: closed."),
  requestLine: size(64, MIB).prefault(formatSize(LIMITS.requestLineBytes)).describe("Method, target and version. Beyond: 414."),
  headers: z.int().min(1).max(10_000).default(LIMITS.headerCount).describe("Fields of a request. Beyond: 431."),
  headerField: size(64, MIB).prefault(formatSize(LIMITS.headerFieldBytes)).describe("Name and value of one field. Beyond: 431."),
  headerSection: size(256, 4 * MIB)
    .prefault(formatSize(LIMITS.headerSectionBytes))
    .describe("All fields together. Beyond: 431."),
  body: sizeOrUnlimited().prefault("unlimited").describe("Body of a request; a rule's maxBody may be smaller. Beyond: 413."),
  trailerSection: size(0, MIB)
    .prefault(formatSize(LIMITS.trailerSectionBytes))
    .describe("Trailer fields together. Beyond: 431, or the connection is closed."),
  chunkExtensions: size(0, MIB)
    .prefault(formatSize(LIMITS.chunkExtensionBytes))
    .describe("Chunk extensions of one body. Beyond: 400."),
  pipelined: z.int().min(1).max(10_000).default(LIMITS.pipelinedRequests).describe("Requests that wait on one connection."),
  exchangesPerConnection: z
    .int()
    .min(1)
    .max(1_000_000_000)
    .default(LIMITS.exchangesPerConnection)
    .describe("Then the connection is closed in an orderly way."),
});

const times = z.strictObject({
  handshake: duration(100).prefault(formatDuration(TIMES.handshakeMs)).describe("TLS handshake and PROXY header."),
  header: duration(100)
    .prefault(formatDuration(TIMES.headerMs))
    .describe("First byte of a request to the end of its header. Beyond: 408."),
  bodyIdle: duration(100)
    .prefault(formatDuration(TIMES.bodyIdleMs))
    .describe("Between two pieces of a request body. Beyond: 408."),
  bodyMinRate: size(0, MIB)
    .prefault(formatSize(TIMES.bodyMinBytesPerSecond))
    .describe("Bytes per second that a body must bring on average; `0B` switches it off. Below: 408."),
  bodyGrace: duration().prefault(formatDuration(TIMES.bodyGraceMs)).describe("How long bodyMinRate is not looked at."),
  keepAliveIdle: duration(100).prefault(formatDuration(TIMES.keepAliveIdleMs)).describe("Between two requests on a connection."),
  writeStall: duration(100).prefault(formatDuration(TIMES.writeStallMs)).describe("A caller that does not take the answer."),
  tunnelIdle: duration(100)
    .prefault(formatDuration(TIMES.tunnelIdleMs))
    .describe("A WebSocket or a TCP stream in which nothing moves."),
});

const forwarding = z.strictObject({
  trustedHops: z
    .int()
    .min(0)
    .max(32)
    .default(0)
    .describe(
      "Proxies in front of this one whose `X-Forwarded-For` entries are believed, counted from the right. 0: incoming forwarding headers are replaced.",
    ),
  xForwarded: z.boolean().default(true).describe("Send `X-Forwarded-For`, `-Proto` and `-Host`."),
  forwarded: z.boolean().default(false).describe("Send `Forwarded` (RFC 7239)."),
  via: textOf("token", (text) =>
    /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/.test(text)
      ? text
      : new Refusal("bad_header", "Not a pseudonym for Via.", "letters, digits, . and -"),
  )
    .optional()
    .describe("Name to add to `Via` (RFC 9110 §7.6.3); by default none is added."),
  requestIdHeader: z
    .union([z.literal(false), headerName()])
    .prefault("x-request-id")
    .describe("Header that carries the id of a request to the upstream and back; `false`: none."),
  trustRequestId: z.boolean().default(false).describe("Keep an id that a trusted hop sent."),
  read: z
    .enum(["x-forwarded", "forwarded"])
    .optional()
    .describe(
      "Which kind trusted hops write and are believed in: `X-Forwarded-For`, `-Proto`, `-Host`, or `Forwarded`; the other one is dropped. Default: `forwarded` when only that one is sent.",
    ),
  trustedHeaders: list(textOf("header name", readTrustedHeader), 64)
    .prefault([])
    .describe(
      "Other headers that only trusted hops may send, as `X-Real-IP` or `X-Auth-User`. Those must set or remove them in every request. Dropped of everybody else.",
    ),
});

const OWN_TREATMENT = new Set([
  ...["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-client-cert"],
  ...["traceparent", "tracestate", "proxy"],
]);

/** A header that a proxy in front may be trusted with. */
function readTrustedHeader(text: string): string | Refusal {
  const name = readEditableHeader(text);
  if (name instanceof Refusal || !(OWN_TREATMENT.has(name) || name.startsWith("x-selvedge-"))) return name;
  return new Refusal("bad_header", `The header ${name} has a treatment of its own.`, "see Forwarding");
}

/** A field that may be let through in trailers (RFC 9110 §6.5.1). */
function readTrailerName(text: string): string | Refusal {
  const name = readEditableHeader(text);
  if (name instanceof Refusal || !isForbiddenTrailer(name)) return name;
  return new Refusal(
    "bad_header",
    `The header ${name} has no meaning behind a body.`,
    "it would get around what judged the head",
  );
}

const requestTrailers = list(textOf("header name", readTrailerName), 64).prefault([...REQUEST_TRAILERS]);

const compression = z.strictObject({
  algorithms: list(z.enum(["br", "gzip", "zstd"]), 3)
    .min(1)
    .prefault(["br", "gzip"])
    .describe("In order of preference."),
  minSize: size(0, 64 * MIB)
    .prefault("1KiB")
    .describe("Smaller answers of known length are left alone."),
  types: list(
    textOf("media type", (text) =>
      /^[a-z0-9!#$&^_.+-]+\/(\*|[a-z0-9!#$&^_.+-]+)$/.test(text)
        ? text
        : new Refusal("bad_header", "Not a media type.", "like text/html or text/*, in lower case"),
    ),
  )
    .prefault(["text/*", "application/json", "application/javascript", "application/xml", "application/wasm", "image/svg+xml"])
    .describe("Media types."),
  level: z.int().min(1).max(11).default(4).describe("1 is fastest; gzip goes to 9."),
});

const paths = z.strictObject({
  encodedSlash: z
    .enum(["reject", "keep"])
    .default("reject")
    .describe("`%2F` and `%5C`: 400, or kept as they are (never decoded)."),
  doubleSlash: z.enum(["merge", "reject", "keep"]).default("merge").describe("`//`: one slash, 400, or kept."),
  semicolon: z.enum(["keep", "reject"]).default("reject").describe("`;parameters` in a segment: frameworks disagree about them."),
});

const PROTOCOLS = ["HTTP", "HTTPS", "TCP", "TLS"] as const;

/** What a listener has that says nothing about requests. */
const httpDefaults = () => ({
  ...{ limits: limits.parse({}), times: times.parse({}), forwarding: forwarding.parse({}), paths: paths.parse({}) },
  ...{ compression: undefined, underscores: "reject", allowTrace: false, requestTrailers: requestTrailers.parse(undefined) },
});

const listener = z
  .strictObject({
    name: partName()
      .optional()
      .describe("Unique in the gateway. Default: protocol and port, as `http-8080`. TCP routes refer to it."),
    address: listenAddress().optional().describe("IP address to listen on. Default: `0.0.0.0`."),
    port: port(0).optional().describe("TCP port; 0 lets the system choose. Either this or `unix` is needed."),
    unix: socketPath()
      .optional()
      .describe(
        "Path of a Unix socket to listen on instead of a port. The first worker serves it alone: such a socket cannot be shared.",
      ),
    protocol: z
      .enum(PROTOCOLS)
      .optional()
      .describe(
        "Default: `HTTPS` when `tls` is given, else `HTTP`. `TCP` and `TLS` carry streams of bytes to the backends of routes with `tcp`; `TLS` ends the encryption here. Such a listener takes of `limits` only `connections` and `handshakes`, of `times` only `handshake` and `tunnelIdle`, and nothing that is about requests.",
      ),
    hosts: list(hostPattern())
      .prefault([])
      .describe("Hosts served here (`*.example.org` for a wildcard); those of TLS are names of SNI, TCP has none. Default: all."),
    tls: tls.optional().describe("Certificates; needed for HTTPS and TLS."),
    proxyProtocol: proxyProtocol.optional().describe("Connections begin with a PROXY header."),
    limits: limits.prefault({}).describe("Bounds of connections and requests."),
    times: times.prefault({}).describe("How long each phase may take."),
    forwarding: forwarding.prefault({}).describe("What upstreams are told about the caller."),
    compression: compression.optional().describe("Compress answers; `{}` for the defaults. Default: off."),
    paths: paths.prefault({}).describe("How paths are normalised."),
    underscores: z
      .enum(["reject", "drop", "keep"])
      .default("reject")
      .describe("Header names with `_`: 400, removed, or kept. Many frameworks read `a_b` and `a-b` as the same."),
    allowTrace: z
      .boolean()
      .default(false)
      .describe("Pass TRACE and TRACK on. They echo a request, credentials and all: 405 by default."),
    requestTrailers: requestTrailers.describe(
      "Fields that may stand behind the body of a request; others there are dropped. Answers may have any but those that RFC 9110 §6.5.1 rules out.",
    ),
  })
  .superRefine((value, context) => {
    const refuseAt = (field: string, code: "conflicting_fields", message: string, hint = "") =>
      refuse(context, new Refusal(code, message, hint), field);
    if ((value.port === undefined) === (value.unix === undefined)) {
      const problem = new Refusal("choose_one", "A listener has either a port or a Unix socket.", "port: 8080");
      refuse(context, problem, ...(value.port === undefined ? [] : ["unix"]));
    }
    if (value.unix !== undefined && value.address !== undefined)
      refuseAt("address", "conflicting_fields", "A Unix socket has no address.");
    const { protocol } = value;
    if ((protocol === "HTTPS" || protocol === "TLS") && value.tls === undefined) {
      const article = protocol === "HTTPS" ? "An" : "A";
      refuseAt("protocol", "conflicting_fields", `${article} ${protocol} listener needs certificates.`, "add tls.certificates");
    }
    if (protocol === "HTTP" && value.tls !== undefined)
      refuseAt("tls", "conflicting_fields", "An HTTP listener has no TLS.", "protocol: HTTPS");
    if (protocol === "TCP" && value.tls !== undefined)
      refuseAt("tls", "conflicting_fields", "A TCP listener has no TLS.", "protocol: TLS");
    if (protocol === "TCP" && value.hosts.length > 0)
      refuseAt("hosts", "conflicting_fields", "A TCP listener hears no names of hosts.", "protocol: TLS has those of SNI");
    if (protocol === "TCP" || protocol === "TLS") refuseHttpFields(context, protocol, value, httpDefaults());
    const auth = value.tls?.clientAuth ?? "none";
    if (auth !== "none" && value.tls?.clientCa === undefined) {
      refuse(
        context,
        new Refusal("conflicting_fields", "Client certificates cannot be verified without a CA.", "add clientCa"),
        "tls",
        "clientAuth",
      );
    }
    if (auth === "none" && value.tls?.clientCa !== undefined) {
      refuse(
        context,
        new Refusal("conflicting_fields", "clientCa has no effect: client certificates are not asked for.", "set clientAuth"),
        "tls",
        "clientCa",
      );
    }
  });

/** Where the proxy listens. */
export const gatewaySpec = z
  .strictObject({
    listeners: list(listener).min(1).describe("Ports and sockets."),
  })
  .describe("Where the proxy listens, and how it treats what comes in.");

export type GatewaySpec = z.output<typeof gatewaySpec>;
export type ListenerSpec = GatewaySpec["listeners"][number];
