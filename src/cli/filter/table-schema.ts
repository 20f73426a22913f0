import { z } from "zod";
import { filterSpec } from "../../config/schema/filter.ts";
import { duration } from "../../config/schema/units.ts";

/** The table of `selvedge filter test` (docs/filters.md, "The test table"). One file, one module, any number of tests. */

const scalar = z.union([z.string(), z.number(), z.boolean()]);

/** Header fields by name: one value, or several in order. */
const fields = z.record(z.string(), z.union([scalar, z.array(scalar).min(1)])).meta({ title: "name: value" });

const regex = z.string().superRefine((text, context) => {
  try {
    new RegExp(text);
  } catch (error) {
    const message = `It is no regular expression: ${error instanceof Error ? error.message : String(error)}.`;
    context.addIssue({ code: "custom", message, params: { code: "bad_regex", hint: "" } });
  }
});

const textConditions = {
  contains: z.string().optional().describe("This stands somewhere in it."),
  startsWith: z.string().optional().describe("It begins with this."),
  endsWith: z.string().optional().describe("It ends with this."),
  matches: regex.optional().describe("This regular expression fits somewhere in it."),
  not: z.string().optional().describe("It is anything but this."),
};

/** A text: exactly this, or all of these conditions. */
const textMatcher = z.union([scalar, z.strictObject(textConditions).meta({ minProperties: 1 })]);

/** A header field: a value, null (must be absent), the list of all its values, or conditions. */
const fieldMatcher = z.union([
  scalar,
  z.null(),
  z.array(scalar),
  z.strictObject({ ...textConditions, present: z.boolean().optional().describe("True: it is there, whatever it says.") }),
]);

const fieldMatchers = z.record(z.string(), fieldMatcher).meta({ title: "name: condition" });

/** A body: text, or one of these. */
const body = z.union([
  z.string(),
  z.strictObject({
    text: z.string().optional().describe("UTF-8."),
    json: z.unknown().optional().describe("Any value, written as JSON without spaces."),
    base64: z.base64().optional().describe("Bytes."),
    chunks: z.array(z.string()).min(1).optional().describe("Texts that come one after the other, each a callback of its own."),
    repeat: z
      .strictObject({ text: z.string().min(1), times: z.int().min(1).max(1_000_000) })
      .optional()
      .describe("A text many times, in pieces of 16 KiB."),
  }),
]);

const bodyMatcher = z.union([
  z.string(),
  z.strictObject({
    ...textConditions,
    json: z.unknown().optional().describe("It is JSON that says the same, whatever the order of members."),
    base64: z.base64().optional().describe("Exactly these bytes."),
    bytes: z.int().min(0).optional().describe("Its length."),
  }),
]);

const request = z.strictObject({
  method: z.string().min(1).default("GET"),
  url: z.string().min(1).default("http://example.com/").describe("With host, or a path alone (then the host is example.com)."),
  headers: fields.prefault({}),
  body: body.optional(),
  trailers: fields.optional(),
  source: z.string().default("192.0.2.1:40000").describe("Address and port of the caller."),
  tls: z
    .strictObject({
      version: z.string().default("TLSv1.3"),
      serverName: z.string().optional(),
      uris: z.array(z.string()).optional().describe("URI names of the caller's certificate, which counts as verified."),
      dnsNames: z.array(z.string()).optional(),
      subject: z.string().default(""),
    })
    .optional()
    .describe("The caller came over TLS."),
  attributes: z
    .record(z.string(), scalar)
    .prefault({})
    .describe("What authentication and others left behind: `metadata.filter_metadata.…` by path with dots."),
  route: z.string().default("default/route"),
  service: z.string().default("default/service"),
  id: z.string().default("00000000-0000-4000-8000-000000000001").describe("Request id."),
});

const answer = z.strictObject({
  status: z.int().min(200).max(599).default(200),
  headers: fields.prefault({}),
  body: body.optional(),
  trailers: fields.optional(),
  after: duration().optional().describe("Virtual time until it answers."),
});

const callout = z.strictObject({
  service: z.string().optional().describe("Only calls to this service; without it any."),
  answer: answer.optional().describe("Without it the call fails."),
});

