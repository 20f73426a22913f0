import { COMPONENT_LIMITS } from "../../core/limits.ts";
import type { CallContext } from "./call.ts";
import type { Primitive } from "./definitions.ts";
import { Trap } from "./memory.ts";
import type { Flat, FlatValues, ResourceType, ValueType } from "./types.ts";

/** Numbers, booleans, characters, strings and handles. */

type Words = DataView;
type Numeric = Exclude<Primitive, "string">;

interface NumericRule {
  readonly size: 1 | 2 | 4 | 8;
  readonly flat: Flat;
  load(words: Words, at: number): unknown;
  store(words: Words, at: number, value: never): void;
  /** From a core value, which may carry more bits than the type has. */
  lift(value: number | bigint): unknown;
  lower(value: never): number | bigint;
}

const integer = (
  size: 1 | 2 | 4,
  load: (words: Words, at: number) => number,
  store: (words: Words, at: number, value: number) => void,
  cut: (value: number) => number,
): NumericRule => ({
  ...{ size, flat: "i", load, store },
  lift: (value) => cut(Number(value)),
  lower: (value: number) => cut(value),
});

const NUMERIC: Readonly<Record<Numeric, NumericRule>> = {
  bool: {
    ...{ size: 1, flat: "i" },
    load: (words, at) => words.getUint8(at) !== 0,
    store: (words, at, value: boolean) => words.setUint8(at, value ? 1 : 0),
    lift: (value) => Number(value) !== 0,
    lower: (value: boolean) => (value ? 1 : 0),
  },
  u8: integer(
    1,
    (words, at) => words.getUint8(at),
    (words, at, value) => words.setUint8(at, value),
    (value) => value & 0xff,
  ),
  s8: integer(
    1,
    (words, at) => words.getInt8(at),
    (words, at, value) => words.setInt8(at, value),
    (value) => (value << 24) >> 24,
  ),
  u16: integer(
    2,
    (words, at) => words.getUint16(at, true),
    (words, at, value) => words.setUint16(at, value, true),
    (value) => value & 0xffff,
  ),
  s16: integer(
    2,
    (words, at) => words.getInt16(at, true),
    (words, at, value) => words.setInt16(at, value, true),
    (value) => (value << 16) >> 16,
  ),
  u32: integer(
    4,
    (words, at) => words.getUint32(at, true),
    (words, at, value) => words.setUint32(at, value, true),
    (value) => value >>> 0,
  ),
  s32: integer(
    4,
    (words, at) => words.getInt32(at, true),
    (words, at, value) => words.setInt32(at, value, true),
    (value) => value | 0,
  ),
  u64: {
    ...{ size: 8, flat: "l" },
    load: (words, at) => words.getBigUint64(at, true),
    store: (words, at, value: bigint) => words.setBigUint64(at, value, true),
    lift: (value) => BigInt.asUintN(64, BigInt(value)),
    lower: (value: bigint) => BigInt.asIntN(64, value),
  },
  s64: {
    ...{ size: 8, flat: "l" },
    load: (words, at) => words.getBigInt64(at, true),
    store: (words, at, value: bigint) => words.setBigInt64(at, value, true),
    lift: (value) => BigInt.asIntN(64, BigInt(value)),
    lower: (value: bigint) => BigInt.asIntN(64, value),
  },
  f32: {
    ...{ size: 4, flat: "f" },
    load: (words, at) => words.getFloat32(at, true),
    store: (words, at, value: number) => words.setFloat32(at, value, true),
    lift: (value) => value,
    lower: (value: number) => value,
  },
  f64: {
    ...{ size: 8, flat: "d" },
    load: (words, at) => words.getFloat64(at, true),
    store: (words, at, value: number) => words.setFloat64(at, value, true),
    lift: (value) => value,
    lower: (value: number) => value,
  },
  char: {
    ...{ size: 4, flat: "i" },
    load: (words, at) => toCharacter(words.getUint32(at, true)),
    store: (words, at, value: string) => words.setUint32(at, value.codePointAt(0) ?? 0, true),
    lift: (value) => toCharacter(Number(value) >>> 0),
    lower: (value: string) => value.codePointAt(0) ?? 0,
  },
};

