import type { FilterConfig } from "../../src/config/snapshot.ts";
import type { Bytes } from "../../src/core/bytes.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import { DeadlineQueue } from "../../src/core/deadline.ts";
import { FilterLogs } from "../../src/core/filter-logs.ts";
import type { RequestHead } from "../../src/core/head.ts";
import { ChainPool } from "../../src/filters/chain.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import { ExtismHost } from "../../src/filters/extism/host.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { ModuleAssembler, type Type } from "./assembler.ts";
import { readGuest } from "./component.ts";
import { filterConfig, RecordingLog, RecordingMetrics, TestExchange } from "./filters.ts";

/** A plug-in by Extism's PDK for Rust (test/guests/extism-actor/src/lib.rs). */
export const PDK_ACTOR = readGuest("extism-actor");

/** One that asks a service about each request and each answer (test/guests/extism-caller/src/lib.rs). */
export const PDK_CALLER = readGuest("extism-caller");

/** What plug-ins import of `extism:host/env`, with its type. */
export const EXTISM_TYPES: Readonly<Record<string, readonly [readonly Type[], readonly Type[]]>> = {
  alloc: [["i64"], ["i64"]],
  free: [["i64"], []],
  length: [["i64"], ["i64"]],
  length_unsafe: [["i64"], ["i64"]],
  load_u8: [["i64"], ["i32"]],
  load_u64: [["i64"], ["i64"]],
  store_u8: [["i64", "i32"], []],
  store_u64: [["i64", "i64"], []],
  input_length: [[], ["i64"]],
  input_offset: [[], ["i64"]],
  input_load_u8: [["i64"], ["i32"]],
  input_load_u64: [["i64"], ["i64"]],
  output_set: [["i64", "i64"], []],
  error_set: [["i64"], []],
  config_get: [["i64"], ["i64"]],
  var_get: [["i64"], ["i64"]],
  var_set: [["i64", "i64"], []],
  log_trace: [["i64"], []],
  log_debug: [["i64"], []],
  log_info: [["i64"], []],
  log_warn: [["i64"], []],
  log_error: [["i64"], []],
  get_log_level: [[], ["i32"]],
  http_request: [["i64", "i64"], ["i64"]],
  http_status_code: [[], ["i32"]],
  http_headers: [[], ["i64"]],
};

export interface PluginSource {
  /** Bodies of exports, with `$name` for functions of Extism; each has two locals, an i64 and an i32, and must leave an i32. */
  readonly exports: Readonly<Record<string, string>>;
  /** Bytes at the beginning of the plug-in's own memory; `$text` copies them into a block and leaves its offset. */
  readonly text?: string;
  /** Runs when it is instantiated. */
  readonly start?: string;
  /** Imports beside those of Extism. */
  readonly imports?: readonly (readonly [string, string])[];
}

/** A plug-in of flat text (test/kit/assembler.ts). It exports its memory of one page. */
export function buildPlugin({ exports, text = "", start, imports = [] }: PluginSource): Uint8Array<ArrayBuffer> {
  const module = new ModuleAssembler();
  const indices = new Map<string, number>();
  for (const [name, [params, results]] of Object.entries(EXTISM_TYPES))
    indices.set(name, module.importFunction("extism:host/env", name, params, results));
  for (const [from, name] of imports) module.importFunction(from, name, [], []);
  const bytes = [...new TextEncoder().encode(text)];
  module.memory(1, undefined, "memory").data(bytes, 0);
  const link = (body: string): string =>
    body.replace(/\$(\w+)/g, (_, name: string) => {
      const index = indices.get(name);
      if (index === undefined) throw new Error(`no function ${name}`);
      return `call ${index}`;
    });
  // Copies bytes [from, from + size) of its memory into a new block.
  const copy = module.func({
    params: ["i32", "i32"],
    results: ["i64"],
    locals: ["i64", "i32"],
    body: link(`local.get 1 i64.extend_i32_u $alloc local.set 2
      block loop
        local.get 3 local.get 1 i32.ge_u br_if 1
        local.get 2 local.get 3 i64.extend_i32_u i64.add local.get 0 local.get 3 i32.add i32.load8_u $store_u8
        local.get 3 i32.const 1 i32.add local.set 3 br 0
      end end
      local.get 2`),
  });
  indices.set("copy", copy);
  // All of its text as a block.
  indices.set("text", module.func({ results: ["i64"], body: `i32.const 0 i32.const ${bytes.length} call ${copy}` }));
  for (const [name, body] of Object.entries(exports))
    module.func({ name, results: ["i32"], locals: ["i64", "i32"], body: link(body) });
  if (start !== undefined) module.start(module.func({ locals: ["i64", "i32"], body: link(start) }));
  return module.build();
}

/** A plug-in whose callbacks answer with a text, whatever they get. */
export function answering(answer: string, ...names: readonly string[]): Uint8Array<ArrayBuffer> {
  const size = new TextEncoder().encode(answer).length;
  const body = `$text i64.const ${size} $output_set i32.const 0`;
  const exported = names.length === 0 ? ["on_request"] : names;
  return buildPlugin({ text: answer, exports: Object.fromEntries(exported.map((name) => [name, body])) });
}

/** A host of Extism's plug-ins in virtual time, with everything it reports kept. */
export class ExtismBench {
  readonly clock = new VirtualClock();
  readonly deadlines = new DeadlineQueue(this.clock, 50);
  readonly chains = new ChainPool(this.deadlines);
  readonly metrics = new RecordingMetrics();
  readonly log = new RecordingLog();
  readonly shared = new SharedState();
  readonly filterLogs = new FilterLogs(this.clock);
  readonly host = new ExtismHost({
    clock: this.clock,
    log: this.log,
    metrics: this.metrics,
    shared: this.shared,
    filterLogs: this.filterLogs,
  });

  load(wasm: Bytes, change: Parameters<typeof filterConfig>[0] = {}): Promise<FilterModule> {
    const config: FilterConfig = filterConfig({ name: "default/plugin", abi: "extism", ...change });
    return this.host.load(wasm, config);
  }

  exchange(modules: readonly FilterModule[], change: Partial<RequestHead> = {}): TestExchange {
    return new TestExchange(this.chains, modules, change);
  }
}
