/**
 * Writes src/filters/extism/kernel-bytes.ts: `bun scripts/extism-kernel.ts`. The kernel is the memory that a plug-in of Extism
 * and its host share, with the functions on it that plug-ins import by "extism:host/env". A plug-in calls one per 8 bytes that
 * it reads or writes, with offsets of 64 bits, which cost JavaScript an object each; between modules the engine links them.
 *
 * Memory: 16 bytes that nobody uses, then blocks: size, tag (its offset, masked), bytes, each at a multiple of 8. Blocks are
 * never used twice in one call, so that what a call can take is bounded; the next call starts with all of them zeroed.
 */
import { Buffer } from "node:buffer";
import { writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ModuleAssembler, type Type } from "../test/kit/assembler.ts";

const BASE = 16;
const TAG = 0x5e17ed6e;
const MAX_BLOCK = 0x4000_0000;
const GLOBALS = ["end", "input_at", "input_size", "output_at", "output_size", "error_at"] as const;
const PARAMETERS: readonly Type[] = ["i64"];

/** Own functions by `$name` and globals by `@name` instead of numbers. */
class KernelBuilder {
  readonly module = new ModuleAssembler();
  readonly #indices = new Map<string, number>();

  import(name: string, params: readonly Type[], results: readonly Type[]): void {
    this.#indices.set(name, this.module.importFunction("host", name, params, results));
  }

