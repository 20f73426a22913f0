import type { GuestMemory } from "../guest/memory.ts";
import * as wasi from "../guest/wasi.ts";
import { INTERNAL_FAILURE, UNIMPLEMENTED } from "./abi.ts";
import * as http from "./calls-http.ts";
import * as shared from "./calls-shared.ts";
import * as state from "./calls-state.ts";
import type { GuestInstance } from "./instance.ts";

/**
 * What a guest may import. The functions are made once per instance; on the way in each counts the call, refreshes the view
 * of the memory and catches what we might throw, because a guest must never get hold of a host's exception.
 */

type Run1 = (guest: GuestInstance, memory: GuestMemory, a: number) => number;
type Run2 = (guest: GuestInstance, memory: GuestMemory, a: number, b: number) => number;
type Run3 = (guest: GuestInstance, memory: GuestMemory, a: number, b: number, c: number) => number;
type Run5 = (guest: GuestInstance, memory: GuestMemory, a: number, b: number, c: number, d: number, e: number) => number;
type Run6 = (
  guest: GuestInstance,
  memory: GuestMemory,
  a: number,
  b: number,
  c: number,
  d: number,
  e: number,
  f: number,
) => number;
type RunLong = (guest: GuestInstance, memory: GuestMemory, a: number, b: bigint) => number;
type RunMany = (guest: GuestInstance, memory: GuestMemory, ...rest: never[]) => number;
type Import = (...args: never[]) => unknown;

function guard1(guest: GuestInstance, run: Run1): Import {
  return (a: number) => {
    const memory = guest.beginHostCall();
    if (memory === undefined) return INTERNAL_FAILURE;
    try {
      return guest.answerCall(run(guest, memory, a));
    } catch (error) {
      return guest.onHostError(error);
    }
  };
}

function guard2(guest: GuestInstance, run: Run2): Import {
  return (a: number, b: number) => {
    const memory = guest.beginHostCall();
    if (memory === undefined) return INTERNAL_FAILURE;
    try {
      return guest.answerCall(run(guest, memory, a, b));
    } catch (error) {
      return guest.onHostError(error);
    }
  };
}

function guard3(guest: GuestInstance, run: Run3): Import {
  return (a: number, b: number, c: number) => {
    const memory = guest.beginHostCall();
    if (memory === undefined) return INTERNAL_FAILURE;
    try {
      return guest.answerCall(run(guest, memory, a, b, c));
    } catch (error) {
      return guest.onHostError(error);
    }
  };
}

function guard5(guest: GuestInstance, run: Run5): Import {
  return (a: number, b: number, c: number, d: number, e: number) => {
    const memory = guest.beginHostCall();
    if (memory === undefined) return INTERNAL_FAILURE;
    try {
      return guest.answerCall(run(guest, memory, a, b, c, d, e));
    } catch (error) {
      return guest.onHostError(error);
    }
  };
}

function guard6(guest: GuestInstance, run: Run6): Import {
  return (a: number, b: number, c: number, d: number, e: number, f: number) => {
    const memory = guest.beginHostCall();
    if (memory === undefined) return INTERNAL_FAILURE;
    try {
      return guest.answerCall(run(guest, memory, a, b, c, d, e, f));
    } catch (error) {
      return guest.onHostError(error);
    }
  };
}

/** Number and 64-bit value: metrics. */
function guardLong(guest: GuestInstance, run: RunLong): Import {
  return (a: number, b: bigint) => {
    const memory = guest.beginHostCall();
    if (memory === undefined) return INTERNAL_FAILURE;
    try {
      return guest.answerCall(run(guest, memory, a, b));
    } catch (error) {
      return guest.onHostError(error);
    }
  };
}

/** For the rest, which is not on the hot path. */
function guardMany(guest: GuestInstance, run: RunMany): Import {
  return (...args: never[]) => {
    const memory = guest.beginHostCall();
    if (memory === undefined) return INTERNAL_FAILURE;
    try {
      return guest.answerCall(run(guest, memory, ...args));
    } catch (error) {
      return guest.onHostError(error);
    }
  };
}

