/**
 * Path templates: `/users/{id}/files/{rest=**}`. `{id}` is one non-empty segment, `{rest=**}` (last only) is everything that
 * remains, also nothing. Values are path text as it is, still percent-encoded.
 */

export type TemplateSegment =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "variable"; readonly name: string }
  | { readonly kind: "rest"; readonly name: string };

export interface Template {
  readonly segments: readonly TemplateSegment[];
  /** One character per segment: `0` literal, `1` variable, `2` rest. Sorts templates that match the same path: smaller goes first. */
  readonly shape: string;
  readonly variables: readonly TemplateVariable[];
}

/** A variable and the number of its segment, from 0. */
export interface TemplateVariable {
  readonly name: string;
  readonly segment: number;
  /** It takes the rest of the path. */
  readonly rest: boolean;
}

const SHAPE = { literal: "0", variable: "1", rest: "2" } as const;

/** Throws an `Error` that says what is wrong. */
export function parseTemplate(text: string): Template {
  if (!text.startsWith("/")) throw new Error(`template "${text}" must start with /`);
  const segments = text.slice(1).split("/").map(parseSegment);
  const names = new Set<string>();
  segments.forEach((segment, i) => {
    if (segment.kind === "literal") return;
    if (names.has(segment.name)) throw new Error(`template "${text}" names {${segment.name}} twice`);
    names.add(segment.name);
    if (segment.kind === "rest" && i < segments.length - 1)
      throw new Error(`template "${text}": {${segment.name}=**} must be last`);
  });
  const variables = segments.flatMap((segment, at) =>
    segment.kind === "literal" ? [] : [{ name: segment.name, segment: at, rest: segment.kind === "rest" }],
  );
  return { segments, shape: segments.map((segment) => SHAPE[segment.kind]).join(""), variables };
}

function parseSegment(text: string): TemplateSegment {
  if (!/[{}]/.test(text)) return { kind: "literal", text };
  const variable = /^\{([A-Za-z_][A-Za-z0-9_]*)(?:=(\*\*?))?\}$/.exec(text);
  if (variable === null) throw new Error(`"${text}" is no template segment: expected text, {name} or {name=**}`);
  return { kind: variable[2] === "**" ? "rest" : "variable", name: variable[1] as string };
}

/** The variables of a path that matches, in order. */
export function extractVariables(wanted: readonly TemplateVariable[], path: string): [string, string][] {
  const variables: [string, string][] = [];
  let segment = 0;
  let at = 1;
  for (let i = 0; i < wanted.length; i++) {
    const { name, rest, segment: until } = wanted[i] as TemplateVariable;
    for (; segment < until; segment++) at = segmentEnd(path, at) + 1;
    variables.push([name, path.slice(at, rest ? path.length : segmentEnd(path, at))]);
  }
  return variables;
}

function segmentEnd(path: string, from: number): number {
  const end = path.indexOf("/", from);
  return end < 0 ? path.length : end;
}

/** Puts variables in the place of `{name}`; a name that is unknown stays empty. */
export function fillTemplate(text: string, variables: readonly (readonly [string, string])[]): string {
  return text.replace(/\{([A-Za-z_][A-Za-z0-9_]*)(?:=\*\*?)?\}/g, (_whole, name: string) => {
    for (const [each, value] of variables) if (each === name) return value;
    return "";
  });
}