  /** `name` without a dollar sign is exported. */
  add(name: string, params: readonly Type[], results: readonly Type[], body: string, locals: readonly Type[] = []): void {
    const named = body
      .replace(/\$\w+/g, (text) => String(this.#indices.get(text) ?? this.#indices.get(text.slice(1)) ?? `unknown ${text}`))
      .replace(/@\w+/g, (text) => String(GLOBALS.indexOf(text.slice(1) as (typeof GLOBALS)[number])));
    const source = { params, results, locals, body: named };
    this.#indices.set(name, this.module.func(name.startsWith("$") ? source : { ...source, name }));
  }
}

function addMemoryFunctions(kernel: KernelBuilder): void {
  const roundUp = `global.get @end local.get 0 i32.const 7 i32.add i32.const -8 i32.and i32.add i32.const 8 i32.add`;
  const capacity = "memory.size 0 i32.const 16 i32.shl";
  // So many pages at least; 0: no room. By a share of what is there, as long as there is room for that: where an engine moves a memory
  // that grows, a plug-in that takes page after page would have it moved 255 times (9 s of one call).
  const shares = [0, 2, 4].map(
    (shift) => `memory.size 0 i32.const ${shift} i32.shr_u local.tee 1 local.get 0 i32.ge_u if
       local.get 1 memory.grow 0 i32.const -1 i32.ne if i32.const 1 return end
     end`,
  );
  kernel.add("$grow", ["i32"], ["i32"], `${shares.join(" ")} local.get 0 memory.grow 0 i32.const -1 i32.ne`, ["i32"]);
  // A new block; 0: no room.
  kernel.add(
    "place",
    ["i32"],
    ["i32"],
    `local.get 0 i32.const 1 i32.sub i32.const ${MAX_BLOCK} i32.ge_u if i32.const 0 return end
     global.get @end local.set 1 ${roundUp} local.set 2
     local.get 2 ${capacity} i32.gt_u if
       local.get 2 ${capacity} i32.sub i32.const 65535 i32.add i32.const 16 i32.shr_u call $grow
       i32.eqz if i32.const 0 return end
     end
     local.get 1 local.get 0 i32.store
     local.get 1 local.get 1 i32.const 8 i32.add i32.const ${TAG} i32.xor i32.store +4
     local.get 2 global.set @end
     local.get 1 i32.const 8 i32.add`,
    ["i32", "i32"],
  );
  // The size of the block at an offset; 0: there is none. A guest can write its own tags, so the size is checked as well.
  const size = "local.get 0 i32.const 8 i32.sub i32.load";
  kernel.add(
    "size_of",
    ["i32"],
    ["i32"],
    `local.get 0 i32.const ${BASE + 8} i32.lt_u local.get 0 global.get @end i32.gt_u i32.or
     local.get 0 i32.const 7 i32.and i32.or if i32.const 0 return end
     local.get 0 i32.const 4 i32.sub i32.load local.get 0 i32.const ${TAG} i32.xor i32.ne if i32.const 0 return end
     ${size} global.get @end local.get 0 i32.sub i32.gt_u if i32.const 0 return end
     ${size}`,
  );
  kernel.add(
    "$narrow",
    ["i64"],
    ["i32"],
    "local.get 0 i64.const 4294967295 i64.gt_u if i32.const 0 return end local.get 0 i32.wrap_i64",
  );
  // Starts a call: all blocks of the one before are gone; answers where its input goes, 0: no room (or no input).
  const forget = GLOBALS.slice(1)
    .map((name) => `i32.const 0 global.set @${name}`)
    .join(" ");
  kernel.add(
    "begin",
    ["i32"],
    ["i32"],
    `i32.const ${BASE} i32.const 0 global.get @end i32.const ${BASE} i32.sub memory.fill 0
     i32.const ${BASE} global.set @end ${forget}
     local.get 0 call $place global.set @input_at
     global.get @input_at if local.get 0 global.set @input_size end
     global.get @input_at`,
  );
  for (const name of ["end", "output_at", "output_size", "error_at"] as const)
    kernel.add(name, [], ["i32"], `global.get @${name}`);
}

/** Offsets are 64 bits wide; what lies outside reads as 0 and takes no write. */
function addGuestFunctions(kernel: KernelBuilder): void {
  const isOutside = (bytes: number): string =>
    `local.get 0 i64.const ${BASE} i64.lt_u local.get 0 global.get @end i32.const ${bytes} i32.sub i64.extend_i32_u i64.gt_u i32.or`;
  kernel.add("alloc", PARAMETERS, ["i64"], "local.get 0 call $narrow call $place i64.extend_i32_u");
  for (const name of ["length", "length_unsafe"])
    kernel.add(name, PARAMETERS, ["i64"], "local.get 0 call $narrow call $size_of i64.extend_i32_u");
  kernel.add(
    "free",
    PARAMETERS,
    [],
    `local.get 0 call $narrow local.tee 1 call $size_of i32.eqz if return end
     local.get 1 i32.const 4 i32.sub i32.const 0 i32.store
     local.get 1 global.get @input_at i32.eq if i32.const 0 global.set @input_size end`,
    ["i32"],
  );
  kernel.add("load_u8", PARAMETERS, ["i32"], `${isOutside(1)} if i32.const 0 return end local.get 0 i32.wrap_i64 i32.load8_u`);
  kernel.add("load_u64", PARAMETERS, ["i64"], `${isOutside(8)} if i64.const 0 return end local.get 0 i32.wrap_i64 i64.load`);
  kernel.add("store_u8", ["i64", "i32"], [], `${isOutside(1)} if return end local.get 0 i32.wrap_i64 local.get 1 i32.store8`);
  kernel.add("store_u64", ["i64", "i64"], [], `${isOutside(8)} if return end local.get 0 i32.wrap_i64 local.get 1 i64.store`);
  kernel.add("input_length", [], ["i64"], "global.get @input_size i64.extend_i32_u");
  kernel.add("input_offset", [], ["i64"], "global.get @input_at i64.extend_i32_u");
  const inputAt = "global.get @input_at local.get 0 i32.wrap_i64 i32.add";
  kernel.add(
    "input_load_u8",
    PARAMETERS,
    ["i32"],
    `local.get 0 global.get @input_size i64.extend_i32_u i64.ge_u if i32.const 0 return end ${inputAt} i32.load8_u`,
  );
  kernel.add(
    "input_load_u64",
    PARAMETERS,
    ["i64"],
    `global.get @input_size i32.const 8 i32.lt_u if i64.const 0 return end
     local.get 0 global.get @input_size i32.const 8 i32.sub i64.extend_i32_u i64.gt_u if i64.const 0 return end
     ${inputAt} i64.load`,
  );
  // -1 for what is no range of the blocks: the host then refuses the output instead of taking it for none.
  kernel.add(
    "output_set",
    ["i64", "i64"],
    [],
    `local.get 1 i64.eqz if i32.const 0 global.set @output_at i32.const 0 global.set @output_size return end
     i32.const -1 global.set @output_at
     ${isOutside(1)} if return end
     local.get 1 global.get @end i64.extend_i32_u local.get 0 i64.sub i64.gt_u if return end
     local.get 0 i32.wrap_i64 global.set @output_at local.get 1 i32.wrap_i64 global.set @output_size`,
  );
  kernel.add(
    "error_set",
    PARAMETERS,
    [],
    `local.get 0 i64.eqz if i32.const 0 global.set @error_at return end
     i32.const -1 global.set @error_at
     ${isOutside(1)} if return end local.get 0 i32.wrap_i64 global.set @error_at`,
  );
}

/** Those that need the host get offsets and sizes that are checked: blocks, or 0 and 0. */
function addHostFunctions(kernel: KernelBuilder): void {
  const block = (parameter: number): string =>
    `local.get ${parameter} call $narrow local.get ${parameter} call $narrow call $size_of`;
  for (const name of ["config_get", "var_get"])
    kernel.add(name, PARAMETERS, ["i64"], `${block(0)} call $host_${name} i64.extend_i32_u`);
  kernel.add("var_set", ["i64", "i64"], [], `${block(0)} ${block(1)} call $host_var_set`);
  ["trace", "debug", "info", "warn", "error"].forEach((level, i) => {
    kernel.add(`log_${level}`, PARAMETERS, [], `i32.const ${i} ${block(0)} call $host_log`);
  });
  kernel.add("get_log_level", [], ["i32"], "call $host_log_level");
  // The host says first whether there is anything to wait for: a stack is only suspended when it may be.
  kernel.add(
    "http_request",
    ["i64", "i64"],
    ["i64"],
    `${block(0)} ${block(1)} call $host_http_begin if call $host_http_wait i64.extend_i32_u return end i64.const 0`,
  );
  kernel.add("http_status_code", [], ["i32"], "call $host_http_status");
  kernel.add("http_headers", [], ["i64"], "call $host_http_headers i64.extend_i32_u");
}

/** The kernel as a module; it imports its memory and what it asks of the host. */
export function buildKernel(): Uint8Array<ArrayBuffer> {
  const kernel = new KernelBuilder();
  kernel.import("host_config_get", ["i32", "i32"], ["i32"]);
  kernel.import("host_var_get", ["i32", "i32"], ["i32"]);
  kernel.import("host_var_set", ["i32", "i32", "i32", "i32"], []);
  kernel.import("host_log", ["i32", "i32", "i32"], []);
  kernel.import("host_log_level", [], ["i32"]);
  kernel.import("host_http_begin", ["i32", "i32", "i32", "i32"], ["i32"]);
  for (const name of ["wait", "status", "headers"]) kernel.import(`host_http_${name}`, [], ["i32"]);
  kernel.module.importRaw("host", "memory", 0x02, 0x00, 1);
  GLOBALS.forEach((name) => {
    kernel.module.global("i32", `i32.const ${name === "end" ? BASE : 0}`);
  });
  addMemoryFunctions(kernel);
  addGuestFunctions(kernel);
  addHostFunctions(kernel);
  return kernel.module.build();
}

/** The file that the kernel is kept in. */
export function kernelFile(): string {
  const lines =
    Buffer.from(buildKernel())
      .toString("base64")
      .match(/.{1,120}/g) ?? [];
  const text = lines.map((line) => `  "${line}",`).join("\n");
  return `/** Made by scripts/extism-kernel.ts, where the source is. Base64. */\nexport const KERNEL_BASE64 = [\n${text}\n].join("");\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(fileURLToPath(new URL("../src/filters/extism/kernel-bytes.ts", import.meta.url)), kernelFile());
