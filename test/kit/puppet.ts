import type { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ModuleBuilder, op, type ValueType } from "./wasm.ts";

/**
 * A proxy-wasm guest on strings: each of its callbacks asks the foreign function `puppet` what to do, so a test writes a
 * filter as a generator that yields host calls and gets their statuses, with every pointer it likes.
 *
 *     puppet.on("request_headers", function* (guest) {
 *       const status = yield guest.host("proxy_log", 2, guest.put("hello"), 5);
 *       return 0;                                             // what the callback answers
 *     });
 */

type Signature = readonly ValueType[];
const i32s = (count: number): Signature => new Array<ValueType>(count).fill("i32");

/** Every host function with its parameters; all answer an i32. */
export const HOST_CALLS: Readonly<Record<string, Signature>> = {
  proxy_log: i32s(3),
  proxy_get_log_level: i32s(1),
  proxy_get_property: i32s(4),
  proxy_set_property: i32s(4),
  proxy_get_header_map_value: i32s(5),
  proxy_add_header_map_value: i32s(5),
  proxy_replace_header_map_value: i32s(5),
  proxy_remove_header_map_value: i32s(3),
  proxy_get_header_map_pairs: i32s(3),
  proxy_set_header_map_pairs: i32s(3),
  proxy_get_header_map_size: i32s(2),
  proxy_get_buffer_bytes: i32s(5),
  proxy_set_buffer_bytes: i32s(5),
  proxy_get_buffer_status: i32s(3),
  proxy_send_local_response: i32s(8),
  proxy_continue_stream: i32s(1),
  proxy_close_stream: i32s(1),
  proxy_http_call: i32s(10),
  proxy_grpc_call: i32s(12),
  proxy_grpc_stream: i32s(9),
  proxy_grpc_send: i32s(4),
  proxy_grpc_cancel: i32s(1),
  proxy_grpc_close: i32s(1),
  proxy_get_status: i32s(3),
  proxy_get_shared_data: i32s(5),
  proxy_set_shared_data: i32s(5),
  proxy_register_shared_queue: i32s(3),
  proxy_resolve_shared_queue: i32s(5),
  proxy_enqueue_shared_queue: i32s(3),
  proxy_dequeue_shared_queue: i32s(3),
  proxy_define_metric: i32s(4),
  proxy_record_metric: ["i32", "i64"],
  proxy_increment_metric: ["i32", "i64"],
  proxy_get_metric: i32s(2),
  proxy_set_tick_period_milliseconds: i32s(1),
  proxy_get_current_time_nanoseconds: i32s(1),
  proxy_set_effective_context: i32s(1),
  proxy_call_foreign_function: i32s(6),
  proxy_done: [],
};
export const WASI_CALLS: Readonly<Record<string, Signature>> = {
  fd_write: i32s(4),
  random_get: i32s(2),
  clock_time_get: ["i32", "i64", "i32"],
  environ_sizes_get: i32s(2),
  environ_get: i32s(2),
  args_sizes_get: i32s(2),
  args_get: i32s(2),
  fd_close: i32s(1),
  poll_oneoff: i32s(4),
};

/** Callbacks with the number of their parameters and whether they answer a number. */
const CALLBACKS: readonly (readonly [name: string, params: number, answers: boolean])[] = [
  ["vm_start", 2, true],
  ["configure", 2, true],
  ["context_create", 2, false],
  ["request_headers", 3, true],
  ["request_body", 3, true],
  ["request_trailers", 2, true],
  ["response_headers", 3, true],
  ["response_body", 3, true],
  ["response_trailers", 2, true],
  ["new_connection", 1, true],
  ["downstream_data", 3, true],
  ["upstream_data", 3, true],
  ["downstream_connection_close", 2, false],
  ["upstream_connection_close", 2, false],
  ["http_call_response", 5, false],
  ["queue_ready", 2, false],
  ["tick", 1, false],
  ["done", 1, true],
  ["log", 1, false],
  ["delete", 1, false],
];
export type CallbackName = string;

