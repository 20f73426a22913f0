import type { FilterConfig } from "../../config/snapshot.ts";
import { type Bytes, utf8Text } from "../../core/bytes.ts";
import { hostCallsLeft } from "../../core/host-calls.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { FilterExchange } from "../contract.ts";
import { GuestChance } from "../guest/chance.ts";
import {
  describeTrap,
  hostFailure,
  outOfFuel,
  outOfStartFuel,
  reentered,
  TOO_DEEP,
  TOO_MANY_HOST_CALLS,
  wrongType,
} from "../guest/faults.ts";
import { type FuelGauge, firstFuel } from "../guest/fuel.ts";
import type { Grants } from "../guest/grants.ts";
import { type Isolation, newIsolation } from "../guest/isolation.ts";
import type { GuestMemory } from "../guest/memory.ts";
import type { SharedNamespace } from "../guest/shared.ts";
import { HostWork, OutOfFuel } from "../guest/work.ts";
import { OK } from "../proxy-wasm/abi.ts";
import type { FaultKind, FilterStats } from "../stats.ts";
import type { ExtismContext } from "./context.ts";
import type { ExtismOptions } from "./host.ts";
import { GuestHttp } from "./http.ts";
import { Kernel, type KernelHost } from "./kernel.ts";
import type { Transforms } from "./settings.ts";
import { suspension } from "./suspension.ts";

/** Of the calls one in so many is timed and counts for all: reading the clock costs more than an empty one. */
const TIMED_EVERY = 13;
/** What a plug-in says went wrong, as the log has it. */
const ERROR_BYTES = 200;

/** Answers a promise when its plug-in may wait (`GuestOwner.waits`); not so `configure`. */
export type GuestFunction = () => unknown;

/** The exports that are called; undefined: there is none. */
export interface GuestCallbacks {
  readonly configure: GuestFunction | undefined;
  readonly request: GuestFunction | undefined;
  readonly requestBody: GuestFunction | undefined;
  readonly response: GuestFunction | undefined;
  readonly responseBody: GuestFunction | undefined;
}

export const NO_CALLBACKS: GuestCallbacks = {
  configure: undefined,
  request: undefined,
  requestBody: undefined,
  response: undefined,
  responseBody: undefined,
};

/** What an instance needs of its module. */
export interface GuestOwner {
  readonly config: FilterConfig;
  readonly options: ExtismOptions;
  /** The filter's. */
  readonly namespace: SharedNamespace;
  /** What an instance shares data in. */
  newNamespace(): SharedNamespace;
  readonly grants: Grants;
  readonly settings: ReadonlyMap<string, Bytes>;
  readonly transforms: Transforms;
  /** Callbacks of exchanges may wait for `http_request`: each is alone in its instance. */
  readonly waits: boolean;
  readonly stats: FilterStats;
  calls: number;
  callbackFuelMost: number;
  /** All fuel that its instances used so far. */
  fuelUsed: number;
  /** Where the share of this second ends. */
  readonly fuelLimit: number;
  /** Why there is no fuel for an exchange. */
  fuelReason(): string;
  log(level: number, message: string, exchange: FilterExchange | undefined): void;
  logLevel(): number;
  /** Wall-clock time in ns: whole milliseconds unless the filter may see more. */
  timeNanos(): bigint;
  /** Monotonic time in ns, likewise. */
  monotonicNanos(): bigint;
  onFault(guest: ExtismGuest): void;
  /** Runs what no chain stands around. */
  guard(guest: ExtismGuest, action: () => void): void;
  guardContext(context: ExtismContext, action: () => void): void;
  /** An instance broke after a call to a service that has no answer: no fault of its own. */
  onLost(guest: ExtismGuest): void;
  /** A callback ended whose exchange was over before (`ExtismGuest.abandon`). */
  onAbandonedEnd(guest: ExtismGuest): void;
  onContextEnd(guest: ExtismGuest, context: ExtismContext): void;
}

