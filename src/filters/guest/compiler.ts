import { createHash } from "node:crypto";
import type { Bytes } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import { CONFIG_LIMITS, type FilterBudget, PREPARE_LIMITS } from "../../core/limits.ts";
import type { Log } from "../../core/log.ts";
import { runtimeName } from "../../runtime/process.ts";
import { boundsOf, type ModuleFacts, preparedKey } from "./prepare.ts";
import { runPrepareJob } from "./prepare-job.ts";
import { PrepareThread } from "./prepare-thread-owner.ts";
import { PreparedCache } from "./prepared-cache.ts";

/** A module that was validated, rewritten and compiled: it may be instantiated. */
export interface CompiledModule {
  readonly module: WebAssembly.Module;
  /** It defines functions, so it has fuel. */
  readonly hasCode: boolean;
  /** It has a memory that it does not import. */
  readonly ownsMemory: boolean;
}

export interface CompilerOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Where rewritten modules are kept between processes; undefined: nowhere. */
  readonly folder?: string;
  /** Modules larger than this are prepared by a thread. Default `PREPARE_LIMITS.inlineBytes`. */
  readonly inlineBytes?: number;
}

/**
 * Compiles the modules of all filters of a process. What is compiled is shared for as long as somebody uses it, so that other
 * settings of a module compile nothing and begin with code that is warm. Large modules are hashed, validated, rewritten and
 * compiled beside the thread that serves traffic.
 */
export class ModuleCompiler {
  readonly #known = new Map<string, WeakRef<CompiledModule>>();
  readonly #running = new Map<string, Promise<CompiledModule>>();
  readonly #cache: PreparedCache | undefined;
  readonly #thread: PrepareThread;
  #isWarned = false;

  constructor(readonly options: CompilerOptions) {
    const { clock, folder } = options;
    this.#cache = folder === undefined ? undefined : new PreparedCache(folder, clock);
    this.#thread = new PrepareThread(clock, folder, (problem) => this.#warn(problem));
  }

  /** `keeps`: for instances that are put back into an earlier state. Rejects with an `Error` that says what is wrong with the module. */
  async compile(wasm: Bytes, budget: FilterBudget, keeps = false): Promise<CompiledModule> {
    if (wasm.byteLength > CONFIG_LIMITS.moduleBytes)
      throw new Error(`the module is larger than ${CONFIG_LIMITS.moduleBytes} bytes`);
    const bounds = boundsOf(budget, keeps);
    const isLarge = wasm.byteLength > (this.options.inlineBytes ?? PREPARE_LIMITS.inlineBytes);
    const digest = isLarge ? await digestAside(wasm) : createHash("sha256").update(wasm).digest("hex");
    const key = `${preparedKey(digest, bounds)} ${runtimeName()}`;
    const known = this.#known.get(key)?.deref() ?? this.#running.get(key);
    if (known !== undefined) return known;
    const job = { wasm, key, bounds };
    const running = (isLarge ? this.#thread.run(job) : this.#runHere(job)).then(({ module, facts }) => finish(module, facts));
    this.#running.set(key, running);
    try {
      const compiled = await running;
      for (const [other, reference] of this.#known) if (reference.deref() === undefined) this.#known.delete(other);
      this.#known.set(key, new WeakRef(compiled));
      return compiled;
    } finally {
      this.#running.delete(key);
    }
  }

  async #runHere(job: Parameters<typeof runPrepareJob>[0]): Promise<{ module: WebAssembly.Module; facts: ModuleFacts }> {
    const { compiled, prepared, kept } = await runPrepareJob(job, this.#cache, (bytes) => WebAssembly.compile(bytes));
    void kept.then((problem) => this.#warn(problem));
    return { module: compiled, facts: prepared.facts };
  }

  /** Once: every module would say the same. */
  #warn(problem: string | undefined): void {
    if (problem === undefined || this.#isWarned) return;
    this.#isWarned = true;
    this.options.log.warn("rewritten modules cannot be kept on disk: each start makes them again", { cause: problem });
  }
}

/** The engine's own threads do it. */
async function digestAside(wasm: Bytes): Promise<string> {
  return Buffer.from(await crypto.subtle.digest("SHA-256", wasm as Uint8Array<ArrayBuffer>)).toString("hex");
}

function finish(module: WebAssembly.Module, { hasCode, hasMemory }: ModuleFacts): CompiledModule {
  const isImported = WebAssembly.Module.imports(module).some((each) => each.kind === "memory");
  return { module, hasCode, ownsMemory: hasMemory && !isImported };
}
