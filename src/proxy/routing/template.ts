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
  return { segments, shape: segments.map((segment) => SHAPE[segment.kind]).join("") };
}

function parseSegment(text: string): TemplateSegment {
  if (!/[{}]/.test(text)) return { kind: "literal", text };
  const variable = /^\{([A-Za-z_][A-Za-z0-9_]*)(?:=(\*\*?))?\}$/.exec(text);
  if (variable === null) throw new Error(`"${text}" is no template segment: expected text, {name} or {name=**}`);
  return { kind: variable[2] === "**" ? "rest" : "variable", name: variable[1] as string };
}

/** The variables of a path that matches, in order. */
export function extractVariables(template: Template, path: string): [string, string][] {
  const variables: [string, string][] = [];
  let at = 1;
  for (const segment of template.segments) {
    if (segment.kind === "rest") {
      variables.push([segment.name, path.slice(at)]);
      break;
    }
    let end = path.indexOf("/", at);
    if (end < 0) end = path.length;
    if (segment.kind === "variable") variables.push([segment.name, path.slice(at, end)]);
    at = end + 1;
  }
  return variables;
}

/** Puts variables in the place of `{name}`; a name that is unknown stays empty. */
export function fillTemplate(text: string, variables: readonly (readonly [string, string])[]): string {
  return text.replace(/\{([A-Za-z_][A-Za-z0-9_]*)(?:=\*\*?)?\}/g, (_whole, name: string) => {
    for (const [each, value] of variables) if (each === name) return value;
    return "";
  });
}

/** Templates as a tree of segments. A request visits a node at most once, so hostile paths cost no more than the tree has nodes. */
export class TemplateNode<T> {
  /** Undefined: none, which spares a look into an empty map. */
  literals: Map<string, TemplateNode<T>> | undefined;
  variable: TemplateNode<T> | undefined;
  /** What ends here, and what takes the rest from here. */
  ends: T | undefined;
  rests: T | undefined;

  /** Puts `make(what is there)` where a template of these segments ends. */
  insert(segments: readonly TemplateSegment[], make: (before: T | undefined) => T): void {
    let node: TemplateNode<T> = this;
    for (const segment of segments) {
      if (segment.kind === "rest") {
        node.rests = make(node.rests);
        return;
      }
      let next = segment.kind === "variable" ? node.variable : node.literals?.get(segment.text);
      if (next === undefined) {
        next = new TemplateNode<T>();
        if (segment.kind === "variable") node.variable = next;
        else {
          node.literals ??= new Map();
          node.literals.set(segment.text, next);
        }
      }
      node = next;
    }
    node.ends = make(node.ends);
  }
}
