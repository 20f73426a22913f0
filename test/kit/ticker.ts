import { latin1Bytes } from "../../src/core/bytes.ts";
import { ModuleBuilder, op, type ValueType } from "./wasm.ts";

const i32s = (count: number): readonly ValueType[] => new Array<ValueType>(count).fill("i32");

// The guest's memory.
const [OUT, SERVICE, HEADERS, ANSWERED, HEAP] = [16, 64, 256, 1024, 4096];

const HEADER_PAIRS: readonly (readonly [string, string])[] = [
  [":method", "GET"],
  [":path", "/tick"],
  [":authority", "control.example"],
];

/** Pairs as proxy-wasm has them in memory: count, lengths of all names and values, then the texts, each with a zero behind it. */
function pairsBytes(pairs: readonly (readonly [string, string])[]): Uint8Array {
  const u32 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, 0, 0];
  const sizes = pairs.flatMap(([name, value]) => [...u32(name.length), ...u32(value.length)]);
  return new Uint8Array([...u32(pairs.length), ...sizes, ...latin1Bytes(`${pairs.flat().join("\0")}\0`)]);
}

/**
 * A proxy-wasm module whose tick calls `service` at `/tick`; it logs `answered` at every answer (and at none, when it failed). `insists`: when
 * it failed it logs that as well, and calls again at once.
 */
export function buildTicker(service: string, insists = false): Uint8Array<ArrayBuffer> {
  const builder = new ModuleBuilder();
  const setTick = builder.import("env", "proxy_set_tick_period_milliseconds", i32s(1), ["i32"]);
  const call = builder.import("env", "proxy_http_call", i32s(10), ["i32"]);
  const log = builder.import("env", "proxy_log", i32s(3), ["i32"]);
  const headers = pairsBytes(HEADER_PAIRS);
  builder.memory(1).data(SERVICE, latin1Bytes(service)).data(HEADERS, headers).data(ANSWERED, latin1Bytes("answered"));
  const heap = builder.global(HEAP);
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  builder.func(
    "proxy_on_memory_allocate",
    ["i32"],
    ["i32"],
    [...op.globalGet(heap), ...op.globalGet(heap), ...op.localGet(0), ...op.i32Add, ...op.globalSet(heap)],
  );
  builder.func("proxy_on_configure", i32s(2), ["i32"], [...op.i32(10), ...op.call(setTick), ...op.drop, ...op.i32(1)]);
  builder.func("proxy_on_context_create", i32s(2), [], []);
  const args = [SERVICE, service.length, HEADERS, headers.length, 0, 0, 0, 0, 5_000, OUT].flatMap((value) => op.i32(value));
  builder.func("proxy_on_tick", i32s(1), [], [...args, ...op.call(call), ...op.drop]);
  const told = [...op.i32(2), ...op.i32(ANSWERED), ...op.i32(8), ...op.call(log), ...op.drop];
  const answered = insists ? [...told, ...args, ...op.call(call), ...op.drop] : [...op.localGet(2), ...op.if, ...told, ...op.end];
  builder.func("proxy_on_http_call_response", i32s(5), [], answered);
  return builder.build();
}
