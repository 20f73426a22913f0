import type { FilterBudget } from "../../src/core/limits.ts";
import { ModuleAssembler } from "./assembler.ts";
import { type Attack, inCallbacks } from "./attacks.ts";
import { ComponentBench } from "./component.ts";
import { buildPlugin, ExtismBench } from "./extism.ts";
import { FilterBench, filterConfig } from "./filters.ts";

/** Attacks of guests that have the host work for them: what it moves and makes is paid by its size. */
export function workAttacks(budget: Partial<FilterBudget>, outOfFuel: RegExp): Attack[] {
  return [
    ...Object.entries(WORK).map(([name, [call, args, times]]) => calling(name, outOfFuel, budget, call, args, times)),
    inCallbacks(
      "component: random bytes, again and again",
      outOfFuel,
      () => new ComponentBench(),
      (bench) => bench.actor({ "request-head": "random 60000; ".repeat(10) }, { budget: { ...budget, startFuel: 200_000_000 } }),
    ),
    ...Object.entries({
      "a variable of 64 KiB": ["i64.const 8 $alloc i64.const 65536 $alloc $var_set", 25, outOfFuel],
      // The exchange has no fuel for its next callback.
      "blocks that have to be emptied": ["i64.const 2000000 $alloc drop", 9, /^failed$/],
    } as const).map(([name, [step, times, expect]]) => {
      const wasm = buildPlugin({
        exports: { on_request: `${`${step} `.repeat(times)} i32.const 0`, on_response: "i32.const 0" },
      });
      return inCallbacks(
        `extism: ${name}`,
        expect,
        () => new ExtismBench(),
        (bench) => bench.load(wasm, { budget }),
      );
    }),
  ];
}

/** What one call of the host costs it, so often that a guest which paid for nothing but its calls had fuel enough. */
const WORK: Readonly<Record<string, readonly [call: string, args: readonly number[], times: number]>> = {
  "pairs of a head": ["proxy_get_header_map_pairs", [0, 16, 20], 400],
  "a property with all fields": ["proxy_get_property", [64, 15, 16, 20], 400],
  "shared data written": ["proxy_set_shared_data", [96, 1, 1024, 60_000, 0], 20],
  "a property written": ["proxy_set_property", [96, 1, 1024, 20_000], 60],
  "lines of a log": ["proxy_log", [2, 1024, 8_000], 40],
  "settings read": ["proxy_get_buffer_bytes", [7, 0, 40_000, 16, 20], 60],
};
const SETTINGS = "s".repeat(40_000);

function calling(
  name: string,
  expect: RegExp,
  budget: Partial<FilterBudget>,
  call: string,
  args: readonly number[],
  times: number,
): Attack {
  const wasm = repeating("proxy_on_request_headers", 3, call, args, times, 0);
  return inCallbacks(
    `${name}, again and again`,
    expect,
    () => new FilterBench(),
    (bench) => bench.load(filterConfig({ budget, settings: SETTINGS }), wasm),
  );
}

/** Its `proxy_on_configure` stores 60,000 bytes two thousand times. */
export const copyingStart = (): Uint8Array =>
  repeating("proxy_on_configure", 2, "proxy_set_shared_data", [96, 1, 1024, 60_000, 0], 2_000, 1);

/** A guest with one callback, which makes one call so many times. */
function repeating(
  callback: string,
  parameters: number,
  call: string,
  args: readonly number[],
  times: number,
  result: number,
): Uint8Array<ArrayBuffer> {
  const module = new ModuleAssembler();
  const i32s = (count: number) => new Array<"i32">(count).fill("i32");
  module.importFunction("env", call, i32s(args.length), ["i32"]);
  module.data([...new TextEncoder().encode("request\0headers")], 64).data([...new TextEncoder().encode("k")], 96);
  module.memory(1, undefined, "memory");
  module.func({ name: "proxy_abi_version_0_2_1", body: "" });
  module.func({ name: "malloc", params: ["i32"], results: ["i32"], body: "i32.const 1024" });
  const body = `i32.const 0 local.set 0 loop ${args.map((arg) => `i32.const ${arg}`).join(" ")} call 0 drop
    local.get 0 i32.const 1 i32.add local.tee 0 i32.const ${times} i32.lt_u br_if 0 end i32.const ${result}`;
  module.func({ name: callback, params: i32s(parameters), results: ["i32"], body });
  return module.build();
}
