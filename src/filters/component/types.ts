import type { CallContext } from "./call.ts";

/** Core types of a flattened value: i32, i64, f32, f64. */
export type Flat = "i" | "l" | "f" | "d";
export type CoreValue = number | bigint;

/** Core values of a call, read or written one after the other. */
export class FlatValues {
  at = 0;
  constructor(readonly values: CoreValue[]) {}

  next(): CoreValue {
    return this.values[this.at++] as CoreValue;
  }
  nextInteger(): number {
    return Number(this.values[this.at++]);
  }
  push(value: CoreValue): void {
    this.values.push(value);
  }
}

/**
 * A value type of the component model with what the canonical ABI does with it: `load`/`store` in memory, `lift`/`lower` as
 * core values ("Canonical ABI", the same words). In the host a value is: record → object, tuple and list → array (of bytes:
 * `Uint8Array`), variant → `{tag, value}`, enum → its name, flags → bits, option → value or undefined, result → `{ok}` or
 * `{error}`, char and string → string, 64-bit integers → bigint, handles → what they stand for.
 */
export interface ValueType {
  /** 1, 2, 4 or 8. */
  readonly align: number;
  /** Bytes in memory. */
  readonly size: number;
  /** Undefined: more than can be handed over flat. */
  readonly flat: readonly Flat[] | undefined;
  /** As written in WIT, with names resolved; equal texts are equal types. */
  readonly text: string;
  load(call: CallContext, at: number): unknown;
  store(call: CallContext, at: number, value: unknown): void;
  lift(call: CallContext, from: FlatValues): unknown;
  lower(call: CallContext, to: FlatValues, value: unknown): void;
}

/** More core values than this are never handed over flat (MAX_FLAT_PARAMS). */
export const FLAT_MAX = 16;

export function alignTo(at: number, align: number): number {
  return Math.ceil(at / align) * align;
}

/** Core values of several types one after the other; undefined: too many. */
export function joinFlat(types: readonly ValueType[]): Flat[] | undefined {
  const joined: Flat[] = [];
  for (const { flat } of types) {
    if (flat === undefined || joined.length + flat.length > FLAT_MAX) return undefined;
    joined.push(...flat);
  }
  return joined;
}

export interface Param {
  readonly name: string;
  readonly type: ValueType;
}

export interface FunctionType {
  readonly kind: "function";
  readonly params: readonly Param[];
  readonly result: ValueType | undefined;
  readonly text: string;
}

/** A type of resources: what a handle's type is compared with. */
export class ResourceType {
  readonly kind = "resource";
  constructor(
    /** `interface#name`, or only the name for the guest's own. */
    readonly name: string,
    /** Called with what a handle stood for when its owner lets go of it. */
    public drop: ((rep: unknown) => void) | undefined,
    /** The guest's own: what it stands for is a number of the guest's. Undefined: the host's. */
    readonly owner: object | undefined,
  ) {}
}

/** A type that an index can name. Types of instances and components are evaluated where they are used. */
export type AnyType =
  | { readonly kind: "value"; readonly type: ValueType }
  | FunctionType
  | ResourceType
  | { readonly kind: "instance" | "component" | "module" };
