import { expect, test } from "bun:test";
import { CallContext, ComponentInstance, GuestStore } from "./call.ts";
import type { TypeDefinition } from "./definitions.ts";
import { LinearMemory } from "./memory.ts";
import { TypeScope } from "./scope.ts";
import { FlatValues, ResourceType, type ValueType } from "./types.ts";

// The canonical ABI by itself: layouts as the specification has them, and every value back as it went in.

function newContext(encoding: "utf8" | "utf16" | "latin1+utf16" = "utf8"): CallContext {
  const memory = new LinearMemory(new WebAssembly.Memory({ initial: 1 }));
  let next = 1024;
  const allocate = (_old: unknown, _oldSize: unknown, align: unknown, size: unknown): number => {
    next = Math.ceil(next / Number(align)) * Number(align);
    next += Number(size);
    return next - Number(size);
  };
  return new CallContext(new ComponentInstance(new GuestStore(100)), memory, allocate, encoding);
}

/** Makes the last of several types; those before are named by their index. */
function make(...definitions: readonly TypeDefinition[]): ValueType {
  const scope = new TypeScope(undefined);
  for (const definition of definitions) scope.types.push(scope.make(definition, undefined));
  return scope.value(definitions.length - 1);
}

const record = (...types: readonly Parameters<TypeScope["value"]>[0][]): TypeDefinition => ({
  kind: "record",
  fields: types.map((type, i) => ({ name: `f${i}`, type })),
});
const variant = (...types: readonly (Parameters<TypeScope["value"]>[0] | undefined)[]): TypeDefinition => ({
  kind: "variant",
  cases: types.map((type, i) => ({ name: `c${i}`, type })),
});

test("sizes, alignments and core types are those of the specification", () => {
  const layout = (type: ValueType): unknown => [type.size, type.align, type.flat?.join("")];
  expect(layout(make(record("u8", "u32", "u8")))).toEqual([12, 4, "iii"]);
  expect(layout(make(record("bool", "f64")))).toEqual([16, 8, "id"]);
  expect(layout(make({ kind: "tuple", types: ["u16", "u8"] }))).toEqual([4, 2, "ii"]);
  expect(layout(make({ kind: "list", type: "u64" }))).toEqual([8, 4, "ii"]);
  expect(layout(make({ kind: "option", type: "string" }))).toEqual([12, 4, "iii"]);
  expect(layout(make({ kind: "result", ok: undefined, error: undefined }))).toEqual([1, 1, "i"]);
  expect(layout(make({ kind: "result", ok: "u64", error: "f32" }))).toEqual([16, 8, "il"]);
  expect(layout(make(variant("f32", "u32")))).toEqual([8, 4, "ii"]);
  expect(layout(make(variant("f32", "f64")))).toEqual([16, 8, "il"]);
  expect(layout(make(variant("f32", undefined)))).toEqual([8, 4, "if"]);
  expect(layout(make({ kind: "flags", names: Array.from({ length: 9 }, (_, i) => `n${i}`) }))).toEqual([2, 2, "i"]);
  const cases = Array.from({ length: 257 }, () => undefined);
  expect(layout(make(variant(...cases)))).toEqual([2, 2, "i"]);
  expect(make(record(...Array.from({ length: 17 }, () => "u8" as const))).flat).toBeUndefined();
});

const same = (value: unknown): readonly unknown[] => [value];
const ROUND_TRIPS: readonly (readonly [name: string, type: readonly TypeDefinition[], values: readonly unknown[]])[] = [
  ["bool", [{ kind: "primitive", type: "bool" }], [true, false]],
  ["u8", [{ kind: "primitive", type: "u8" }], [0, 255]],
  ["s8", [{ kind: "primitive", type: "s8" }], [-128, 127]],
  ["u16", [{ kind: "primitive", type: "u16" }], [0, 65_535]],
  ["s16", [{ kind: "primitive", type: "s16" }], [-32_768, 32_767]],
  ["u32", [{ kind: "primitive", type: "u32" }], [0, 0xffff_ffff]],
  ["s32", [{ kind: "primitive", type: "s32" }], [-0x8000_0000, 0x7fff_ffff]],
  ["u64", [{ kind: "primitive", type: "u64" }], [0n, 0xffff_ffff_ffff_ffffn]],
  ["s64", [{ kind: "primitive", type: "s64" }], [-0x8000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn]],
  ["f32", [{ kind: "primitive", type: "f32" }], [0.5, -1e10, Number.POSITIVE_INFINITY, Number.NaN]],
  ["f64", [{ kind: "primitive", type: "f64" }], [0.1, -0, Number.MAX_VALUE, Number.NaN]],
  ["char", [{ kind: "primitive", type: "char" }], ["a", "é", "漢", "😀"]],
  [
    "string",
    [{ kind: "primitive", type: "string" }],
    ["", "a", "short ascii", "a longer text of ASCII only", "né 漢 😀", "\ufffd"],
  ],
  ["record", [record("u8", "string", "u64")], same({ f0: 1, f1: "x", f2: 3n })],
  ["tuple", [{ kind: "tuple", types: ["u8", "f64"] }], same([1, 2.5])],
  ["list", [{ kind: "list", type: "string" }], [[], ["a", "bb"]]],
  ["bytes", [{ kind: "list", type: "u8" }], [new Uint8Array(0), Uint8Array.of(1, 2, 3)]],
  [
    "list of records",
    [record("u8", "u32"), { kind: "list", type: 0 }],
    same([
      { f0: 1, f1: 2 },
      { f0: 3, f1: 4 },
    ]),
  ],
  ["option", [{ kind: "option", type: "u64" }], [undefined, 5n]],
  ["result", [{ kind: "result", ok: "f32", error: "u64" }], [{ ok: 1.5 }, { error: 7n }]],
  ["enum", [{ kind: "enum", names: ["red", "green"] }], ["red", "green"]],
  ["flags", [{ kind: "flags", names: ["a", "b", "c"] }], [0, 5, 7]],
  [
    "variant",
    [record("string", "u8"), variant("f32", "f64", "u32", 0, undefined)],
    [
      ...[
        { tag: "c0", value: 0.5 },
        { tag: "c1", value: 0.1 },
        { tag: "c2", value: 0xffff_ffff },
      ],
      ...[
        { tag: "c3", value: { f0: "x", f1: 2 } },
        { tag: "c4", value: undefined },
      ],
    ],
  ],
];

