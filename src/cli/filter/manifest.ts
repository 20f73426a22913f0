import { z } from "zod";
import { filterSpec } from "../../config/schema/filter.ts";
import { partName } from "../../config/schema/names.ts";
import { refuseSchema } from "../../config/settings-schema.ts";

/** Name of the file that says what a filter is, in its folder. */
export const MANIFEST_FILE = "selvedge-filter.yaml";

export const LANGUAGES = ["assemblyscript", "rust", "go", "c", "zig"] as const;
export type Language = (typeof LANGUAGES)[number];

/** `selvedge-filter.yaml`. */
export const manifestSchema = z.strictObject({
  name: partName().describe("Letters, digits and dashes."),
  version: z
    .string()
    .regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/)
    .describe("As in semver: 1.2.3."),
  description: z.string().max(1000).default("").describe("One sentence."),
  language: z.enum(LANGUAGES).optional().describe("What `filter build` builds it with."),
  module: z.string().min(1).describe("The module that `filter build` makes, relative to this file."),
  settings: z
    .record(z.string(), z.unknown())
    .default({})
    .superRefine((schema, context) => {
      const reason = refuseSchema(schema);
      if (reason === undefined) return;
      context.addIssue({ code: "custom", message: `It is no JSON Schema: ${reason}.`, params: { code: "wrong_type", hint: "" } });
    })
    .describe("JSON Schema of the filter's settings."),
  capabilities: filterSpec.shape.capabilities.optional().describe("What it needs to be granted; tests run with it."),
});

export type Manifest = z.output<typeof manifestSchema>;