// The guest's low memory: the command, its arguments, the result, and how the allocator behaves.
const COMMAND = 0;
const ARGUMENTS = 16;
const RESULT = 256;
const ANSWER = 260;
const ALLOCATOR = 264;
const PHASE = 268;
const PARAMETERS = 272;
const NAME = 512;
const SCRATCH = 1024;
const HEAP = 16_384;

/** How the guest's allocator answers. */
export const ALLOCATOR_MODES = { honest: 0, zero: 1, beyond: 2, trap: 3, growing: 4, wrapping: 5, spin: 6, asking: 7 } as const;

const OWN_COMMANDS = ["trap", "grow", "recurse", "recurse-host", "abort", "exit", "spin", "burn", "wild"] as const;

const SPIN = [...op.loop, ...op.br(0), ...op.end];

/** The module; `omit` leaves callbacks out, `pages` are of its memory. */
export function buildPuppet(
  options: { omit?: readonly string[]; pages?: number; maxPages?: number } = {},
): Uint8Array<ArrayBuffer> {
  const builder = new ModuleBuilder();
  const foreign = builder.import("env", "proxy_call_foreign_function", i32s(6), ["i32"]);
  const imported: [number, Signature][] = [];
  for (const [name, params] of Object.entries(HOST_CALLS)) imported.push([builder.import("env", name, params, ["i32"]), params]);
  for (const [name, params] of Object.entries(WASI_CALLS)) {
    imported.push([builder.import("wasi_snapshot_preview1", name, params, ["i32"]), params]);
  }
  const abort = builder.import("env", "abort", i32s(4), []);
  const exit = builder.import("wasi_snapshot_preview1", "proc_exit", i32s(1), []);
  builder.memory(options.pages ?? 1, options.maxPages);
  builder.data(NAME, new TextEncoder().encode("puppet"));
  const heap = builder.global(HEAP);
  const wrappers = imported.map(([index, params]) => {
    const load = params.flatMap((type, i) => [...op.i32(0), ...(type === "i64" ? op.i64Load : op.i32Load)(ARGUMENTS + i * 8)]);
    return builder.func(undefined, [], [], [...op.i32(0), ...load, ...op.call(index), ...op.i32Store(RESULT)]);
  });
  wrappers.push(builder.func(undefined, [], [], op.unreachable));
  const argument = [...op.i32(0), ...op.i32Load(ARGUMENTS)];
  wrappers.push(builder.func(undefined, [], [], [...op.i32(0), ...argument, ...op.memoryGrow, ...op.i32Store(RESULT)]));
  const self = builder.func(undefined, [], [], op.call(foreign + imported.length + 3 + wrappers.length));
  wrappers.push(self);
  // The same with a host call in each frame, so that the stack may end in the host.
  const log = imported[0]?.[0] ?? 0;
  const logs = [...op.i32(0), ...op.i32(NAME), ...op.i32(6), ...op.call(log), ...op.drop];
  wrappers.push(builder.func(undefined, [], [], [...logs, ...op.call(foreign + imported.length + 3 + wrappers.length), ...logs]));
  wrappers.push(builder.func(undefined, [], [], [...op.i32(0), ...op.i32(0), ...op.i32(7), ...op.i32(9), ...op.call(abort)]));
  wrappers.push(builder.func(undefined, [], [], [...argument, ...op.call(exit)]));
  wrappers.push(builder.func(undefined, [], [], SPIN));
  // Counts its argument down.
  const less = [...op.i32(0), ...argument, ...op.i32(-1), ...op.i32Add, ...op.i32Store(ARGUMENTS)];
  wrappers.push(builder.func(undefined, [], [], [...op.loop, ...less, ...argument, ...op.brIf(0), ...op.end]));
  wrappers.push(builder.func(undefined, [], [], [...op.i32(-4), ...op.i32Load(0), ...op.drop]));
  builder.table(wrappers);
  const run = [...op.block, ...op.loop];
  for (const value of [NAME, 6, 0, SCRATCH, 0, 0]) run.push(...op.i32(value));
  run.push(...op.call(foreign), ...op.brIf(1), ...op.i32(0), ...op.i32Load(COMMAND), ...op.callIndirect(builder.type([], [])));
  run.push(...op.br(0), ...op.end, ...op.end);
  CALLBACKS.forEach(([name, params, answers], phase) => {
    if (options.omit?.includes(name)) return;
    const body = [...op.i32(0), ...op.i32(phase), ...op.i32Store(PHASE)];
    for (let i = 0; i < params; i++) body.push(...op.i32(0), ...op.localGet(i), ...op.i32Store(PARAMETERS + i * 4));
    body.push(...run);
    if (answers) body.push(...op.i32(0), ...op.i32Load(ANSWER));
    builder.func(`proxy_on_${name}`, i32s(params), answers ? ["i32"] : [], body);
  });
  addAllocator(builder, heap, imported[Object.keys(HOST_CALLS).indexOf("proxy_get_header_map_pairs")]?.[0] ?? 0);
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  return builder.build();
}

