import type { HeaderBlock } from "../../core/head.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import {
  type BodyBuffer,
  type CalloutAnswer,
  CONTINUE,
  type Direction,
  type FilterContext,
  type FilterExchange,
  PAUSE,
  type Verdict,
} from "../contract.ts";
import type { CalloutGate, Grants } from "../guest/grants.ts";
import { HeadBudget } from "../guest/head-budget.ts";
import { refusalOf } from "../guest/pool.ts";
import { describeAnswer } from "./callouts.ts";
import { EDITED, type EditResult, type GuestHeader, INVALID, listHeaders, NOT_NOW, OVER_BUDGET, type Part } from "./edits.ts";
import type { ComponentFunction } from "./functions.ts";
import type { ComponentGuest } from "./guest.ts";
import type { TaggedValue } from "./types-cases.ts";
import { readVerdict } from "./verdict.ts";

/** Which heads may be changed right now. */
interface Hands {
  requestHead: boolean;
  responseHead: boolean;
}

/** One exchange in one instance. Reused by its module; `epoch` tells one life from the next. */
export class ComponentContext implements FilterContext {
  id = 0;
  epoch = 0;
  /** Undefined once closed: then no host call reaches the exchange any more. */
  exchange: FilterExchange | undefined;
  guest: ComponentGuest | undefined;
  readonly hands: Hands = { requestHead: false, responseHead: false };
  /** The body of the callback that is on the stack. */
  body: BodyBuffer | undefined;
  bodyOf: Direction = "request";
  /** The trailers of the callback that is on the stack. */
  trailers: HeaderBlock | undefined;
  /** Whose trailers these are. */
  trailersOf: Direction = "request";
  /** Calls under way: our id → the exchange's, and what counts them. */
  readonly calls = new Map<number, { readonly theirs: number; readonly gate: CalloutGate | undefined }>();
  /** What waits for this filter's word. */
  #paused: Direction | undefined;
  /** Fuel that its callbacks used so far. */
  fuelUsed = 0;
  /** Calls to the host so far, in callbacks that answer a verdict. */
  hostCalls = 0;
  /** Of the exchange: whether each callback is timed. */
  isTimed = false;
  spentMs = 0;
  #refusal = "";
  #outputBytes = 0;
  readonly #head = new HeadBudget();
  #done = false;

  open(guest: ComponentGuest, exchange: FilterExchange): void {
    this.guest = guest;
    this.exchange = exchange;
    this.isTimed = exchange.isTimed;
    guest.addContext(this);
  }

  /** A context without an instance: it fails every callback. */
  refuse(reason: string, exchange: FilterExchange): void {
    this.#refusal = reason;
    this.exchange = exchange;
  }

  get instance(): ComponentGuest | undefined {
    return this.guest;
  }

  wantsBody(direction: Direction): boolean {
    const { guest } = this;
    if (guest === undefined) return true;
    return (direction === "request" ? guest.callbacks.requestBody : guest.callbacks.responseBody) !== undefined;
  }
  wantsTrailers(): boolean {
    return true;
  }

  onRequestHead(end: boolean): Verdict {
    const { guest, hands } = this;
    if (guest === undefined) return this.#refused();
    const { requestHead } = guest.callbacks;
    if (requestHead === undefined && guest.fault === undefined) return CONTINUE;
    hands.requestHead = true;
    const verdict = this.#ask(guest, "request", "request_head", requestHead, [this.id, this, end]);
    if (verdict !== PAUSE) hands.requestHead = false;
    return verdict;
  }

  onResponseHead(end: boolean): Verdict {
    const { guest, hands } = this;
    if (guest === undefined) return this.#refused();
    const { responseHead } = guest.callbacks;
    if (responseHead === undefined && guest.fault === undefined) return CONTINUE;
    hands.responseHead = true;
    const verdict = this.#ask(guest, "response", "response_head", responseHead, [this.id, this, this, end]);
    if (verdict !== PAUSE) hands.responseHead = false;
    return verdict;
  }

  onRequestData(end: boolean): Verdict {
    return this.#onData("request", "request_body", this.guest?.callbacks.requestBody, end);
  }
  onResponseData(end: boolean): Verdict {
    return this.#onData("response", "response_body", this.guest?.callbacks.responseBody, end);
  }