/** A Unicode scalar value; anything else is a trap. */
function toCharacter(code: number): string {
  if (code > 0x10_ffff || (code >= 0xd800 && code <= 0xdfff)) throw new Trap("a character that is none");
  return String.fromCodePoint(code);
}

class NumericType implements ValueType {
  readonly align: 1 | 2 | 4 | 8;
  readonly size: number;
  readonly flat: readonly Flat[];

  constructor(
    readonly text: Numeric,
    readonly rule: NumericRule,
  ) {
    this.align = rule.size;
    this.size = rule.size;
    this.flat = [rule.flat];
  }

  load(call: CallContext, at: number): unknown {
    return this.rule.load(call.memory.words, at);
  }
  store(call: CallContext, at: number, value: unknown): void {
    this.rule.store(call.memory.words, at, value as never);
  }
  lift(_call: CallContext, from: FlatValues): unknown {
    return this.rule.lift(from.next());
  }
  lower(_call: CallContext, to: FlatValues, value: unknown): void {
    to.push(this.rule.lower(value as never));
  }
}

const STRING: ValueType = {
  align: 4,
  size: 8,
  flat: ["i", "i"],
  text: "string",
  load(call, at) {
    const { words } = call.memory;
    return call.readString(words.getUint32(at, true), words.getUint32(at + 4, true));
  },
  store(call, at, value) {
    if (typeof value !== "string") throw new TypeError("a string is missing");
    const textAt = call.writeString(value);
    const { words } = call.memory;
    words.setUint32(at, textAt, true);
    words.setUint32(at + 4, call.units, true);
  },
  lift(call, from) {
    const at = from.nextInteger() >>> 0;
    return call.readString(at, from.nextInteger() >>> 0);
  },
  lower(call, to, value) {
    if (typeof value !== "string") throw new TypeError("a string is missing");
    to.push(call.writeString(value));
    to.push(call.units);
  },
};

const SIMPLE = new Map<Primitive, ValueType>([["string", STRING]]);
for (const [name, rule] of Object.entries(NUMERIC)) SIMPLE.set(name as Numeric, new NumericType(name as Numeric, rule));

export function simpleType(name: Primitive): ValueType {
  return SIMPLE.get(name) ?? STRING;
}

/** Is this type `u8`? Lists of it are bytes. */
export const isByte = (type: ValueType): boolean => type === SIMPLE.get("u8");

/** A handle: the host hands over what it stands for, the guest a number. */
export class HandleType implements ValueType {
  readonly align = 4;
  readonly size = 4;
  readonly flat: readonly Flat[] = ["i"];
  readonly text: string;

  constructor(
    readonly resource: ResourceType,
    readonly owned: boolean,
  ) {
    this.text = `${owned ? "own" : "borrow"}<${resource.name}>`;
  }

  load(call: CallContext, at: number): unknown {
    return this.#toHost(call, call.memory.words.getUint32(at, true));
  }
  store(call: CallContext, at: number, value: unknown): void {
    call.memory.words.setUint32(at, this.#toGuest(call, value), true);
  }
  lift(call: CallContext, from: FlatValues): unknown {
    return this.#toHost(call, from.nextInteger() >>> 0);
  }
  lower(call: CallContext, to: FlatValues, value: unknown): void {
    to.push(this.#toGuest(call, value));
  }

  #toHost(call: CallContext, index: number): unknown {
    const { handles } = call.instance;
    return this.owned ? handles.takeOwned(index, this.resource) : handles.get(index, this.resource);
  }

  #toGuest(call: CallContext, value: unknown): number {
    const { instance } = call;
    if (this.owned) return instance.handles.add(this.resource, value, true);
    // Whoever made a resource sees its own number, not a handle.
    if (this.resource.owner === instance) return value as number;
    call.store.lent++;
    return instance.handles.add(this.resource, value, false);
  }
}

/** Throws when a type is larger than any value may be. */
export function checkSize(size: number): number {
  if (size > COMPONENT_LIMITS.typeBytes) throw new Error(`a type has more than ${COMPONENT_LIMITS.typeBytes} bytes`);
  return size;
}
