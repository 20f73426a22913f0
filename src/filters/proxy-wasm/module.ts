import type { FilterConfig } from "../../config/snapshot.ts";
import type { Timer } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { FilterContext, FilterExchange, FilterModule, FilterStatus } from "../contract.ts";
import { LogGate } from "../guest/log-gate.ts";
import type { SharedNamespace } from "../guest/shared.ts";
import { StreamContext } from "./context.ts";
import type { ProxyWasmOptions } from "./host.ts";
import type { GuestInstance, GuestOwner } from "./instance.ts";
import { instantiateGuest, instantiateGuestNow } from "./instantiate.ts";

/** Context objects kept for reuse. */
const POOLED_CONTEXTS = 256;

/**
 * A loaded module: one instance for all exchanges, or one per exchange when `isolated`. A broken instance is thrown away;
 * every exchange with a context in it gets the filter's `onFailure`; a new one comes at once the first time, then with
 * exponential back-off. While there is none, every exchange gets `onFailure`.
 */
export class ProxyWasmModule implements FilterModule, GuestOwner {
  readonly namespace: SharedNamespace;
  readonly metrics = new Map<number, "counter" | "gauge" | "histogram">();
  calls = 0;
  readonly #metricIds = new Map<string, number>();
  readonly #instances = new Set<GuestInstance>();
  readonly #ticks = new Map<GuestInstance, Timer>();
  readonly #pool: StreamContext[] = [];
  readonly #gate: LogGate;
  readonly #endPull: (() => void) | undefined;
  /** The instance that takes new contexts; for isolated filters the one to try first. */
  #current: GuestInstance | undefined;
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
  #disposed = false;

  constructor(
    readonly config: FilterConfig,
    readonly options: ProxyWasmOptions,
    readonly compiled: WebAssembly.Module,
  ) {
    this.namespace = options.shared.acquire(this.#namespaceName());
    this.#endPull = options.metrics.onPull?.(() => this.#pullCounters());
    this.#gate = new LogGate(config, options.log.for("filter"), options.clock);
  }

  #namespaceName(): string {
    // Two sorts of names, so that a filter's own data cannot be reached by naming a namespace like it.
    const granted = this.config.capabilities.sharedData;
    return granted === undefined ? `filter:${this.config.name}` : `shared:${granted}`;
  }

