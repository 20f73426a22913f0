import { assert } from "../core/assert.ts";
import { type Bytes, EMPTY_BYTES } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import type { DeadlineQueue } from "../core/deadline.ts";
import { Failure } from "../core/failure.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../core/head.ts";
import { STREAM_LIMITS } from "../core/limits.ts";
import { readAttribute, readStreamMessage } from "./attributes.ts";
import { ChainRun } from "./chain-run.ts";
import { FilterSlot, filterFailed, type Lane, type LetGo, type SlotOwner } from "./chain-slot.ts";
import type { ChainHost, ChainResult, FilterRun } from "./chain-types.ts";
import type { AttributeValue, CalloutAnswer, CalloutRequest, Direction, FilterModule, LocalResponse } from "./contract.ts";
import { SetAttributes } from "./set-attributes.ts";
import type { FaultKind } from "./stats.ts";

/** Idle chains kept for reuse. */
const POOLED_CHAINS = 1024;
const NOTHING_PASSED: LetGo = { bytes: 0, end: false, trailers: false };

/**
 * Runs the filters of one exchange: in order for the request, in reverse for the response.
 *
 *     const chain = chains.open(modules, this);                  // one ChainPool per worker
 *     switch (chain.requestHead(end)) {
 *       case "forward": return this.#pickUpstream();              // `request` was edited in place
 *       case "held":    return;                                   // onChainForward / onChainRespond / onChainFail follows
 *       case "respond": return this.#answer(chain.localResponse);
 *       case "failed":  return this.#fail(chain.failure);
 *     }
 *     // body: the same four answers; "forward": send chain.data, then the end if it was given
 *     chain.requestData(bytes, false); chain.requestEnd(trailers);
 *     // any answer (upstream's, a filter's, the proxy's own): set host.response, then
 *     chain.responseHead(end); chain.responseData(bytes, false); chain.responseEnd(trailers);
 *     chain.log(); chain.close();                               // back to the pool
 *
 * Local replies run as in Envoy: one made on the request side passes the response side of the filters that had seen the
 * request (the one that answered included); one made on the response side goes out as it is; after the head of an answer
 * was forwarded a filter can no longer answer: `failed`, and the exchange resets. A chain knows by itself which filters to
 * leave out, so the exchange treats every answer alike.
 */
export class FilterChain extends ChainRun implements SlotOwner {
  #attributes: SetAttributes | undefined;

  constructor(
    deadlines: DeadlineQueue,
    readonly recycle: (chain: FilterChain) => void,
  ) {
    super(deadlines);
  }

  /** For the pool only. */
  start(modules: readonly FilterModule[], host: ChainHost, clock: Clock | undefined): this {
    this.host = host;
    this.clock = clock;
    this.count = modules.length;
    for (let i = 0; i < modules.length; i++) {
      let slot = this.slots[i];
      if (slot === undefined) {
        slot = new FilterSlot(this);
        this.slots.push(slot);
      }
      slot.prepare(modules[i] as FilterModule, i, host.isStream === true ? STREAM_LIMITS.slackBytes : 0);
    }
    return this;
  }

  // ------------------------------------------------------------ what the exchange calls

  /** A request head arrived. `end`: no body follows. */
  requestHead(end: boolean): ChainResult {
    return this.leave(this.runHead("request", 0, end));
  }

  /** Every filter lets the pieces of this body pass as they are: nothing has to be made of them for the filters' sake. */
  passesData(direction: Direction): boolean {
    if (direction === "request" && this.over) return false;
    if (direction === "response" && this.bypass) return true;
    for (let i = 0; i < this.count; i++) {
      const slot = this.slots[i] as FilterSlot;
      const { context } = slot;
      if (slot.dead) continue;
      if (context === undefined) {
        if (direction === "request" && slot.module !== undefined) return false;
        continue;
      }
      if (context.wantsBody(direction) || slot.lane(direction).held !== "nothing") return false;
    }
    return true;
  }

  /** Some filter made this body longer or shorter so far: what its head declares is not true any more. */
  resizes(direction: Direction): boolean {
    for (let i = 0; i < this.count; i++) if ((this.slots[i] as FilterSlot).lane(direction).body.grownBytes !== 0) return true;
    return false;
  }

  /**
   * A body did not fit the length that is out already. Adds the filters that changed its length, or all that saw the exchange when it
   * was the declared length that one of them wrote; they count it as a fault.
   */
  blameLength(direction: Direction, failure: Failure): void {
    const resizes = this.resizes(direction);
    for (let i = 0; i < this.count; i++) {
      const slot = this.slots[i] as FilterSlot;
      if (resizes ? slot.lane(direction).body.grownBytes === 0 : !slot.opened) continue;
      slot.verdict = failure.code;
      slot.module?.stats.onFault("answer");
      failure.addAddress(`filter ${slot.module?.config.name}`);
    }
  }

