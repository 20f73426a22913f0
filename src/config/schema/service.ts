import { z } from "zod";
import { CONFIG_LIMITS, DEFAULT_UPSTREAM_LIMITS as LIMITS } from "../../core/limits.ts";
import { address } from "./address.ts";
import { host, list, partName, port, show } from "./names.ts";
import { Refusal, refuse, textOf } from "./text.ts";
import { fileOrInline, minVersion } from "./tls.ts";
import { duration, formatDuration } from "./units.ts";

/** Labels select endpoints: keys as in Kubernetes, values of at most 63 characters. */
export const labels = () =>
  z
    .record(z.string(), z.string())
    .superRefine((map, context) => {
      for (const [key, value] of Object.entries(map)) {
        const legal = key.length <= 317 && /^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$/.test(key);
        if (!legal) refuse(context, new Refusal("bad_label", `${show(key)} is not the key of a label.`), key);
        else if (value.length > CONFIG_LIMITS.partNameChars || !/^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/.test(value)) {
          refuse(
            context,
            new Refusal("bad_label", `${show(value)} is not the value of a label.`, "letters, digits, -, _ and ., at most 63"),
            key,
          );
        }
      }
      if (Object.keys(map).length > CONFIG_LIMITS.partNameChars) refuse(context, new Refusal("out_of_range", "Too many labels."));
    })
    .meta({ title: "name: value" });

const endpoint = z.union([
  address().transform((read) => ({ address: read, labels: {} as Record<string, string>, weight: 1 })),
  z.strictObject({
    address: address().describe("`127.0.0.1:9000`, `[::1]:80`, `name:80` or `unix:/path`."),
    labels: labels().prefault({}).describe("What subsets select by."),
    weight: z.int().min(1).max(1_000).default(1).describe("Share of the load."),
  }),
]);

const dns = z
  .strictObject({
    host: host().describe("Name to resolve."),
    type: z.enum(["A", "AAAA", "SRV"]).default("A").describe("Kind of record."),
    port: port().optional().describe("Port of the endpoints; SRV records carry it."),
    minTtl: duration(100).prefault("1s").describe("Records are kept at least this long."),
    maxTtl: duration(100).prefault("5m").describe("Records are kept at most this long."),
    servers: list(
      textOf("IP address[:port]", (text) =>
        /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\])(:\d{1,5})?$/.test(text)
          ? text
          : new Refusal("bad_address", `${show(text)} is not a name server.`, "like 10.0.0.2:53 or [fd00::2]:53"),
      ),
      16,
    )
      .prefault([])
      .describe("Name servers. Default: the system's."),
  })
  .superRefine((value, context) => {
    if (value.type === "SRV" && value.port !== undefined)
      refuse(context, new Refusal("conflicting_fields", "SRV records carry the port."), "port");
    if (value.type !== "SRV" && value.port === undefined)
      refuse(context, new Refusal("missing_field", "port is missing."), "port");
    if (value.minTtl > value.maxTtl)
      refuse(context, new Refusal("conflicting_fields", "minTtl is longer than maxTtl."), "minTtl");
  });

const tls = z
  .strictObject({
    serverName: host().optional().describe("SNI, and the name that the certificate must have. Default: the endpoint's host."),
    ca: fileOrInline("PEM of the CAs").optional().describe("CAs that are trusted. Default: the system's."),
    verify: z
      .boolean()
      .default(true)
      .describe("`false` accepts any certificate: anybody on the way can read and change everything."),
    certificate: fileOrInline("PEM").optional().describe("Own certificate, for mutual TLS."),
    key: fileOrInline("PEM").optional().describe("Its private key."),
    minVersion: minVersion(),
  })
  .superRefine((value, context) => {
    if ((value.certificate === undefined) === (value.key === undefined)) return;
    const field = value.certificate === undefined ? "key" : "certificate";
    refuse(context, new Refusal("conflicting_fields", "certificate and key belong together."), field);
  });

const limits = z.strictObject({
  connections: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(LIMITS.connectionsPerEndpoint)
    .describe("Connections to one endpoint, per worker."),
  pending: z.int().min(0).max(1_000_000).default(LIMITS.pendingPerEndpoint).describe("Requests that wait for one. Beyond: 503."),
  idle: z.int().min(0).max(1_000_000).default(LIMITS.idlePerEndpoint).describe("Idle connections that are kept."),
});

const times = z.strictObject({
  connect: duration(1).prefault(formatDuration(LIMITS.connectMs)).describe("TCP connect and TLS handshake. Beyond: 504."),
  idle: duration(0)
    .prefault(formatDuration(LIMITS.idleMs))
    .describe("How long an idle connection is trusted when the upstream did not say (`Keep-Alive`)."),
  responseHead: duration(1)
    .prefault(formatDuration(LIMITS.responseHeadMs))
    .describe("End of the request to the head of the answer. Beyond: 504."),
  responseIdle: duration(1)
    .prefault(formatDuration(LIMITS.responseIdleMs))
    .describe("Between two pieces of an answer. Beyond: aborted."),
});

const subset = z.strictObject({
  name: partName().describe("Unique in the service."),
  labels: labels().describe("Endpoints that have all of them."),
});

/** A named set of endpoints. */
export const serviceSpec = z
  .strictObject({
    endpoints: list(endpoint, CONFIG_LIMITS.endpoints)
      .optional()
      .describe("Addresses. A plain address stands for `{address: …}`."),
    dns: dns.optional().describe("Find the endpoints by DNS instead."),
    subsets: list(subset).prefault([]).describe("Parts of the service that routes can name."),
    balancing: z
      .enum(["p2c", "round-robin", "least-request", "random"])
      .default("p2c")
      .describe("`p2c`: the better of two random endpoints by latency (peak EWMA) and load."),
    tls: tls.optional().describe("Speak TLS to the endpoints; `{}` for the defaults."),
    limits: limits.prefault({}).describe("Bounds towards each endpoint."),
    times: times.prefault({}).describe("How long each phase may take."),
    proxyProtocol: z.enum(["v1", "v2"]).optional().describe("Send a PROXY header."),
  })
  .superRefine((value, context) => {
    if ((value.endpoints === undefined) !== (value.dns === undefined)) return;
    const message = "A service has either endpoints or dns.";
    if (value.dns === undefined) refuse(context, new Refusal("choose_one", message, 'endpoints: ["127.0.0.1:9000"]'));
    else refuse(context, new Refusal("choose_one", message), "dns");
  })
  .describe("A named set of endpoints, and how they are spoken to.");

export type ServiceSpec = z.output<typeof serviceSpec>;
