import type { FilterConfig } from "../../config/snapshot.ts";
import type { Clock, Timer } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import { EXTISM_LIMITS, ISOLATION_LIMITS, PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { Log } from "../../core/log.ts";
import { DISABLED, type DisabledBy, type FilterAction, type FilterMetrics, type FilterState, type Verdict } from "../contract.ts";
import type { FilterStats } from "../stats.ts";
import { faultKindOf } from "./faults.ts";
import { RateGate } from "./rate-gate.ts";
import { guestWords } from "./words.ts";

/** What the pool needs to know of an instance. */
export interface PooledInstance<Context> {
  readonly contexts: { readonly size: number; values(): Iterable<Context> };
  /** Why it is broken; undefined: it is not. */
  readonly fault: string | undefined;
  readonly bornMs: number;
  readonly memoryBytes: number;
  /** The host failed around it: it is broken, and no callback of it is on the stack any more. */
  breakOff(reason: string): void;
  /** Writes down what it used and counted so far. Harmless while it runs. */
  settle(): void;
  /** It gets no new contexts: what it does by itself (ticks) ends. Idempotent. */
  retire(): void;
  /** Of an isolated filter, when no exchange is in it: puts it back to what it was before the last one. A text: why that cannot be done. */
  restore(): string | undefined;
}

const formatBytes = (bytes: number): string => `${Math.ceil(bytes / 1024 / 1024)} MiB`;
const MOST_BYTES = formatBytes(ISOLATION_LIMITS.bytes);
const LESS_MEMORY = "let its start use less memory, or do without isolated";

/** Why a filter that is switched off has no instance: no fault. */
const DISABLED_REASON = "disabled";

/** What a context without an instance answers, of the text that `InstancePool.take` gave. */
export const refusalOf = (reason: string): Verdict => (reason === DISABLED_REASON ? DISABLED : { kind: "fail", reason });

export interface PoolOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: FilterMetrics;
  readonly stats: FilterStats;
  /** No two exchanges in one instance at a time, and so many instances. Absent: only when the filter is `isolated`. */
  readonly exclusiveInstances?: number;
}

/**
 * The instances of a filter: one for all exchanges, or one per exchange when `isolated`, put back to its first state when the exchange
 * ends, or one per exchange that is in it (`exclusiveInstances`), as it was left. A broken one is thrown away; a new one comes at once
 * the first time, then with exponential back-off, and after too many faults in a window none any more.
 */
export class InstancePool<Context, Instance extends PooledInstance<Context>> {
  readonly instances = new Set<Instance>();
  traps = 0;
  /** Isolated instances that could not be put back, and so were thrown away. */
  renewals = 0;
  lastError: string | undefined;
  /** Whether it runs; when not, no instance takes new contexts. */
  state: FilterState = "running";
  /** While `disabled`: who switched it off; a word by hand outlasts what the configuration says. */
  disabledBy: DisabledBy | undefined;
  /** The instance that takes new contexts; for isolated filters the one to try first. */
  #current: Instance | undefined;
  /** Faults in a row: what the back-off grows with. */
  #faults = 0;
  /** When faults happened, within the window that counts. */
  readonly #faultTimesMs: number[] = [];
  #restart: Timer | undefined;
  /** Isolated filters: no new instance before this. */
  #blockedUntilMs = 0;
  /** Those that finish what they have begun, after the filter was halted. */
  readonly #retired = new Set<Instance>();
  #isDisposed = false;
  readonly #isExclusive: boolean;
  /** Of those that are exclusive. */
  readonly #mostInstances: number;
  readonly #losses: RateGate;
  /** Of those that are exclusive: one was made in this turn of the loop. */
  #isResting = false;
  /** Told when there may be one more than there could be before. */
  onRoom: (() => void) | undefined;

