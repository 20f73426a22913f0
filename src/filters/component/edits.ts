import type { HeaderBlock } from "../../core/head.ts";
import { isWritableField, lowerName } from "../guest/fields.ts";
import type { NameSet } from "../guest/name-set.ts";
import type { ComponentContext } from "./context.ts";

/** Changes of header blocks as components ask for them, with the rules that hold for every filter. */

export type EditResult = { readonly ok: unknown } | { readonly error: "not-now" | "invalid" | "over-budget" };

export const EDITED: EditResult = { ok: undefined };
export const NOT_NOW: EditResult = { error: "not-now" };
export const INVALID: EditResult = { error: "invalid" };
export const OVER_BUDGET: EditResult = { error: "over-budget" };

/** Whose fields: of which message, or behind the body that passes. */
export type Part = "request" | "response" | "trailers";

/** Text of a guest that stands for bytes: no character above U+00FF, or it would become another one on the wire. */
export function isWireText(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false;
  return true;
}

/** May a field be written? `name` in lower case. */
export const isEditable = (name: string, value: string): boolean =>
  name !== "host" && isWireText(value) && isWritableField(name, value);

export function writeField(
  context: ComponentContext,
  part: Part,
  block: HeaderBlock | undefined,
  name: string,
  value: string,
  add: boolean,
): EditResult {
  if (block === undefined) return NOT_NOW;
  const key = lowerName(name);
  if (!isEditable(key, value) || !context.mayWrite(part, key)) return INVALID;
  if (!context.spendField(part, key.length + value.length)) return OVER_BUDGET;
  if (add) block.add(key, value);
  else block.set(key, value);
  return EDITED;
}

const REMOVED: EditResult = { ok: true };
const NOT_THERE: EditResult = { ok: false };

export function removeField(context: ComponentContext, part: Part, block: HeaderBlock | undefined, name: string): EditResult {
  if (block === undefined) return NOT_NOW;
  const key = lowerName(name);
  if (!context.mayWrite(part, key)) return INVALID;
  return block.remove(key) ? REMOVED : NOT_THERE;
}

export interface GuestHeader {
  readonly name: string;
  readonly value: string;
}

/** `visible`: names that are shown; undefined: all. */
export function listHeaders(block: HeaderBlock | undefined, visible?: NameSet): GuestHeader[] {
  const listed: GuestHeader[] = [];
  for (let i = 0; i < (block?.length ?? 0); i++) {
    const name = block?.names[i] as string;
    if (visible?.has(name) !== false) listed.push({ name, value: block?.values[i] as string });
  }
  return listed;
}
