import { z } from "zod";
import type { IssueCode } from "../codes.ts";

/** Why a text was refused: becomes an issue at its place. */
export class Refusal {
  constructor(
    readonly code: IssueCode,
    readonly message: string,
    readonly hint = "",
  ) {}
}

/** A schema of a text with a reader of its own. `title` names the type in the documentation. */
export function textOf<T>(title: string, read: (text: string) => T | Refusal) {
  return z
    .string()
    .transform((text, context): T => {
      const value = read(text);
      if (!(value instanceof Refusal)) return value;
      const { code, message, hint } = value;
      context.issues.push({ code: "custom", input: text, message, params: { code, hint } });
      return z.NEVER;
    })
    .meta({ title });
}

/** Adds an issue of ours inside a refinement; `path` is relative to the value that is refined. */
export function refuse(
  context: { addIssue(issue: { code: "custom"; message: string; path: (string | number)[]; params: object }): void },
  refusal: Refusal,
  ...path: (string | number)[]
): void {
  const { code, message, hint } = refusal;
  context.addIssue({ code: "custom", message, path, params: { code, hint } });
}

/**
 * An object of which exactly one field is given, as in `{exact: /a}` or `{prefix: /a}`. `beside`: fields that may be given together
 * with another one, as the other one's name says.
 */
export function chooseOne<S extends z.core.$ZodLooseShape>(
  title: string,
  shape: S,
  beside: Readonly<Record<string, string>> = {},
) {
  const names = Object.keys(shape);
  return z
    .strictObject(shape)
    .superRefine((value, context) => {
      const has = (name: string): boolean => (value as Record<string, unknown>)[name] !== undefined;
      const given = names.filter((name) => has(name) && !has(beside[name] ?? ""));
      if (given.length === 1) return;
      const message = `Give exactly one of ${names.join(", ")}; ${given.length === 0 ? "none is given" : `${given.join(" and ")} are given`}.`;
      refuse(context, new Refusal("choose_one", message));
    })
    .meta({ title, minProperties: 1, maxProperties: 1 + Object.keys(beside).length });
}
