import { Buffer } from "node:buffer";
import { z } from "zod";
import { CONFIG_LIMITS, CONTROL_LIMITS, DRAIN_TIMES, FILTER_BUDGET_MAXIMA } from "../../core/limits.ts";
import { readTrustedKey } from "../module-signature.ts";
import { loggedHeader } from "./headers.ts";
import { cidr, filePath, hasControl, list, reference, show } from "./names.ts";
import { Refusal, refuse, textOf } from "./text.ts";
import { duration, formatDuration } from "./units.ts";

const SERVICE_NAME_BYTES = 255;
/** Batches wait for each other. */
const TRACE_TIMEOUT_MAX_MS = 60_000;

const share = () => z.number().min(0).max(1);

const logFilter = z
  .strictObject({
    minStatus: z.int().min(100).max(599).optional().describe("Status at least."),
    minDuration: duration().optional().describe("Duration at least."),
    routes: list(reference()).min(1).optional().describe("Only these routes."),
  })
  .meta({ minProperties: 1 });

const accessLog = z.strictObject({
  enabled: z.boolean().default(true).describe("Write one line of JSON per request."),
  path: filePath()
    .prefault("stdout")
    .describe(
      "`stdout`, `stderr`, or a file that is appended to and re-opened on SIGHUP. From a control plane a proxy takes only files below its `--log-dir`.",
    ),
  sample: share().default(1).describe("Share of the requests that are logged, 0 to 1. Failures always are."),
  filter: logFilter.optional().describe("Log only requests that meet all of this. Failures always are."),
  filters: z
    .boolean()
    .default(false)
    .describe(
      "Log what each filter did: `filters` with its name, verdict, microseconds in its callbacks and waiting for it, and fuel. Each callback is then timed, which costs two readings of the clock.",
    ),
  slowFilter: duration()
    .optional()
    .describe(
      "Name filters that took, or let the request wait, longer than this, and log such requests whatever `sample` and `filter` say. Times each callback, as `filters` does.",
    ),
  requestHeaders: list(loggedHeader(), 64).prefault([]).describe("Request headers to log."),
  responseHeaders: list(loggedHeader(), 64).prefault([]).describe("Answer headers to log."),
});

function readCollector(text: string): string | Refusal {
  const bad = (why: string) =>
    new Refusal("bad_url", `${show(text)} is not the URL of a collector: ${why}.`, "like http://collector.example:4318");
  if (text.length > CONFIG_LIMITS.valueBytes || !URL.canParse(text)) return bad("it is malformed");
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") return bad("it is neither https nor http");
  if (url.username !== "" || url.password !== "") return bad("it has credentials");
  if (url.hash !== "") return bad("it has a fragment");
  return url.href;
}

function readSpanService(text: string): string | Refusal {
  const bytes = Buffer.byteLength(text);
  if (bytes === 0 || bytes > SERVICE_NAME_BYTES)
    return new Refusal("out_of_range", `A service's name has 1 to ${SERVICE_NAME_BYTES} bytes, here ${bytes}.`);
  return hasControl(text) ? new Refusal("out_of_range", "A service's name has no control character.") : text;
}

const traceExport = z.strictObject({
  protocol: z.enum(["otlp", "zipkin"]).default("otlp").describe("OTLP over HTTP, or Zipkin v2; both as JSON."),
  url: textOf("URL", readCollector).describe(
    "The collector (`http` or `https`). Without a path: `/v1/traces` for OTLP, `/api/v2/spans` for Zipkin. Redirects are not followed.",
  ),
  serviceName: textOf("text", readSpanService).prefault("selvedge").describe("`service.name` of the spans."),
  timeout: duration(1, TRACE_TIMEOUT_MAX_MS).prefault("5s").describe("How long one batch may take."),
});

const tracing = z.strictObject({
  start: z
    .boolean()
    .default(false)
    .describe("Start a trace (W3C `traceparent`) when none came in. One that came in is always passed on."),
  sample: share().default(1).describe("Share of the traces started here that carry the sampled flag."),
  export: traceExport
    .optional()
    .describe(
      "Send a span of every request whose trace is sampled. Its filters are timed and told with it, `slow` by `accessLog.slowFilter`; the upstream gets this span as its parent.",
    ),
});

const drain = z.strictObject({
  grace: duration()
    .prefault(formatDuration(DRAIN_TIMES.graceMs))
    .describe("How long requests may take to finish when the proxy stops."),
  tunnelGrace: duration().prefault(formatDuration(DRAIN_TIMES.tunnelGraceMs)).describe("The same for WebSockets."),
});

const trustedKey = () =>
  textOf("ed25519:base64", (text) =>
    readTrustedKey(text) === undefined
      ? new Refusal("bad_key", "Not a key.", "ed25519: and base64 of its 32 bytes, as `selvedge filter sign` prints it")
      : text,
  );

const filters = z
  .strictObject({
    requireSignature: z
      .boolean()
      .default(false)
      .describe(
        "Refuse filter modules that no trusted key has signed, in the control plane and in every proxy. Built-in filters need none.",
      ),
    trustedKeys: list(trustedKey(), 64)
      .prefault([])
      .describe("Keys whose signature counts, as `selvedge filter sign` prints them."),
    startFuel: z
      .int()
      .min(1_000)
      .max(FILTER_BUDGET_MAXIMA.startFuel)
      .default(CONTROL_LIMITS.startFuel)
      .describe(
        "The most that a filter may have as `budget.startFuel`. While a filter starts, the worker that loads it does nothing else: a billion is some 0.1 to 0.5 seconds. What a control plane tries it in is a process of its own; changes behind it wait.",
      ),
  })
  .superRefine(({ requireSignature, trustedKeys }, context) => {
    if (!requireSignature || trustedKeys.length > 0) return;
    refuse(
      context,
      new Refusal("conflicting_fields", "No key is trusted: every filter would be refused.", "name one in trustedKeys"),
    );
  });

/** What holds for the whole proxy. */
export const meshSpec = z
  .strictObject({
    accessLog: accessLog.prefault({}).describe("Access log."),
    tracing: tracing.prefault({}).describe("Trace context."),
    trustedProxies: list(cidr()).prefault([]).describe("Proxies in front of this one whose forwarding headers are believed."),
    drain: drain.prefault({}).describe("How the proxy stops."),
    filters: filters.prefault({}).describe("Which filter modules may run."),
  })
  .describe("What holds for the whole proxy. At most one; without it the defaults hold.");

export type MeshSpec = z.output<typeof meshSpec>;
