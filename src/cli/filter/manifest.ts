import { z } from "zod";
import { filterSpec } from "../../config/schema/filter.ts";
import { partName } from "../../config/schema/names.ts";
import { refuseSchema } from "../../config/settings-schema.ts";
import { ABIS, abisOf, LANGUAGES } from "./languages.ts";

/** Name of the file that says what a filter is, in its folder. */
export const MANIFEST_FILE = "selvedge-filter.yaml";

/** `selvedge-filter.yaml`. */
const manifestFields = z.strictObject({
  name: partName().describe("Letters, digits and dashes."),
  version: z
    .string()
    .regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/)
    .describe("As in semver: 1.2.3."),
  description: z.string().max(1000).default("").describe("One sentence."),
  language: z.enum(LANGUAGES).optional().describe("What `filter build` builds it with."),
  abi: z.enum(ABIS).optional().describe("What it is built as. Default: that of `filter new` for the language."),
  world: z
    .string()
    .regex(/^[a-z][a-z0-9-]*$/)
    .default("head-filter")
    .describe("World of the WIT that a component in JavaScript, TypeScript or Python is built for; Rust names it in its source."),
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
  budget: filterSpec.shape.budget
    .optional()
    .describe("Budgets that it needs beyond the defaults; tests run with them. A Filter resource has to name them too."),
});

export const manifestSchema = manifestFields.superRefine(({ language, abi }, context) => {
  if (language === undefined || abi === undefined || abisOf(language).includes(abi)) return;
  const message = `\`filter build\` makes no ${abi} of ${language}.`;
  const hint = `${language} becomes ${abisOf(language).join(", ")}`;
  context.addIssue({ code: "custom", path: ["abi"], message, params: { code: "unknown_value", hint } });
});

export type Manifest = z.output<typeof manifestSchema>;