/** One instance of a plug-in with its shared memory. It is entered once at a time; after a fault never again. */
export class ExtismGuest implements KernelHost {
  readonly work = new HostWork();
  readonly kernel: Kernel;
  readonly http = new GuestHttp(this);
  callbacks: GuestCallbacks = NO_CALLBACKS;
  readonly chance: GuestChance;
  readonly namespace: SharedNamespace;
  readonly isolation: Isolation | undefined;
  readonly contexts = new Set<ExtismContext>();
  /** Why it is broken; undefined: it is not. */
  fault: string | undefined;
  /** Why a call to a service in this callback has no answer: what it says after that does not count. "": each has one. */
  unanswered = "";
  /** The exchange of the callback that runs or waits is over. */
  isAbandoned = false;
  /** Why the last call has no answer, though nothing broke. */
  refusal = "";
  /** What that counts as. */
  refusalKind: FaultKind = "answer";
  /** A call is on the stack, or waits. */
  inside = false;
  bornMs = 0;
  lastLog = "";
  /** Its own memory; undefined: it has none, or does not export it. */
  memory: GuestMemory | undefined;
  /** Which the call on the stack is for. */
  exchange: FilterExchange | undefined;
  #gauge: FuelGauge | undefined;
  #isStarting = true;
  /** Fuel of this call: what it got, what was settled of it when it waited, and what is to be settled when it ends. */
  #budgeted = 0;
  #settled = 0;
  #given: number;
  #hostCalls = 0;
  /** The most of the call at hand. */
  #hostCallsMax: number;
  #untilTimed = TIMED_EVERY;
  /** Calls that this one stands for; 0: it counts no time. */
  #weight = 0;
  #isTimed = false;
  /** Time that this call took before it waited, and since when it runs. */
  #ms = 0;
  #startMs = 0;
  #payer: ExtismContext | undefined;

  constructor(readonly owner: GuestOwner) {
    const { budget } = owner.config;
    const { Suspending } = suspension ?? {};
    const canSuspend = owner.waits && Suspending !== undefined;
    this.kernel = new Kernel(this, budget.memoryBytes, this.work, canSuspend ? (wait) => new Suspending(wait) : undefined);
    this.chance = new GuestChance(owner.grants);
    this.namespace = owner.newNamespace();
    this.isolation = newIsolation(owner, this.namespace, this.chance);
    this.#given = firstFuel(budget);
    this.#hostCallsMax = budget.hostCallsPerCallback;
  }

  /** Runs the module's start function; look at `fault`. */
  begin(gauge: FuelGauge): void {
    this.#gauge = gauge;
    this.work.addTank(gauge);
    this.isolation?.add(gauge.exports);
    this.#run(() => gauge.start());
  }

  attach(memory: GuestMemory | undefined, callbacks: GuestCallbacks): void {
    this.memory = memory;
    this.callbacks = callbacks;
  }

  get memoryBytes(): number {
    return this.kernel.memory.sizeBytes + (this.memory?.sizeBytes ?? 0) + (this.isolation?.keptBytes ?? 0);
  }

  /** Each call was settled when it ended. */
  settle(): void {}

  breakOff(reason: string): void {
    this.stop(reason);
    this.inside = false;
    this.#payer = undefined;
    this.exchange = undefined;
  }

  /** It does nothing by itself. */
  retire(): void {}

  restore(): string | undefined {
    // Empties the blocks, which the next call would do.
    this.kernel.begin("");
    this.lastLog = "";
    return this.isolation?.restore();
  }

  /** It is configured: from now on each call has fuel of its own. */
  endStart(): void {
    this.#isStarting = false;
    this.chance.endStart();
    this.#settle();
    this.isolation?.keep();
  }