for (const [name, definitions, values] of ROUND_TRIPS) {
  test(`${name}: through memory and through core values`, () => {
    const type = make(...definitions);
    for (const encoding of ["utf8", "utf16", "latin1+utf16"] as const) {
      for (const value of values) {
        const call = newContext(encoding);
        type.store(call, 64, value);
        expect(type.load(call, 64)).toEqual(value);
        const flat = new FlatValues([]);
        type.lower(call, flat, value);
        expect(flat.values.length).toBe(type.flat?.length ?? -1);
        expect(type.lift(call, new FlatValues(flat.values))).toEqual(value);
      }
    }
  });
}

test("what the guest has of more bits than the type is cut, and what is no value is a trap", () => {
  const lift = (definition: TypeDefinition, value: number | bigint): unknown =>
    make(definition).lift(newContext(), new FlatValues([value]));
  expect(lift({ kind: "primitive", type: "u8" }, 0x1ff)).toBe(0xff);
  expect(lift({ kind: "primitive", type: "s8" }, 0xff)).toBe(-1);
  expect(lift({ kind: "primitive", type: "u32" }, -1)).toBe(0xffff_ffff);
  expect(lift({ kind: "primitive", type: "bool" }, 2)).toBe(true);
  expect(lift({ kind: "flags", names: ["a"] }, -1)).toBe(1);
  for (const code of [0xd800, 0xdfff, 0x11_0000, -1]) {
    expect(() => lift({ kind: "primitive", type: "char" }, code)).toThrow("a character that is none");
  }
  expect(() => lift({ kind: "enum", names: ["a"] }, 1)).toThrow("case that does not exist");
});

test("handles: owned ones are given away, lent ones are counted", () => {
  const resource = new ResourceType("thing", undefined, undefined);
  const scope = new TypeScope(undefined);
  scope.types.push(resource, scope.make({ kind: "primitive", type: "u8" }, undefined));
  scope.types.push(scope.make({ kind: "own", resource: 0 }, undefined), scope.make({ kind: "borrow", resource: 0 }, undefined));
  const [own, borrow] = [scope.value(2), scope.value(3)];
  const call = newContext();
  const thing = {};
  const flat = new FlatValues([]);
  own.lower(call, flat, thing);
  borrow.lower(call, flat, thing);
  expect([call.store.lent, call.instance.handles.size]).toEqual([1, 2]);
  expect(borrow.lift(call, new FlatValues(flat.values.slice(0, 1)))).toBe(thing);
  expect(() => own.lift(call, new FlatValues(flat.values.slice(1)))).toThrow("only lent is given away");
  expect(own.lift(call, new FlatValues(flat.values.slice(0, 1)))).toBe(thing);
  expect(() => own.lift(call, new FlatValues(flat.values.slice(0, 1)))).toThrow("does not exist");
});

test("handles are bounded and used again", () => {
  const resource = new ResourceType("thing", undefined, undefined);
  const { handles } = newContext().instance;
  for (let i = 0; i < 4_096; i++) handles.add(resource, i, true);
  expect(() => handles.add(resource, 0, true)).toThrow("more than 4096 handles");
  handles.drop(7, resource);
  expect(handles.add(resource, "again", true)).toBe(7);
  expect(() => handles.get(7, new ResourceType("other", undefined, undefined))).toThrow("another type");
});