  /** A piece of the request's body; with `end` also its end, without trailers. */
  requestData(bytes: Bytes, end: boolean): ChainResult {
    if (this.over) return "held";
    return this.leave(this.runData("request", 0, bytes, end));
  }

  /** The end of the request, when it did not come with the head or the last piece. */
  requestEnd(trailers: HeaderBlock | undefined): ChainResult {
    if (this.over) return "held";
    if (trailers === undefined) return this.leave(this.runData("request", 0, EMPTY_BYTES, true));
    this.requestTrailers = trailers;
    return this.leave(this.runTrailers("request", 0, EMPTY_BYTES));
  }

  /** An answer's head (not 1xx) stands in `host.response`. A second one replaces an answer that a filter still held, and passes no filter. */
  responseHead(end: boolean): ChainResult {
    if (this.responseStarted) {
      this.stopLanes("response");
      this.bypass = true;
    }
    this.responseStarted = true;
    if (this.bypass) {
      this.responseHeadOut = true;
      return "forward";
    }
    return this.leave(this.runHead("response", 0, end));
  }

  responseData(bytes: Bytes, end: boolean): ChainResult {
    if (!this.bypass) return this.leave(this.runData("response", 0, bytes, end));
    this.data = bytes;
    return "forward";
  }

  responseEnd(trailers: HeaderBlock | undefined): ChainResult {
    this.responseTrailers = trailers;
    this.data = EMPTY_BYTES;
    if (this.bypass) return "forward";
    if (trailers === undefined) return this.leave(this.runData("response", 0, EMPTY_BYTES, true));
    return this.leave(this.runTrailers("response", 0, EMPTY_BYTES));
  }

  /** The connection of a stream with one of its sides is over. */
  sideClosed(side: "downstream" | "upstream", byPeer: boolean): void {
    for (let i = 0; i < this.count; i++) {
      const slot = this.slots[i] as FilterSlot;
      const problem = slot.tell(side, byPeer);
      if (problem !== undefined) this.#afterwards(() => this.failSlot(slot, problem, undefined));
    }
  }

  /** The exchange is over and its facts are final: each filter's last look. */
  log(): void {
    for (let i = 0; i < this.count; i++) this.slots[i]?.tell("log", false);
    if (this.clock === undefined) return;
    for (let i = 0; i < this.count; i++) this.slots[i]?.readSpent();
  }

  /** Closes every context; nothing is called afterwards. The object goes back to its pool: forget it. Idempotent. */
  close(): void {
    if (this.host === undefined) return;
    this.epoch++;
    for (let i = 0; i < this.count; i++) {
      const slot = this.slots[i] as FilterSlot;
      const { context, module } = slot;
      this.release(slot.requestLane);
      this.release(slot.responseLane);
      if (slot.opened) slot.module?.stats.onVerdict(slot.verdict);
      slot.context = undefined;
      slot.module = undefined;
      // With the host still there: its call-outs are cancelled, and its last callbacks may look at the exchange.
      if (context !== undefined && module !== undefined) slot.closeContext(context, module);
    }
    this.host = undefined;
    this.count = 0;
    this.#reset();
    this.recycle(this);
  }

  /** Each filter that saw the request, in order, as of `log`; made on demand. */
  runs(): readonly FilterRun[] {
    const ran: FilterRun[] = [];
    const isTimed = this.clock !== undefined;
    for (let i = 0; i < this.count; i++) {
      const { opened, module, verdict, spentMs, spentFuel, requestLane, responseLane } = this.slots[i] as FilterSlot;
      if (!opened) continue;
      const waitedMs = requestLane.waitedMs + responseLane.waitedMs;
      const used = isTimed ? { spentMs, fuel: spentFuel } : { spentMs: undefined, fuel: undefined };
      ran.push({ name: module?.config.name ?? "", verdict, waitedMs, ...used });
    }
    return ran;
  }

  /** Texts that filters set as attributes `selvedge.log.NAME`; undefined: none. */
  get notes(): ReadonlyMap<string, string> | undefined {
    return this.#attributes?.notes;
  }

