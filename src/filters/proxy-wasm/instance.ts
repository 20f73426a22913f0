import { hostCallsLeft } from "../../core/host-calls.ts";
import type { FilterBudget } from "../../core/limits.ts";
import type { CalloutAnswer, FilterExchange } from "../contract.ts";
import { GuestChance } from "../guest/chance.ts";
import { describeTrap, hostFailure, outOfFuel, outOfStartFuel, reentered, TOO_DEEP, wrongType } from "../guest/faults.ts";
import { FuelGauge, firstFuel } from "../guest/fuel.ts";
import type { CalloutGate } from "../guest/grants.ts";
import { type Isolation, newIsolation } from "../guest/isolation.ts";
import type { GuestMemory } from "../guest/memory.ts";
import { MetricHandles } from "../guest/metric-handles.ts";
import type { QueueListener, SharedNamespace, SharedQueue } from "../guest/shared.ts";
import { HostWork, OutOfFuel } from "../guest/work.ts";
import { INTERNAL_FAILURE, INVALID_MEMORY_ACCESS, ROOT_CONTEXT_ID } from "./abi.ts";
import { type GuestCallback, type GuestCallbacks, NO_CALLBACKS } from "./callbacks.ts";
import type { ForeignName } from "./calls-state.ts";
import type { StreamContext } from "./context.ts";
import { ContextTable } from "./context-table.ts";
import type { PlacedForeignFunction } from "./foreign.ts";
import { MappedCounters } from "./mapped-counters.ts";
import type { GuestOwner } from "./owner.ts";

/**
 * Of a stream's callbacks one in so many is timed, and counts for all of them: reading the clock twice costs more than an
 * empty callback. A prime, so that it does not keep step with the callbacks of an exchange.
 */
const TIMED_EVERY = 61;

interface Callout {
  readonly context: StreamContext | undefined;
  readonly epoch: number;
  readonly gate: CalloutGate;
  /** An exchange had its context in the instance when it was made: in an isolated one it is that exchange's, whoever it says it is of. */
  readonly ofExchange: boolean;
}

/** One instance of a module. It is entered once at a time; after a fault it is never entered again. */
export class GuestInstance {
  memory: GuestMemory | undefined;
  readonly work = new HostWork();
  callbacks: GuestCallbacks = NO_CALLBACKS;
  readonly chance: GuestChance;
  readonly namespace: SharedNamespace;
  readonly isolation: Isolation | undefined;
  readonly metricHandles: MetricHandles;
  readonly contexts = new ContextTable();
  readonly mappedCounters = new MappedCounters();
  /** Why it is broken; undefined: it is not. */
  fault: string | undefined;
  /** A callback is on the stack. */
  inside = false;
  /** The foreign function of the host that it called last, by the name that it used. */
  foreignName: ForeignName | undefined;
  foreignFunction: PlacedForeignFunction | undefined;
  /** The effective context; undefined: the plugin context. */
  active: StreamContext | undefined;
  /** The answer that `proxy_on_http_call_response` may look at. */
  answer: CalloutAnswer | undefined;
  /** Most recent log line: the reason when the configuration is refused. */
  lastLog = "";
  bornMs = 0;
  /** ABI 0.1.0: the value of a field that is not there is empty, and no status says so. */
  hasEmptyValues = false;
  /** Its start did what its state alone does not tell: another instance has to start as well. */
  isBound = false;
  /** Between its ticks; 0: it has none. */
  tickMs = 0;
  /** It gets no new contexts and does nothing by itself. */
  isRetired = false;
  #hostCalls = 0;
  /** The most of the callback at hand. */
  #hostCallsMax: number;
  #untilTimed = TIMED_EVERY;
  /** How many calls the fuel of the last one stands for; 0: it is no sample. */
  #fuelWeight = 0;
  readonly #budget: FilterBudget;
  #gauge: FuelGauge | undefined;
  /** Until it is configured, all of it pays from the fuel that the module came with. */
  #starting = true;
  /** What was given last, for whom. */
  #given: number;
  #spender: StreamContext | undefined;
  #spenderEpoch = 0;
  /** Whose call-out's answer is being handed over. */
  #calloutPayer: StreamContext | undefined;
  #nextCalloutId = 1;
  #keptCalloutId = 1;
  /** Of an isolated instance: what waits until no exchange is in it. */
  #waiting: (() => void)[] = [];
  #isTickDue = false;
  #deferred: (() => void)[] = [];
  readonly #callouts = new Map<number, Callout>();
  /** Its queues and data are its own. */
  readonly #sharesNothing: boolean;