/** `pairs`: the host call that an allocator makes in mode `asking`, which needs memory itself. */
function addAllocator(builder: ModuleBuilder, heap: number, pairs: number): void {
  const mode = (value: number): number[] => [...op.i32(0), ...op.i32Load(ALLOCATOR), ...op.i32(value), ...op.i32Eq, ...op.if];
  builder.func(
    "proxy_on_memory_allocate",
    ["i32"],
    ["i32"],
    [
      ...mode(ALLOCATOR_MODES.zero),
      ...op.i32(0),
      ...op.return,
      ...op.end,
      ...mode(ALLOCATOR_MODES.beyond),
      ...op.i32(0x7fff_fff0),
      ...op.return,
      ...op.end,
      ...mode(ALLOCATOR_MODES.wrapping),
      ...op.i32(-2),
      ...op.return,
      ...op.end,
      ...mode(ALLOCATOR_MODES.spin),
      ...SPIN,
      ...op.end,
      ...mode(ALLOCATOR_MODES.trap),
      ...op.unreachable,
      ...op.end,
      ...mode(ALLOCATOR_MODES.asking),
      ...op.i32(0),
      ...op.i32(900),
      ...op.i32(904),
      ...op.call(pairs),
      ...op.drop,
      ...op.end,
      ...mode(ALLOCATOR_MODES.growing),
      ...op.i32(1),
      ...op.memoryGrow,
      ...op.drop,
      ...op.end,
      ...op.globalGet(heap),
      ...op.globalGet(heap),
      ...op.localGet(0),
      ...op.i32Add,
      ...op.i32(8),
      ...op.i32Add,
      ...op.i32(-8),
      ...op.i32And,
      ...op.globalSet(heap),
    ],
  );
}

/** A host call (or one of `OWN_COMMANDS`) that a script wants done. */
export interface Command {
  readonly index: number;
  readonly args: readonly (number | bigint)[];
}

export type Script = (guest: PuppetGuest, ...parameters: number[]) => Generator<Command, number | undefined, number>;

const NAMES = [...Object.keys(HOST_CALLS), ...Object.keys(WASI_CALLS), ...OWN_COMMANDS];

/** What a script sees of its guest. */
export class PuppetGuest {
  #next = SCRATCH + 1024;
  constructor(public memory: Buffer) {}

  host(name: string, ...args: (number | bigint)[]): Command {
    const index = NAMES.indexOf(name);
    if (index < 0) throw new Error(`no command ${name}`);
    return { index, args };
  }

  /** Writes a text (one byte per character) into the guest and answers its address. */
  put(text: string | Uint8Array): number {
    const bytes = typeof text === "string" ? Buffer.from(text, "latin1") : text;
    const at = this.#next;
    this.memory.set(bytes, at);
    this.#next = (at + bytes.length + 8) & ~7;
    return at;
  }

