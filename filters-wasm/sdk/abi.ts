import { openContext } from "./contexts";
import { logError } from "./host";
import { arenaAlloc, arenaReset } from "./memory";

/** Exports that every filter has: an entry file re-exports them. */

export function proxy_abi_version_0_2_1(): void {}

export function proxy_on_memory_allocate(size: usize): usize {
  return arenaAlloc(size);
}

export function proxy_on_context_create(id: u32, parent: u32): void {
  arenaReset();
  openContext(id, parent);
}

export function proxy_on_vm_start(root: u32, size: u32): i32 {
  return 1;
}

/** AssemblyScript's own `abort`: a bug of ours. Says where and traps; the host applies `onFailure`. */
export function abortFilter(message: string | null, file: string | null, line: u32, column: u32): void {
  logError((message === null ? "abort" : message) + " at " + (file === null ? "?" : file) + ":" + line.toString());
  unreachable();
}
