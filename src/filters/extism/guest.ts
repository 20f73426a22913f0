import type { FilterConfig } from "../../config/snapshot.ts";
import { type Bytes, utf8Text } from "../../core/bytes.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { FilterExchange } from "../contract.ts";
import { GuestChance } from "../guest/chance.ts";
import { describeTrap, hostFailure, outOfFuel, outOfStartFuel, TOO_DEEP } from "../guest/faults.ts";
import { type FuelGauge, firstFuel } from "../guest/fuel.ts";
import type { Grants } from "../guest/grants.ts";
import { type Isolation, newIsolation } from "../guest/isolation.ts";
import type { GuestMemory } from "../guest/memory.ts";
import type { SharedNamespace } from "../guest/shared.ts";
import { OK } from "../proxy-wasm/abi.ts";
import type { FaultKind, FilterStats } from "../stats.ts";
import type { ExtismContext } from "./context.ts";
import type { ExtismOptions } from "./host.ts";
import { Kernel, type KernelHost } from "./kernel.ts";
import type { Transforms } from "./settings.ts";

/** Of the calls one in so many is timed and counts for all: reading the clock costs more than an empty one. */
const TIMED_EVERY = 13;
/** What a plug-in says went wrong, as the log has it. */
const ERROR_BYTES = 200;

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
  onContextEnd(guest: ExtismGuest, context: ExtismContext): void;
}

/** One instance of a plug-in with its shared memory. It is entered once at a time; after a fault never again. */
export class ExtismGuest implements KernelHost {
  readonly kernel: Kernel;
  callbacks: GuestCallbacks = NO_CALLBACKS;
  readonly chance: GuestChance;
  readonly namespace: SharedNamespace;
  readonly isolation: Isolation | undefined;
  readonly contexts = new Set<ExtismContext>();
  /** Why it is broken; undefined: it is not. */
  fault: string | undefined;
  /** Why the last call has no answer, though nothing broke. */
  refusal = "";
  /** What that counts as. */
  refusalKind: FaultKind = "answer";
  /** A call is on the stack. */
  inside = false;
  bornMs = 0;
  lastLog = "";
  /** Its own memory; undefined: it has none, or does not export it. */
  memory: GuestMemory | undefined;
  /** Which the call on the stack is for. */
  exchange: FilterExchange | undefined;
  #gauge: FuelGauge | undefined;
  #isStarting = true;
  #given: number;
  #hostCalls = 0;
  /** The most of the call at hand. */
  #hostCallsMax = 0;
  #untilTimed = TIMED_EVERY;

  constructor(readonly owner: GuestOwner) {
    const { budget } = owner.config;
    this.kernel = new Kernel(this, budget.memoryBytes);
    this.chance = new GuestChance(owner.grants);
    this.namespace = owner.newNamespace();
    this.isolation = newIsolation(owner, this.namespace, this.chance);
    this.#given = firstFuel(budget);
  }

  /** Runs the module's start function; look at `fault`. */
  begin(gauge: FuelGauge): void {
    this.#gauge = gauge;
    this.isolation?.add(gauge.exports);
    this.#run(() => gauge.start());
  }

  attach(memory: GuestMemory | undefined, callbacks: GuestCallbacks): void {
    this.memory = memory;
    this.callbacks = callbacks;
  }

  get memoryBytes(): number {
    return this.kernel.memory.sizeBytes + (this.memory?.sizeBytes ?? 0);
  }

  /** Each call was settled when it ended. */
  settle(): void {}

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
    const used = this.#given - Math.max(0, this.#gauge?.swap(0) ?? 0);
    this.#given = 0;
    this.owner.fuelUsed += used;
    return used;
  }

  /**
   * Calls a function of the plug-in and answers its output, "" when it has none. Undefined: look at `fault`, then at `refusal`.
   * `payer`: the exchange that it is for.
   */
  call(phase: string, callback: GuestFunction, input: string | Bytes, payer?: ExtismContext): string | undefined {
    const { owner } = this;
    if (this.fault !== undefined) return undefined;
    if (this.inside) {
      this.fault = `${phase} would have entered a running instance`;
      return undefined;
    }
    if (!this.kernel.begin(input)) {
      this.refusal = "what it is to see is larger than the memory that it shares with the host";
      this.refusalKind = "budget";
      return undefined;
    }
    const weight = --this.#untilTimed <= 0 ? TIMED_EVERY : 0;
    if (weight > 0) this.#untilTimed = TIMED_EVERY;
    const isTimed = payer?.isTimed === true;
    const startMs = weight > 0 || isTimed ? owner.options.clock.nowMs() : 0;
    this.#giveFuel(payer);
    this.exchange = payer?.exchange;
    const { hostCallsPerCallback, hostCallsPerExchange } = owner.config.budget;
    const left = payer === undefined ? hostCallsPerCallback : hostCallsPerExchange - payer.hostCalls;
    this.#hostCallsMax = Math.min(left, hostCallsPerCallback);
    const result = this.#run(callback);
    this.exchange = undefined;
    const ms = weight > 0 || isTimed ? owner.options.clock.nowMs() - startMs : 0;
    owner.calls++;
    owner.stats.onCall(phase, ms * 1000, this.#isStarting ? 0 : weight);
    if (typeof result === "bigint") this.fault ??= `${phase} has the wrong type`;
    const used = this.#isStarting ? 0 : this.#settle();
    if (used > owner.callbackFuelMost) owner.callbackFuelMost = used;
    if (weight > 0 && !this.#isStarting) owner.stats.callFuel.record(used, weight);
    if (payer !== undefined) {
      payer.fuelUsed += used;
      payer.hostCalls += Math.min(this.#hostCalls, this.#hostCallsMax);
      payer.spentMs += ms;
    }
    if (this.fault !== undefined) {
      owner.onFault(this);
      return undefined;
    }
    return this.#readOutput(result);
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
    this.#gauge?.swap(given);
  }

  #run(callback: GuestFunction): unknown {
    this.inside = true;
    this.#hostCalls = 0;
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
    const size = kernel.findOutput();
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
    return outOfFuel(this.#given, this.#given < this.owner.config.budget.callbackFuel ? "in one exchange" : "in one callback");
  }

  /**
   * Breaks the instance from within a host call. Nothing may be thrown into the guest, which could catch it: without fuel it
   * traps at its next step.
   */
  stop(reason: string): void {
    this.fault ??= reason;
    this.#gauge?.swap(-1);
  }

  /** Counts a call of the host; false: too many, or it is broken already. */
  mayCallHost(): boolean {
    if (this.fault !== undefined) return false;
    if (this.#isStarting) this.#given += this.#gauge?.refill() ?? 0;
    return ++this.#hostCalls <= this.#hostCallsMax;
  }

  /** A host call threw: a bug of ours, or a guest that let the stack run out in it. Never passed on into the guest. */
  onHostError(error: unknown): void {
    this.stop(hostFailure(error));
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
      if (size >>> 0 > PROXY_WASM_LIMITS.nameBytes) this.stop("the name of a variable is too long");
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

  http(): void {
    this.stop("http_request is not offered: a filter may not wait for an answer in the middle of a call");
  }
}