const expectation = z.strictObject({
  verdict: z
    .enum(["continue", "respond", "fail", "pause"])
    .optional()
    .describe("`continue`: the request reached the upstream and its answer the caller. `pause`: something is still held."),
  upstream: z
    .union([
      z.null(),
      z.strictObject({
        method: textMatcher.optional(),
        path: textMatcher.optional().describe("With the query."),
        host: textMatcher.optional(),
        headers: fieldMatchers.optional(),
        body: bodyMatcher.optional(),
        trailers: fieldMatchers.optional(),
      }),
    ])
    .optional()
    .describe("What the upstream got; null: nothing."),
  response: z
    .union([
      z.null(),
      z.strictObject({
        status: z.int().optional(),
        headers: fieldMatchers.optional(),
        body: bodyMatcher.optional(),
        trailers: fieldMatchers.optional(),
        complete: z.boolean().optional().describe("False: it was cut off."),
      }),
    ])
    .optional()
    .describe("What the caller got; null: nothing (yet)."),
  failure: textMatcher.optional().describe("Code and reason, as the proxy's log has them: `filter_failed (trap: …)`."),
  logs: z
    .array(z.union([scalar, z.strictObject({ level: z.enum(["debug", "info", "warn", "error"]).optional(), ...textConditions })]))
    .optional()
    .describe("Lines of the filter, in this order, others in between; an empty list: none at all."),
  notes: fieldMatchers.optional().describe("What the filter set for the access log (`selvedge.log.NAME`)."),
  callouts: z
    .array(
      z.strictObject({
        service: textMatcher.optional(),
        method: textMatcher.optional(),
        path: textMatcher.optional(),
        headers: fieldMatchers.optional(),
        body: bodyMatcher.optional(),
      }),
    )
    .optional()
    .describe("All calls that the filter made, in order."),
  metrics: z.record(z.string(), z.number()).optional().describe("Metrics by name, since the test began."),
});

const stepFields = {
  name: z.string().optional(),
  request: request.optional().describe("One exchange."),
  upstream: answer.optional().describe("What the upstream answers. Default: 200 without a body."),
  callouts: z.array(callout).optional().describe("Answers for calls that the filter makes, in order."),
  advance: duration().optional().describe("Instead of a request: virtual time passes, ticks come."),
  expect: expectation.optional(),
};

const filterParts = {
  settings: filterSpec.shape.settings.optional(),
  budget: filterSpec.shape.budget.optional(),
  capabilities: filterSpec.shape.capabilities.optional(),
  onFailure: z.enum(["closed", "open"]).optional(),
  pauseHolds: z.enum(["message", "head"]).optional(),
  rootId: z.string().max(256).optional(),
  isolated: z.boolean().optional(),
};

const oneTest = z
  .strictObject({
    ...stepFields,
    name: z.string().min(1).describe("What must be true, in words."),
    ...filterParts,
    refused: textMatcher.optional().describe("The filter must not start with these settings, and say this."),
    steps: z
      .array(z.strictObject(stepFields).superRefine(refuseBoth))
      .min(1)
      .optional()
      .describe("Several, one after the other, with one instance."),
  })
  .superRefine((test, context) => {
    refuseBoth(test, context);
    const kinds = [test.steps, test.refused, test.request ?? test.advance].filter((each) => each !== undefined).length;
    if (kinds === 1 && (test.expect === undefined || test.request !== undefined || test.advance !== undefined)) return;
    const message = "A test has either a request, or advance, or steps, or refused.";
    context.addIssue({ code: "custom", message, params: { code: "choose_one", hint: "write several requests as steps" } });
  });

function refuseBoth(step: { request?: unknown; advance?: unknown; upstream?: unknown }, context: z.core.$RefinementCtx): void {
  if (step.advance === undefined || (step.request === undefined && step.upstream === undefined)) return;
  const message = "A step is either a request or advance.";
  context.addIssue({ code: "custom", message, params: { code: "choose_one", hint: "make two steps" } });
}

export const tableSchema = z.strictObject({
  module: filterSpec.shape.module.optional().describe("Default: the module of selvedge-filter.yaml in the same folder."),
  ...filterParts,
  tests: z.array(oneTest).min(1),
});

export type Table = z.output<typeof tableSchema>;
export type TableTest = Table["tests"][number];
export type TableStep = NonNullable<TableTest["steps"]>[number];
export type TableRequest = z.output<typeof request>;
export type TableAnswer = z.output<typeof answer>;
export type TableBody = z.output<typeof body>;
export type TableCallout = z.output<typeof callout>;
export type Expectation = z.output<typeof expectation>;
export type TextMatcher = z.output<typeof textMatcher>;
export type FieldMatcher = z.output<typeof fieldMatcher>;
export type BodyMatcher = z.output<typeof bodyMatcher>;
export type Fields = z.output<typeof fields>;