  constructor(readonly owner: GuestOwner) {
    this.#budget = owner.config.budget;
    this.chance = new GuestChance(owner.grants);
    this.namespace = owner.newNamespace();
    this.#sharesNothing = this.namespace !== owner.namespace;
    this.metricHandles = new MetricHandles(owner.config.isolated);
    this.isolation = newIsolation(owner, this.namespace, this.chance, this.metricHandles, {
      keep: () => {
        this.#keptCalloutId = this.#nextCalloutId;
      },
      restore: () => this.#forgetExchange(),
    });
    this.#given = firstFuel(this.#budget);
    this.#hostCallsMax = this.#budget.hostCallsPerCallback;
  }

  get memoryBytes(): number {
    return (this.memory?.sizeBytes ?? 0) + (this.isolation?.keptBytes ?? 0);
  }

  /** Writes down the fuel that it used, and adds what it counted in its own memory to its metrics. */
  settle(): void {
    if (!this.inside) this.settleFuel();
    this.pullCounters();
  }

  /** Adds what the guest counted in its own memory to its metrics. */
  pullCounters(): void {
    this.mappedCounters.pull(this.memory, this.owner.options.metrics);
  }

  /** Ends what it does by itself. */
  retire(): void {
    this.isRetired = true;
    this.owner.setTick(this, 0);
  }

  /** Runs the module's start function, unless it gets the state of another one. Throws an `Error` that says what stopped it. */
  begin(exports: WebAssembly.Exports, isKept: boolean): void {
    this.#gauge = this.work.addTank(new FuelGauge(exports, this.#budget));
    this.isolation?.add(exports);
    if (isKept) return;
    try {
      this.#gauge.start();
    } catch (error) {
      this.fault ??= this.describe(error);
    }
    // It may have caught what stopped it.
    if (this.fault !== undefined) throw new Error(this.fault);
  }

  setTick(periodMs: number): void {
    this.tickMs = periodMs;
    this.owner.setTick(this, periodMs);
  }

  attach(memory: GuestMemory, callbacks: GuestCallbacks): void {
    this.memory = memory;
    this.callbacks = callbacks;
  }

  /** It is configured: from now on each callback has fuel of its own. */
  finishStart(): void {
    this.chance.endStart();
    this.settleFuel();
    this.#starting = false;
    this.isolation?.keep();
  }

  /** An exchange has its context in it, and nothing of that exchange is to stay. */
  get isTaken(): boolean {
    return this.isolation !== undefined && this.contexts.size > 0;
  }

  restore(): string | undefined {
    this.settle();
    const problem = this.isolation?.restore();
    // Counters in its memory stand where they stood: they grow from there.
    if (problem === undefined) this.pullCounters();
    if (this.#waiting.length > 0 || this.#isTickDue) this.#later(() => this.#catchUp());
    if (this.#sharesNothing) this.namespace.announce();
    else this.owner.onFree();
    return problem;
  }

  /** Words about items in queues reach it now. */
  get canHear(): boolean {
    return this.fault === undefined && !this.isRetired && !this.isTaken;
  }

  onItem(queue: SharedQueue): void {
    this.owner.announce(queue, this);
  }

  /** Who is told of items in queues that it registers: it alone has its own. */
  get queueListener(): QueueListener {
    return this.#sharesNothing ? this : this.owner;
  }

  /** What the host knows of an exchange that is over. */
  #forgetExchange(): void {
    for (const [id, callout] of this.#callouts) if (callout.ofExchange) this.forgetCallout(id);
    this.#nextCalloutId = this.#keptCalloutId;
    this.#deferred = [];
    this.foreignName = undefined;
    this.foreignFunction = undefined;
    this.lastLog = "";
  }

  /** What belongs to no exchange came while one was there. */
  #catchUp(): void {
    while (!this.isTaken && !this.isRetired) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      next();
    }
    if (this.#isTickDue) this.onTick();
  }

  /** Something of the filter's own ran, which an isolated instance keeps: it is put back to that from now on. */
  #keepOwn(): void {
    this.#runDeferred();
    if (this.fault === undefined && !this.isTaken) this.isolation?.keepLater();
  }

