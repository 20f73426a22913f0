import type { GuestMemory } from "../guest/memory.ts";
import * as wasi from "../guest/wasi.ts";
import type { ExtismGuest } from "./guest.ts";
import { HOST_ONLY } from "./kernel.ts";

type Import = (...args: never[]) => unknown;
type WasiCall = (guest: ExtismGuest, memory: GuestMemory, ...rest: never[]) => number;

export const EXTISM_MODULE = "extism:host/env";

/** What language runtimes need of WASI preview 1 to start. */
const WASI: Readonly<Record<string, WasiCall>> = {
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
export function makeImports(guest: ExtismGuest, module: WebAssembly.Module): WebAssembly.Imports {
  const imports: Record<string, Record<string, WebAssembly.ImportValue>> = Object.create(null);
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    const found = kind === "function" ? findImport(guest, from, name) : undefined;
    if (found === undefined) throw new Error(`the module imports ${kind} ${from}.${name}, which this host does not offer`);
    imports[from] ??= Object.create(null) as Record<string, WebAssembly.ImportValue>;
    imports[from][name] = found as WebAssembly.ImportValue;
  }
  return imports;
}

function findImport(guest: ExtismGuest, from: string, name: string): unknown {
  if (from === EXTISM_MODULE) return HOST_ONLY.has(name) ? undefined : guest.kernel.functions[name];
  if (from === "wasi_snapshot_preview1") return findWasi(guest, name);
  if (from === "env" && name === "abort") return () => guest.stop("the guest aborted");
  return undefined;
}

function findWasi(guest: ExtismGuest, name: string): Import {
  const run = Object.hasOwn(WASI, name) ? WASI[name] : undefined;
  if (run !== undefined) return guardWasi(guest, run);
  if (name === "proc_exit") return (code: number) => guest.stop(`the guest exited with code ${code}`);
  return name.startsWith("fd_") || name.startsWith("path_") ? wasi.badDescriptor : wasi.noSuchCall;
}

function guardWasi(guest: ExtismGuest, run: WasiCall): Import {
  return (...args: never[]) => {
    const { memory } = guest;
    if (memory === undefined || !guest.mayCallHost()) return wasi.noSuchCall();
    try {
      memory.refresh();
      return run(guest, memory, ...args);
    } catch (error) {
      guest.onHostError(error);
      return wasi.noSuchCall();
    }
  };
}
