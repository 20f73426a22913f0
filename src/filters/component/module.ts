import type { FilterConfig } from "../../config/snapshot.ts";
import type { Timer } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { FilterContext, FilterExchange, FilterModule, FilterStatus } from "../contract.ts";
import { LogGate } from "../guest/log-gate.ts";
import type { SharedNamespace } from "../guest/shared.ts";
import { CAS_MISMATCH, OK } from "../proxy-wasm/abi.ts";
import { ComponentContext } from "./context.ts";
import type { ComponentDefinition } from "./definitions.ts";
import { EDITED } from "./edits.ts";
import type { ComponentGuest, EditLike, GuestOwner } from "./guest.ts";
import type { ComponentOptions } from "./host.ts";
import { instantiateGuest } from "./instantiate.ts";
import { GuestMetrics } from "./metrics.ts";

/** Context objects kept for reuse. */
const POOLED_CONTEXTS = 256;
/** Levels as the log gate counts. */
const LEVELS: Readonly<Record<string, number>> = { debug: 1, info: 2, warn: 3, error: 4 };

/**
 * A loaded component: one instance for all exchanges, or one per exchange when `isolated`. A broken instance is thrown away;
 * every exchange with a context in it gets the filter's `onFailure`; a new one comes at once the first time, then with
 * exponential back-off. While there is none, every exchange gets `onFailure`.
 */
export class ComponentModule implements FilterModule, GuestOwner {
  readonly namespace: SharedNamespace;
  readonly metrics: GuestMetrics;
  calls = 0;
  readonly #instances = new Set<ComponentGuest>();
  readonly #pool: ComponentContext[] = [];
  readonly #gate: LogGate;
  /** The instance that takes new contexts; for isolated filters the one to try first. */
  #current: ComponentGuest | undefined;
  #contexts = 0;
  #traps = 0;
  /** Faults in a row: what the back-off grows with. */
  #faults = 0;
  #restart: Timer | undefined;
  /** Isolated filters: no new instance before this. */
  #blockedUntilMs = 0;
  #lastError: string | undefined;
  /** When faults happened, within the window that counts. */
  readonly #faultTimesMs: number[] = [];
  #quarantined = false;
  /** Fuel of instances that are gone, and what the metrics were told. */
  #fuelBefore = 0;
  #fuelTold = 0;
  readonly #endPull: (() => void) | undefined;
  #disposed = false;

  private constructor(
    readonly config: FilterConfig,
    readonly options: ComponentOptions,
    readonly component: ComponentDefinition,
  ) {
    this.namespace = options.shared.acquire(this.#namespaceName());
    this.metrics = new GuestMetrics(config, options.metrics);
    this.#endPull = options.metrics.onPull?.(() => this.#tellFuel());
    this.#gate = new LogGate(config, options.log.for("filter"), options.clock);
  }

  /** With the first instance. Throws with the reason when the component or its configuration is bad. */
  static start(config: FilterConfig, options: ComponentOptions, component: ComponentDefinition): ComponentModule {
    const module = new ComponentModule(config, options, component);
    try {
      module.#current = module.#make();
    } catch (error) {
      module.dispose();
      throw error;
    }
    return module;
  }

  /** As proxy-wasm filters have it, so that filters of both ABIs can share. */
  #namespaceName(): string {
    const granted = this.config.capabilities.sharedData;
    return granted === undefined ? `filter:${this.config.name}` : `shared:${granted}`;
  }

