import { nearest } from "../config/suggest.ts";
import { CommandError, EXIT } from "./command.ts";

/** Kinds of resources. The schema has them as well, but it loads a library that most commands do not need; a test compares. */
export const KINDS = ["Gateway", "Route", "Service", "Filter", "Authentication", "Mesh"] as const;

/** One resource, as people name it. */
export interface Reference {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** `Kind/namespace/name`. */
  readonly key: string;
}

/** `Route/shop` or `Route/prod/shop`; kinds in any case and in the plural. Throws a `CommandError`. */
export function parseReference(text: string): Reference {
  const parts = text.split("/");
  if (parts.length < 2 || parts.length > 3 || parts.some((part) => part === ""))
    throw new CommandError(
      `${JSON.stringify(text)} does not name a resource`,
      "write Kind/name or Kind/namespace/name",
      EXIT.usage,
    );
  const kind = parseKind(parts[0] as string);
  const name = parts.at(-1) as string;
  const namespace = parts.length === 3 ? (parts[1] as string) : "default";
  return { kind, namespace, name, key: `${kind}/${namespace}/${name}` };
}

/** As kubectl has it: `route shop blog` are `route/shop` and `route/blog`. What names resources otherwise stays as it is. */
export function joinKind(args: readonly string[]): readonly string[] {
  const [kind = "", ...names] = args;
  if (names.length === 0 || args.some((arg) => arg.includes("/"))) return args;
  parseKind(kind);
  return names.map((name) => `${kind}/${name}`);
}

/** `route`, `routes`, `Route` → `Route`. Kinds that we do not know pass when they look like one (other dialects have theirs). */
export function parseKind(text: string): string {
  const lower = text.toLowerCase();
  const known = KINDS.find((kind) => [kind.toLowerCase(), pluralOf(kind)].includes(lower));
  if (known !== undefined) return known;
  if (/^[A-Z][A-Za-z]*$/.test(text)) return text;
  const near = nearest(lower, [...KINDS.map((kind) => kind.toLowerCase()), ...KINDS.map(pluralOf)]);
  const hint = near === undefined ? `kinds: ${KINDS.join(", ")}` : `did you mean ${near}?`;
  throw new CommandError(`there is no kind ${JSON.stringify(text)}`, hint, EXIT.usage);
}

/** A revision as an argument. Throws a `CommandError`. */
export function parseRevision(text: string): number {
  const revision = Number(text);
  if (Number.isInteger(revision) && revision >= 1) return revision;
  throw new CommandError(`${JSON.stringify(text)} is not a revision`, "selvedge history lists them", EXIT.usage);
}

function pluralOf(kind: string): string {
  const lower = kind.toLowerCase();
  if (/[^aeiou]y$/.test(lower)) return `${lower.slice(0, -1)}ies`;
  return lower.endsWith("sh") ? `${lower}es` : `${lower}s`;
}
