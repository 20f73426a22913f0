import type { Bytes } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { Deadline } from "../core/deadline.ts";
import { Failure } from "../core/failure.ts";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../core/head.ts";
import { StageBody } from "./chain-body.ts";
import type {
  AttributeValue,
  BodyBuffer,
  CalloutAnswer,
  CalloutRequest,
  Direction,
  FilterContext,
  FilterExchange,
  FilterModule,
  LocalResponse,
  Verdict,
} from "./contract.ts";
import { FailedContext } from "./failed-context.ts";
import { guestWords } from "./guest/words.ts";
import { AttributeShare } from "./set-attributes.ts";
import type { FaultKind } from "./stats.ts";

/** Where a filter paused. */
export type HeldAt = "nothing" | "head" | "data" | "trailers";

/** What of a message a filter let go together with its head: so many bytes of the body that waited, and perhaps the end of it. */
export interface LetGo {
  readonly bytes: number;
  readonly end: boolean;
  readonly trailers: boolean;
}

/** One filter in one direction: what waits at it. */
export class Lane {
  held: HeldAt = "nothing";
  /** The head alone is held: the filter sees the body meanwhile. */
  headAlone = false;
  /** The filter let go of a head that was held alone, and of this behind it, a moment ago: it goes on when the stack is empty. */
  letGo: LetGo | undefined;
  /** The head that is held had no body. */
  headEnd = false;
  /** The end of the body arrived here and waits, or is in the filter's hands. */
  end = false;
  /** Trailers wait behind the held body. */
  trailers = false;
  /** The filter added trailers to a message without. */
  trailersAdded = false;
  /** `resume` came during the very callback that then paused. */
  resumed = false;
  /** Since when it waits for the filter; -1: it does not, or nobody wants to know. How long it waited before, ms. */
  #waitsSinceMs = -1;
  waitedMs = 0;
  readonly body = new StageBody();
  readonly deadline: Deadline;

  constructor(
    readonly direction: Direction,
    onDeadline: () => void,
  ) {
    this.deadline = new Deadline(onDeadline);
  }

  reset(limitBytes: number): void {
    this.clearHold();
    this.headEnd = false;
    this.end = false;
    this.trailers = false;
    this.trailersAdded = false;
    this.resumed = false;
    this.#waitsSinceMs = -1;
    this.waitedMs = 0;
    this.body.clear();
    this.body.limitBytes = limitBytes;
    this.body.grownBytes = 0;
  }

  clearHold(): void {
    this.held = "nothing";
    this.headAlone = false;
    this.letGo = undefined;
  }

  /** The filter sees what comes behind the head that is held. */
  get showsBody(): boolean {
    return this.held === "head" && this.headAlone && this.letGo === undefined;
  }