const HOT2: Readonly<Record<string, Run2>> = {
  proxy_get_header_map_size: http.getHeaderMapSize,
  proxy_get_shared_queue_size: () => UNIMPLEMENTED,
  proxy_get_metric: shared.getMetric,
};
const HOT1: Readonly<Record<string, Run1>> = {
  proxy_get_log_level: state.getLogLevel,
  proxy_get_current_time_nanoseconds: state.getCurrentTime,
  proxy_set_effective_context: state.setEffectiveContext,
  proxy_set_tick_period_milliseconds: state.setTickPeriod,
  proxy_continue_stream: http.continueStream,
  proxy_close_stream: http.closeStream,
  proxy_done: state.done,
  // 0.1.0 had one function per direction.
  proxy_continue_request: (guest, memory) => http.continueStream(guest, memory, 0),
  proxy_continue_response: (guest, memory) => http.continueStream(guest, memory, 1),
  proxy_resume_downstream: (guest, memory) => http.continueStream(guest, memory, 2),
  proxy_resume_upstream: (guest, memory) => http.continueStream(guest, memory, 3),
  proxy_close_downstream: (guest, memory) => http.closeStream(guest, memory, 2),
  proxy_close_upstream: (guest, memory) => http.closeStream(guest, memory, 3),
  proxy_clear_route_cache: () => UNIMPLEMENTED,
};
const HOT3: Readonly<Record<string, Run3>> = {
  proxy_log: state.log,
  proxy_get_header_map_pairs: (guest, memory, map, at, size) => http.getHeaderMapPairs(guest, memory, map, at, size),
  proxy_set_header_map_pairs: http.setHeaderMapPairs,
  proxy_remove_header_map_value: http.removeHeaderMapValue,
  proxy_get_buffer_status: state.getBufferStatus,
  proxy_get_status: state.getStatus,
};
const HOT5: Readonly<Record<string, Run5>> = {
  proxy_get_header_map_value: http.getHeaderMapValue,
  proxy_add_header_map_value: http.addHeaderMapValue,
  proxy_replace_header_map_value: http.replaceHeaderMapValue,
  proxy_set_buffer_bytes: state.setBufferBytes,
  proxy_get_buffer_bytes: state.getBufferBytes,
  proxy_get_property: (guest, memory, a, b, c, d) => state.getProperty(guest, memory, a, b, c, d),
  proxy_set_property: (guest, memory, a, b, c, d) => state.setProperty(guest, memory, a, b, c, d),
  proxy_get_shared_data: shared.getSharedData,
  proxy_set_shared_data: shared.setSharedData,
};
const HOT6: Readonly<Record<string, Run6>> = {
  proxy_call_foreign_function: state.callForeignFunction,
};
const HOT_LONG: Readonly<Record<string, RunLong>> = {
  proxy_record_metric: shared.recordMetric,
  proxy_increment_metric: shared.incrementMetric,
};
const COLD: Readonly<Record<string, RunMany>> = {
  proxy_send_local_response: http.sendLocalResponse,
  proxy_http_call: state.httpCall,
  proxy_dispatch_http_call: state.httpCall,
  proxy_grpc_call: state.grpcCall,
  proxy_grpc_stream: state.grpcCall,
  proxy_grpc_send: state.grpcUnknown,
  proxy_grpc_cancel: state.grpcUnknown,
  proxy_grpc_close: state.grpcUnknown,
  proxy_register_shared_queue: shared.registerSharedQueue,
  proxy_resolve_shared_queue: shared.resolveSharedQueue,
  proxy_enqueue_shared_queue: shared.enqueueSharedQueue,
  proxy_dequeue_shared_queue: shared.dequeueSharedQueue,
  proxy_define_metric: shared.defineMetric,
  // 0.1.0: the plugin's configuration had a function of its own.
  proxy_get_configuration: (guest: GuestInstance, memory: GuestMemory, at: number, size: number) =>
    state.getBufferBytes(guest, memory, 7, 0, 0x7fff_ffff, at, size),
};
const WASI: Readonly<Record<string, RunMany>> = {
  fd_write: wasi.fdWrite,
  clock_time_get: wasi.clockTimeGet,
  random_get: wasi.randomGet,
  poll_oneoff: wasi.pollOneoff,
  environ_sizes_get: wasi.zeroSizes,
  args_sizes_get: wasi.zeroSizes,
  environ_get: wasi.succeed,
  args_get: wasi.succeed,
  sched_yield: wasi.succeed,
};

