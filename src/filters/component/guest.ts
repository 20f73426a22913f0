import type { FilterConfig } from "../../config/snapshot.ts";
import { hostCallsLeft } from "../../core/host-calls.ts";
import type { FilterExchange } from "../contract.ts";
import { GuestChance } from "../guest/chance.ts";
import { reentered } from "../guest/faults.ts";
import type { Grants } from "../guest/grants.ts";
import { type Isolation, newIsolation, type Restorable } from "../guest/isolation.ts";
import { MetricHandles } from "../guest/metric-handles.ts";
import type { SharedNamespace } from "../guest/shared.ts";
import type { FilterStats } from "../stats.ts";
import { GuestStore } from "./call.ts";
import type { ComponentContext } from "./context.ts";
import type { EditResult } from "./edits.ts";
import type { ComponentFunction } from "./functions.ts";
import type { ComponentOptions } from "./host.ts";
import { Meters } from "./meters.ts";
import type { GuestMetrics } from "./metrics.ts";

/** Of the callbacks of exchanges one in so many is timed and counts for all: reading the clock costs more than an empty one. */
const TIMED_EVERY = 13;

/** Runs on what is left of the fuel for making the instance. */
export const CONFIGURE_PHASE = "configure";

/** The callbacks that are called; undefined: not exported, or not wanted. */
export interface GuestCallbacks {
  readonly requestHead: ComponentFunction | undefined;
  readonly requestBody: ComponentFunction | undefined;
  readonly requestTrailers: ComponentFunction | undefined;
  readonly responseHead: ComponentFunction | undefined;
  readonly responseBody: ComponentFunction | undefined;
  readonly responseTrailers: ComponentFunction | undefined;
  readonly done: ComponentFunction | undefined;
  readonly callAnswer: ComponentFunction | undefined;
}

export const NO_CALLBACKS: GuestCallbacks = {
  requestHead: undefined,
  requestBody: undefined,
  requestTrailers: undefined,
  responseHead: undefined,
  responseBody: undefined,
  responseTrailers: undefined,
  done: undefined,
  callAnswer: undefined,
};

/** What an instance needs of its module. */
export interface GuestOwner {
  readonly config: FilterConfig;
  readonly options: ComponentOptions;
  /** The filter's. */
  readonly namespace: SharedNamespace;
  /** What an instance shares data in. */
  newNamespace(): SharedNamespace;
  readonly grants: Grants;
  readonly metrics: GuestMetrics;
  readonly stats: FilterStats;
  calls: number;
  callbackFuelMost: number;
  /** All fuel that its instances used so far. */
  fuelUsed: number;
  /** Where the share of this second ends. */
  readonly fuelLimit: number;
  /** Why there is no fuel for an exchange. */
  fuelReason(): string;
  log(level: string, message: string, exchange: FilterExchange | undefined): void;
  /** Wall-clock time in ns: whole milliseconds unless the filter may see more. */
  timeNanos(): bigint;
  /** Monotonic time in ns, likewise. */
  monotonicNanos(): bigint;
  setShared(namespace: SharedNamespace, key: string, value: Uint8Array, version: number | undefined): EditLike;
  onFault(guest: ComponentGuest): void;
  /** Runs what no chain stands around. */
  guardContext(context: ComponentContext, action: () => void): void;
  onContextEnd(guest: ComponentGuest, context: ComponentContext): void;
}
export type EditLike = EditResult | { readonly error: "conflict" | "full" };

