import { Buffer } from "node:buffer";
import { EXTISM_LIMITS, HOST_WORK } from "../../core/limits.ts";
import { LinearMemory } from "../component/memory.ts";
import type { HostWork } from "../guest/work.ts";
import { KERNEL_BASE64 } from "./kernel-bytes.ts";

/** What the kernel asks of the host: offsets and sizes of blocks, 0 and 0 for what is none. None of these may throw. */
export interface KernelHost {
  /** Answers a new block; 0: nothing of that name. */
  configGet(at: number, size: number): number;
  varGet(at: number, size: number): number;
  varSet(at: number, size: number, valueAt: number, valueSize: number): void;
  log(level: number, at: number, size: number): void;
  logLevel(): number;
  readonly http: KernelHttp;
}

/** `http_request`, in two steps: what cannot be done or may not be is known before anything waits. */
export interface KernelHttp {
  /** The request and its body; answers whether there is an answer to wait for. */
  begin(at: number, size: number, bodyAt: number, bodySize: number): boolean;
  /** Resolves to the block with the body of the answer, 0: it has none. Called when `begin` said so, and only by a function that may wait. */
  wait(): Promise<number>;
  /** Of the last answer in this call; 0: there is none. */
  status: number;
  /** Answers a new block with the fields of the last answer; 0: there is none. */
  headers(): number;
}

type Call0 = () => number;
type Call1 = (value: number) => number;

let compiled: WebAssembly.Module | undefined;

/**
 * The memory that one instance of a plug-in shares with its host: blocks of one call, gone with the next (scripts/extism-kernel.ts). What
 * moves in a call is paid before (`HostWork`); its input, its output, and that its blocks are emptied, is only counted.
 */
export class Kernel {
  readonly memory: LinearMemory;
  /** What the plug-in may import of `extism:host/env`. */
  readonly functions: WebAssembly.Exports;
  readonly #begin: Call1;
  readonly #place: Call1;
  readonly #sizeOf: Call1;
  readonly #end: Call0;
  readonly #outputAt: Call0;
  readonly #outputSize: Call0;
  readonly #errorAt: Call0;
  #foundAt = 0;
  /** Of the output that was found, in bytes; -1: it lies outside of the blocks. */
  outputSize = 0;

  /** `suspending`: makes a function of the host one that suspends who calls it; absent: nothing waits here. */
  constructor(
    host: KernelHost,
    memoryBytes: number,
    readonly work: HostWork,
    suspending?: (wait: () => Promise<number>) => WebAssembly.ImportValue,
  ) {
    compiled ??= new WebAssembly.Module(Buffer.from(KERNEL_BASE64, "base64"));
    const maximum = Math.max(1, Math.floor(Math.min(EXTISM_LIMITS.sharedBytes, memoryBytes) / 65_536));
    const memory = new WebAssembly.Memory({ initial: 1, maximum });
    const imports = {
      host_config_get: (at: number, size: number) => host.configGet(at, size),
      host_var_get: (at: number, size: number) => host.varGet(at, size),
      host_var_set: (at: number, size: number, valueAt: number, valueSize: number) => host.varSet(at, size, valueAt, valueSize),
      host_log: (level: number, at: number, size: number) => host.log(level, at, size),
      host_log_level: () => host.logLevel(),
      host_http_begin: (at: number, size: number, bodyAt: number, bodySize: number) =>
        host.http.begin(at, size, bodyAt, bodySize) ? 1 : 0,
      host_http_wait: suspending === undefined ? () => 0 : suspending(() => host.http.wait()),
      host_http_status: () => host.http.status,
      host_http_headers: () => host.http.headers(),
      memory,
    };
    this.functions = new WebAssembly.Instance(compiled, { host: imports }).exports;
    this.memory = new LinearMemory(memory);
    this.#begin = this.functions.begin as Call1;
    this.#place = this.functions.place as Call1;
    this.#sizeOf = this.functions.size_of as Call1;
    this.#end = this.functions.end as Call0;
    this.#outputAt = this.functions.output_at as Call0;
    this.#outputSize = this.functions.output_size as Call0;
    this.#errorAt = this.functions.error_at as Call0;
  }

  /** Forgets the call before and places the input of the next. False: it does not fit. */
  begin(input: string | Uint8Array): boolean {
    const size = typeof input === "string" ? Buffer.byteLength(input) : input.byteLength;
    const at = this.#begin(size) >>> 0;
    if (at === 0) return size === 0;
    this.work.owe(Math.floor(size / HOST_WORK.movedBytes));
    this.memory.refresh();
    if (typeof input === "string") this.memory.bytes.write(input, at, size, "utf8");
    else this.memory.bytes.set(input, at);
    return true;
  }

  /** The call is over: finds its output, and counts what it leaves to do. */
  end(): void {
    const size = this.#findOutput();
    this.work.owe(Math.floor((this.#end() >>> 0) / HOST_WORK.movedBytes) + Math.max(0, size) * HOST_WORK.textFuel);
  }

  /** A new block with these bytes; 0: no room, or nothing to put there. Throws `OutOfFuel`. */
  place(bytes: Uint8Array): number {
    this.work.moved(bytes.byteLength);
    const at = this.#place(bytes.byteLength) >>> 0;
    if (at === 0) return 0;
    this.memory.refresh();
    this.memory.bytes.set(bytes, at);
    return at;
  }

  /** The text of a block that the kernel found. Throws `OutOfFuel`. */
  text(at: number, size: number): string {
    this.work.text(size >>> 0);
    return this.#text(at, size);
  }

  #text(at: number, size: number): string {
    this.memory.refresh();
    return this.memory.bytes.toString("utf8", at >>> 0, (at >>> 0) + (size >>> 0));
  }

  /** Throws `OutOfFuel`. */
  copy(at: number, size: number): Uint8Array {
    this.work.kept(size >>> 0);
    return this.#copy(at, size);
  }

  #copy(at: number, size: number): Uint8Array {
    this.memory.refresh();
    return this.memory.copy(at >>> 0, size >>> 0);
  }

  /** Looks where the call that is over left its output. Answers `outputSize`. */
  #findOutput(): number {
    this.#foundAt = this.#outputAt();
    this.outputSize = this.#foundAt === -1 ? -1 : this.#outputSize() >>> 0;
    return this.outputSize;
  }

  output(): string {
    return this.#text(this.#foundAt, this.outputSize);
  }

  outputBytes(): Uint8Array {
    return this.#copy(this.#foundAt, this.outputSize);
  }

  /** The error that was set, cut to so many bytes; undefined: none. */
  error(maxBytes: number): string | undefined {
    const at = this.#errorAt();
    if (at === 0) return undefined;
    return this.#text(at, Math.min(maxBytes, this.#sizeOf(at) >>> 0));
  }
}

/** Functions of the kernel that are for the host alone. */
export const HOST_ONLY: ReadonlySet<string> = new Set([
  "begin",
  "place",
  "size_of",
  "end",
  "output_at",
  "output_size",
  "error_at",
]);
