import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { FilterContext, FilterExchange, FilterModule, FilterStatus } from "../contract.ts";
import { LogGate } from "../guest/log-gate.ts";
import { InstancePool } from "../guest/pool.ts";
import type { SharedNamespace } from "../guest/shared.ts";
import { ExtismContext } from "./context.ts";
import type { ExtismGuest, GuestOwner } from "./guest.ts";
import type { ExtismOptions } from "./host.ts";
import { instantiateGuest } from "./instantiate.ts";
import { configOf } from "./settings.ts";

/** Context objects kept for reuse. */
const POOLED_CONTEXTS = 256;
/** Extism's levels, of those that our log can have. */
const LEVELS: Readonly<Record<string, number>> = { debug: 0, info: 2, warn: 3, error: 4 };

/** A loaded plug-in with one configuration. When an instance breaks, every exchange with a context in it gets `onFailure`. */
export class ExtismModule implements FilterModule, GuestOwner {
  readonly namespace: SharedNamespace;
  readonly settings: ReadonlyMap<string, Bytes>;
  calls = 0;
  readonly #pool: InstancePool<ExtismGuest>;
  readonly #spare: ExtismContext[] = [];
  readonly #gate: LogGate;
  readonly #endPull: (() => void) | undefined;
  #contexts = 0;
  /** Fuel that the metrics were told of. */
  #fuelTold = 0;
  #isDisposed = false;

  private constructor(
    readonly config: FilterConfig,
    readonly options: ExtismOptions,
    readonly compiled: WebAssembly.Module,
  ) {
    this.settings = configOf(config.settings);
    this.namespace = options.shared.acquire(this.#namespaceName());
    const log = options.log.for("filter");
    this.#gate = new LogGate(config, log, options.clock);
    const parts = { clock: options.clock, metrics: options.metrics, log };
    this.#pool = new InstancePool(config, parts, () => instantiateGuest(this, compiled));
    this.#endPull = options.metrics.onPull?.(() => this.#tellFuel());
  }

  /** With the first instance. Throws with the reason when the plug-in or its configuration is bad. */
  static start(config: FilterConfig, options: ExtismOptions, compiled: WebAssembly.Module): ExtismModule {
    const module = new ExtismModule(config, options, compiled);
    try {
      module.#pool.start();
    } catch (error) {
      module.dispose();
      throw error;
    }
    return module;
  }

  /** As filters of the other ABIs have it, so that they can share. */
  #namespaceName(): string {
    const granted = this.config.capabilities.sharedData;
    return granted === undefined ? `filter:${this.config.name}` : `shared:${granted}`;
  }

  open(exchange: FilterExchange): FilterContext {
    const guest = this.#pool.take();
    if (typeof guest === "string") {
      const refused = new ExtismContext();
      refused.refuse(guest, exchange);
      return refused;
    }
    const context = this.#spare.pop() ?? new ExtismContext();
    this.#contexts++;
    context.open(guest, exchange);
    return context;
  }

  onContextEnd(context: ExtismContext): void {
    this.#contexts--;
    if (this.#spare.length < POOLED_CONTEXTS) this.#spare.push(context);
    if (this.#isDisposed && this.#contexts === 0) this.#drop();
  }

  onFault(guest: ExtismGuest): void {
    if (!this.#pool.remove(guest)) return;
    const reason = guest.fault ?? "unknown";
    // Not in this call: one of these exchanges may be the one that is on the stack.
    const lost = [...guest.contexts].map((context) => ({ context, epoch: context.epoch }));
    queueMicrotask(() => {
      for (const { context, epoch } of lost) {
        if (context.epoch === epoch) context.exchange?.fail(context, reason);
      }
    });
  }

  status(): FilterStatus {
    const pool = this.#pool;
    let memoryBytes = 0;
    for (const guest of pool.instances) memoryBytes += guest.memoryBytes;
    return {
      ...{ instances: pool.instances.size, contexts: this.#contexts, calls: this.calls, traps: pool.traps, memoryBytes },
      ...{ lastError: pool.lastError, fuel: pool.fuelUsed(), quarantined: pool.isQuarantined },
    };
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#pool.dispose();
    this.options.shared.release(this.#namespaceName());
    if (this.#contexts === 0) this.#drop();
  }

  #tellFuel(): void {
    const used = this.#pool.fuelUsed();
    this.options.metrics.onFuel?.(this.config.name, used - this.#fuelTold);
    this.#fuelTold = used;
  }

  #drop(): void {
    this.#tellFuel();
    this.#endPull?.();
    this.#pool.clear();
    this.#spare.length = 0;
  }

  // ------------------------------------------------------------ what instances ask for (GuestOwner)

  log(level: number, message: string): void {
    this.#gate.write(level, message);
  }

  logLevel(): number {
    return LEVELS[this.options.log.level] ?? LEVELS.info ?? 2;
  }

  timeNanos(): bigint {
    return this.#nanos(this.options.clock.wallMs());
  }

  monotonicNanos(): bigint {
    return this.#nanos(this.options.clock.nowMs());
  }

  /** Whole milliseconds, and what the clock has below them when that is granted. */
  #nanos(ms: number): bigint {
    const whole = Math.floor(ms);
    const nowMs = this.options.clock.nowMs();
    const below = this.config.capabilities.clock ? Math.floor((nowMs - Math.floor(nowMs)) * 1_000_000) : 0;
    return BigInt(whole) * 1_000_000n + BigInt(below);
  }
}
