import type { FilterConfig } from "../../config/snapshot.ts";
import type { Clock, Timer } from "../../core/clock.ts";
import type { FilterLogs } from "../../core/filter-logs.ts";
import { exchangeHostCalls } from "../../core/host-calls.ts";
import { DEFAULT_FILTER_BUDGET, EXTISM_LIMITS, type FilterBudget, ISOLATION_LIMITS } from "../../core/limits.ts";
import type { Log } from "../../core/log.ts";
import type { NodeFacts } from "../attributes.ts";
import { AwaitingContext } from "../awaiting-context.ts";
import type { FilterAction, FilterContext, FilterExchange, FilterMetrics, FilterModule, FilterStatus } from "../contract.ts";
import type { FilterStats } from "../stats.ts";
import type { ModuleCompiler } from "./compiler.ts";
import { hostThrew, outOfFuel } from "./faults.ts";
import { Grants, type PublishMessage } from "./grants.ts";
import { HostBugs } from "./host-bugs.ts";
import { LogGate } from "./log-gate.ts";
import { InstancePool, type PooledInstance } from "./pool.ts";
import { SharedNamespace, type SharedState } from "./shared.ts";
import { WaitingRoom } from "./waiting-room.ts";

/** Context objects kept for reuse. */
const POOLED_CONTEXTS = 256;

/** What hosts of all ABIs need. */
export interface GuestOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Where lines of filters are kept besides. Absent: nowhere. */
  readonly filterLogs?: FilterLogs;
  readonly metrics: FilterMetrics;
  /** One per process, for all ABIs: filters that are granted one name share it. */
  readonly shared: SharedState;
  /** Whose filters they are. Absent: a proxy without a name. */
  readonly node?: NodeFacts;
  /** One per process, for all ABIs: a module that is in use is compiled once. Default: the host's own, without a folder. */
  readonly compiler?: ModuleCompiler;
  /** Publishes over NATS for a filter that was granted the subject; false: not now. Absent: this process has no NATS. */
  readonly publish?: PublishMessage;
}

/** A snapshot that an earlier version kept on disk knows fewer budgets. */
export function withWholeBudget(config: FilterConfig): FilterConfig {
  const { hostCallsPerExchange }: Partial<FilterBudget> = config.budget;
  const budget = { ...DEFAULT_FILTER_BUDGET, ...config.budget };
  const perExchange = exchangeHostCalls(budget.hostCallsPerCallback, hostCallsPerExchange);
  return { ...config, budget: { ...budget, hostCallsPerExchange: perExchange } };
}

/** One exchange in one instance. Reused by its module; `epoch` tells one life from the next. */
export interface GuestContext<Guest> extends FilterContext {
  readonly epoch: number;
  /** Undefined once closed. */
  readonly exchange: FilterExchange | undefined;
  /** The instance that it is in at this moment; undefined: none. */
  readonly instance: Guest | undefined;
  open(guest: Guest, exchange: FilterExchange): void;
  /** A context without an instance: it fails every callback. */
  refuse(reason: string, exchange: FilterExchange): void;
}

/**
 * A loaded module with one configuration, whatever its ABI. `InstancePool` has the life of its instances. When one breaks, every
 * exchange with a context in it gets the filter's `onFailure`; while there is none, every exchange does.
 */
export abstract class GuestModule<
  Guest extends PooledInstance<Context>,
  Context extends GuestContext<Guest>,
  Options extends GuestOptions,
