import { z } from "zod";
import { isNestedDeeper } from "../../core/json-text.ts";
import {
  BUILTIN_FILTER_FUEL,
  CONFIG_LIMITS,
  DEFAULT_FILTER_BUDGET as DEFAULTS,
  FILTER_BUDGET_MAXIMA as MAXIMA,
} from "../../core/limits.ts";
import { readOciReference } from "../oci/reference.ts";
import { settingsValue } from "../secret-values.ts";
import { capabilities } from "./capabilities.ts";
import { filePath } from "./names.ts";
import { chooseOne, Refusal, textOf } from "./text.ts";
import { duration, formatDuration, formatSize, size } from "./units.ts";

/** Filters that come with the proxy. */
export const BUILTIN_FILTERS = ["rate-limit", "authz", "transform"] as const;
export type BuiltinFilter = (typeof BUILTIN_FILTERS)[number];

const moduleShape = {
  builtin: z.enum(BUILTIN_FILTERS).optional().describe("A filter that comes with the proxy."),
  file: filePath()
    .optional()
    .describe(
      "A WebAssembly file: a proxy-wasm module, a component (`selvedge:filter`), or a plug-in of Extism; relative to the configuration file.",
    ),
  digest: textOf("sha256:hex", (text) =>
    /^sha256:[0-9a-f]{64}$/.test(text) ? text : new Refusal("unknown_module", "Not a digest.", "sha256: and 64 hex digits"),
  )
    .optional()
    .describe("A module that was stored before; beside `oci`: the module that the registry must have."),
  oci: textOf("registry/repository:tag", (text) => {
    const reference = readOciReference(text);
    return reference instanceof Refusal ? reference : text;
  })
    .optional()
    .describe(
      "A module in an OCI registry, by tag or `@sha256:` of its manifest. An apply pulls it and writes the digest of what it found beside it (`digest`): proxies get just that, however the tag moves. Applied again without `digest`, the registry is asked again; with it only when no such module is stored.",
    ),
};

const moduleChoice = chooseOne("module", moduleShape, { digest: "oci" });

const bytes = (key: "memoryBytes" | "bufferBytes" | "outputBytes" | "sharedDataBytes", least: number, text: string) =>
  size(least, MAXIMA[key])
    .prefault(formatSize(DEFAULTS[key]))
    .describe(`${text} At most ${formatSize(MAXIMA[key])}.`);

const count = (
  key:
    | "startFuel"
    | "faults"
    | "depthSlots"
    | "hostCallsPerCallback"
    | "callouts"
    | "logLinesPerSecond"
    | "sharedDataKeys"
    | "metrics"
    | "contextsPerInstance",
  least: number,
  text: string,
) => z.int().min(least).max(MAXIMA[key]).default(DEFAULTS[key]).describe(text);

const fuel = (key: "callbackFuel" | "exchangeFuel" | "fuelPerSecond", text: string) =>
  z
    .int()
    .min(1_000)
    .max(MAXIMA[key])
    .optional()
    .describe(`${text} Default: ${DEFAULTS[key]}; for built-in filters, whose loops are bounded, ${BUILTIN_FILTER_FUEL[key]}.`);

const budget = z.strictObject({
  callbackFuel: fuel(
    "callbackFuel",
    "Work of one callback, about one for each instruction. It bounds work, not time: a million is some 0.1 ms of warm code, 1 ms and more of code that runs for the first time. Beyond: onFailure, and a new instance.",
  ),
  exchangeFuel: fuel("exchangeFuel", "Work of all callbacks of one exchange that answer a verdict. Beyond: onFailure."),
  fuelPerSecond: fuel(
    "fuelPerSecond",
    "Work of all its instances in one worker and second: a share of CPU above the budgets before. It bounds work, not time: the default is some 0.25 to 1 second of warm code. Beyond: onFailure until the second is over, counted in `selvedge_filter_throttled_total`.",
  ),
  startFuel: count(
    "startFuel",
    1_000,
    "Work until an instance is configured, on the thread that serves: a billion is some 0.1 to 0.3 seconds. Beyond: the filter is refused, or does not start again. More than the Mesh allows (`spec.filters.startFuel`, 2000000000 unless it says otherwise) is refused. What is above 2147483647 is given when the module calls the host; components cannot use it.",
  ),
  faults: count(
    "faults",
    0,
    "So many faults within `faultWindow` and the filter is quarantined: it is not run any more and onFailure applies, until it is released by hand or its module, settings or budget change. 0: never.",
  ),
  faultWindow: duration(1_000, MAXIMA.faultWindowMs)
    .prefault(formatDuration(DEFAULTS.faultWindowMs))
    .describe(`The time in which faults are counted, at most ${formatDuration(MAXIMA.faultWindowMs)}.`),
  depth: count(
    "depthSlots",
    1_000,
    "How deep its calls may nest, in slots of 8 bytes: a call takes 16, its parameters and locals, and its most operands. On Deno what is above 100000 counts only with `DENO_V8_FLAGS=--stack-size=2000`. Core modules of components have the default each. Beyond: onFailure, and a new instance.",
  ),
  memory: bytes("memoryBytes", 64 * 1024, "Linear memory of one instance."),
  buffer: bytes("bufferBytes", 0, "Body held for one exchange while the filter pauses. Beyond: 413 or 500."),
  pause: duration(1, MAXIMA.pauseMs)
    .prefault(formatDuration(DEFAULTS.pauseMs))
    .describe(`How long one pause may last, at most ${formatDuration(MAXIMA.pauseMs)}. Beyond: onFailure.`),
  hostCalls: count(
    "hostCallsPerCallback",
    1,
    "Calls to the host in one callback. Beyond: the call fails as the ABI has it; components and plug-ins of Extism, which have no such answer, break.",
  ),
  exchangeHostCalls: z
    .int()
    .min(1)
    .max(MAXIMA.hostCallsPerExchange)
    .optional()
    .describe(
      "Calls to the host in all callbacks of one exchange that answer a verdict. Beyond: as for `hostCalls`. Default: ten times `hostCalls`.",
    ),
  output: bytes("outputBytes", 0, "What it may add to headers and bodies of one exchange."),
  callouts: count("callouts", 0, "HTTP calls under way in one exchange."),
  logLines: count("logLinesPerSecond", 0, "Log lines per second; more are dropped and counted."),
  sharedDataKeys: count("sharedDataKeys", 0, "Keys of shared data."),
  sharedData: bytes("sharedDataBytes", 0, "Shared data, keys and values; as much again in all shared queues."),
  metrics: count("metrics", 0, "Metrics it may define."),
  contexts: count("contextsPerInstance", 1, "Exchanges in one instance."),
});

