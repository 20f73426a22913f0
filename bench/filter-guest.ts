import { ModuleBuilder, op, type ValueType } from "../test/kit/wasm.ts";

const i32s = (count: number): ValueType[] => new Array<ValueType>(count).fill("i32");

/** A proxy-wasm filter that reads two headers and adds one in each direction; it runs here and in Envoy. */
export function buildTwoHeaders(): Uint8Array<ArrayBuffer> {
  const builder = new ModuleBuilder();
  const get = builder.import("env", "proxy_get_header_map_value", i32s(5), ["i32"]);
  const add = builder.import("env", "proxy_add_header_map_value", i32s(5), ["i32"]);
  builder.memory(1).data(0, new TextEncoder().encode("user-agentacceptcontent-typecontent-lengthx-benchyes"));
  const call = (index: number, args: readonly number[]): number[] => [
    ...args.flatMap((arg) => op.i32(arg)),
    ...op.call(index),
    ...op.drop,
  ];
  const calls = (map: number, first: readonly [number, number], second: readonly [number, number]): number[] => [
    ...call(get, [map, ...first, 512, 516]),
    ...call(get, [map, ...second, 512, 516]),
    ...call(add, [map, 42, 7, 49, 3]),
    ...op.i32(0),
  ];
  builder.func("proxy_on_request_headers", i32s(3), ["i32"], calls(0, [0, 10], [10, 6]));
  builder.func("proxy_on_response_headers", i32s(3), ["i32"], calls(2, [16, 12], [28, 14]));
  builder.func("proxy_on_context_create", i32s(2), [], []);
  builder.func("proxy_on_log", ["i32"], [], []);
  builder.func("proxy_on_delete", ["i32"], [], []);
  builder.func("proxy_on_done", ["i32"], ["i32"], op.i32(1));
  builder.func("proxy_on_memory_allocate", ["i32"], ["i32"], op.i32(1024));
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  return builder.build();
}