  #make(): ComponentGuest {
    const guest = instantiateGuest(this, this.component);
    this.#instances.add(guest);
    return guest;
  }

  open(exchange: FilterExchange): FilterContext {
    const guest = this.config.isolated ? this.#takeIsolated() : this.#current;
    if (guest === undefined || this.#disposed) {
      if (this.#quarantined) return refuse(`quarantined: ${this.#lastError}`, exchange);
      return refuse(this.#lastError === undefined ? "no instance" : `no instance: ${this.#lastError}`, exchange);
    }
    if (guest.contexts.size >= this.config.budget.contextsPerInstance) return refuse("too many contexts", exchange);
    const context = this.#pool.pop() ?? new ComponentContext();
    this.#contexts++;
    context.open(guest, exchange);
    return context;
  }

  /** A free instance for one exchange alone, made on the spot when there is room; undefined: none. */
  #takeIsolated(): ComponentGuest | undefined {
    if (this.#quarantined) return undefined;
    if (this.#current?.contexts.size === 0) return this.#current;
    for (const guest of this.#instances) {
      if (guest.contexts.size > 0) continue;
      this.#current = guest;
      return guest;
    }
    if (this.#instances.size >= PROXY_WASM_LIMITS.isolatedInstances) return undefined;
    if (this.options.clock.nowMs() < this.#blockedUntilMs) return undefined;
    try {
      return this.#make();
    } catch (error) {
      this.#countFault(describeCause(error));
      return undefined;
    }
  }

  onContextEnd(context: ComponentContext): void {
    this.#contexts--;
    if (this.#pool.length < POOLED_CONTEXTS) this.#pool.push(context);
    if (this.#disposed && this.#contexts === 0) this.#drop();
  }

  onFault(guest: ComponentGuest): void {
    // An instance that never came to life (its start failed) is reported by whoever made it.
    if (!this.#instances.delete(guest)) return;
    guest.settleFuel();
    this.#fuelBefore += guest.fuelUsed;
    const reason = guest.fault ?? "unknown";
    this.#traps++;
    this.options.metrics.onTrap(this.config.name, reason);
    this.options.log.for("filter").error("a filter broke; its instance is thrown away", { filter: this.config.name, reason });
    if (this.#current === guest) this.#current = undefined;
    if (this.options.clock.nowMs() - guest.bornMs >= PROXY_WASM_LIMITS.restartResetMs) this.#faults = 0;
    const delayMs = this.#countFault(reason);
    // Not in this call: one of these exchanges may be the one that is on the stack.
    const lost = [...guest.contexts.values()].map((context) => ({ context, epoch: context.epoch }));
    queueMicrotask(() => {
      for (const { context, epoch } of lost) {
        if (context.epoch === epoch) context.exchange?.fail(context, reason);
      }
    });
    if (!this.config.isolated) this.#scheduleRestart(delayMs);
  }

  /** Counts a fault and answers how long no new instance may come, ms. */
  #countFault(reason: string): number {
    this.#lastError = reason;
    this.#faults++;
    this.#considerQuarantine();
    const { restartMinMs, restartMaxMs } = PROXY_WASM_LIMITS;
    const delayMs = this.#faults === 1 ? 0 : Math.min(restartMaxMs, restartMinMs * 2 ** (this.#faults - 2));
    this.#blockedUntilMs = this.options.clock.nowMs() + delayMs;
    return delayMs;
  }

  /** A filter that keeps breaking costs nothing any more: it is not started again until something about it changes. */
  #considerQuarantine(): void {
    const { faults, faultWindowMs } = this.config.budget;
    const nowMs = this.options.clock.nowMs();
    const times = this.#faultTimesMs;
    times.push(nowMs);
    while (nowMs - (times[0] ?? nowMs) > faultWindowMs) times.shift();
    if (this.#quarantined || this.#disposed || faults === 0 || times.length < faults) return;
    this.#quarantined = true;
    this.#current = undefined;
    this.#restart?.cancel();
    this.options.metrics.onQuarantine?.(this.config.name, true);
    this.options.log.for("filter").error("a filter is quarantined until its module, settings or budget change", {
      ...{ filter: this.config.name, faults: times.length, onFailure: this.config.onFailure },
      reason: this.#lastError,
    });
  }

  #scheduleRestart(delayMs: number): void {
    if (this.#quarantined || this.#disposed) return;
    this.#restart?.cancel();
    this.#restart = this.options.clock.setTimer(delayMs, () => {
      this.#restart = undefined;
      if (!this.#disposed) this.#renew();
    });
  }

  #renew(): void {
    try {
      this.#current = this.#make();
    } catch (error) {
      const reason = describeCause(error);
      this.options.log.for("filter").error("a filter could not be started again", { filter: this.config.name, reason });
      this.#scheduleRestart(this.#countFault(reason));
    }
  }

  status(): FilterStatus {
    let memoryBytes = 0;
    for (const guest of this.#instances) for (const memory of guest.memories) memoryBytes += memory.buffer.byteLength;
    return {
      instances: this.#instances.size,
      contexts: this.#contexts,
      calls: this.calls,
      traps: this.#traps,
      memoryBytes,
      lastError: this.#lastError,
      fuel: this.#fuelUsed(),
      quarantined: this.#quarantined,
    };
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#restart?.cancel();
    this.options.shared.release(this.#namespaceName());
    if (this.#quarantined) this.options.metrics.onQuarantine?.(this.config.name, false);
    if (this.#contexts === 0) this.#drop();
  }

  #fuelUsed(): number {
    let used = this.#fuelBefore;
    for (const guest of this.#instances) {
      if (!guest.inside) guest.settleFuel();
      used += guest.fuelUsed;
    }
    return used;
  }

  #tellFuel(): void {
    const used = this.#fuelUsed();
    this.options.metrics.onFuel?.(this.config.name, used - this.#fuelTold);
    this.#fuelTold = used;
  }

  #drop(): void {
    this.#tellFuel();
    this.#endPull?.();
    this.#current = undefined;
    this.#instances.clear();
    this.#pool.length = 0;
  }

  // ------------------------------------------------------------ what instances ask for (GuestOwner)

  log(level: string, message: string): void {
    this.#gate.write(LEVELS[level] ?? 2, message.slice(0, PROXY_WASM_LIMITS.logLineBytes));
  }

  timeNanos(): bigint {
    const { clock } = this.options;
    const whole = BigInt(Math.floor(clock.wallMs())) * 1_000_000n;
    return this.config.capabilities.clock ? whole + fractionNanos(clock.nowMs()) : whole;
  }

  monotonicNanos(): bigint {
    const nowMs = this.options.clock.nowMs();
    const whole = BigInt(Math.floor(nowMs)) * 1_000_000n;
    return this.config.capabilities.clock ? whole + fractionNanos(nowMs) : whole;
  }

  setShared(key: string, value: Uint8Array, version: number | undefined): EditLike {
    if (key.length > PROXY_WASM_LIMITS.nameBytes) return { error: "full" };
    const status = this.namespace.set(key, value, version ?? 0, this.config.budget);
    if (status === OK) return EDITED;
    return { error: status === CAS_MISMATCH ? "conflict" : "full" };
  }
}

function refuse(reason: string, exchange: FilterExchange): ComponentContext {
  const context = new ComponentContext();
  context.refuse(reason, exchange);
  return context;
}

/** The part below a millisecond, in ns. */
function fractionNanos(ms: number): bigint {
  return BigInt(Math.floor((ms - Math.floor(ms)) * 1_000_000));
}