/** Imports for an instance of `module`. Throws an `Error` that names what nobody grants. */
export function makeImports(guest: GuestInstance, module: WebAssembly.Module): WebAssembly.Imports {
  const env: Record<string, Import> = {};
  const wasiImports: Record<string, Import> = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    const found = kind === "function" ? findImport(guest, from, name) : undefined;
    if (found === undefined) throw new Error(`the module imports ${kind} ${from}.${name}, which this host does not offer`);
    if (from === "env") env[name] = found;
    else wasiImports[name] = found;
  }
  return { env, wasi_snapshot_preview1: wasiImports, wasi_unstable: wasiImports } as WebAssembly.Imports;
}

function findImport(guest: GuestInstance, from: string, name: string): Import | undefined {
  if (from === "wasi_snapshot_preview1" || from === "wasi_unstable") return findWasi(guest, name);
  if (from !== "env") return undefined;
  if (name === "abort") return makeAbort(guest);
  // Emscripten's modules (the C++ SDK) say that their memory grew.
  if (name === "emscripten_notify_memory_growth") return () => {};
  const own = <T>(table: Readonly<Record<string, T>>): T | undefined => (Object.hasOwn(table, name) ? table[name] : undefined);
  const [run1, run2, run3, run5, run6] = [own(HOT1), own(HOT2), own(HOT3), own(HOT5), own(HOT6)];
  const [long, many] = [own(HOT_LONG), own(COLD)];
  if (run1 !== undefined) return guard1(guest, run1);
  if (run2 !== undefined) return guard2(guest, run2);
  if (run3 !== undefined) return guard3(guest, run3);
  if (run5 !== undefined) return guard5(guest, run5);
  if (run6 !== undefined) return guard6(guest, run6);
  if (long !== undefined) return guardLong(guest, long);
  if (many !== undefined) return guardMany(guest, many);
  // A function of the ABI that we do not know (TCP extensions, later versions): present, but unimplemented.
  return name.startsWith("proxy_") ? () => UNIMPLEMENTED : undefined;
}

function findWasi(guest: GuestInstance, name: string): Import {
  const run = Object.hasOwn(WASI, name) ? WASI[name] : undefined;
  if (run !== undefined) return guardMany(guest, run);
  if (name === "proc_exit") {
    return (code: number) => guest.stop(`the guest exited with code ${code}`);
  }
  return name.startsWith("fd_") || name.startsWith("path_") ? wasi.badDescriptor : wasi.noSuchCall;
}

/** AssemblyScript's `abort(message, file, line, column)`: UTF-16 strings whose length stands before them. */
function makeAbort(guest: GuestInstance): Import {
  return (message: number, file: number, line: number, column: number) => {
    guest.stop(`abort: ${readUtf16(guest, message)} at ${readUtf16(guest, file)}:${line}:${column}`);
  };
}

const ABORT_TEXT_MAX_BYTES = 1024;

function readUtf16(guest: GuestInstance, at: number): string {
  const { memory } = guest;
  memory?.refresh();
  const start = at >>> 0;
  if (memory === undefined || start < 4 || !memory.has(start - 4, 4)) return "?";
  const size = Math.min(memory.u32(start - 4), ABORT_TEXT_MAX_BYTES) & ~1;
  return memory.has(start, size) ? Buffer.from(memory.view(start, size)).toString("utf16le") : "?";
}
