import { EMPTY_BYTES } from "../../core/bytes.ts";

import type { CallContext } from "./call.ts";
import { Trap } from "./memory.ts";
import { alignTo, FLAT_MAX, type Flat, FlatValues, joinFlat, type Param, type ValueType } from "./types.ts";
import { checkSize, isByte } from "./types-simple.ts";

/** Records, tuples, lists, flags. What sorts of variants there are: types-cases.ts. */

const largest = (types: readonly ValueType[]): number => types.reduce((most, { align }) => Math.max(align, most), 1);

/** A record, or a tuple when `isTuple`: then the host has an array. */
export class RecordType implements ValueType {
  readonly align: number;
  readonly size: number;
  readonly flat: readonly Flat[] | undefined;
  readonly text: string;
  readonly #offsets: number[] = [];

  constructor(
    readonly fields: readonly Param[],
    readonly isTuple: boolean,
  ) {
    const types = fields.map((field) => field.type);
    this.align = largest(types);
    let at = 0;
    for (const type of types) {
      at = alignTo(at, type.align);
      this.#offsets.push(at);
      at += type.size;
    }
    this.size = checkSize(alignTo(at, this.align));
    this.flat = joinFlat(types);
    const items = fields.map(({ name, type }) => (isTuple ? type.text : `${name}: ${type.text}`)).join(", ");
    this.text = isTuple ? `tuple<${items}>` : `record{${items}}`;
  }