/** One instance of a component: all its core instances together. It is entered once at a time; after a fault never again. */
export class ComponentGuest {
  readonly store: GuestStore;
  callbacks: GuestCallbacks = NO_CALLBACKS;
  readonly chance: GuestChance;
  readonly namespace: SharedNamespace;
  readonly isolation: Isolation | undefined;
  readonly metricHandles: MetricHandles;
  readonly contexts = new Map<number, ComponentContext>();
  /** Its linear memories, for status. */
  readonly memories: WebAssembly.Memory[] = [];
  /** A callback is on the stack. */
  inside = false;
  bornMs = 0;
  readonly meters: Meters;
  #untilTimed = TIMED_EVERY;
  /** How many calls the fuel of the last one stands for; 0: it is no sample. */
  #fuelWeight = 0;
  #isStarting = true;
  #nextContextId = 1;
  #nextCallId = 1;
  #keptCallId = 1;
  readonly #numbers: Restorable = {
    keep: () => {
      this.#keptCallId = this.#nextCallId;
    },
    restore: () => {
      this.#nextCallId = this.#keptCallId;
    },
  };
  /** Who pays for what was used since fuel was given last. */
  #spender: ComponentContext | undefined;
  #spenderEpoch = 0;
  /** Whose callback is on the stack; undefined: none, or one of no exchange. */
  #active: ComponentContext | undefined;

  constructor(readonly owner: GuestOwner) {
    this.meters = new Meters(owner.config.budget);
    this.store = new GuestStore(
      owner.config.budget.hostCallsPerCallback,
      (error) => this.meters.describe(error),
      this.meters.work,
    );
    this.chance = new GuestChance(owner.grants);
    this.namespace = owner.newNamespace();
    this.metricHandles = new MetricHandles(owner.config.isolated);
    this.isolation = newIsolation(owner, this.namespace, this.chance, this.store, this.metricHandles, this.#numbers);
  }

  /** Why it is broken; undefined: it is not. */
  get fault(): string | undefined {
    return this.store.fault;
  }

  get memoryBytes(): number {
    let bytes = this.isolation?.keptBytes ?? 0;
    for (const memory of this.memories) bytes += memory.buffer.byteLength;
    return bytes;
  }

  settle(): void {
    if (!this.inside) this.settleFuel();
  }

  breakOff(reason: string): void {
    this.store.fault ??= reason;
    this.inside = false;
  }

  /** It does nothing by itself. */
  retire(): void {}

  log(level: string, message: string): void {
    if (this.owner.grants.may("log")) this.owner.log(level, message, this.#active?.exchange);
  }

  /** Gives a context its id; unique among living ones. */
  addContext(context: ComponentContext): void {
    do {
      context.id = this.#nextContextId;
      this.#nextContextId = context.id >= 0x7fff_ffff ? 1 : context.id + 1;
    } while (this.contexts.has(context.id));
    this.contexts.set(context.id, context);
  }

  nextCallId(): number {
    const id = this.#nextCallId;
    this.#nextCallId = id >= 0x7fff_ffff ? 1 : id + 1;
    return id;
  }

  /** It is configured: what it uses from now on is paid by callbacks. */
  endStart(): void {
    this.meters.endStart();
    this.chance.endStart();
    this.settleFuel();
    this.#isStarting = false;
    this.isolation?.keep();
  }

  restore(): string | undefined {
    return this.isolation?.restore();
  }

  /** Writes down what was used since fuel was given last, and takes the rest back. Not while the guest runs. */
  settleFuel(): void {
    this.#giveFuel(0, undefined);
  }

  #giveFuel(fuel: number, payer: ComponentContext | undefined): void {
    const used = this.meters.fill(fuel);
    const { owner } = this;
    owner.fuelUsed += used;
    if (used > owner.callbackFuelMost && !this.#isStarting) owner.callbackFuelMost = used;
    if (this.#fuelWeight > 0) {
      owner.stats.callFuel.record(used, this.#fuelWeight);
      this.#fuelWeight = 0;
    }
    const spender = this.#spender;
    if (spender !== undefined && spender.epoch === this.#spenderEpoch) spender.fuelUsed += used;
    this.#spender = payer;
    this.#spenderEpoch = payer?.epoch ?? 0;
  }

  /** Has the exchange fuel left for a callback that answers a verdict? */
  hasFuel(context: ComponentContext): boolean {
    if (this.owner.fuelUsed >= this.owner.fuelLimit) return false;
    const { exchangeFuel, callbackFuel } = this.owner.config.budget;
    const unsettled = this.#spender === context ? callbackFuel : 0;
    if (context.fuelUsed + unsettled < exchangeFuel) return true;
    this.settleFuel();
    return context.fuelUsed < exchangeFuel;
  }

  /** Fills up for one callback; for one that answers a verdict not beyond what is left of its exchange's fuel. `active`: whose work it is. */
  #fillUp(payer: ComponentContext | undefined, active: ComponentContext | undefined): void {
    const { exchangeFuel, callbackFuel } = this.owner.config.budget;
    let fuel = callbackFuel;
    if (payer !== undefined && payer.fuelUsed + 2 * callbackFuel > exchangeFuel) {
      this.settleFuel();
      fuel = Math.max(0, Math.min(callbackFuel, exchangeFuel - payer.fuelUsed));
    }
    this.#giveFuel(fuel, active);
  }

  /**
   * Runs a callback; `payer`: the exchange whose verdict it answers, `active`: the one that it is about. Look at `fault` before
   * believing its answer.
   */
  enter(
    phase: string,
    callback: ComponentFunction,
    args: readonly unknown[],
    payer?: ComponentContext,
    active: ComponentContext | undefined = payer,
  ): unknown {
    const { owner, store } = this;
    if (store.fault !== undefined) return undefined;
    if (this.inside) {
      store.fault = reentered(phase);
      return undefined;
    }
    const weight = --this.#untilTimed <= 0 ? TIMED_EVERY : 0;
    if (weight > 0) this.#untilTimed = TIMED_EVERY;
    const payingTime = active?.isTimed === true ? active : undefined;
    const startMs = weight > 0 || payingTime !== undefined ? owner.options.clock.nowMs() : 0;
    this.inside = true;
    this.#active = active;
    store.beginCall(hostCallsLeft(owner.config.budget, payer?.hostCalls));
    if (phase !== CONFIGURE_PHASE) {
      this.#fillUp(payer, active);
      this.#fuelWeight = weight;
    }
    let answer: unknown;
    try {
      answer = callback.call(args);
    } catch (error) {
      // Of what no guest can throw: handing over values is our own code.
      if (error instanceof TypeError || error instanceof ReferenceError) throw error;
      store.fault ??= this.meters.describe(error);
    }
    this.inside = false;
    this.#active = undefined;
    if (payer !== undefined) payer.hostCalls += store.hostCalls;
    const ms = weight > 0 || payingTime !== undefined ? owner.options.clock.nowMs() - startMs : 0;
    if (payingTime !== undefined) payingTime.spentMs += ms;
    owner.calls++;
    owner.stats.onCall(phase, ms * 1000, this.#isStarting ? 0 : weight);
    if (store.fault !== undefined) {
      owner.onFault(this);
      return undefined;
    }
    return answer;
  }
}