  beginWait(clock: Clock): void {
    if (this.#waitsSinceMs < 0) this.#waitsSinceMs = clock.nowMs();
  }

  endWait(clock: Clock): void {
    if (this.#waitsSinceMs < 0) return;
    this.waitedMs += clock.nowMs() - this.#waitsSinceMs;
    this.#waitsSinceMs = -1;
  }
}

/** A callback of a context that answers a verdict. */
export type Asked = "requestHead" | "requestData" | "requestTrailers" | "responseHead" | "responseData" | "responseTrailers";

/** What a slot needs from its chain. */
export interface SlotOwner {
  /** Time, while somebody wants to know how long filters take. */
  readonly clock: Clock | undefined;
  readonly isStream: boolean;
  readonly request: RequestHead;
  readonly response: ResponseHead | undefined;
  requestTrailers: HeaderBlock | undefined;
  responseTrailers: HeaderBlock | undefined;
  targetChanged: boolean;
  attributeOf(slot: FilterSlot, path: readonly string[]): AttributeValue | undefined;
  setAttribute(slot: FilterSlot, path: readonly string[], value: Bytes): boolean;
  resumeSlot(slot: FilterSlot, direction: Direction): void;
  replaySlot(slot: FilterSlot): void;
  respondSlot(slot: FilterSlot, response: LocalResponse): void;
  failSlot(slot: FilterSlot, reason: string, fault: FaultKind | undefined): void;
  timeoutSlot(slot: FilterSlot, direction: Direction): void;
  calloutSlot(slot: FilterSlot, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number;
  cancelCallout(id: number): void;
}

/** Why it failed, in words that may be its guest's. */
export function filterFailed(slot: FilterSlot, reason: string): Failure {
  return new Failure("filter_failed", slot.module === undefined ? reason : guestWords(slot.module.config, reason));
}

/** One filter of a chain with its context: the filter's view of the exchange. Reused with its chain. */
export class FilterSlot implements FilterExchange {
  module: FilterModule | undefined;
  context: FilterContext | undefined;
  /** Position in configuration order. */
  index = 0;
  /** It saw the request. */
  opened = false;
  /** It failed or timed out: left out from now on. */
  dead = false;
  /** A callback of it is on the stack. */
  running = false;
  /** Set during its own callback; they override the verdict. */
  pendingResponse: LocalResponse | undefined;
  pendingFailure: string | undefined;
  /** The strongest thing it answered, for metrics and the access log: `continue`, `pause`, `respond` or the code of a failure. */
  verdict = "continue";
  /** When the exchange is timed: what the filter used, as of `readSpent`. */
  spentMs = 0;
  spentFuel = 0;
  /** What the attributes that it set take. */
  readonly attributes = new AttributeShare();
  readonly requestLane: Lane;
  readonly responseLane: Lane;

  constructor(readonly owner: SlotOwner) {
    this.requestLane = new Lane("request", () => owner.timeoutSlot(this, "request"));
    this.responseLane = new Lane("response", () => owner.timeoutSlot(this, "response"));
  }

  /** `slackBytes`: what may come beyond the budget before a source that is told to wait does. */
  prepare(module: FilterModule, index: number, slackBytes: number): void {
    this.module = module;
    this.index = index;
    this.opened = false;
    this.dead = false;
    this.running = false;
    this.pendingResponse = undefined;
    this.pendingFailure = undefined;
    this.verdict = "continue";
    this.spentMs = 0;
    this.spentFuel = 0;
    this.attributes.reset();
    const { bufferBytes } = module.config.budget;
    this.requestLane.reset(bufferBytes + slackBytes);
    this.responseLane.reset(bufferBytes + slackBytes);
  }

  get isStream(): boolean {
    return this.owner.isStream;
  }

  get isTimed(): boolean {
    return this.owner.clock !== undefined;
  }

  // ------------------------------------------------------------ its context: whatever that throws ends here

  /** The first time it takes part. */
  open(module: FilterModule): void {
    this.opened = true;
    try {
      this.context = module.open(this);
    } catch (error) {
      // A fault that is counted already: the verdict has the reason alone.
      this.context = new FailedContext({ kind: "fail", reason: module.onThrown(error) });
    }
  }

  /** Calls a callback that answers a verdict. */
  ask(context: FilterContext, asked: Asked, end: boolean): Verdict {
    this.running = true;
    let verdict: Verdict;
    try {
      verdict = askContext(context, asked, end);
    } catch (error) {
      verdict = { kind: "fail", reason: this.#threw(error, context) };
    }
    this.running = false;
    return verdict;
  }

  /** Calls one that answers nothing. Undefined: it did not throw. */
  tell(event: "downstream" | "upstream" | "log", byPeer: boolean): string | undefined {
    const { context } = this;
    try {
      if (event === "log") context?.onLog();
      else context?.onSideClosed?.(event, byPeer);
    } catch (error) {
      return this.#threw(error, context);
    }
    return undefined;
  }

  /** Writes down what its context used so far: before that is closed, or read. */
  readSpent(): void {
    const { context } = this;
    if (context === undefined || this.owner.clock === undefined) return;
    this.spentMs = context.spentMs;
    try {
      this.spentFuel = context.spentFuel();
    } catch (error) {
      this.#threw(error, context);
    }
  }

  /** `module`: its own, which the slot may have let go of. */
  closeContext(context: FilterContext, module: FilterModule): void {
    try {
      context.close();
    } catch (error) {
      module.onThrown(error, context);
      closeBroken(context);
    }
  }

  #threw(error: unknown, context: FilterContext | undefined): string {
    return (this.module as FilterModule).onThrown(error, context);
  }

  // ------------------------------------------------------------ what its context sees (FilterExchange)

  lane(direction: Direction): Lane {
    return direction === "request" ? this.requestLane : this.responseLane;
  }

  get request(): RequestHead {
    return this.owner.request;
  }
  get response(): ResponseHead | undefined {
    return this.owner.response;
  }
  get requestTrailers(): HeaderBlock | undefined {
    return this.owner.requestTrailers;
  }
  get responseTrailers(): HeaderBlock | undefined {
    return this.owner.responseTrailers;
  }
  markTargetChanged(): void {
    this.owner.targetChanged = true;
  }
  body(direction: Direction): BodyBuffer {
    return this.lane(direction).body;
  }
  attribute(path: readonly string[]): AttributeValue | undefined {
    return this.owner.attributeOf(this, path);
  }
  setAttribute(path: readonly string[], value: Bytes): boolean {
    return this.owner.setAttribute(this, path, value);
  }
  isPaused(context: FilterContext, direction: Direction): boolean {
    return context === this.context && this.lane(direction).held !== "nothing";
  }
  resume(context: FilterContext, direction: Direction): void {
    if (context === this.context) this.owner.resumeSlot(this, direction);
  }
  replay(context: FilterContext, by: FilterContext): void {
    if (context !== this.context) return;
    this.context = by;
    this.owner.replaySlot(this);
  }
  respond(context: FilterContext, response: LocalResponse): void {
    if (context === this.context) this.owner.respondSlot(this, response);
  }
  fail(context: FilterContext, reason: string, fault?: FaultKind): void {
    if (context === this.context) this.owner.failSlot(this, reason, fault);
  }
  callout(request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number {
    return this.owner.calloutSlot(this, request, done);
  }
  cancelCallout(id: number): void {
    this.owner.cancelCallout(id);
  }
  addTrailers(direction: Direction): HeaderBlock | undefined {
    const lane = this.lane(direction);
    const { owner } = this;
    const present = direction === "request" ? owner.requestTrailers : owner.responseTrailers;
    if (present !== undefined || !lane.end || (lane.held === "head" && !lane.headAlone)) return present;
    const made = new HeaderBlock();
    lane.trailersAdded = true;
    if (direction === "request") owner.requestTrailers = made;
    else owner.responseTrailers = made;
    return made;
  }
}

function askContext(context: FilterContext, asked: Asked, end: boolean): Verdict {
  switch (asked) {
    case "requestHead":
      return context.onRequestHead(end);
    case "requestData":
      return context.onRequestData(end);
    case "requestTrailers":
      return context.onRequestTrailers();
    case "responseHead":
      return context.onResponseHead(end);
    case "responseData":
      return context.onResponseData(end);
    default:
      return context.onResponseTrailers();
  }
}

/** It threw when it was closed. Now that its instance is broken only what is ours is left to tidy up; what throws again is told already. */
function closeBroken(context: FilterContext): void {
  try {
    context.close();
  } catch {
    // Nothing of it can be used again.
  }
}