  #collect(read: (type: ValueType, i: number) => unknown): unknown {
    if (this.isTuple) return this.fields.map(({ type }, i) => read(type, i));
    const record: Record<string, unknown> = {};
    for (let i = 0; i < this.fields.length; i++) {
      const { name, type } = this.fields[i] as Param;
      record[name] = read(type, i);
    }
    return record;
  }

  #field(value: unknown, i: number): unknown {
    return this.isTuple ? (value as unknown[])[i] : (value as Record<string, unknown>)[(this.fields[i] as Param).name];
  }

  load(call: CallContext, at: number): unknown {
    call.store.spendItems(this.fields.length);
    return this.#collect((type, i) => type.load(call, at + (this.#offsets[i] as number)));
  }
  store(call: CallContext, at: number, value: unknown): void {
    this.fields.forEach(({ type }, i) => {
      type.store(call, at + (this.#offsets[i] as number), this.#field(value, i));
    });
  }
  lift(call: CallContext, from: FlatValues): unknown {
    call.store.spendItems(this.fields.length);
    return this.#collect((type) => type.lift(call, from));
  }
  lower(call: CallContext, to: FlatValues, value: unknown): void {
    this.fields.forEach(({ type }, i) => {
      type.lower(call, to, this.#field(value, i));
    });
  }
}

/** A list; of bytes: a copy as `Uint8Array`. */
export class ListType implements ValueType {
  readonly align = 4;
  readonly size = 8;
  readonly flat: readonly Flat[] = ["i", "i"];
  readonly text: string;
  readonly #bytes: boolean;

  constructor(readonly item: ValueType) {
    if (item.size === 0) throw new Error("a list of values without bytes");
    this.text = `list<${item.text}>`;
    this.#bytes = isByte(item);
  }

  load(call: CallContext, at: number): unknown {
    const { words } = call.memory;
    return this.#read(call, words.getUint32(at, true), words.getUint32(at + 4, true));
  }
  lift(call: CallContext, from: FlatValues): unknown {
    const at = from.nextInteger() >>> 0;
    return this.#read(call, at, from.nextInteger() >>> 0);
  }

  #read(call: CallContext, at: number, count: number): unknown {
    const { item } = this;
    call.memory.check(at, count * item.size, item.align);
    if (this.#bytes) {
      call.store.spendBytes(count);
      call.store.work.kept(count);
      return count === 0 ? EMPTY_BYTES : call.memory.copy(at, count);
    }
    call.store.spendItems(count);
    const items: unknown[] = [];
    for (let i = 0; i < count; i++) items.push(item.load(call, at + i * item.size));
    return items;
  }

  store(call: CallContext, at: number, value: unknown): void {
    const listAt = this.#write(call, value);
    const { words } = call.memory;
    words.setUint32(at, listAt, true);
    words.setUint32(at + 4, (value as ArrayLike<unknown>).length, true);
  }
  lower(call: CallContext, to: FlatValues, value: unknown): void {
    to.push(this.#write(call, value));
    to.push((value as ArrayLike<unknown>).length);
  }

  #write(call: CallContext, value: unknown): number {
    const { item } = this;
    if (this.#bytes) {
      if (!(value instanceof Uint8Array)) throw new TypeError("bytes are missing");
      call.store.work.moved(value.byteLength);
      const at = call.allocate(value.byteLength, 1);
      call.memory.bytes.set(value, at);
      return at;
    }
    if (!Array.isArray(value)) throw new TypeError("a list is missing");
    call.store.work.items(value.length);
    const at = call.allocate(value.length * item.size, item.align);
    for (let i = 0; i < value.length; i++) item.store(call, at + i * item.size, value[i]);
    return at;
  }
}

/** Up to 32 flags as the bits of a number, the first one the lowest. */
export class FlagsType implements ValueType {
  readonly align: 1 | 2 | 4;
  readonly size: number;
  readonly flat: readonly Flat[] = ["i"];
  readonly text: string;
  readonly #mask: number;

  constructor(readonly names: readonly string[]) {
    if (names.length === 0 || names.length > 32) throw new Error("flags must be 1 to 32");
    this.align = names.length <= 8 ? 1 : names.length <= 16 ? 2 : 4;
    this.size = this.align;
    this.#mask = names.length === 32 ? 0xffff_ffff : 2 ** names.length - 1;
    this.text = `flags{${names.join(", ")}}`;
  }

  load(call: CallContext, at: number): unknown {
    const { words } = call.memory;
    const bits = this.size === 1 ? words.getUint8(at) : this.size === 2 ? words.getUint16(at, true) : words.getUint32(at, true);
    return (bits & this.#mask) >>> 0;
  }
  store(call: CallContext, at: number, value: unknown): void {
    const { words } = call.memory;
    if (this.size === 1) words.setUint8(at, value as number);
    else if (this.size === 2) words.setUint16(at, value as number, true);
    else words.setUint32(at, value as number, true);
  }
  lift(_call: CallContext, from: FlatValues): unknown {
    return (from.nextInteger() & this.#mask) >>> 0;
  }
  lower(_call: CallContext, to: FlatValues, value: unknown): void {
    to.push(value as number);
  }
}

/** One alternative of a variant, an option, a result or an enum. */
export interface Case {
  readonly name: string;
  readonly type: ValueType | undefined;
}

/** How the alternative of a value is found, and how a value is made of one. */
export interface CaseRule {
  /** Index of the case and its payload. */
  split(value: unknown): readonly [index: number, payload: unknown];
  join(index: number, payload: unknown): unknown;
}

export class VariantType implements ValueType {
  readonly align: number;
  readonly size: number;
  readonly flat: readonly Flat[] | undefined;
  readonly #tagBytes: 1 | 2 | 4;
  readonly #payloadAt: number;

  constructor(
    readonly cases: readonly Case[],
    readonly rule: CaseRule,
    readonly text: string,
  ) {
    if (cases.length === 0) throw new Error("a variant without cases");
    const payloads = cases.flatMap(({ type }) => (type === undefined ? [] : [type]));
    this.#tagBytes = cases.length <= 256 ? 1 : cases.length <= 65_536 ? 2 : 4;
    const most = largest(payloads);
    this.align = Math.max(most, this.#tagBytes);
    this.#payloadAt = alignTo(this.#tagBytes, most);
    const size = payloads.reduce((bytes, type) => Math.max(bytes, type.size), 0);
    this.size = checkSize(alignTo(this.#payloadAt + size, this.align));
    this.flat = joinCases(payloads);
  }

  #case(index: number): Case {
    const found = this.cases[index];
    if (found === undefined) throw new Trap(`a variant with a case that does not exist (${index} of ${this.cases.length})`);
    return found;
  }

  load(call: CallContext, at: number): unknown {
    const { words } = call.memory;
    const bytes = this.#tagBytes;
    const index = bytes === 1 ? words.getUint8(at) : bytes === 2 ? words.getUint16(at, true) : words.getUint32(at, true);
    return this.rule.join(index, this.#case(index).type?.load(call, at + this.#payloadAt));
  }

  store(call: CallContext, at: number, value: unknown): void {
    const [index, payload] = this.rule.split(value);
    const { words } = call.memory;
    if (this.#tagBytes === 1) words.setUint8(at, index);
    else if (this.#tagBytes === 2) words.setUint16(at, index, true);
    else words.setUint32(at, index, true);
    this.#case(index).type?.store(call, at + this.#payloadAt, payload);
  }

  lift(call: CallContext, from: FlatValues): unknown {
    const flat = this.flat ?? [];
    const index = from.nextInteger() >>> 0;
    const { type } = this.#case(index);
    const start = from.at;
    let payload: unknown;
    if (type !== undefined) {
      const want = type.flat ?? [];
      const values = want.map((each, i) => narrow(from.values[start + i] ?? 0, flat[i + 1] as Flat, each));
      payload = type.lift(call, new FlatValues(values));
    }
    from.at = start + flat.length - 1;
    return this.rule.join(index, payload);
  }

  lower(call: CallContext, to: FlatValues, value: unknown): void {
    const flat = this.flat ?? [];
    const [index, payload] = this.rule.split(value);
    const { type } = this.#case(index);
    const inner = new FlatValues([]);
    type?.lower(call, inner, payload);
    to.push(index);
    for (let i = 1; i < flat.length; i++) {
      const have = type?.flat?.[i - 1];
      const lane = flat[i] as Flat;
      to.push(have === undefined ? (lane === "l" ? 0n : 0) : widen(inner.values[i - 1] ?? 0, have, lane));
    }
  }
}

/** The discriminant, then lanes that every case fits into. */
function joinCases(payloads: readonly ValueType[]): Flat[] | undefined {
  const lanes: Flat[] = [];
  for (const { flat } of payloads) {
    if (flat === undefined) return undefined;
    flat.forEach((each, i) => {
      const lane = lanes[i];
      lanes[i] = lane === undefined || lane === each ? each : is32(lane) && is32(each) ? "i" : "l";
    });
  }
  return lanes.length + 1 > FLAT_MAX ? undefined : ["i", ...lanes];
}

const is32 = (flat: Flat): boolean => flat === "i" || flat === "f";
const scratch = new DataView(new ArrayBuffer(8));

/** A core value out of a lane that is as wide or wider. */
function narrow(value: number | bigint, lane: Flat, want: Flat): number | bigint {
  if (lane === want) return value;
  if (lane === "i" && want === "f") {
    scratch.setInt32(0, Number(value));
    return scratch.getFloat32(0);
  }
  const bits = BigInt.asUintN(64, BigInt(value));
  if (want === "i") return Number(BigInt.asIntN(32, bits));
  scratch.setBigUint64(0, bits);
  return want === "f" ? scratch.getFloat32(4) : scratch.getFloat64(0);
}

function widen(value: number | bigint, have: Flat, lane: Flat): number | bigint {
  if (lane === have) return value;
  if (have === "i") return BigInt.asUintN(32, BigInt(value));
  if (have === "f") {
    scratch.setFloat32(0, Number(value));
    const bits = scratch.getInt32(0);
    return lane === "i" ? bits : BigInt.asUintN(32, BigInt(bits));
  }
  scratch.setFloat64(0, Number(value));
  return scratch.getBigInt64(0);
}
