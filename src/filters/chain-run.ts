import { type Bytes, EMPTY_BYTES } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import type { DeadlineQueue } from "../core/deadline.ts";
import { Failure } from "../core/failure.ts";
import type { HeaderBlock } from "../core/head.ts";
import { type FilterSlot, filterFailed, type HeldAt, type Lane } from "./chain-slot.ts";
import type { ChainHost, ChainResult } from "./chain-types.ts";
import { CONTINUE, type Direction, type FilterContext, type FilterModule, type LocalResponse, type Verdict } from "./contract.ts";

/**
 * The engine of a chain: sends heads, pieces and ends from filter to filter, keeps what a pause holds, and turns verdicts
 * into what becomes of the message. `chain.ts` is the side that exchanges and filters talk to.
 */
export abstract class ChainRun {
  /** After `forward` of data or end: what goes on. Valid until the next chain call. */
  data: Bytes = EMPTY_BYTES;
  /** After `respond`. */
  localResponse: LocalResponse | undefined;
  /** The filter that answered. */
  answerer = "";
  /** After `failed`. */
  failure: Failure | undefined;
  /** A filter wrote the path, query or authority: normalise again before sending; the route stays as it was chosen. */
  targetChanged = false;
  /** Trailers as the filters left them. */
  requestTrailers: HeaderBlock | undefined;
  responseTrailers: HeaderBlock | undefined;

  protected readonly slots: FilterSlot[] = [];
  protected count = 0;
  protected host: ChainHost | undefined;
  /** Set when somebody wants to know how long each filter takes in this exchange. */
  clock: Clock | undefined;
  /** Grows with every close, so that what comes late finds a stranger. */
  protected epoch = 0;
  protected running = false;
  /** A filter answered or failed: the request goes nowhere any more. */
  protected over = false;
  /** The answer at hand passes no filter. */
  protected bypass = false;
  protected responseStarted = false;
  protected responseHeadOut = false;
  protected requestSourcePaused = false;
  protected responseSourcePaused = false;
  constructor(readonly deadlines: DeadlineQueue) {}

  // ------------------------------------------------------------ running the filters

  protected leave(result: ChainResult): ChainResult {
    this.running = false;
    return result;
  }

  /** The slot at a position of a direction; undefined when it takes no part. */
  protected slotAt(direction: Direction, position: number): FilterSlot | undefined {
    const slot = this.slots[direction === "request" ? position : this.count - 1 - position] as FilterSlot;
    if (slot.dead) return undefined;
    if (slot.context === undefined) {
      // Like Envoy: a filter that never saw the request does not see the answer either.
      if (direction === "response" || slot.module === undefined) return undefined;
      slot.open(slot.module);
    }
    return slot;
  }

  protected runHead(direction: Direction, from: number, end: boolean): ChainResult {
    this.running = true;
    for (let position = from; position < this.count; position++) {
      const slot = this.slotAt(direction, position);
      if (slot?.context === undefined) continue;
      const lane = slot.lane(direction);
      lane.headEnd = end;
      lane.resumed = false;
      const verdict = slot.ask(slot.context, direction === "request" ? "requestHead" : "responseHead", end);
      const result = this.judge(slot, lane, verdict, "head");
      if (result !== "forward") return result;
    }
    if (direction === "response") this.responseHeadOut = true;
    return "forward";
  }

  protected runData(direction: Direction, from: number, bytes: Bytes, end: boolean): ChainResult {
    this.running = true;
    this.data = bytes;
    for (let position = from; position < this.count; position++) {
      const slot = this.slotAt(direction, position);
      if (slot?.context === undefined) continue;
      const lane = slot.lane(direction);
      const result = this.stepData(slot, slot.context, lane, this.data, end);
      if (result !== "forward") return result;
      if (lane.trailersAdded) return this.runTrailers(direction, position + 1, this.data);
    }
    return "forward";
  }

  /** One filter, one piece. On `forward`, what goes on stands in `data`. */
  protected stepData(slot: FilterSlot, context: FilterContext, lane: Lane, bytes: Bytes, end: boolean): ChainResult {
    const wanted = context.wantsBody(lane.direction);
    if (lane.held === "head" && !(wanted && lane.showsBody)) return this.store(slot, lane, bytes, end);
    if (!wanted) {
      this.data = bytes;
      return "forward";
    }
    if (lane.held === "nothing") lane.body.borrow(bytes);
    else if (!lane.body.append(bytes)) return this.failTooLarge(slot, lane);
    lane.end = end;
    lane.resumed = false;
    const verdict = slot.ask(context, lane.direction === "request" ? "requestData" : "responseData", end);
    const result = this.judge(slot, lane, verdict, "data");
    if (result === "held") {
      if (!lane.body.keep()) return this.failTooLarge(slot, lane);
      if (this.isFull(slot, lane)) this.waitFull(slot, lane);
      return "held";
    }
    if (result === "forward" && lane.held === "head") return this.letGoOfHead(slot, lane, lane.trailersAdded);
    if (result === "forward") this.data = this.unhold(lane);
    return result;
  }