  constructor(
    readonly config: FilterConfig,
    readonly options: PoolOptions,
    /** Throws an `Error` that says why not. */
    readonly make: () => Instance,
    /** Something of an instance's threw that is ours (`FilterModule.onThrown`). */
    readonly onThrown: (error: unknown, instance: Instance) => void,
  ) {
    this.#isExclusive = config.isolated || options.exclusiveInstances !== undefined;
    this.#mostInstances = options.exclusiveInstances ?? PROXY_WASM_LIMITS.isolatedInstances;
    this.#losses = new RateGate(EXTISM_LIMITS.lossesPerSecond, options.clock);
  }

  /** The instance that takes new contexts; undefined: there is none. */
  get current(): Instance | undefined {
    return this.#isDisposed ? undefined : this.#current;
  }

  /** Makes the first instance, unless the filter is switched off; throws what making it throws. */
  start(): void {
    if (this.config.disabled === true) this.#disable("configuration");
    else this.#current = this.#add();
  }

  #add(): Instance {
    const made = this.make();
    if (this.config.isolated && made.memoryBytes > ISOLATION_LIMITS.bytes) {
      made.retire();
      const bytes = formatBytes(made.memoryBytes);
      throw new Error(`an isolated instance takes ${bytes} with what is kept of it, more than ${MOST_BYTES}: ${LESS_MEMORY}`);
    }
    this.instances.add(made);
    return made;
  }

  /** An instance for a new context; a text: why there is none (for `refusalOf`). */
  take(): Instance | string {
    return this.#isDisposed ? this.#refusal() : this.lease();
  }

  /** The same, also after `dispose`: for a callback of an exchange that began before. */
  lease(): Instance | string {
    const found = this.#isExclusive ? this.#takeFree() : (this.#current ?? this.#takeDue());
    if (found === undefined) return this.#refusal();
    if (found.contexts.size < this.config.budget.contextsPerInstance) return found;
    this.options.stats.onFault("budget");
    return "too many contexts";
  }

  /** Why no exchange may begin, whether or not an instance is free now; undefined: it may. */
  refusal(): string | undefined {
    return this.state === "running" && !this.#isDisposed ? undefined : this.#refusal();
  }

  #refusal(): string {
    if (this.state === "disabled") return DISABLED_REASON;
    if (this.state === "quarantined") return `quarantined: ${this.lastError}`;
    return this.lastError === undefined ? "no instance" : `no instance: ${this.lastError}`;
  }

  /** All instances are in use, and there may be no more now: who waits gets one. */
  get isFull(): boolean {
    if (this.state !== "running") return false;
    const { size } = this.instances;
    return this.#isResting || (size > 0 && (size >= this.#mostInstances || this.#isBlocked || !this.#fits));
  }

  /** Why there was no instance for who waits: what to change. */
  get fullReason(): string {
    const { size } = this.instances;
    if (size >= this.#mostInstances || this.#fits) return `no instance was free, of ${size}`;
    const bytes = formatBytes(this.#bytes);
    return `no instance was free: its ${size} take ${bytes} with what is kept of each, and another one would be more than ${MOST_BYTES}; ${LESS_MEMORY}`;
  }

  get #bytes(): number {
    let bytes = 0;
    for (const { memoryBytes } of this.instances) bytes += memoryBytes;
    return bytes;
  }

  /** Is there room for one more that is as large as those of an isolated filter are on average? */
  get #fits(): boolean {
    const bytes = this.config.isolated ? this.#bytes : 0;
    return bytes + bytes / Math.max(1, this.instances.size) <= ISOLATION_LIMITS.bytes;
  }

  get #isBlocked(): boolean {
    return this.options.clock.nowMs() < this.#blockedUntilMs;
  }

  /**
   * Throws away an instance that broke by no fault of its filter. Who brings that about from outside must not have us make new ones at
   * will: so many a second, then none for a second.
   */
  lose(instance: Instance): void {
    this.discard(instance);
    if (this.#losses.take()) return;
    this.options.stats.onFault("budget");
    this.#block(1000);
  }

  /** No new exclusive instances for so long; then whoever waits is told. */
  #block(ms: number): void {
    const { clock } = this.options;
    this.#blockedUntilMs = clock.nowMs() + ms;
    if (ms > 0 && this.onRoom !== undefined) clock.setTimer(ms, () => this.onRoom?.());
  }

  /** Throws away an instance that cannot be used any more, though nothing is wrong with its filter. */
  discard(instance: Instance): void {
    if (!this.#forget(instance)) return;
    instance.retire();
    if (this.#current === instance) this.#current = undefined;
  }

  /** The successor of a broken one whose time has come though its timer has not run yet: nobody has to wait for the loop. */
  #takeDue(): Instance | undefined {
    if (this.#restart === undefined || this.#isBlocked) return undefined;
    this.#cancelRestart();
    this.#renew();
    return this.#current;
  }

  /** One that no exchange has, made on the spot when there is room. */
  #takeFree(): Instance | undefined {
    if (this.state !== "running") return undefined;
    if (this.#current?.contexts.size === 0) return this.#current;
    for (const instance of this.instances) {
      if (instance.contexts.size > 0) continue;
      this.#current = instance;
      return instance;
    }
    if (this.instances.size >= this.#mostInstances) return undefined;
    if (this.#isBlocked || this.#isResting || !this.#fits) return undefined;
    try {
      const startMs = this.options.clock.nowMs();
      const made = this.#add();
      this.#rest(this.options.clock.nowMs() - startMs);
      return made;
    } catch (error) {
      this.#failStart(error);
      return undefined;
    }
  }

  /** Making one takes some ms, and many are asked for at once: everything else on the loop has its turn in between, and as much time. */
  #rest(ms: number): void {
    this.#isResting = true;
    this.options.clock.setTimer(ms, () => {
      this.#isResting = false;
      this.onRoom?.();
    });
  }

  /** A context of this instance ended. */
  give(instance: Instance): void {
    if (instance.contexts.size > 0) return;
    if (this.#retired.has(instance)) this.#forget(instance);
    else if (this.config.isolated && instance.fault === undefined && this.instances.has(instance)) this.#restore(instance);
  }

  /** Nothing of an exchange stays: the next one gets the instance as it was, or another one. */
  #restore(instance: Instance): void {
    let problem: string | undefined;
    try {
      problem = instance.restore();
    } catch (error) {
      this.onThrown(error, instance);
    }
    if (problem === undefined) return;
    if (this.renewals++ === 0) {
      this.options.log.info(
        "an isolated filter cannot be put back after an exchange: a new instance takes its place, each time",
        {
          filter: this.config.name,
          reason: problem,
        },
      );
    }
    this.discard(instance);
  }

  /** False: it was none of ours, or is gone already. */
  #forget(instance: Instance): boolean {
    if (!this.instances.delete(instance)) return false;
    this.#retired.delete(instance);
    this.#settle(instance);
    return true;
  }

  #settle(instance: Instance): void {
    try {
      instance.settle();
    } catch (error) {
      // Of one that is broken the reason is told already.
      if (instance.fault === undefined) this.onThrown(error, instance);
    }
  }

  /** Throws a broken instance away. False: it never came to life, and whoever made it reports that. */
  remove(instance: Instance): boolean {
    if (!this.#forget(instance)) return false;
    instance.retire();
    const { config, options } = this;
    const fault = instance.fault ?? "unknown";
    const reason = guestWords(config, fault);
    this.traps++;
    options.stats.onFault(faultKindOf(fault));
    options.metrics.onTrap(config.name, reason);
    options.log.error("a filter broke; its instance is thrown away", { filter: config.name, reason });
    if (this.#current === instance) this.#current = undefined;
    if (options.clock.nowMs() - instance.bornMs >= PROXY_WASM_LIMITS.restartResetMs) this.#faults = 0;
    const delayMs = this.#countFault(reason);
    // After it was released there may be another one already.
    if (!this.#isExclusive && this.#current === undefined) this.#scheduleRestart(delayMs);
    return true;
  }

  /** Counts a fault and answers how long no new instance may come, ms. */
  #countFault(reason: string): number {
    this.lastError = reason;
    this.#faults++;
    this.#considerQuarantine();
    const { restartMinMs, restartMaxMs } = PROXY_WASM_LIMITS;
    const delayMs = this.#faults === 1 ? 0 : Math.min(restartMaxMs, restartMinMs * 2 ** (this.#faults - 2));
    this.#block(delayMs);
    return delayMs;
  }

  /** A filter that keeps breaking costs nothing any more: it is not started again until something about it changes. */
  #considerQuarantine(): void {
    const { config, options } = this;
    const { faults, faultWindowMs } = config.budget;
    const nowMs = options.clock.nowMs();
    const times = this.#faultTimesMs;
    times.push(nowMs);
    while (nowMs - (times[0] ?? nowMs) > faultWindowMs) times.shift();
    if (this.state !== "running" || this.#isDisposed || faults === 0 || times.length < faults) return;
    this.#halt("quarantined");
    options.metrics.onQuarantine?.(config.name, true, this.lastError);
    options.log.error("a filter is quarantined until it is released, or its module, settings or budget change", {
      ...{ filter: config.name, faults: times.length, onFailure: config.onFailure, reason: this.lastError },
    });
  }

  /** No new contexts. What has begun is finished; instances that nobody uses are freed. */
  #halt(state: "quarantined" | "disabled"): void {
    this.state = state;
    this.#current = undefined;
    this.#cancelRestart();
    for (const instance of this.instances) {
      instance.retire();
      this.#retired.add(instance);
      this.give(instance);
    }
    // Whoever waits for one is told that there is none.
    this.onRoom?.();
  }

  /** By hand. An action that changes nothing (release of a filter that is not quarantined) does nothing. */
  control(action: FilterAction): void {
    const { config, options, state } = this;
    if (this.#isDisposed) return;
    if (action === "disable") {
      if (state === "quarantined") options.metrics.onQuarantine?.(config.name, false, "disabled by hand");
      this.#disable("hand");
    } else if (action === "enable" && state === "disabled") {
      this.#resume();
    } else if (action === "release" && state === "quarantined") {
      options.metrics.onQuarantine?.(config.name, false, "released by hand");
      options.log.info("a filter was released by hand", { filter: config.name });
      this.#resume();
    }
  }

  /** Said by whoever knows what serves (FilterRegistry): old generations have modules of the same name. */
  #disable(by: DisabledBy): void {
    if (this.state !== "disabled") this.#halt("disabled");
    this.disabledBy = by;
  }

  /** As if nothing had happened before. */
  #resume(): void {
    this.state = "running";
    this.disabledBy = undefined;
    this.#faultTimesMs.length = 0;
    this.#faults = 0;
    this.#blockedUntilMs = 0;
    this.lastError = undefined;
    this.#renew();
  }

  #cancelRestart(): void {
    this.#restart?.cancel();
    this.#restart = undefined;
  }

  #scheduleRestart(delayMs: number): void {
    if (this.state !== "running" || this.#isDisposed) return;
    this.#cancelRestart();
    this.#restart = this.options.clock.setTimer(delayMs, () => {
      this.#restart = undefined;
      if (!this.#isDisposed) this.#renew();
    });
  }

  #renew(): void {
    // Those that were there before a halt may still be in use: they count until their exchanges end.
    if (this.#isExclusive && this.instances.size >= this.#mostInstances) return;
    try {
      this.#current = this.#add();
    } catch (error) {
      this.#scheduleRestart(this.#failStart(error));
    }
  }

  /** Answers how long no new instance may come, ms. */
  #failStart(error: unknown): number {
    const { config, options } = this;
    const reason = guestWords(config, describeCause(error));
    options.stats.onFault("start");
    options.log.error("a filter could not be started again", { filter: config.name, reason });
    return this.#countFault(reason);
  }

  /** Has every instance write down what it used. */
  settle(): void {
    for (const instance of this.instances) this.#settle(instance);
  }

  /** No new instances. Those that are there stay until `clear`. */
  dispose(): void {
    this.#isDisposed = true;
    this.#cancelRestart();
    for (const instance of this.instances) instance.retire();
    if (this.state === "quarantined") this.options.metrics.onQuarantine?.(this.config.name, false);
  }

  clear(): void {
    this.#current = undefined;
    for (const instance of this.instances) this.#forget(instance);
  }
}
