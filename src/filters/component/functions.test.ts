import { expect, test } from "bun:test";
import { CallContext, ComponentInstance, GuestStore } from "./call.ts";
import type { TypeReference } from "./definitions.ts";
import { LiftedFunction, lowerFunction, resourceFunction } from "./functions.ts";
import { LinearMemory } from "./memory.ts";
import { TypeScope } from "./scope.ts";
import { ResourceType } from "./types.ts";

// A lowered function behind a lifted one: what the host hands over goes into a memory as the canonical ABI says, and comes back.

/** An instance in a call of its guest: between them it may not call out. */
function newInstance(): ComponentInstance {
  const store = new GuestStore(100);
  store.beginCall();
  return new ComponentInstance(store);
}

function newContext(instance: ComponentInstance): CallContext {
  let next = 1024;
  const allocate = (_old: unknown, _oldSize: unknown, align: unknown, size: unknown): number => {
    next = Math.ceil(next / Number(align)) * Number(align) + Number(size);
    return next - Number(size);
  };
  return new CallContext(instance, new LinearMemory(new WebAssembly.Memory({ initial: 1 })), allocate, "utf8");
}

/** Calls `run` through both directions. Results that lie in memory do so at 512. */
function loop(params: readonly TypeReference[], result: TypeReference | undefined, run: (args: readonly unknown[]) => unknown) {
  const scope = new TypeScope(undefined);
  scope.types.push(
    scope.make(
      {
        kind: "record",
        fields: [
          { name: "a", type: "u8" },
          { name: "b", type: "string" },
        ],
      },
      undefined,
    ),
    scope.make({ kind: "list", type: "string" }, undefined),
  );
  const fields = params.map((type, i) => ({ name: `p${i}`, type }));
  scope.types.push(scope.make({ kind: "function", params: fields, result }, undefined));
  const type = scope.function(2);
  const instance = newInstance();
  const context = newContext(instance);
  const lowered = lowerFunction({ type, call: run }, context);
  const isInMemory = type.result !== undefined && type.result.flat?.length !== 1;
  const released: unknown[] = [];
  const lifted = new LiftedFunction(
    type,
    (...values) => {
      if (!isInMemory) return lowered(...values);
      lowered(...values, 512);
      return 512;
    },
    (value) => released.push(value),
    context,
  );
  return { call: (args: readonly unknown[]) => lifted.call(args), released, store: instance.store };
}

test("no parameters, few and many; results of every size", () => {
  const cases: readonly (readonly [readonly TypeReference[], readonly unknown[]])[] = [
    [[], []],
    [["string"], ["text"]],
    [
      [0, "u64"],
      [{ a: 1, b: "x" }, 2n],
    ],
    // 16 core values are handed over flat, 17 in memory.
    [Array.from({ length: 16 }, () => "u8" as const), Array.from({ length: 16 }, (_, i) => i)],
    [Array.from({ length: 17 }, () => "u8" as const), Array.from({ length: 17 }, (_, i) => i)],
    [
      ["u8", "u64", 0, 1, "string", "string", "string", "string", "string", "string"],
      [1, 2n, { a: 3, b: "c" }, ["d", "e"], "f", "g", "h", "i", "j", "k"],
    ],
  ];
  const results: readonly (readonly [TypeReference | undefined, unknown])[] = [
    [undefined, undefined],
    ["u8", 7],
    ["u64", 7n],
    ["string", "seven"],
    [0, { a: 7, b: "seven" }],
    [1, ["s", "even"]],
  ];
  for (const [params, args] of cases) {
    for (const [result, answer] of results) {
      let seen: readonly unknown[] = [];
      const { call, released } = loop(params, result, (got) => {
        seen = got;
        return answer;
      });
      expect(call(args)).toEqual(answer);
      expect(seen).toEqual(args);
      expect(released.length).toBe(1);
    }
  }
});

test("what a host function throws is the instance's fault, and it is not entered again", () => {
  const { call, store } = loop([], "u8", () => {
    throw new Error("no disk");
  });
  expect(() => call([])).toThrow("no disk");
  expect(store.fault).toBe("a host call failed: no disk");
  expect(() => call([])).toThrow("a host call failed: no disk");
});

test("a trap behind a call out of the guest is the guest's own", () => {
  // As its allocator may, which makes room for what the host answers.
  const trapping = new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0, 10, 5, 1, 3, 0, 0, 0x0b,
  ]);
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(trapping)).exports as { f: () => void };
  const { call, store } = loop([], "u8", f);
  expect(() => call([])).toThrow();
  expect(store.fault).toBe("trap: unreachable code");
});

test("a host function that answers something of another type is a fault, not a crash", () => {
  for (const answer of [undefined, 7, null, {}]) {
    const { call, store } = loop([], "string", () => answer);
    expect(() => call([])).toThrow("a string is missing");
    expect(store.fault).toContain("a string is missing");
  }
});

test("resources of the guest's own: made, looked at, dropped with their destructor", () => {
  const instance = newInstance();
  const dropped: unknown[] = [];
  const resource = new ResourceType("own", (rep) => dropped.push(rep), instance);
  const [create, look, drop] = (["new", "rep", "drop"] as const).map((call) => resourceFunction(call, resource, instance));
  const handle = create?.(77) as number;
  expect(look?.(handle)).toBe(77);
  drop?.(handle);
  expect(dropped).toEqual([77]);
  expect(() => look?.(handle)).toThrow("does not exist");
  expect(instance.store.fault).toBe("trap: a handle that does not exist");
  const foreign = new ResourceType("foreign", undefined, undefined);
  expect(() => resourceFunction("new", foreign, instance)).toThrow("not the component's own");
});