  /** Serialised header pairs: address and size. */
  putPairs(pairs: readonly (readonly [string, string])[]): [number, number] {
    const size = 4 + pairs.reduce((sum, [name, value]) => sum + 10 + name.length + value.length, 0);
    const bytes = Buffer.alloc(size);
    bytes.writeUInt32LE(pairs.length, 0);
    let at = 4 + pairs.length * 8;
    pairs.forEach(([name, value], i) => {
      bytes.writeUInt32LE(name.length, 4 + i * 8);
      bytes.writeUInt32LE(value.length, 8 + i * 8);
      bytes.write(name, at, "latin1");
      bytes.write(value, at + name.length + 1, "latin1");
      at += name.length + value.length + 2;
    });
    return [this.put(bytes), size];
  }

  u32(at: number): number {
    return this.memory.readUInt32LE(at);
  }
  u64(at: number): bigint {
    return this.memory.readBigUInt64LE(at);
  }
  /** What a host call gave: the text behind a pointer to data and a pointer to its size. */
  given(atPointer: number, sizePointer: number): string {
    const at = this.u32(atPointer);
    return this.memory.toString("latin1", at, at + this.u32(sizePointer));
  }
  allocator(mode: number): void {
    this.memory.writeUInt32LE(mode, ALLOCATOR);
  }
}

/** Scratch addresses for results. */
export const OUT_A = 900;
export const OUT_B = 904;
export const OUT_C = 912;

/** Holds the scripts and plays them. */
export class Puppet {
  readonly #scripts = new Map<string, Script>();
  #current: { guest: PuppetGuest; play: Generator<Command, number | undefined, number> } | undefined;
  /** Callbacks in the order in which they were entered. */
  readonly entered: string[] = [];
  /** Errors that scripts threw (assertions): look at them, or they would be lost. */
  readonly errors: unknown[] = [];

  on(callback: CallbackName, script: Script): this {
    this.#scripts.set(callback, script);
    return this;
  }

  /** Makes the puppet known as foreign function. */
  register(foreign: ForeignFunctions): this {
    foreign.register(
      "puppet",
      (_config, args) => this.#step(Buffer.from(args.buffer, 0, args.buffer.byteLength)),
      () => true,
    );
    return this;
  }

  /** The first step of a callback has no result waiting: its phase cell is set. */
  #step(memory: Buffer): Uint8Array | undefined {
    const phase = memory.readInt32LE(PHASE);
    if (phase >= 0) this.#begin(memory, phase);
    const current = this.#current;
    if (current === undefined) return undefined;
    current.guest.memory = memory;
    try {
      const { done, value } = current.play.next(memory.readInt32LE(RESULT));
      if (!done) {
        writeCommand(memory, value as Command);
        return new Uint8Array(0);
      }
      memory.writeInt32LE((value as number | undefined) ?? 0, ANSWER);
    } catch (error) {
      this.errors.push(error);
      memory.writeInt32LE(0, ANSWER);
    }
    this.#current = undefined;
    return undefined;
  }

  #begin(memory: Buffer, phase: number): void {
    memory.writeInt32LE(-1, PHASE);
    const [name, params] = CALLBACKS[phase] as (typeof CALLBACKS)[number];
    this.entered.push(name);
    const parameters = Array.from({ length: params }, (_, i) => memory.readInt32LE(PARAMETERS + i * 4));
    const guest = new PuppetGuest(memory);
    const script = this.#scripts.get(name) ?? DEFAULTS[name] ?? nothing;
    // A guest is entered once at a time: what was there before ended in a trap.
    this.#current = { guest, play: script(guest, ...parameters) };
  }
}

function writeCommand(memory: Buffer, command: Command): void {
  memory.writeUInt32LE(command.index, COMMAND);
  command.args.forEach((arg, i) => {
    if (typeof arg === "bigint") memory.writeBigInt64LE(BigInt.asIntN(64, arg), ARGUMENTS + i * 8);
    else memory.writeInt32LE(arg | 0, ARGUMENTS + i * 8);
  });
}

function* nothing(): Generator<Command, number | undefined, number> {
  yield* [];
  return 0;
}
function* yes(): Generator<Command, number | undefined, number> {
  yield* [];
  return 1;
}
const DEFAULTS: Readonly<Record<string, Script>> = { vm_start: yes, configure: yes, done: yes };