  /** Takes back what is left of the fuel; answers what was used. */
  #settle(): number {
    const used = this.#given - Math.max(0, this.#gauge?.swap(0) ?? 0) + this.work.settle();
    this.#given = 0;
    this.owner.fuelUsed += used;
    return used;
  }

  /**
   * Calls a function of the plug-in and answers its output, "" when it has none. Undefined: look at `fault`, then at `refusal`.
   * `payer`: the exchange that it is for.
   */
  call(phase: string, callback: GuestFunction, input: string | Bytes, payer?: ExtismContext): string | undefined {
    if (!this.#enter(phase, input, payer)) return undefined;
    return this.#leave(phase, this.#run(callback));
  }

  /**
   * The same for a function that may wait; `done` gets what `call` answers, later and once, and must not throw. False: as undefined there, and `done` does
   * not come.
   */
  callWaiting(
    phase: string,
    callback: GuestFunction,
    input: string | Bytes,
    payer: ExtismContext,
    done: (output: string | undefined) => void,
  ): boolean {
    if (!this.#enter(phase, input, payer)) return false;
    this.inside = true;
    const end = (result: unknown): void => {
      let output: string | undefined;
      this.owner.guard(this, () => {
        this.inside = false;
        output = this.#leave(phase, result);
      });
      done(output);
    };
    startWaiting(callback).then(end, (error) => {
      this.owner.guard(this, () => {
        this.fault ??= this.#describe(error);
      });
      end(undefined);
    });
    return true;
  }

  #enter(phase: string, input: string | Bytes, payer: ExtismContext | undefined): boolean {
    if (this.fault !== undefined) return false;
    if (this.inside) {
      this.fault = reentered(phase);
      return false;
    }
    if (!this.kernel.begin(input)) {
      this.refusal = "what it is to see is larger than the memory that it shares with the host";
      this.refusalKind = "budget";
      return false;
    }
    this.http.reset();
    this.unanswered = "";
    this.isAbandoned = false;
    this.#hostCalls = 0;
    this.#weight = --this.#untilTimed <= 0 ? TIMED_EVERY : 0;
    if (this.#weight > 0) this.#untilTimed = TIMED_EVERY;
    this.#isTimed = this.#weight > 0 || payer?.isTimed === true;
    this.#ms = 0;
    if (this.#isTimed) this.#startMs = this.owner.options.clock.nowMs();
    this.#giveFuel(payer);
    this.#payer = payer;
    this.exchange = payer?.exchange;
    this.#hostCallsMax = hostCallsLeft(this.owner.config.budget, payer?.hostCalls);
    return true;
  }

  #leave(phase: string, result: unknown): string | undefined {
    const { owner } = this;
    const payer = this.#payer;
    const weight = this.#isStarting ? 0 : this.#weight;
    this.#payer = undefined;
    this.exchange = undefined;
    if (this.#isTimed) this.#ms += owner.options.clock.nowMs() - this.#startMs;
    owner.calls++;
    owner.stats.onCall(phase, this.#ms * 1000, weight);
    if (typeof result === "bigint") this.fault ??= wrongType(phase);
    this.kernel.end();
    const rest = this.#isStarting ? 0 : this.#settle();
    const used = this.#settled + rest;
    if (used > owner.callbackFuelMost) owner.callbackFuelMost = used;
    if (weight > 0) owner.stats.callFuel.record(used, weight);
    if (payer !== undefined) {
      payer.fuelUsed += rest;
      payer.spentMs += this.#ms;
      payer.hostCalls += Math.min(this.#hostCalls, this.#hostCallsMax);
    }
    if (this.fault !== undefined) {
      if (this.unanswered !== "") owner.onLost(this);
      else owner.onFault(this);
      return undefined;
    }
    if (this.unanswered === "") return this.#readOutput(result);
    this.refusal = this.unanswered;
    this.refusalKind = "callout";
    return undefined;
  }

  /** The call on the stack waits: what it used so far counts from now on, and the time that it waits is not its own. */
  suspend(): void {
    const { owner } = this;
    const left = Math.max(0, this.#gauge?.swap(0) ?? 0);
    this.#gauge?.swap(left);
    const used = this.#given - left + this.work.settle();
    this.#given = left;
    this.#settled += used;
    owner.fuelUsed += used;
    if (this.#payer !== undefined) this.#payer.fuelUsed += used;
    if (this.#isTimed) this.#ms += owner.options.clock.nowMs() - this.#startMs;
  }

  /** It goes on. */
  resume(): void {
    if (this.#isTimed) this.#startMs = this.owner.options.clock.nowMs();
  }

  /** The exchange that it runs for is over. It ends what it has begun, with the answer that it waits for: only so can it be used again. */
  abandon(): void {
    this.#payer = undefined;
    this.exchange = undefined;
    this.isAbandoned = true;
  }

  /** Runs a function without input or output, as part of the start. */
  start(phase: string, callback: GuestFunction): void {
    this.call(phase, callback, "");
    if (this.fault !== undefined) throw new Error(this.fault);
  }

  #giveFuel(payer: ExtismContext | undefined): void {
    if (this.#isStarting) return;
    const { callbackFuel, exchangeFuel } = this.owner.config.budget;
    const given = payer === undefined ? callbackFuel : Math.min(callbackFuel, exchangeFuel - payer.fuelUsed);
    this.#given = given;
    this.#budgeted = given;
    this.#settled = 0;
    this.#gauge?.swap(given);
  }

  #run(callback: GuestFunction): unknown {
    this.inside = true;
    try {
      return callback();
    } catch (error) {
      this.fault ??= this.#describe(error);
      return undefined;
    } finally {
      this.inside = false;
    }
  }

  #readOutput(result: unknown): string | undefined {
    const { kernel } = this;
    const error = kernel.error(ERROR_BYTES);
    if (error !== undefined || (typeof result === "number" && result !== 0)) {
      this.refusal = `the filter failed: ${error ?? `it answered ${String(result)}`}`;
      this.refusalKind = "failed";
      return undefined;
    }
    const size = kernel.outputSize;
    if (size < 0) {
      this.refusal = "its output lies outside of its memory";
      this.refusalKind = "pointer";
      return undefined;
    }
    if (size > this.owner.config.budget.outputBytes) {
      this.refusal = "the filter's answer is larger than its budget";
      this.refusalKind = "budget";
      return undefined;
    }
    return size === 0 ? "" : kernel.output();
  }

  /** What a trap was about, in words that are the same on every runtime. */
  #describe(error: unknown): string {
    const kind = this.#gauge?.classify();
    if (kind === "depth") return TOO_DEEP;
    if (kind !== "fuel") return describeTrap(error);
    if (this.#isStarting) return outOfStartFuel(this.#given, this.#gauge?.reserve ?? 0);
    const { callbackFuel } = this.owner.config.budget;
    return outOfFuel(this.#budgeted, this.#budgeted < callbackFuel ? "in one exchange" : "in one callback");
  }

  /**
   * Breaks the instance from within a host call. Nothing may be thrown into the guest, which could catch it: without fuel it
   * traps at its next step.
   */
  stop(reason: string): void {
    this.fault ??= reason;
    this.#gauge?.swap(-1);
  }

  /** Counts a call of the host; false: too many, which breaks it (most calls have no answer that says so), or it is broken already. */
  mayCallHost(): boolean {
    if (this.fault !== undefined) return false;
    if (this.#isStarting) this.#given += this.#gauge?.refill() ?? 0;
    if (++this.#hostCalls <= this.#hostCallsMax) return true;
    this.stop(TOO_MANY_HOST_CALLS);
    return false;
  }

  /** A host call threw: there was no fuel for it, a bug of ours, or a guest that let the stack run out in it. Never passed on into the guest. */
  onHostError(error: unknown): void {
    this.stop(error instanceof OutOfFuel ? this.#describe(error) : hostFailure(error));
  }

  // ------------------------------------------------------------ what the kernel asks for (KernelHost)

  configGet(at: number, size: number): number {
    const { settings } = this.owner;
    if (settings.size > 0) return this.#answer(at, size, (name) => settings.get(name));
    // Plug-ins ask at every call: that there are none is told without reading a name.
    this.mayCallHost();
    return 0;
  }

  varGet(at: number, size: number): number {
    return this.#answer(at, size, (name) => this.namespace.get(name)?.value);
  }

  #answer(at: number, size: number, find: (name: string) => Bytes | undefined): number {
    if (!this.mayCallHost() || size === 0 || size >>> 0 > PROXY_WASM_LIMITS.nameBytes) return 0;
    try {
      const found = find(this.kernel.text(at, size));
      return found === undefined ? 0 : this.kernel.place(found);
    } catch (error) {
      this.onHostError(error);
      return 0;
    }
  }

  varSet(at: number, size: number, valueAt: number, valueSize: number): void {
    if (!this.mayCallHost() || size === 0) return;
    try {
      const { namespace } = this;
      const { config } = this.owner;
      const name = this.kernel.text(at, Math.min(size >>> 0, PROXY_WASM_LIMITS.nameBytes));
      if (size >>> 0 > PROXY_WASM_LIMITS.nameBytes)
        this.stop(`more than ${PROXY_WASM_LIMITS.nameBytes} bytes in the name of a variable`);
      else if (valueSize === 0) namespace.delete(name);
      else if (valueSize >>> 0 > config.budget.sharedDataBytes) this.stop("its variables are larger than its budget");
      else if (namespace.set(name, this.kernel.copy(valueAt, valueSize), 0, config.budget) !== OK)
        this.stop("its variables are larger than its budget");
    } catch (error) {
      this.onHostError(error);
    }
  }

  log(level: number, at: number, size: number): void {
    if (!this.mayCallHost() || size === 0 || !this.owner.grants.may("log")) return;
    try {
      const length = Math.min(size >>> 0, PROXY_WASM_LIMITS.logLineBytes);
      this.lastLog = utf8Text(this.kernel.copy(at, length));
      this.owner.log(level, this.lastLog, this.exchange);
    } catch (error) {
      this.onHostError(error);
    }
  }

  logLevel(): number {
    return this.owner.logLevel();
  }
}

/** A function that could not even begin fails as one that trapped. */
function startWaiting(callback: GuestFunction): Promise<unknown> {
  try {
    return callback() as Promise<unknown>;
  } catch (error) {
    return Promise.reject(error);
  }
}