const tooLong = (length: number): string | undefined =>
  length <= CONFIG_LIMITS.textBytes ? undefined : `Settings are longer than ${formatSize(CONFIG_LIMITS.textBytes)}.`;

const settingsMapping = z.record(z.string(), z.unknown()).superRefine((value, context) => {
  const message = tooLong(JSON.stringify(value).length);
  if (message !== undefined) context.addIssue({ code: "custom", message, params: { code: "out_of_range", hint: "" } });
});
/** Of its own fields nobody could be told which are secret, or wrong. */
const settingsText = z.string().superRefine((value, context) => {
  const message = tooLong(value.length);
  if (message !== undefined) context.addIssue({ code: "custom", message, params: { code: "out_of_range", hint: "" } });
  else if (/^\s*[[{]/.test(value) && (isNestedDeeper(value, CONFIG_LIMITS.depth) || typeof settingsValue(value) === "object"))
    context.addIssue({
      code: "custom",
      message: "Settings are JSON within a text.",
      params: { code: "wrong_type", hint: "write them as a mapping" },
    });
});
const settings = z.union([settingsMapping, settingsText]).meta({ title: "mapping or text" });

/** A WebAssembly module with its settings. */
export const filterSpec = z
  .strictObject({
    module: moduleChoice.describe("The WebAssembly module."),
    settings: settings
      .prefault({})
      .describe(
        "Its configuration, see the filter's own documentation: a mapping is handed over as JSON with sorted keys, a text to proxy-wasm as it is, to others as JSON.",
      ),
    onFailure: z
      .enum(["closed", "open"])
      .default("closed")
      .describe(
        "When it traps or exceeds its budget: `closed`: the request fails with 500. `open`: it goes on without the filter.",
      ),
    pauseHolds: z
      .enum(["message", "head"])
      .default("message")
      .describe(
        "What a filter for proxy-wasm holds when it pauses at a head. `message`: the body waits as well, and is shown to it after it goes on. `head`: its body callbacks see the body meanwhile, while it may still change the head or answer itself; the first of them that continues lets head and body go (Envoy's `allow_on_headers_stop_iteration`).",
      ),
    rootId: z
      .string()
      .max(256)
      .default("")
      .describe(
        "Which plug-in of a module for proxy-wasm that holds several is to run (Envoy's `root_id`, Istio's `pluginName`): what `plugin_root_id` says. The SDK for C++ registers plug-ins by it; one that is not found does nothing at all.",
      ),
    isolated: z
      .boolean()
      .default(false)
      .describe(
        "One exchange at a time in an instance, which is put back to its first state when the exchange ends: nothing of one exchange is there in the next. For filters that are not trusted; costs some 40 us an exchange with a memory of 1 MiB, and more with larger ones (docs/filters.md).",
      ),
    disabled: z
      .boolean()
      .default(false)
      .describe("Switched off: it does not run and costs nothing; onFailure applies. `selvedge filter disable` writes it."),
    release: z
      .string()
      .min(1)
      .max(64)
      .optional()
      .describe(
        "Any text, such as a time. With another one the filter starts anew, which releases it from quarantine. `selvedge filter release` writes it.",
      ),
    budget: budget.prefault({}).describe("What it may use."),
    capabilities: capabilities
      .prefault({})
      .describe("What it may do. Nothing beyond the exchange, and no credentials in it, unless granted."),
  })
  .describe("A WebAssembly module with its settings, budget and capabilities. Routes name it.");

export type FilterSpec = z.output<typeof filterSpec>;
