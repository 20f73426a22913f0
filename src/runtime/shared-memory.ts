import { closeSync, fstatSync, ftruncateSync, openSync } from "node:fs";

/**
 * Words that several processes of one machine share, for counters that must be exact across workers. Use them with
 * `Atomics`: on shared words an add, a load and a compare-and-set are single instructions whichever process does them.
 * Nothing else (no lock, no wait) survives a process that dies in the middle.
 */
export interface SharedWords {
  /** False where the runtime cannot map a file: then only this process sees the words, and one worker must do. */
  readonly shared: boolean;
  readonly byteLength: number;
  readonly int32: Int32Array;
  readonly int64: BigInt64Array;
}

/** Folder whose files are in memory. Linux has it; elsewhere it is not there, and a folder for temporary files does. */
export const MEMORY_FOLDER = "/dev/shm";

/** One page of memory: sizes are rounded up to it. */
const PAGE_BYTES = 4096;

/** Only what is asked of Bun. */
interface Mapper {
  mmap(path: string, options: { readonly shared: boolean }): Uint8Array;
}

/**
 * Opens the file, makes it at least `byteLength` long (zeroes), and maps it. Every process that opens the same path sees the
 * same words; the mapping lasts as long as the process, also when the file is removed. Put it in
 * `MEMORY_FOLDER` where there is one. Throws the system's error when the file cannot be made.
 */
export function openSharedMemory(path: string, byteLength: number): SharedWords {
  const rounded = Math.max(1, Math.ceil(byteLength / PAGE_BYTES)) * PAGE_BYTES;
  const { Bun: mapper } = globalThis as unknown as { readonly Bun?: Mapper };
  if (mapper === undefined) return view(new SharedArrayBuffer(rounded), 0, rounded, false);
  extendFile(path, rounded);
  const bytes = mapper.mmap(path, { shared: true });
  return view(bytes.buffer, bytes.byteOffset, rounded, true);
}

/** Grows the file to `byteLength`, never shrinks it: another process may have mapped more. Only its owner may read it. */
function extendFile(path: string, byteLength: number): void {
  const file = openSync(path, "a+", 0o600);
  try {
    if (fstatSync(file).size < byteLength) ftruncateSync(file, byteLength);
  } finally {
    closeSync(file);
  }
}

function view(buffer: ArrayBufferLike, offset: number, byteLength: number, shared: boolean): SharedWords {
  return {
    shared,
    byteLength,
    int32: new Int32Array(buffer, offset, byteLength / 4),
    int64: new BigInt64Array(buffer, offset, byteLength / 8),
  };
}