  /** Writes down what was used since fuel was given last, and takes the rest back. Not while the guest runs. */
  settleFuel(): void {
    this.#exchangeFuel(0);
  }

  /** Gives fuel and writes down what was used of what was given before. One call for both: each costs as much as an empty callback. */
  #exchangeFuel(given: number): void {
    if (this.#gauge === undefined) return;
    const used = this.#given - this.#gauge.swap(given) + this.work.settle();
    this.#given = given;
    this.owner.fuelUsed += used;
    if (used > this.owner.callbackFuelMost && !this.#starting) this.owner.callbackFuelMost = used;
    if (this.#fuelWeight > 0) {
      this.owner.stats.callFuel.record(used, this.#fuelWeight);
      this.#fuelWeight = 0;
    }
    const spender = this.#spender;
    if (spender !== undefined && spender.epoch === this.#spenderEpoch) spender.fuelUsed += used;
    this.#spender = undefined;
  }

  /** Most that an exchange used so far: what its last callback used is not looked at before it matters. */
  #mostUsed(context: StreamContext): number {
    return this.#spender === context ? context.fuelUsed + this.#given + this.work.owed : context.fuelUsed;
  }

  /** Has the exchange fuel left for a callback that answers a verdict? */
  hasFuel(context: StreamContext): boolean {
    if (this.owner.fuelUsed >= this.owner.fuelLimit) return false;
    const { exchangeFuel } = this.#budget;
    // A stream may go on for days: each of its callbacks has its own.
    if (context.isStream) return true;
    if (this.#mostUsed(context) < exchangeFuel) return true;
    this.settleFuel();
    return context.fuelUsed < exchangeFuel;
  }

  /** `payer`: the exchange that it is for, without limit unless `isLimited`. */
  #giveFuel(payer: StreamContext | undefined, isLimited: boolean): void {
    const { callbackFuel, exchangeFuel } = this.#budget;
    if (payer === undefined) {
      this.#exchangeFuel(callbackFuel);
      return;
    }
    let given = callbackFuel;
    if (isLimited && !payer.isStream && this.#mostUsed(payer) + callbackFuel > exchangeFuel) {
      this.settleFuel();
      given = Math.min(callbackFuel, exchangeFuel - payer.fuelUsed);
    }
    this.#exchangeFuel(given);
    this.#spender = payer;
    this.#spenderEpoch = payer.epoch;
  }

  /** Of the effective context. */
  get exchange(): FilterExchange | undefined {
    return this.active?.exchange;
  }

  /**
   * Breaks the instance from within a host call. The guest is not to go on, but nothing may be thrown into it: it could catch
   * that. Without fuel it traps at its next step.
   */
  stop(reason: string): void {
    this.fault ??= reason;
    this.#gauge?.swap(-1);
  }

  breakOff(reason: string): void {
    this.stop(reason);
    this.inside = false;
  }

  /** What a trap was about, in words that are the same on every runtime. */
  describe(error: unknown): string {
    const kind = this.#gauge?.classify();
    if (kind === "depth") return TOO_DEEP;
    if (kind !== "fuel") return describeTrap(error);
    const { callbackFuel } = this.#budget;
    if (this.#starting) return outOfStartFuel(this.#given, this.#gauge?.reserve ?? 0);
    return outOfFuel(this.#given, this.#given < callbackFuel ? "in one exchange" : "in one callback");
  }

  /**
   * Runs a callback. Answers its number, 0 when it answered none; look at `fault` before believing it. Whatever the guest
   * throws is a fault; also what a host call marked as one, even if the guest caught it.
   */
  enter(phase: string, callback: GuestCallback, context: StreamContext | undefined, a: number, b: number, c: number): number {
    if (this.fault !== undefined) return 0;
    const { owner } = this;
    if (this.inside) return this.#refuseReentry(phase);
    const weight = this.#timingWeight(context);
    const payer = this.#calloutPayer ?? context;
    const isTimed = payer?.isTimed === true;
    const startMs = weight > 0 || isTimed ? owner.options.clock.nowMs() : 0;
    // What only tidies up after an exchange must always be able to.
    const isLimited = payer !== context || payer?.answering !== undefined;
    if (!this.#starting) {
      this.#giveFuel(payer, isLimited);
      this.#fuelWeight = weight;
    }
    this.inside = true;
    this.active = context;
    this.#hostCalls = 0;
    // A stream may go on for days: each of its callbacks has its own.
    this.#hostCallsMax = hostCallsLeft(this.#budget, isLimited && payer?.isStream === false ? payer.hostCalls : undefined);
    let result: unknown;
    try {
      result = callback(a, b, c);
    } catch (error) {
      this.fault ??= this.describe(error);
    }
    const ms = weight > 0 || isTimed ? owner.options.clock.nowMs() - startMs : 0;
    if (isTimed) payer.spentMs += ms;
    if (isLimited && payer !== undefined) payer.hostCalls += this.#hostCalls;
    return this.#leave(phase, result, weight, ms);
  }

  /** How many calls the time of this one stands for; 0: counted, not timed; -1: neither. */
  #timingWeight(context: StreamContext | undefined): number {
    if (context === undefined) return 1;
    // Only those that answer a verdict, and the plugin's own, are in the metrics.
    if (context.answering === undefined) return -1;
    if (--this.#untilTimed > 0) return 0;
    this.#untilTimed = TIMED_EVERY;
    return TIMED_EVERY;
  }

  #leave(phase: string, result: unknown, weight: number, ms: number): number {
    const { owner } = this;
    this.inside = false;
    this.active = undefined;
    owner.calls++;
    if (weight >= 0) owner.stats.onCall(phase, ms * 1000, this.#starting ? 0 : weight);
    if (typeof result === "bigint") this.fault ??= wrongType(`proxy_on_${phase}`);
    if (this.fault !== undefined) {
      owner.onFault(this);
      return 0;
    }
    if (this.#deferred.length > 0) this.#later(() => this.#runDeferred());
    return typeof result === "number" ? result : 0;
  }

  #refuseReentry(phase: string): number {
    this.fault = reentered(`proxy_on_${phase}`);
    return 0;
  }

  /** After the callback that is on the stack: what must not happen inside a chain call or would enter the guest twice. */
  defer(action: () => void): void {
    this.isBound = true;
    this.#deferred.push(action);
  }

  #runDeferred(): void {
    const actions = this.#deferred;
    this.#deferred = [];
    for (const action of actions) this.owner.guard(this, action);
  }

  #later(action: () => void): void {
    queueMicrotask(() => this.owner.guard(this, action));
  }

  /** At the start of every host call. Undefined: over the budget, or the memory is not there yet. */
  beginHostCall(): GuestMemory | undefined {
    if (++this.#hostCalls > this.#hostCallsMax || this.fault !== undefined) {
      if (this.#hostCalls === this.#hostCallsMax + 1) this.owner.stats.onFault("budget");
      return undefined;
    }
    if (this.#starting) this.#given += this.#gauge?.refill() ?? 0;
    this.memory?.refresh();
    return this.memory;
  }

  /** What a host call answers, on its way to the guest. */
  answerCall(status: number): number {
    if (status === INVALID_MEMORY_ACCESS) this.owner.stats.onFault("pointer");
    return status;
  }

  /** A host call threw: there was no fuel for it, a bug of ours, or a guest that let the stack run out in it. Never passed on into the guest. */
  onHostError(error: unknown): number {
    this.stop(error instanceof OutOfFuel ? this.describe(error) : hostFailure(error));
    return INTERNAL_FAILURE;
  }

  /** Registers a call-out of a context; undefined: of the plugin itself. */
  openCallout(context: StreamContext | undefined, gate: CalloutGate): number {
    const id = this.#nextCalloutId;
    this.#nextCalloutId = id >= 0x7fff_ffff ? 1 : id + 1;
    this.#callouts.set(id, { context, epoch: context?.epoch ?? 0, gate, ofExchange: this.isTaken });
    return id;
  }

  /** What hears of a call-out's answer. */
  answerer(id: number): (answer: CalloutAnswer | undefined) => void {
    const callout = this.#callouts.get(id);
    // An isolated instance uses ids again: an answer that comes late is not that of another call.
    return (answer) => {
      if (callout !== undefined && this.#callouts.get(id) === callout) this.onCalloutAnswer(id, answer);
    };
  }

  forgetCallout(id: number): void {
    const callout = this.#callouts.get(id);
    if (callout === undefined) return;
    callout.gate.end();
    this.#callouts.delete(id);
  }

  /** Call-outs of the plugin itself that are under way. */
  get rootCallouts(): number {
    let count = 0;
    for (const callout of this.#callouts.values()) if (callout.context === undefined) count++;
    return count;
  }

  /** A call-out's answer, undefined when it failed. What comes after its context is closed does nothing. */
  onCalloutAnswer(id: number, answer: CalloutAnswer | undefined): void {
    const callout = this.#callouts.get(id);
    if (callout === undefined) return;
    if (callout.context === undefined && !this.isRetired && !this.owner.hasShare()) {
      this.owner.putOff(this, this.answerer(id).bind(undefined, answer));
      return;
    }
    if (this.inside) {
      this.#later(() => this.answerer(id)(answer));
      return;
    }
    if (this.isTaken && !callout.ofExchange) {
      this.#waiting.push(() => this.onCalloutAnswer(id, answer));
      return;
    }
    this.forgetCallout(id);
    callout.context?.callouts?.delete(id);
    if (callout.context !== undefined && callout.context.epoch !== callout.epoch) return;
    const callback = this.callbacks.httpCallResponse;
    if (callback === undefined || this.fault !== undefined) return;
    if (this.isolation !== undefined && this.isRetired && callout.context === undefined) return;
    if (callout.context !== undefined && !this.hasFuel(callout.context)) {
      callout.context.exchange?.fail(callout.context, this.owner.fuelReason(), "fuel");
      return;
    }
    this.answer = answer;
    this.#calloutPayer = callout.context;
    const headers = answer?.headers.length ?? 0;
    const body = answer?.body.byteLength ?? 0;
    const trailers = answer?.trailers?.length ?? 0;
    this.enter("http_call_response", (a, b, c) => callback(a, b, c, body, trailers), undefined, ROOT_CONTEXT_ID, id, headers);
    this.answer = undefined;
    this.#calloutPayer = undefined;
    if (callout.ofExchange) this.#runDeferred();
    else this.#keepOwn();
  }

  onTick(): void {
    const { tick } = this.callbacks;
    if (tick === undefined || this.fault !== undefined || this.inside || this.isRetired) return;
    this.#isTickDue = this.isTaken;
    if (this.#isTickDue) return;
    this.enter("tick", tick, undefined, ROOT_CONTEXT_ID, 0, 0);
    this.#keepOwn();
  }

  /** An item came. Not while an exchange has an isolated instance (`canHear`). */
  onQueueReady(queueId: number): void {
    const { queueReady } = this.callbacks;
    if (queueReady === undefined || this.fault !== undefined || this.inside) return;
    if (!this.#sharesNothing) this.isolation?.settle();
    this.enter("queue_ready", queueReady, undefined, ROOT_CONTEXT_ID, queueId, 0);
    if (this.fault === undefined) this.settleFuel();
    if (this.#sharesNothing) this.#keepOwn();
    else {
      // What is in there is of exchanges, maybe of other filters.
      this.#runDeferred();
      this.owner.onIdle(this);
    }
  }
}