  /** Makes the first instance. Rejects with the reason when the module or its configuration is bad. */
  async start(): Promise<void> {
    try {
      const guest = await instantiateGuest(this, this.compiled);
      this.#instances.add(guest);
      this.#current = guest;
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  open(exchange: FilterExchange): FilterContext {
    const guest = this.config.isolated ? this.#takeIsolated() : this.#current;
    if (guest === undefined || this.#disposed) {
      if (this.#quarantined) return this.#refuse(`quarantined: ${this.#lastError}`, exchange);
      return this.#refuse(this.#lastError === undefined ? "no instance" : `no instance: ${this.#lastError}`, exchange);
    }
    if (guest.contexts.size >= this.config.budget.contextsPerInstance) return this.#refuse("too many contexts", exchange);
    const context = this.#pool.pop() ?? new StreamContext();
    this.#contexts++;
    context.open(guest, exchange);
    return context;
  }

  #refuse(reason: string, exchange: FilterExchange): FilterContext {
    const context = new StreamContext();
    context.refuse(reason, exchange);
    return context;
  }

  /** A free instance for one exchange alone, made on the spot when there is room; undefined: none. */
  #takeIsolated(): GuestInstance | undefined {
    if (this.#quarantined) return undefined;
    const current = this.#current;
    if (current !== undefined && current.contexts.size === 0) return current;
    for (const guest of this.#instances) {
      if (guest.contexts.size > 0) continue;
      this.#current = guest;
      return guest;
    }
    if (this.#instances.size >= PROXY_WASM_LIMITS.isolatedInstances) return undefined;
    if (this.options.clock.nowMs() < this.#blockedUntilMs) return undefined;
    try {
      const guest = instantiateGuestNow(this, this.compiled);
      this.#instances.add(guest);
      return guest;
    } catch (error) {
      this.#countFault(describeCause(error));
      return undefined;
    }
  }

  onContextEnd(_guest: GuestInstance, context: StreamContext): void {
    this.#contexts--;
    if (this.#pool.length < POOLED_CONTEXTS) this.#pool.push(context);
    if (this.#disposed && this.#contexts === 0) this.#drop();
  }

  onFault(guest: GuestInstance): void {
    // An instance that never came to life (its start failed) is reported by whoever made it.
    if (!this.#instances.delete(guest)) return;
    guest.pullCounters();
    guest.settleFuel();
    this.#fuelBefore += guest.fuelUsed;
    const reason = guest.fault ?? "unknown";
    this.#traps++;
    this.options.metrics.onTrap(this.config.name, reason);
    this.options.log.for("filter").error("a filter broke; its instance is thrown away", { filter: this.config.name, reason });
    if (this.#current === guest) this.#current = undefined;
    this.#clearTick(guest);
    if (this.options.clock.nowMs() - guest.bornMs >= PROXY_WASM_LIMITS.restartResetMs) this.#faults = 0;
    const delayMs = this.#countFault(reason);
    // Not in this call: one of these exchanges may be the one that is on the stack.
    const lost = guest.contexts.values().map((context) => ({ context, epoch: context.epoch }));
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
    this.#faultTimesMs.push(nowMs);
    while (nowMs - (this.#faultTimesMs[0] ?? nowMs) > faultWindowMs) this.#faultTimesMs.shift();
    if (this.#quarantined || this.#disposed || faults === 0 || this.#faultTimesMs.length < faults) return;
    this.#quarantined = true;
    this.#current = undefined;
    this.#restart?.cancel();
    for (const guest of this.#ticks.keys()) this.#clearTick(guest);
    this.options.metrics.onQuarantine?.(this.config.name, true);
    this.options.log.for("filter").error("a filter is quarantined until its module, settings or budget change", {
      ...{ filter: this.config.name, faults: this.#faultTimesMs.length, onFailure: this.config.onFailure },
      reason: this.#lastError,
    });
  }

  #scheduleRestart(delayMs: number): void {
    if (this.#quarantined || this.#disposed) return;
    this.#restart?.cancel();
    this.#restart = this.options.clock.setTimer(delayMs, () => {
      this.#restart = undefined;
      void this.#renew();
    });
  }

  async #renew(): Promise<void> {
    try {
      const guest = await instantiateGuest(this, this.compiled);
      if (this.#disposed || this.#quarantined) return;
      this.#instances.add(guest);
      this.#current = guest;
    } catch (error) {
      const reason = describeCause(error);
      this.options.log.for("filter").error("a filter could not be started again", { filter: this.config.name, reason });
      this.#scheduleRestart(this.#countFault(reason));
    }
  }

  status(): FilterStatus {
    let memoryBytes = 0;
    for (const guest of this.#instances) memoryBytes += guest.memory?.sizeBytes ?? 0;
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
    for (const timer of this.#ticks.values()) timer.cancel();
    this.#ticks.clear();
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

  #pullCounters(): void {
    for (const guest of this.#instances) guest.pullCounters();
    const used = this.#fuelUsed();
    this.options.metrics.onFuel?.(this.config.name, used - this.#fuelTold);
    this.#fuelTold = used;
  }

  #drop(): void {
    this.#pullCounters();
    this.#endPull?.();
    this.#current = undefined;
    this.#instances.clear();
    this.#pool.length = 0;
  }

  // ------------------------------------------------------------ what instances ask for (GuestOwner)

  log(level: number, message: string): void {
    this.#gate.write(level, message);
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

  defineMetric(kind: "counter" | "gauge" | "histogram", name: string): number {
    const key = `${kind}:${name}`;
    const known = this.#metricIds.get(key);
    if (known !== undefined) return known;
    if (this.#metricIds.size >= this.config.budget.metrics) return -1;
    const id = this.options.metrics.define(this.config.name, kind, name);
    if (id < 0) return -1;
    this.#metricIds.set(key, id);
    this.metrics.set(id, kind);
    return id;
  }

  setTick(guest: GuestInstance, periodMs: number): void {
    this.#clearTick(guest);
    if (periodMs === 0 || this.#disposed || guest.fault !== undefined) return;
    const delayMs = Math.max(PROXY_WASM_LIMITS.tickMinMs, periodMs);
    const tick = (): void => {
      this.#ticks.set(guest, this.options.clock.setTimer(delayMs, tick));
      guest.onTick();
    };
    this.#ticks.set(guest, this.options.clock.setTimer(delayMs, tick));
  }

  #clearTick(guest: GuestInstance): void {
    this.#ticks.get(guest)?.cancel();
    this.#ticks.delete(guest);
  }

  onQueueReady(queueId: number): void {
    if (!this.#disposed) this.#current?.onQueueReady(queueId);
  }
}

/** The part below a millisecond, in ns. */
function fractionNanos(ms: number): bigint {
  return BigInt(Math.floor((ms - Math.floor(ms)) * 1_000_000));
}