> implements FilterModule
{
  readonly namespace: SharedNamespace;
  readonly grants: Grants;
  readonly stats: FilterStats;
  calls = 0;
  /** All fuel that its instances used, as far as they wrote it down. */
  fuelUsed = 0;
  /** `fuelUsed` at which the share of this second is used up. */
  fuelLimit: number;
  /** Ends the second; undefined: nothing was used in the last one. */
  #second: Timer | undefined;
  /** Contexts that were refused because of it. */
  #throttled = 0;
  protected readonly pool: InstancePool<Context, Guest>;
  /** Whoever waits for an instance, where those are for one at a time. */
  protected readonly room: WaitingRoom<FilterContext, Guest>;
  readonly #spare: Context[] = [];
  readonly #gate: LogGate;
  readonly #bugs: HostBugs;
  readonly #endPull: (() => void) | undefined;
  /** Most fuel that one callback used. */
  callbackFuelMost = 0;
  #contexts = 0;
  /** Fuel that the metrics were told of. */
  #fuelTold = 0;
  #isDisposed = false;

  constructor(
    readonly config: FilterConfig,
    readonly options: Options,
    exclusiveInstances?: number,
  ) {
    this.grants = new Grants(config, options.clock, options.metrics, options.publish);
    this.fuelLimit = config.budget.fuelPerSecond;
    this.namespace = options.shared.acquire(namespaceName(config));
    this.stats = options.metrics.statsOf(config.name);
    this.stats.users++;
    const log = options.log.for("filter");
    this.#gate = new LogGate(config, log, options.clock, options.filterLogs);
    const { clock, metrics } = options;
    const exclusive = exclusiveInstances === undefined ? {} : { exclusiveInstances };
    this.#bugs = new HostBugs(config, log);
    const poolOptions = { clock, metrics, stats: this.stats, log, ...exclusive };
    this.pool = new InstancePool(
      config,
      poolOptions,
      () => this.makeGuest(),
      (error, guest) => this.#threw(error, guest),
    );
    this.room = new WaitingRoom(this.pool, config.isolated ? ISOLATION_LIMITS.waiting : EXTISM_LIMITS.waiting);
    if (config.isolated) this.pool.onRoom = () => this.room.wake();
    this.#endPull = options.metrics.onPull?.(() => this.#pull());
  }

  /** An instance that is started and configured. Throws an `Error` that says why not; then nothing of it stays. */
  protected abstract makeGuest(): Guest;
  protected abstract makeContext(): Context;

  /** What it holds of memory besides that of its instances. */
  protected get keptBytes(): number {
    return 0;
  }

  /** Makes the first instance. Throws with the reason when the module or its configuration is bad. */
  start(): this {
    try {
      this.pool.start();
      return this;
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  open(exchange: FilterExchange): FilterContext {
    if (this.config.isolated) return this.#openIsolated(exchange);
    const guest = this.hasShare() ? this.pool.take() : this.fuelReason();
    return typeof guest === "string" ? this.refuse(guest, exchange) : this.#openIn(guest, exchange);
  }

  /** An instance is made one a turn of the loop, and there are so many at most: who comes to none waits. */
  #openIsolated(exchange: FilterExchange): FilterContext {
    const refusal = this.hasShare() ? this.pool.refusal() : this.fuelReason();
    if (refusal !== undefined) return this.refuse(refusal, exchange);
    const guest = this.room.now();
    if (guest === undefined) return this.#await(exchange);
    return typeof guest === "string" ? this.refuse(guest, exchange) : this.#openIn(guest, exchange);
  }

  #await(exchange: FilterExchange): FilterContext {
    const { room } = this;
    const onGone = (): void => {
      room.forget(context);
      this.#countEnd();
    };
    const context: FilterContext = new AwaitingContext(onGone, () => this.pool.fullReason);
    const refusal = room.wait(context, (guest) => {
      const by = typeof guest === "string" ? this.refuse(guest, exchange) : this.#openIn(guest, exchange);
      this.#countEnd();
      exchange.replay(context, by);
    });
    if (refusal !== undefined) return this.refuse(refusal, exchange);
    this.#contexts++;
    return context;
  }

  #openIn(guest: Guest, exchange: FilterExchange): Context {
    const context = this.beginContext();
    try {
      context.open(guest, exchange);
    } catch (error) {
      this.#threw(error, guest);
    }
    return context;
  }

  // ------------------------------------------------------------ what of ours throws around a guest

  onThrown(error: unknown, context?: FilterContext): string {
    return this.#threw(error, (context as Partial<Context> | undefined)?.instance);
  }

  #threw(error: unknown, guest: Guest | undefined): string {
    const reason = hostThrew(error);
    this.#bugs.tell(error);
    guest?.breakOff(reason);
    if (guest === undefined || !this.#remove(guest)) this.stats.onFault("host");
    return reason;
  }

  /** Runs what no chain stands around: a tick, the answer to a call of its own, what was put off. */
  guard(guest: Guest, action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#threw(error, guest);
    }
  }

  /** The same for what a context does by itself: it costs its exchange the filter's `onFailure`. */
  guardContext(context: Context, action: () => void): void {
    const { epoch } = context;
    try {
      action();
    } catch (error) {
      const isThere = context.epoch === epoch;
      const reason = this.#threw(error, isThere ? context.instance : undefined);
      if (isThere) context.exchange?.fail(context, reason);
    }
  }

  protected refuse(reason: string, exchange: FilterExchange): FilterContext {
    const refused = this.makeContext();
    refused.refuse(reason, exchange);
    return refused;
  }

  /** A context for one exchange, which ends by `endContext`. */
  protected beginContext(): Context {
    this.#contexts++;
    return this.#spare.pop() ?? this.makeContext();
  }

  /** Is something left of this second's share? */
  hasShare(): boolean {
    if (this.#second === undefined) this.#beginSecond();
    return this.fuelUsed < this.fuelLimit;
  }

  /** Why an exchange may not use more: the share of this second, which is counted, or its own. */
  fuelReason(): string {
    const { fuelPerSecond, exchangeFuel } = this.config.budget;
    if (this.fuelUsed < this.fuelLimit) return outOfFuel(exchangeFuel, "in one exchange");
    this.#throttled++;
    this.options.metrics.onThrottle?.(this.config.name);
    return outOfFuel(fuelPerSecond, "in one second");
  }

  /** Each second has its own share; while nothing is used, none begins. */
  #beginSecond(): void {
    // Not what was used at the start, nor between seconds.
    this.pool.settle();
    const begunAt = this.fuelUsed;
    this.fuelLimit = begunAt + this.config.budget.fuelPerSecond;
    this.#second = this.options.clock.setTimer(1_000, () => {
      this.#second = undefined;
      this.pool.settle();
      if (this.fuelUsed > begunAt) this.#beginSecond();
    });
  }

  control(action: FilterAction): void {
    this.pool.control(action);
  }

  /** What its instances share data in: an isolated one has its own, unless it was granted to share. */
  newNamespace(): SharedNamespace {
    const isAlone = this.config.isolated && this.config.capabilities.sharedData === undefined;
    return isAlone ? new SharedNamespace() : this.namespace;
  }

  onContextEnd(guest: Guest, context: Context): void {
    this.pool.give(guest);
    if (this.config.isolated) this.room.wake();
    this.endContext(context);
  }

  endContext(context: Context): void {
    if (this.#spare.length < POOLED_CONTEXTS) this.#spare.push(context);
    this.#countEnd();
  }

  /** One exchange less has a context, or awaits one. */
  #countEnd(): void {
    this.#contexts--;
    if (this.#isDisposed && this.#contexts === 0) this.#drop();
  }

  onFault(guest: Guest): void {
    this.#remove(guest);
  }

  /** False: it is gone already, or never came to life. */
  #remove(guest: Guest): boolean {
    if (!this.pool.remove(guest)) return false;
    const reason = guest.fault ?? "unknown";
    // Not in this call: one of these exchanges may be the one that is on the stack.
    const lost = [...guest.contexts.values()].map((context) => ({ context, epoch: context.epoch }));
    queueMicrotask(() => {
      for (const { context, epoch } of lost) {
        if (context.epoch !== epoch) continue;
        // One whose exchange is over only waited for a word of its guest.
        if (context.exchange === undefined) this.guard(guest, () => context.close());
        else context.exchange.fail(context, reason);
      }
      this.pool.onRoom?.();
    });
    return true;
  }

  status(): FilterStatus {
    const { pool } = this;
    pool.settle();
    return {
      ...{ instances: pool.instances.size, contexts: this.#contexts, calls: this.calls, traps: pool.traps },
      ...{ memoryBytes: this.#memoryBytes(), lastError: pool.lastError, fuel: this.fuelUsed, state: pool.state },
      ...(pool.disabledBy === undefined ? {} : { disabledBy: pool.disabledBy }),
      ...{ quarantined: pool.state === "quarantined", callbackFuelMost: this.callbackFuelMost, throttled: this.#throttled },
    };
  }

  #memoryBytes(): number {
    let bytes = this.keptBytes;
    for (const guest of this.pool.instances) bytes += guest.memoryBytes;
    return bytes;
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#second?.cancel();
    this.pool.dispose();
    this.options.shared.release(namespaceName(this.config));
    if (this.#contexts === 0) this.#drop();
  }

  /** Before metrics are read. Other modules of this name add to the same sums. */
  #pull(): void {
    this.#tellFuel();
    const { stats, pool } = this;
    stats.instances += pool.instances.size;
    stats.contexts += this.#contexts;
    stats.memoryBytes += this.#memoryBytes();
  }

  #tellFuel(): void {
    this.pool.settle();
    this.stats.fuel += this.fuelUsed - this.#fuelTold;
    this.#fuelTold = this.fuelUsed;
  }

  #drop(): void {
    this.#tellFuel();
    this.#endPull?.();
    this.stats.users--;
    this.pool.clear();
    this.#second?.cancel();
    this.#spare.length = 0;
  }

  // ------------------------------------------------------------ what instances ask for

  /** A line for our log; `level` as the log gate counts. */
  protected write(level: number, message: string, exchange: FilterExchange | undefined): void {
    this.#gate.write(level, message, exchange);
  }

  /** Wall-clock time in ns: whole milliseconds unless the filter may see more. */
  timeNanos(): bigint {
    return this.#nanos(this.options.clock.wallMs());
  }

  /** Monotonic time in ns, likewise. */
  monotonicNanos(): bigint {
    return this.#nanos(this.options.clock.nowMs());
  }

  #nanos(ms: number): bigint {
    const nowMs = this.options.clock.nowMs();
    const below = this.config.capabilities.clock ? Math.floor((nowMs - Math.floor(nowMs)) * 1_000_000) : 0;
    return BigInt(Math.floor(ms)) * 1_000_000n + BigInt(below);
  }
}

/** Two sorts of names, so that a filter's own data cannot be reached by naming a namespace like it. */
function namespaceName(config: FilterConfig): string {
  const granted = config.capabilities.sharedData;
  return granted === undefined ? `filter:${config.name}` : `shared:${granted}`;
}