  /**
   * A filter continues behind a head that it held alone: that goes on too, with all that waits. Not within this call, whose answer is about the
   * body only, but as out of any other pause.
   */
  protected letGoOfHead(slot: FilterSlot, lane: Lane, trailers: boolean): ChainResult {
    lane.letGo = { bytes: lane.body.length, end: lane.end, trailers };
    this.resumeLater(slot, lane);
    return "held";
  }

  /** Goes on behind a filter that let go of its head, as soon as the stack is empty. */
  protected abstract resumeLater(slot: FilterSlot, lane: Lane): void;

  /** A filter holds as much of a stream as it may. */
  protected isFull(slot: FilterSlot, lane: Lane): boolean {
    if (this.host?.isStream !== true || lane.held !== "data") return false;
    return lane.body.length >= (slot.module as FilterModule).config.budget.bufferBytes;
  }

  /** The peer of a stream has nothing to fear from a filter that is slow: it waits. Now only the filter can end the pause. */
  protected waitFull(slot: FilterSlot, lane: Lane): void {
    this.pauseSource(lane.direction);
    this.deadlines.arm(lane.deadline, (slot.module as FilterModule).config.budget.pauseMs);
  }

  /** `carry`: body bytes that filters before this one let go only now. */
  protected runTrailers(direction: Direction, from: number, carry: Bytes): ChainResult {
    this.running = true;
    this.data = carry;
    for (let position = from; position < this.count; position++) {
      const slot = this.slotAt(direction, position);
      if (slot?.context === undefined) continue;
      const lane = slot.lane(direction);
      const result = this.stepTrailers(slot, slot.context, lane);
      if (result !== "forward") return result;
    }
    return "forward";
  }

  protected stepTrailers(slot: FilterSlot, context: FilterContext, lane: Lane): ChainResult {
    if (lane.held === "head" && !(lane.showsBody && context.wantsTrailers(lane.direction))) {
      lane.trailers = true;
      return this.store(slot, lane, this.data, true);
    }
    if (this.data.byteLength > 0) {
      const result = this.stepData(slot, context, lane, this.data, false);
      if (result === "respond" || result === "failed") return result;
      if (result === "held") this.data = EMPTY_BYTES;
      if (lane.letGo !== undefined) {
        lane.trailers = true;
        return this.store(slot, lane, EMPTY_BYTES, true);
      }
      if (slot.dead) return "forward";
    }
    if (lane.held === "head") lane.trailers = true;
    lane.end = true;
    lane.resumed = false;
    const verdict = slot.ask(context, lane.direction === "request" ? "requestTrailers" : "responseTrailers", true);
    // What this filter let go a moment ago waits with the trailers if it pauses now.
    const passed = this.data;
    const held = lane.held !== "nothing";
    const result = this.judge(slot, lane, verdict, "trailers");
    if (result === "forward" && lane.held === "head") return this.letGoOfHead(slot, lane, true);
    if (result === "held" && !lane.body.append(passed)) return this.failTooLarge(slot, lane);
    if (result === "forward" && held) this.data = this.unhold(lane);
    return result;
  }

  /** Body bytes that come while the head is held wait untouched; the source is asked to stop, unless the filter waits for what is behind them. */
  protected store(slot: FilterSlot, lane: Lane, bytes: Bytes, end: boolean): ChainResult {
    if (!lane.body.append(bytes)) return this.failTooLarge(slot, lane);
    lane.end = end;
    if (!end) {
      if (!lane.showsBody) this.pauseSource(lane.direction);
      // Only the filter can end the pause now.
    } else if (lane.headAlone) this.deadlines.arm(lane.deadline, (slot.module as FilterModule).config.budget.pauseMs);
    return "held";
  }

