import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { FilterExchange } from "../contract.ts";
import { WASI_BADF, WASI_FAULT, WASI_INVAL, WASI_NOSYS, WASI_NOTCAPABLE, WASI_NOTSUP, WASI_SUCCESS } from "../proxy-wasm/abi.ts";
import type { GuestChance } from "./chance.ts";
import type { Grants } from "./grants.ts";
import type { GuestMemory } from "./memory.ts";

/**
 * What language runtimes need of WASI preview 1 to start: output goes to our log, time is rounded unless granted, there are
 * no arguments, no environment and no files.
 */

/** What a guest of any ABI has for WASI. */
export interface WasiGuest {
  /** Most recent line. */
  lastLog: string;
  readonly chance: GuestChance;
  /** Which it works for now; undefined: none. */
  readonly exchange: FilterExchange | undefined;
  readonly owner: {
    readonly grants: Grants;
    log(level: number, message: string, exchange: FilterExchange | undefined): void;
    timeNanos(): bigint;
    monotonicNanos(): bigint;
  };
}

const STDOUT = 1;
const STDERR = 2;
const LEVEL_INFO = 2;
const LEVEL_ERROR = 4;
const IOVECS_MAX = 1024;
const RANDOM_MAX_BYTES = 65_536;

export function fdWrite(
  guest: WasiGuest,
  memory: GuestMemory,
  fd: number,
  iovecsAt: number,
  count: number,
  writtenPointer: number,
): number {
  if (fd !== STDOUT && fd !== STDERR) return WASI_BADF;
  const vectors = count >>> 0;
  if (vectors > IOVECS_MAX) return WASI_INVAL;
  if (!memory.has(iovecsAt, vectors * 8) || !memory.has(writtenPointer, 4)) return WASI_FAULT;
  memory.work.items(vectors);
  let written = 0;
  let text = "";
  for (let i = 0; i < vectors; i++) {
    const at = memory.u32((iovecsAt >>> 0) + i * 8);
    const size = memory.u32((iovecsAt >>> 0) + i * 8 + 4);
    if (!memory.has(at, size)) return WASI_FAULT;
    written += size;
    const room = PROXY_WASM_LIMITS.logLineBytes - text.length;
    if (room > 0) text += memory.utf8(at, Math.min(size, room));
  }
  if (!guest.owner.grants.may("log")) return WASI_NOTCAPABLE;
  memory.setU32(writtenPointer, written);
  const line = text.trimEnd();
  if (line === "") return WASI_SUCCESS;
  guest.lastLog = line;
  guest.owner.log(fd === STDERR ? LEVEL_ERROR : LEVEL_INFO, line, guest.exchange);
  return WASI_SUCCESS;
}

export function clockTimeGet(guest: WasiGuest, memory: GuestMemory, id: number, _precision: bigint, pointer: number): number {
  if (id !== 0 && id !== 1) return WASI_NOTSUP;
  if (!memory.has(pointer, 8)) return WASI_FAULT;
  memory.setU64(pointer, id === 0 ? guest.owner.timeNanos() : guest.owner.monotonicNanos());
  return WASI_SUCCESS;
}

export function randomGet(guest: WasiGuest, memory: GuestMemory, at: number, size: number): number {
  if (size >>> 0 > RANDOM_MAX_BYTES) return WASI_INVAL;
  if (!memory.has(at, size)) return WASI_FAULT;
  memory.work.text(size >>> 0);
  const drawn = new Uint8Array(size >>> 0);
  if (!guest.chance.fill(drawn)) return WASI_NOTCAPABLE;
  memory.view(at, size).set(drawn);
  return WASI_SUCCESS;
}

/** `environ_sizes_get`, `args_sizes_get`: nothing. */
export function zeroSizes(_guest: WasiGuest, memory: GuestMemory, countPointer: number, sizePointer: number): number {
  if (!memory.has(countPointer, 4) || !memory.has(sizePointer, 4)) return WASI_FAULT;
  memory.setU32(countPointer, 0);
  memory.setU32(sizePointer, 0);
  return WASI_SUCCESS;
}

/**
 * Waits for nothing: no event has happened, at once, and that is a success, as in Envoy. Go's runtime sleeps so while another goroutine
 * works, and gives up on an error; a guest that asks again and again pays for each.
 */
export function pollOneoff(
  _guest: WasiGuest,
  memory: GuestMemory,
  _subscriptionsAt: number,
  _eventsAt: number,
  _count: number,
  countPointer: number,
): number {
  if (!memory.has(countPointer, 4)) return WASI_FAULT;
  memory.setU32(countPointer, 0);
  return WASI_SUCCESS;
}

export const succeed = (): number => WASI_SUCCESS;
/** Functions on file descriptors that do not exist; a runtime that looks for directories stops at this. */
export const badDescriptor = (): number => WASI_BADF;
export const noSuchCall = (): number => WASI_NOSYS;
