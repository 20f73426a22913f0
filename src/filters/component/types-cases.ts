import type { ValueType } from "./types.ts";
import { type Case, type CaseRule, VariantType } from "./types-compound.ts";

/** The sorts of variants, and how the host has their values. */

export interface TaggedValue {
  readonly tag: string;
  readonly value: unknown;
}

export function variantType(cases: readonly Case[]): VariantType {
  const indexes = new Map(cases.map(({ name }, i) => [name, i]));
  // Without a payload a case is always the same object: `continue` allocates nothing.
  const bare = cases.map(({ name }): TaggedValue => ({ tag: name, value: undefined }));
  const rule: CaseRule = {
    split(value) {
      const { tag, value: payload } = value as TaggedValue;
      return [indexes.get(tag) ?? -1, payload];
    },
    join: (index, payload) => (payload === undefined ? bare[index] : { tag: bare[index]?.tag, value: payload }),
  };
  const items = cases.map(({ name, type }) => (type === undefined ? name : `${name}(${type.text})`));
  return new VariantType(cases, rule, `variant{${items.join(", ")}}`);
}

export function enumType(names: readonly string[]): VariantType {
  const indexes = new Map(names.map((name, i) => [name, i]));
  const rule: CaseRule = {
    split: (value) => [indexes.get(value as string) ?? -1, undefined],
    join: (index) => names[index],
  };
  return new VariantType(
    names.map((name) => ({ name, type: undefined })),
    rule,
    `enum{${names.join(", ")}}`,
  );
}

const NONE = [0, undefined] as const;

export function optionType(type: ValueType): VariantType {
  const isNested = type instanceof VariantType && type.text.startsWith("option<");
  if (isNested) throw new Error("an option of an option");
  const cases = [
    { name: "none", type: undefined },
    { name: "some", type },
  ];
  const rule: CaseRule = {
    split: (value) => (value === undefined ? NONE : [1, value]),
    join: (index, payload) => (index === 0 ? undefined : payload),
  };
  return new VariantType(cases, rule, `option<${type.text}>`);
}

/** A result in the host: `{ok: value}` or `{error: value}`. */
export type HostResult = { readonly ok: unknown } | { readonly error: unknown };

export function resultType(ok: ValueType | undefined, error: ValueType | undefined): VariantType {
  const cases = [
    { name: "ok", type: ok },
    { name: "error", type: error },
  ];
  const rule: CaseRule = {
    split(value) {
      const result = value as HostResult;
      return "ok" in result ? [0, result.ok] : [1, result.error];
    },
    join: (index, payload) => (index === 0 ? { ok: payload } : { error: payload }),
  };
  return new VariantType(cases, rule, `result<${ok?.text ?? "_"}, ${error?.text ?? "_"}>`);
}