  #reset(): void {
    this.data = EMPTY_BYTES;
    this.localResponse = undefined;
    this.answerer = "";
    this.clock = undefined;
    this.failure = undefined;
    this.targetChanged = false;
    this.requestTrailers = undefined;
    this.responseTrailers = undefined;
    this.over = false;
    this.bypass = false;
    this.responseStarted = false;
    this.responseHeadOut = false;
    this.requestSourcePaused = false;
    this.responseSourcePaused = false;
    this.#attributes = undefined;
  }

  // ------------------------------------------------------------ what filters call (SlotOwner)

  get request(): RequestHead {
    assert(this.host !== undefined, "a filter used a closed chain");
    return this.host.request;
  }
  get response(): ResponseHead | undefined {
    return this.host?.response;
  }
  get isStream(): boolean {
    return this.host?.isStream === true;
  }

  attributeOf(_slot: FilterSlot, path: readonly string[]): AttributeValue | undefined {
    if (this.host === undefined) return undefined;
    if (this.isStream && (path[0] === "request" || path[0] === "response")) return readStreamMessage(path, this.host.facts);
    // What the proxy knows comes first: a filter cannot forge `source.address` for those behind it.
    return readAttribute(path, this, this.host.facts) ?? this.#attributes?.get(path);
  }

  setAttribute(slot: FilterSlot, path: readonly string[], value: Bytes): boolean {
    this.#attributes ??= new SetAttributes();
    return this.#attributes.set(slot.attributes, path, value);
  }

  calloutSlot(slot: FilterSlot, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number {
    const { host, epoch } = this;
    const { module } = slot;
    if (host === undefined || module === undefined) return 0;
    const onAnswer = (answer: CalloutAnswer | undefined): void => {
      try {
        done(answer);
      } catch (error) {
        const isThere = this.epoch === epoch;
        const reason = module.onThrown(error, isThere ? slot.context : undefined);
        if (isThere) this.failSlot(slot, reason, undefined);
      }
    };
    try {
      return host.callout(module.config, request, onAnswer);
    } catch (error) {
      // A call that could not be made; whoever asks for it has something to put back.
      module.onThrown(error);
      return 0;
    }
  }
  cancelCallout(id: number): void {
    this.host?.cancelCallout(id);
  }

  resumeSlot(slot: FilterSlot, direction: Direction): void {
    const lane = slot.lane(direction);
    if (slot.running) lane.resumed = true;
    else if (this.#mayAct(slot, () => this.resumeSlot(slot, direction)) && lane.held !== "nothing") this.#resume(slot, lane);
  }

  replaySlot(slot: FilterSlot): void {
    const { requestLane } = slot;
    if (this.#mayAct(slot, () => this.replaySlot(slot)) && requestLane.held === "head") this.#resume(slot, requestLane, true);
  }

  respondSlot(slot: FilterSlot, response: LocalResponse): void {
    if (slot.running) {
      slot.pendingResponse ??= response;
      return;
    }
    // One that held an answer in whose place another one goes out has nothing to answer any more.
    if (!this.#mayAct(slot, () => this.respondSlot(slot, response)) || this.over || this.bypass) return;
    this.#emit("request", this.answer(slot, response), false, false);
  }

  failSlot(slot: FilterSlot, reason: string, fault: FaultKind | undefined): void {
    if (slot.running) {
      if (fault !== undefined) slot.module?.stats.onFault(fault);
      slot.pendingFailure ??= reason;
      return;
    }
    if (!this.#mayAct(slot, () => this.failSlot(slot, reason, fault))) return;
    if (fault !== undefined) slot.module?.stats.onFault(fault);
    this.#fail(slot, filterFailed(slot, reason));
  }

  timeoutSlot(slot: FilterSlot, direction: Direction): void {
    this.#contained(() => this.#timeout(slot, direction));
  }

  #timeout(slot: FilterSlot, direction: Direction): void {
    const lane = slot.lane(direction);
    if (this.host === undefined || slot.dead || lane.held === "nothing") return;
    slot.module?.stats.onFault("deadline");
    const { waitsFor } = slot.context ?? {};
    const why = waitsFor === undefined ? "" : `: ${waitsFor}`;
    const ms = slot.module?.config.budget.pauseMs;
    this.#fail(slot, new Failure("filter_timeout", `paused the ${direction} for more than ${ms} ms${why}`));
  }

  /**
   * False when the slot is out of the game. While another filter's callback of this exchange is on the stack, `again` comes
   * after it: the exchange must hear the answer of the chain call first.
   */
  #mayAct(slot: FilterSlot, again: () => void): boolean {
    if (this.host === undefined || slot.dead) return false;
    if (!this.running) return true;
    this.#afterwards(again);
    return false;
  }

  /** After what is on the stack, unless the exchange is over by then. */
  #afterwards(action: () => void): void {
    const { epoch } = this;
    queueMicrotask(() => {
      if (this.epoch === epoch) this.#contained(action);
    });
  }

  /** What begins with nothing of the exchange on the stack. */
  #contained(action: () => void): void {
    const { host } = this;
    try {
      action();
    } catch (error) {
      if (host === undefined) throw error;
      host.onBug(error);
    }
  }

  #fail(slot: FilterSlot, failure: Failure): void {
    if (this.break(slot, failure) === "failed") {
      // An answer that passes no filter is none of theirs to end.
      if (!this.bypass) this.#emit("request", "failed", false, false);
      return;
    }
    const epoch = this.epoch;
    for (const lane of [slot.requestLane, slot.responseLane]) {
      if (lane.held !== "nothing" && this.epoch === epoch) this.#resume(slot, lane);
    }
  }

  /** Goes on behind a filter that paused: the head first, then what waited behind it. `isReplay`: with that filter, which saw nothing of it. */
  #resume(slot: FilterSlot, lane: Lane, isReplay = false): void {
    const { direction, held, trailers, end, headEnd, headAlone } = lane;
    const next = (direction === "request" ? slot.index : this.count - 1 - slot.index) + 1;
    const { epoch } = this;
    // What of the body passed this filter already: nothing, unless it held the head alone; then all, or what it let go.
    const passed = headAlone
      ? (lane.letGo ?? { bytes: lane.body.length, end, trailers: trailers || lane.trailersAdded })
      : NOTHING_PASSED;
    const body = this.unhold(lane);
    let result: ChainResult;
    if (held === "head") {
      lane.trailers = false;
      result = this.leave(this.runHead(direction, isReplay ? next - 1 : next, headEnd));
      let head = result === "forward";
      if (head || result === "held") {
        if (passed.bytes > 0 || (passed.end && !headEnd)) {
          result = this.#sendOn(direction, next, body.subarray(0, passed.bytes), passed.end, passed.trailers);
          this.#emit(direction, result, head, passed.end);
          head = false;
        }
        if (this.epoch !== epoch || result === "respond" || result === "failed") return;
        // The rest of what waited meets this filter now, as if it came only after the head had gone on.
        const rest = body.subarray(passed.bytes);
        if (rest.byteLength > 0 || (end && !passed.end && !headEnd))
          this.#emit(direction, this.#sendOn(direction, next - 1, rest, end, trailers), head, end);
        else if (head) this.#emitHead(direction, headEnd);
      } else this.#emit(direction, result, false, false);
    } else {
      const behindTrailers = held === "trailers" || lane.trailersAdded;
      result = behindTrailers ? this.runTrailers(direction, next, body) : this.runData(direction, next, body, end);
      this.#emit(direction, this.leave(result), false, end);
    }
    if (this.epoch === epoch) this.resumeSource(direction);
  }

  #sendOn(direction: Direction, from: number, body: Bytes, end: boolean, trailers: boolean): ChainResult {
    return this.leave(trailers ? this.runTrailers(direction, from, body) : this.runData(direction, from, body, end));
  }

  protected resumeLater(slot: FilterSlot, lane: Lane): void {
    this.#afterwards(() => {
      if (lane.letGo !== undefined) this.#resume(slot, lane);
    });
  }

  /** Tells the exchange what came of something that happened outside a chain call. */
  #emit(direction: Direction, result: ChainResult, head: boolean, end: boolean): void {
    const { host, epoch } = this;
    if (host === undefined) return;
    if (result === "forward") host.onChainForward(direction, head, this.data, end);
    else if (result === "held" && head) this.#emitHead(direction, false);
    else if (result === "respond" && this.localResponse !== undefined) host.onChainRespond(this.localResponse);
    else if (result === "failed" && this.failure !== undefined) host.onChainFail(this.failure);
    if (result === "forward" || result === "held" || this.epoch !== epoch) return;
    this.resumeSource("request");
    this.resumeSource("response");
  }

  #emitHead(direction: Direction, end: boolean): void {
    this.host?.onChainForward(direction, true, EMPTY_BYTES, end);
  }
}

/** Chains of one worker, reused. */
export class ChainPool {
  readonly #free: FilterChain[] = [];
  readonly #recycle = (chain: FilterChain): void => {
    if (this.#free.length < POOLED_CHAINS) this.#free.push(chain);
  };

  /** `clock`: what times filters when that is asked for; must be exact. */
  constructor(
    readonly deadlines: DeadlineQueue,
    readonly clock?: Clock,
  ) {}

  /**
   * A chain for one exchange; `close` gives it back. `modules` in the order of configuration; read during the call only. `isTimed`:
   * somebody will read `runs`.
   */
  open(modules: readonly FilterModule[], host: ChainHost, isTimed = false): FilterChain {
    const chain = this.#free.pop() ?? new FilterChain(this.deadlines, this.#recycle);
    return chain.start(modules, host, isTimed ? this.clock : undefined);
  }
}
