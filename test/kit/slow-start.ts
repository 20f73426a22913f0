import { ModuleBuilder, op } from "./wasm.ts";

/** Fuel that one round of its loop takes, about. */
export const ROUND_FUEL = 6;

/** A proxy-wasm filter that does nothing but take its time to start: so many rounds of a loop in `proxy_on_configure`. */
export function slowStart(rounds: number): Uint8Array<ArrayBuffer> {
  const builder = new ModuleBuilder().memory(1);
  const left = builder.global(rounds);
  const round = [...op.globalGet(left), ...op.i32(-1), ...op.i32Add, ...op.globalSet(left), ...op.globalGet(left)];
  builder.func("proxy_on_configure", ["i32", "i32"], ["i32"], [...op.loop, ...round, ...op.brIf(0), ...op.end, ...op.i32(1)]);
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  builder.func("malloc", ["i32"], ["i32"], op.i32(1024));
  return builder.build();
}
