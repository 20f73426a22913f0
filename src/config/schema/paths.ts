import { CONFIG_LIMITS } from "../../core/limits.ts";
import { checkPattern } from "../pattern-steps.ts";
import { hasControl, show } from "./names.ts";
import { chooseOne, Refusal, textOf } from "./text.ts";

/**
 * A path as a request's path looks once it is normalised (docs/configuration.md, "Paths"), so that both can be compared byte
 * by byte: unreserved characters unescaped, everything else escaped with upper-case digits, no `.`, `..` or empty segments.
 */
export function readPath(text: string): string | Refusal {
  const bad = (why: string, hint = "") => new Refusal("bad_path", `${show(text)} is not a path: ${why}.`, hint);
  if (!text.startsWith("/")) return bad("it does not begin with /");
  if (/[?#]/.test(text)) return bad("it has a query or a fragment", "match the query with `query`");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\0-\x1f\x7f\\]/.test(text)) return bad("it has a control character or a backslash");
  if (/%(?![0-9a-fA-F]{2})/.test(text)) return bad("a % is not followed by two hex digits", "write %25 for a percent sign");
  if (/%([01][0-9a-fA-F]|7[fF])/.test(text)) return bad("escaped control characters never reach an upstream");
  if (/%(c[01]|e0%[89]|f0%8)/i.test(text)) return bad("overlong UTF-8 never reaches an upstream");
  if (/(^|\/)(\.|%2e){1,2};/i.test(text)) return bad("..; is a dot segment to some servers");
  const normal = normaliseEscapes(text);
  if (/%25[0-9a-fA-F]{2}/.test(normal)) return bad("a second layer of escapes never reaches an upstream");
  if (normal.length > CONFIG_LIMITS.valueBytes) return bad(`it is longer than ${CONFIG_LIMITS.valueBytes} bytes`);
  if (normal.split("/").some((segment) => segment === "." || segment === "..")) return bad("it has a . or .. segment");
  if (normal.split(/\/|%2F|%5C/).some((part) => /^\.{1,2}(;|%3B|$)/.test(part)))
    return bad("dots beside an escaped slash climb to some servers");
  if (normal.includes("//")) return bad("it has an empty segment");
  return normal;
}

function normaliseEscapes(text: string): string {
  const escaped = text.replace(/[^!-~]|["<>[\]^`{|}]/gu, (character) =>
    [...Buffer.from(character, "utf8")].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
  return escaped.replace(/%([0-9a-fA-F]{2})/g, (triplet, digits: string) => {
    const character = String.fromCharCode(Number.parseInt(digits, 16));
    return /[A-Za-z0-9._~-]/.test(character) ? character : triplet.toUpperCase();
  });
}

/** By segments, so a trailing slash says nothing: `/a/` reads as `/a`. */
const readPrefix = (text: string): string | Refusal => {
  const path = readPath(text);
  return path instanceof Refusal || path === "/" ? path : path.replace(/\/$/, "");
};

/** One segment of a template. */
export type TemplateSegment =
  | { readonly kind: "literal"; readonly value: string }
  | { readonly kind: "variable"; readonly name: string }
  | { readonly kind: "rest"; readonly name: string };

/** `/users/{id}/files/{rest=**}`: whole segments are variables, `=**` only at the end. */
export function parseTemplate(text: string): readonly TemplateSegment[] | Refusal {
  const bad = (why: string) =>
    new Refusal("bad_template", `${show(text)} is not a template: ${why}.`, "like /users/{id}/files/{rest=**}");
  if (!text.startsWith("/")) return bad("it does not begin with /");
  const segments: TemplateSegment[] = [];
  const names = new Set<string>();
  const parts = text.slice(1).split("/");
  for (const [i, part] of parts.entries()) {
    const variable = /^\{([A-Za-z_][A-Za-z0-9_]{0,62})(=\*\*)?\}$/.exec(part);
    if (variable === null) {
      if (/[{}*]/.test(part)) return bad("a variable is a whole segment");
      segments.push({ kind: "literal", value: part });
      continue;
    }
    const name = variable[1] as string;
    if (names.has(name)) return bad(`{${name}} is there twice`);
    names.add(name);
    if (variable[2] !== undefined && i < parts.length - 1) return bad("=** may only be the last segment");
    segments.push({ kind: variable[2] === undefined ? "variable" : "rest", name });
  }
  const literals = readPath(text.replace(/\{[^}]*\}/g, "x"));
  return literals instanceof Refusal ? literals : segments;
}

function readTemplate(text: string): string | Refusal {
  const segments = parseTemplate(text);
  if (segments instanceof Refusal) return segments;
  return segments
    .map((segment) => {
      if (segment.kind === "literal") return `/${normaliseEscapes(segment.value)}`;
      return segment.kind === "rest" ? `/{${segment.name}=**}` : `/{${segment.name}}`;
    })
    .join("");
}

/** A replacement: a path with `{name}` anywhere in it. */
function readPathWithVariables(text: string): string | Refusal {
  const literals = readPath(text.replace(/\{[A-Za-z_][A-Za-z0-9_]{0,62}\}/g, "x"));
  if (literals instanceof Refusal) return literals;
  if (/[{}]/.test(text.replace(/\{[A-Za-z_][A-Za-z0-9_]{0,62}\}/g, ""))) {
    return new Refusal("bad_template", `${show(text)} has a brace that is not a variable.`, "like /files/{name}");
  }
  return text.replace(/[^{}]+/g, normaliseEscapes);
}

/** Names of the variables in a replacement or a template. */
export const variablesOf = (text: string): string[] =>
  [...text.matchAll(/\{([A-Za-z_][A-Za-z0-9_]*)(?:=\*\*)?\}/g)].map((match) => match[1] as string);

const TOGETHER = `All regular expressions together take more than ${CONFIG_LIMITS.regexStepsTotal} steps to make tables of.`;
const LARGE_HINT =
  "large are counted repetitions of what may be empty or overlaps what follows, like (a?b?){1,30} or .*a.{20}: use + or * for the count, or say what stands between";

/** RE2 syntax, made a table once to see that it has one. User regexes never reach a backtracking engine. */
export function readRegex(text: string): string | Refusal {
  if (Buffer.byteLength(text) > CONFIG_LIMITS.regexBytes) {
    return new Refusal("bad_regex", `The regular expression is longer than ${CONFIG_LIMITS.regexBytes} bytes.`);
  }
  if (hasControl(text)) return new Refusal("bad_regex", "The regular expression has a control character.", "write \\n, \\r, \\t");
  try {
    const check = checkPattern(text);
    if (check === undefined) return new Refusal("bad_regex", TOGETHER, "make them simpler, or match with prefixes and templates");
    return check.refusal === ""
      ? text
      : new Refusal("bad_regex", `The regular expression is too large. ${check.refusal}`, LARGE_HINT);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return new Refusal("bad_regex", `Not a regular expression: ${why}.`, "RE2 syntax: no look-around, no back-references");
  }
}

export const regex = () => textOf("regex", readRegex);

/** How a path is compared. */
export const pathMatch = () =>
  chooseOne("path match", {
    exact: textOf("path", readPath).optional().describe("The whole path."),
    prefix: textOf("path", readPrefix).optional().describe("By segments: `/a` matches `/a` and `/a/b`, not `/ab`."),
    template: textOf("path template", readTemplate)
      .optional()
      .describe("With variables: `/users/{id}/files/{rest=**}`. `{id}` is one segment, `{rest=**}` the rest (only at the end)."),
    regex: regex().optional().describe("RE2 syntax, anchored at both ends."),
  });

/** What a path becomes. */
export const pathRewrite = () =>
  chooseOne("path rewrite", {
    full: textOf("path", readPath).optional().describe("The new path."),
    prefix: textOf("path", readPrefix).optional().describe("Replaces what a `prefix` match matched."),
    template: textOf("path", readPathWithVariables).optional().describe("With `{name}` of a `template` match."),
  });