  /** Turns a verdict and what else the filter did during its callback into what becomes of the message. */
  protected judge(slot: FilterSlot, lane: Lane, verdict: Verdict, at: HeldAt): ChainResult {
    const { pendingFailure, pendingResponse } = slot;
    if (verdict === CONTINUE && pendingFailure === undefined && pendingResponse === undefined) return "forward";
    slot.pendingFailure = undefined;
    slot.pendingResponse = undefined;
    if (pendingFailure !== undefined) return this.break(slot, filterFailed(slot, pendingFailure));
    if (verdict.kind === "fail") {
      if (verdict.fault !== undefined) slot.module?.stats.onFault(verdict.fault);
      return this.break(slot, filterFailed(slot, verdict.reason));
    }
    if (verdict.kind === "disabled") return this.break(slot, new Failure("filter_disabled"));
    if (pendingResponse !== undefined) return this.answer(slot, pendingResponse);
    if (verdict.kind === "respond") return this.answer(slot, verdict);
    if (verdict.kind === "continue" || lane.resumed) return "forward";
    if (lane.held !== "head") lane.held = at;
    // Of a head behind which it sees nothing, only the filter itself can let go.
    if (at === "head") lane.headAlone = verdict.headAlone === true && seesBehindHead(slot.context, lane.direction);
    if (slot.verdict === "continue") slot.verdict = "pause";
    // A filter that collects a body waits for the peer, whose own time-outs count, until the end is there.
    const { pauseMs } = (slot.module as FilterModule).config.budget;
    const isCollecting = (at === "data" || lane.headAlone) && !lane.end && !lane.headEnd;
    if (!isCollecting) {
      this.deadlines.arm(lane.deadline, pauseMs);
      if (this.clock !== undefined) lane.beginWait(this.clock);
    }
    return "held";
  }

  /** The filter's `onFailure` applies: `forward` without it from now on, or `failed`. */
  protected break(slot: FilterSlot, failure: Failure): ChainResult {
    const module = slot.module as FilterModule;
    const { config } = module;
    slot.dead = true;
    slot.verdict = failure.code;
    slot.readSpent();
    // Closed at once, so that its call-outs end and nothing it does later reaches this exchange.
    const { context } = slot;
    slot.context = undefined;
    if (context !== undefined) slot.closeContext(context, module);
    if (config.onFailure === "open") return "forward";
    return this.failWith(failure.addAddress(`filter ${config.name}`));
  }

  protected failTooLarge(slot: FilterSlot, lane: Lane): ChainResult {
    const { config } = slot.module as FilterModule;
    const code = lane.direction === "request" ? "filter_body_too_large" : "filter_reply_too_large";
    slot.verdict = code;
    slot.module?.stats.onFault("budget");
    return this.failWith(new Failure(code, `more than ${config.budget.bufferBytes} bytes`).addAddress(`filter ${config.name}`));
  }

  protected failWith(failure: Failure): ChainResult {
    this.failure = failure;
    this.finish();
    return "failed";
  }

  protected answer(slot: FilterSlot, response: LocalResponse): ChainResult {
    if (this.responseHeadOut) {
      slot.verdict = "filter_failed";
      slot.module?.stats.onFault("answer");
      const failure = new Failure("filter_failed", "answered after the head of an answer was sent");
      return this.failWith(failure.addAddress(`filter ${slot.module?.config.name}`));
    }
    slot.verdict = "respond";
    this.answerer = slot.module?.config.name ?? "";
    this.localResponse = response;
    this.finish();
    return "respond";
  }

  /** Nothing that is under way goes on. */
  protected finish(): void {
    this.over = true;
    this.stopLanes("request");
    this.stopLanes("response");
  }

  protected stopLanes(direction: Direction): void {
    for (let i = 0; i < this.count; i++) this.release((this.slots[i] as FilterSlot).lane(direction));
  }

  /** Ends a pause and hands over the body that was held. */
  protected unhold(lane: Lane): Bytes {
    if (lane.held !== "nothing") {
      lane.clearHold();
      if (this.clock !== undefined) lane.endWait(this.clock);
      this.deadlines.disarm(lane.deadline);
    }
    return lane.body.take();
  }

  protected release(lane: Lane): void {
    if (lane.held === "nothing") return;
    lane.clearHold();
    if (this.clock !== undefined) lane.endWait(this.clock);
    lane.body.clear();
    this.deadlines.disarm(lane.deadline);
  }

  protected pauseSource(direction: Direction): void {
    if (direction === "request" ? this.requestSourcePaused : this.responseSourcePaused) return;
    if (direction === "request") this.requestSourcePaused = true;
    else this.responseSourcePaused = true;
    this.host?.pauseSource(direction);
  }

  protected resumeSource(direction: Direction): void {
    if (!(direction === "request" ? this.requestSourcePaused : this.responseSourcePaused)) return;
    for (let i = 0; i < this.count; i++) {
      const slot = this.slots[i] as FilterSlot;
      const lane = slot.lane(direction);
      if ((lane.held === "head" && !lane.headAlone) || this.isFull(slot, lane)) return;
    }
    if (direction === "request") this.requestSourcePaused = false;
    else this.responseSourcePaused = false;
    this.host?.resumeSource(direction);
  }
}

/** Does a filter that holds the head alone have a callback for what follows? Each of them can end the pause. */
function seesBehindHead(context: FilterContext | undefined, direction: Direction): boolean {
  return context !== undefined && (context.wantsBody(direction) || context.wantsTrailers(direction));
}