  #onData(direction: Direction, phase: string, callback: ComponentFunction | undefined, end: boolean): Verdict {
    const { guest, exchange } = this;
    if (guest === undefined || exchange === undefined) return this.#refused();
    this.bodyOf = direction;
    this.body = exchange.body(direction);
    const verdict = this.#ask(guest, direction, phase, callback, [this.id, this, end]);
    this.body = undefined;
    return verdict;
  }

  onRequestTrailers(): Verdict {
    return this.#onTrailers("request", "request_trailers", this.guest?.callbacks.requestTrailers);
  }
  onResponseTrailers(): Verdict {
    return this.#onTrailers("response", "response_trailers", this.guest?.callbacks.responseTrailers);
  }

  #onTrailers(direction: Direction, phase: string, callback: ComponentFunction | undefined): Verdict {
    const { guest, exchange } = this;
    if (guest === undefined || exchange === undefined) return this.#refused();
    if (callback === undefined && guest.fault === undefined) return CONTINUE;
    this.trailersOf = direction;
    this.trailers = direction === "request" ? exchange.requestTrailers : exchange.responseTrailers;
    const verdict = this.#ask(guest, direction, phase, callback, [this.id, this]);
    this.trailers = undefined;
    return verdict;
  }

  /** Runs a callback and turns its answer into a verdict. */
  #ask(
    guest: ComponentGuest,
    direction: Direction,
    phase: string,
    callback: ComponentFunction | undefined,
    args: readonly unknown[],
  ): Verdict {
    this.#paused = undefined;
    if (callback !== undefined && guest.fault === undefined && !guest.hasFuel(this)) {
      return { kind: "fail", reason: guest.owner.fuelReason(), fault: "fuel" };
    }
    const answer = callback === undefined ? undefined : guest.enter(phase, callback, args, this);
    if (guest.fault !== undefined) return { kind: "fail", reason: guest.fault };
    if (answer === undefined) return CONTINUE;
    const verdict = readVerdict(answer as TaggedValue, this);
    if (verdict === PAUSE) this.#paused = direction;
    return verdict;
  }

  spentFuel(): number {
    const { guest } = this;
    if (guest?.inside === false) guest.settleFuel();
    return this.fuelUsed;
  }

  #refused(): Verdict {
    return refusalOf(this.#refusal);
  }

  get grants(): Grants | undefined {
    return this.guest?.owner.grants;
  }

  #directionOf(part: Part): Direction {
    return part === "trailers" ? this.trailersOf : part;
  }
  mayRead(part: Part, name: string): boolean {
    return this.grants?.mayRead(this.#directionOf(part), name) === true;
  }
  mayWrite(part: Part, name: string): boolean {
    return this.grants?.mayWrite(this.#directionOf(part), name) === true;
  }
  list(part: Part, block: HeaderBlock | undefined): GuestHeader[] {
    return listHeaders(block, this.grants?.readable(this.#directionOf(part)));
  }

  /** The same for a field of a head or trailers, which have a bound of their own. */
  spendField(part: Part, bytes: number): boolean {
    return this.#head.take(this.#directionOf(part), 1, bytes) && this.spend(bytes + PROXY_WASM_LIMITS.headerOverheadBytes);
  }

  /** Counts bytes that the filter adds. False: over its budget. */
  spend(bytes: number): boolean {
    const limit = this.guest?.owner.config.budget.outputBytes ?? 0;
    if (this.#outputBytes + bytes > limit) {
      this.guest?.owner.stats.onFault("budget");
      return false;
    }
    this.#outputBytes += bytes;
    return true;
  }

  replaceBody(start: number, length: number, bytes: Uint8Array): EditResult {
    const { body } = this;
    if (body === undefined) return NOT_NOW;
    if (this.grants?.mayWriteBody(this.bodyOf) !== true) return INVALID;
    if (!this.spend(bytes.byteLength)) return OVER_BUDGET;
    this.guest?.meters.work.kept(body.moves(start, length, bytes.byteLength));
    return body.replace(start, length, bytes) ? EDITED : OVER_BUDGET;
  }

  /** The answer of a call that this exchange made; undefined: it failed. */
  onCallAnswer(call: number, answer: CalloutAnswer | undefined): void {
    const { guest, exchange } = this;
    const known = this.calls.get(call);
    this.calls.delete(call);
    known?.gate?.end();
    if (known === undefined || guest === undefined || exchange === undefined || guest.fault !== undefined) return;
    if (guest.inside) {
      this.#later(guest, () => {
        this.calls.set(call, { theirs: 0, gate: undefined });
        this.onCallAnswer(call, answer);
      });
      return;
    }
    const callback = guest.callbacks.callAnswer;
    if (callback === undefined) return;
    const direction = this.#paused;
    const verdict = this.#ask(guest, direction ?? "request", "call_answer", callback, [
      ...[this.id, call, describeAnswer(answer), this],
    ]);
    this.#paused = verdict === PAUSE ? direction : undefined;
    this.#obey(exchange, verdict, direction);
  }

  /** A verdict that comes outside a callback of the chain. */
  #obey(exchange: FilterExchange, verdict: Verdict, direction: Direction | undefined): void {
    if (verdict.kind === "pause") return;
    this.hands.requestHead = false;
    this.hands.responseHead = false;
    if (verdict.kind === "respond") exchange.respond(this, verdict);
    else if (verdict.kind === "fail") exchange.fail(this, verdict.reason, verdict.fault);
    else if (direction !== undefined) exchange.resume(this, direction);
  }

  onLog(): void {
    const { guest } = this;
    if (guest === undefined || guest.fault !== undefined || this.exchange === undefined || this.#done) return;
    this.#done = true;
    const { done } = guest.callbacks;
    if (done !== undefined) guest.enter("done", done, [this.id, this], undefined, this);
  }

  close(): void {
    const { guest, exchange } = this;
    if (exchange === undefined) return;
    if (guest?.inside === true) {
      this.#later(guest, () => this.close());
      return;
    }
    for (const { theirs, gate } of this.calls.values()) {
      gate?.end();
      exchange.cancelCallout(theirs);
    }
    this.onLog();
    this.#reset();
    if (guest === undefined) return;
    guest.contexts.delete(this.id);
    guest.owner.onContextEnd(guest, this);
  }

  /** After what is on the stack, unless it has ended by then. */
  #later(guest: ComponentGuest, action: () => void): void {
    const { epoch } = this;
    queueMicrotask(() => {
      if (this.epoch === epoch) guest.owner.guardContext(this, action);
    });
  }

  #reset(): void {
    this.guest = undefined;
    this.exchange = undefined;
    this.epoch++;
    this.hands.requestHead = false;
    this.hands.responseHead = false;
    this.calls.clear();
    this.#paused = undefined;
    this.#refusal = "the context is closed";
    this.#outputBytes = 0;
    this.#head.reset();
    this.fuelUsed = 0;
    this.hostCalls = 0;
    this.isTimed = false;
    this.spentMs = 0;
    this.#done = false;
  }
}
