import { z } from "zod";
import {
  DEFAULT_CALLOUT_LIMITS as CALLOUT_DEFAULTS,
  CALLOUT_LIMITS_MAXIMA as CALLOUT_MAXIMA,
  CAPABILITY_LIMITS,
  DEFAULT_PUBLISH_LIMITS as PUBLISH_DEFAULTS,
  PUBLISH_LIMITS_MAXIMA as PUBLISH_MAXIMA,
} from "../../core/limits.ts";
import { hasControl, list, partName, reference, show } from "./names.ts";
import { Refusal, textOf } from "./text.ts";
import { duration, formatDuration, formatSize, size } from "./units.ts";

const { patterns, patternChars } = CAPABILITY_LIMITS;

/** A name in lower case, a prefix that ends in `*`, or `*` or `**`. */
function readFieldPattern(text: string): string | Refusal {
  if (text === "*" || text === "**") return text;
  if (text.length <= patternChars && /^:?[!#$%&'+.^_`|~0-9A-Za-z-]+\*?$/.test(text)) return text.toLowerCase();
  return new Refusal("bad_pattern", `${show(text)} is no name of a field.`, "write accept, x-shop-*, :path, * or **");
}

function readAttributePattern(text: string): string | Refusal {
  if (text === "*" || text === "**") return text;
  if (text.length <= patternChars && /^[^*\s]+\*?$/.test(text) && !hasControl(text)) return text;
  return new Refusal("bad_pattern", `${show(text)} is no name of an attribute.`, "write source.address, metadata.*, * or **");
}

/**
 * A subject without wildcards. Those of the configuration, of the server and of answers would make a filter a publisher of
 * configuration, or an administrator.
 */
function readSubject(text: string): string | Refusal {
  const bad = (why: string): Refusal => new Refusal("bad_subject", `${show(text)} is no subject for filters${why}.`);
  if (text.length > patternChars || !/^[^.*>\s]+(\.[^.*>\s]+)*$/.test(text) || hasControl(text))
    return bad(": tokens and dots, no wildcard");
  if (/^[$_]/.test(text) || text.split(".", 1)[0]?.toLowerCase() === "selvedge")
    return new Refusal(
      "bad_subject",
      `${show(text)} is no subject for filters: it belongs to NATS or to Selvedge.`,
      "choose one of your own, as `shop.orders`: none that begins with `selvedge.`, `$` or `_`",
    );
  return text;
}

const names = (title: string, read: (text: string) => string | Refusal) => list(textOf(title, read), patterns).optional();
const fields = () =>
  z
    .strictObject({
      read: names("field pattern", readFieldPattern).describe(
        "Fields it sees, as `accept`, `x-shop-*` or `:path`. `*` stands for all but credentials (`authorization`, `cookie`, …), which must be named; `**` for all. Default: `[*]`; `[**]` for built-in filters.",
      ),
      write: names("field pattern", readFieldPattern).describe(
        "Fields it may set, add and remove. `*` stands for all but credentials and what says where a request goes and whom it came from (`:path`, `:authority`, `x-forwarded-*`, …), which must be named; `**` for all. Default: `[*]`; `[**]` for built-in filters.",
      ),
    })
    .prefault({});

const access = (whose: string) =>
  z
    .enum(["none", "read", "write"])
    .default("write")
    .describe(`${whose}. \`none\`: its callbacks are not called, and a component or a plug-in that wants them is refused.`);

const calloutFields = {
  service: reference().describe("Name of a Service."),
  concurrent: z
    .int()
    .min(1)
    .max(CALLOUT_MAXIMA.concurrent)
    .default(CALLOUT_DEFAULTS.concurrent)
    .describe("Calls under way in one worker. Beyond: refused."),
  perSecond: z
    .int()
    .min(1)
    .max(CALLOUT_MAXIMA.perSecond)
    .default(CALLOUT_DEFAULTS.perSecond)
    .describe("Calls begun within a second in one worker. Beyond: refused."),
  timeout: duration(1, CALLOUT_MAXIMA.timeoutMs)
    .prefault(formatDuration(CALLOUT_DEFAULTS.timeoutMs))
    .describe("Longest time for an answer, whatever the filter asks for. Beyond: the call failed."),
  answer: size(0, CALLOUT_MAXIMA.answerBytes)
    .optional()
    .describe("Body of an answer. Beyond: the call failed. Default: `budget.buffer`."),
};
const callout = z.union([
  reference().transform((service) => ({
    ...{ service, concurrent: undefined, perSecond: undefined, timeout: undefined, answer: undefined },
  })),
  z.strictObject(calloutFields),
]);

const nats = z
  .strictObject({
    publish: list(textOf("subject", readSubject), patterns).prefault([]).describe("Subjects, without wildcards."),
    perSecond: z
      .int()
      .min(1)
      .max(PUBLISH_MAXIMA.perSecond)
      .default(PUBLISH_DEFAULTS.perSecond)
      .describe("Messages within a second in one worker. Beyond: refused."),
    payload: size(0, PUBLISH_MAXIMA.payloadBytes)
      .prefault(formatSize(PUBLISH_DEFAULTS.payloadBytes))
      .describe("One message. Beyond: refused."),
  })
  .prefault({});

/** What a filter may do. */
export const capabilities = z.strictObject({
  callouts: list(callout)
    .prefault([])
    .describe("Services it may call. A plain name stands for `{service: name}` with the default limits."),
  sharedData: partName()
    .optional()
    .describe("Name of its shared data; filters of one namespace with the same name share. Default: its own."),
  rateLimit: z
    .boolean()
    .optional()
    .describe("Exact counters shared by all workers. Default: `true` for the built-in `rate-limit`, else `false`."),
  clock: z
    .boolean()
    .optional()
    .describe("Time with full precision; else whole milliseconds. Default: `true` for built-in filters, else `false`."),
  random: z.boolean().default(false).describe("Random numbers; else a fixed sequence while it starts, and then an error."),
  metrics: z.boolean().default(true).describe("Metrics of its own, within its budget."),
  log: z.boolean().default(true).describe("Lines in the log, within its budget."),
  respond: z.boolean().default(true).describe("Answering in the service's place."),
  bodies: z
    .strictObject({ request: access("Bodies of requests"), response: access("Bodies of answers") })
    .prefault({})
    .describe("Which bodies it sees and changes."),
  headers: z
    .strictObject({ request: fields().describe("Of requests."), response: fields().describe("Of answers.") })
    .prefault({})
    .describe("Which fields of heads and trailers it sees and changes, by name."),
  attributes: z
    .strictObject({
      read: names("attribute pattern", readAttributePattern).describe(
        "Attributes it sees, parts joined by dots; those of fields follow `headers`. Default: `[*]`.",
      ),
      write: names("attribute pattern", readAttributePattern).describe(
        "Attributes it may set. `*` stands for names of its own and `selvedge.log.*`, not for those of the proxy (`metadata.*`, `selvedge.principal`, …). Default: `[*]`; `[**]` for built-in filters.",
      ),
    })
    .prefault({})
    .describe("Which attributes (properties) it sees and sets, by name."),
  nats: nats.describe("What it may publish over NATS."),
});

export type CapabilitiesSpec = z.output<typeof capabilities>;
