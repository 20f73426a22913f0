import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import {
  CONTINUE,
  type Direction,
  type FilterContext,
  type FilterExchange,
  type LocalResponse,
  PAUSE,
  PAUSE_HEAD,
  type Verdict,
} from "../contract.ts";
import { HeadBudget } from "../guest/head-budget.ts";
import { refusalOf } from "../guest/pool.ts";
import { ACTION_CONTINUE, ACTION_PAUSE, PEER_LOCAL, PEER_REMOTE, ROOT_CONTEXT_ID } from "./abi.ts";
import type { GuestCallback } from "./callbacks.ts";
import type { GuestInstance } from "./instance.ts";

/** Fields that a request shows besides its header block: the pseudo headers. */
const REQUEST_PSEUDO_COUNT = 4;
const RESPONSE_PSEUDO_COUNT = 1;

/** What of the exchange is in the filter's hands right now: what it may change. */
interface Hands {
  requestHead: boolean;
  requestBody: boolean;
  requestTrailers: boolean;
  responseHead: boolean;
  responseBody: boolean;
  responseTrailers: boolean;
}

/** A stream context: one exchange, or one stream of bytes (TCP), in one instance. Reused by its module; `epoch` tells one life from the next. */
export class StreamContext implements FilterContext {
  id = 0;
  epoch = 0;
  /** Undefined once closed: then no host call reaches the exchange any more. */
  exchange: FilterExchange | undefined;
  guest: GuestInstance | undefined;
  /** Why there is no instance. */
  refusal = "";
  readonly hands: Hands = {
    requestHead: false,
    requestBody: false,
    requestTrailers: false,
    responseHead: false,
    responseBody: false,
    responseTrailers: false,
  };
  /** The direction of the callback on the stack whose answer is a verdict. */
  answering: Direction | undefined;
  /** `proxy_on_log` is on the stack: missing maps read as empty. */
  logging = false;
  pendingResponse: LocalResponse | undefined;
  /** `proxy_continue_stream` came for that very direction: a pause that the callback answers is over at once. */
  resumed = false;
  /** Fields that the filter wants in the answer (`selvedge.add_response_headers`). */
  readonly #answerNames: string[] = [];
  readonly #answerValues: string[] = [];
  #answerCount = 0;
  /** The answer's head passed: nothing more can be wanted in it. */
  responseSeen = false;
  readonly #head = new HeadBudget();
  /** Bytes added to headers and bodies so far. */
  outputBytes = 0;
  /** Fuel that its callbacks used so far, as far as its instance has looked. */
  fuelUsed = 0;
  /** Calls to the host so far, in callbacks that answer a verdict. */
  hostCalls = 0;
  /** Of the exchange: whether each callback is timed. */
  isTimed = false;
  /** A stream of bytes: it has the callbacks for those instead of those for heads and bodies. */
  isStream = false;
  spentMs = 0;
  /** Call-outs under way: our id → the exchange's. */
  callouts: Map<number, number> | undefined;
  /** `proxy_on_done` ran. `waiting`: it answered false, so the guest still needs the context. */
  done: "no" | "waiting" | "yes" = "no";

  open(guest: GuestInstance, exchange: FilterExchange): void {
    guest.isolation?.settle();
    const id = guest.contexts.add(this);
    this.guest = guest;
    this.exchange = exchange;
    this.isTimed = exchange.isTimed;
    this.isStream = exchange.isStream;
    const { contextCreate } = guest.callbacks;
    if (contextCreate !== undefined) guest.enter("context_create", contextCreate, this, id, ROOT_CONTEXT_ID, 0);
  }

  /** A context without an instance: it fails every callback. */
  refuse(reason: string, exchange: FilterExchange): void {
    this.refusal = reason;
    this.exchange = exchange;
  }

  get instance(): GuestInstance | undefined {
    return this.guest;
  }

  wantsBody(direction: Direction): boolean {
    return this.guest === undefined || this.#dataCallback(this.guest, direction) !== undefined;
  }

  wantsTrailers(direction: Direction): boolean {
    const { guest } = this;
    if (guest === undefined || guest.fault !== undefined) return true;
    return (direction === "request" ? guest.callbacks.requestTrailers : guest.callbacks.responseTrailers) !== undefined;
  }

  #dataCallback({ callbacks }: GuestInstance, direction: Direction): GuestCallback | undefined {
    if (this.isStream) return direction === "request" ? callbacks.downstreamData : callbacks.upstreamData;
    return direction === "request" ? callbacks.requestBody : callbacks.responseBody;
  }

  onRequestHead(end: boolean): Verdict {
    const { guest, exchange, hands } = this;
    if (guest === undefined || exchange === undefined) return this.#refused();
    if (this.isStream) return this.#ask(guest, "request", "new_connection", guest.callbacks.newConnection, 0, 0);
    const { requestHeaders } = guest.callbacks;
    if (requestHeaders === undefined && guest.fault === undefined) return CONTINUE;
    hands.requestHead = true;
    const count = exchange.request.headers.length + REQUEST_PSEUDO_COUNT;
    const verdict = this.#ask(guest, "request", "request_headers", requestHeaders, count, end ? 1 : 0, true);
    if (verdict.kind !== "pause") hands.requestHead = false;
    return verdict;
  }

  onRequestData(end: boolean): Verdict {
    const { guest, exchange, hands } = this;
    if (guest === undefined || exchange === undefined) return this.#refused();
    hands.requestBody = true;
    const size = exchange.body("request").length;
    const phase = this.isStream ? "downstream_data" : "request_body";
    const verdict = this.#ask(guest, "request", phase, this.#dataCallback(guest, "request"), size, end ? 1 : 0);
    if (verdict !== PAUSE) this.letGo("request");
    return verdict;
  }

  onRequestTrailers(): Verdict {
    const { guest, exchange, hands } = this;
    if (guest === undefined || exchange === undefined) return this.#refused();
    const { requestTrailers } = guest.callbacks;
    if (requestTrailers === undefined && guest.fault === undefined) return CONTINUE;
    hands.requestTrailers = true;
    const count = exchange.requestTrailers?.length ?? 0;
    const verdict = this.#ask(guest, "request", "request_trailers", requestTrailers, count, 0);
    if (verdict !== PAUSE) this.letGo("request");
    return verdict;
  }

  onResponseHead(end: boolean): Verdict {
    const { guest, exchange, hands } = this;
    if (guest === undefined || exchange === undefined) return this.#refused();
    this.responseSeen = true;
    if (this.#answerCount > 0 && guest.fault === undefined) this.#addAnswerFields(exchange);
    const { responseHeaders } = guest.callbacks;
    if (responseHeaders === undefined && guest.fault === undefined) return CONTINUE;
    hands.responseHead = true;
    const count = (exchange.response?.headers.length ?? 0) + RESPONSE_PSEUDO_COUNT;
    const verdict = this.#ask(guest, "response", "response_headers", responseHeaders, count, end ? 1 : 0, true);
    if (verdict.kind !== "pause") hands.responseHead = false;
    return verdict;
  }

  /** Keeps a field for the answer; it was checked. */
  wantInAnswer(name: string, value: string): void {
    this.#answerNames[this.#answerCount] = name;
    this.#answerValues[this.#answerCount++] = value;
  }

  #addAnswerFields(exchange: FilterExchange): void {
    const headers = exchange.response?.headers;
    if (headers === undefined) return;
    for (let i = 0; i < this.#answerCount; i++) headers.add(this.#answerNames[i] as string, this.#answerValues[i] as string);
    this.#answerCount = 0;
  }

  onResponseData(end: boolean): Verdict {
    const { guest, exchange, hands } = this;
    if (guest === undefined || exchange === undefined) return this.#refused();
    hands.responseBody = true;
    const size = exchange.body("response").length;
    const phase = this.isStream ? "upstream_data" : "response_body";
    const verdict = this.#ask(guest, "response", phase, this.#dataCallback(guest, "response"), size, end ? 1 : 0);
    if (verdict !== PAUSE) this.letGo("response");
    return verdict;
  }

  onResponseTrailers(): Verdict {
    const { guest, exchange, hands } = this;
    if (guest === undefined || exchange === undefined) return this.#refused();
    const { responseTrailers } = guest.callbacks;
    if (responseTrailers === undefined && guest.fault === undefined) return CONTINUE;
    hands.responseTrailers = true;
    const count = exchange.responseTrailers?.length ?? 0;
    const verdict = this.#ask(guest, "response", "response_trailers", responseTrailers, count, 0);
    if (verdict !== PAUSE) this.letGo("response");
    return verdict;
  }

  onSideClosed(side: "downstream" | "upstream", byPeer: boolean): void {
    const { guest } = this;
    if (guest === undefined || guest.fault !== undefined || this.exchange === undefined) return;
    const phase = `${side}_connection_close`;
    const callback = side === "downstream" ? guest.callbacks.downstreamClose : guest.callbacks.upstreamClose;
    if (callback !== undefined) guest.enter(phase, callback, this, this.id, byPeer ? PEER_REMOTE : PEER_LOCAL, 0);
  }

  /** Runs a callback and turns the action, and what the guest did meanwhile, into a verdict. */
  #ask(
    guest: GuestInstance,
    direction: Direction,
    phase: string,
    callback: GuestCallback | undefined,
    size: number,
    end: number,
    atHead = false,
  ): Verdict {
    this.resumed = false;
    this.answering = direction;
    // What a stream adds is bounded by callback: it may go on for days.
    if (this.isStream) this.outputBytes = 0;
    let action = ACTION_CONTINUE;
    if (callback !== undefined && guest.fault === undefined && !guest.hasFuel(this)) {
      this.answering = undefined;
      return { kind: "fail", reason: guest.owner.fuelReason(), fault: "fuel" };
    }
    if (callback !== undefined) action = guest.enter(phase, callback, this, this.id, size, end);
    this.answering = undefined;
    if (guest.fault !== undefined) return { kind: "fail", reason: guest.fault };
    const { pendingResponse } = this;
    if (pendingResponse !== undefined) {
      this.pendingResponse = undefined;
      return pendingResponse;
    }
    if (action === ACTION_CONTINUE || this.resumed) return CONTINUE;
    // What else Envoy's SDK may say (StopAllIteration…) holds all of the message.
    return atHead && action === ACTION_PAUSE && guest.owner.config.pauseHolds === "head" ? PAUSE_HEAD : PAUSE;
  }

  spentFuel(): number {
    const { guest } = this;
    if (guest?.inside === false) guest.settleFuel();
    return this.fuelUsed;
  }

  #refused(): Verdict {
    return refusalOf(this.refusal);
  }

  /** The pause of a direction is over: nothing of it is in the filter's hands any more. */
  letGo(direction: Direction): void {
    const { hands } = this;
    if (direction === "request") {
      hands.requestHead = false;
      hands.requestBody = false;
      hands.requestTrailers = false;
    } else {
      hands.responseHead = false;
      hands.responseBody = false;
      hands.responseTrailers = false;
    }
  }

  /** Counts bytes that the filter adds. False: over its budget. */
  spend(bytes: number): boolean {
    const limit = this.guest?.owner.config.budget.outputBytes ?? 0;
    if (this.outputBytes + bytes > limit) {
      this.guest?.owner.stats.onFault("budget");
      return false;
    }
    this.outputBytes += bytes;
    return true;
  }

  /** The same for fields of heads and trailers, which have a bound of their own. */
  spendFields(direction: Direction, fields: number, bytes: number): boolean {
    return this.#head.take(direction, fields, bytes) && this.spend(bytes + fields * PROXY_WASM_LIMITS.headerOverheadBytes);
  }

  onLog(): void {
    const { guest } = this;
    if (guest === undefined || guest.fault !== undefined || this.exchange === undefined) return;
    this.#callDone(guest);
    if (this.done === "yes") this.callLog(guest);
  }

  #callDone(guest: GuestInstance): void {
    const { done } = guest.callbacks;
    if (this.done !== "no") return;
    this.done = done === undefined || guest.enter("done", done, this, this.id, 0, 0) !== 0 ? "yes" : "waiting";
  }

  callLog(guest: GuestInstance): void {
    const { log } = guest.callbacks;
    if (log === undefined || guest.fault !== undefined) return;
    this.logging = true;
    guest.enter("log", log, this, this.id, 0, 0);
    this.logging = false;
  }

  close(): void {
    const { guest, exchange } = this;
    if (exchange === undefined) {
      // It is not done yet, or was not left to end: of a broken instance nothing more comes.
      if (guest?.fault !== undefined) this.finish();
      return;
    }
    if (guest?.inside === true) {
      const { epoch } = this;
      guest.defer(() => {
        if (this.epoch === epoch) this.close();
      });
      return;
    }
    if (guest !== undefined) {
      this.#cancelCallouts(guest, exchange);
      if (guest.fault === undefined) this.#callDone(guest);
    }
    this.exchange = undefined;
    this.epoch++;
    // The guest said that it is not done yet: `proxy_done` finishes the context. An isolated instance is not left to it any longer.
    if (guest?.fault === undefined && this.done === "waiting") {
      if (guest?.isolation === undefined) return;
      this.callLog(guest);
    }
    this.finish();
  }

  /** The guest forgets the context, and the object is free for another exchange. */
  finish(): void {
    const { guest } = this;
    if (guest === undefined) return;
    const remove = guest.callbacks.contextDelete;
    if (remove !== undefined && guest.fault === undefined) guest.enter("delete", remove, this, this.id, 0, 0);
    guest.contexts.remove(this);
    this.#reset();
    guest.owner.onContextEnd(guest, this);
  }

  #cancelCallouts(guest: GuestInstance, exchange: FilterExchange): void {
    if (this.callouts === undefined) return;
    for (const [own, theirs] of this.callouts) {
      guest.forgetCallout(own);
      exchange.cancelCallout(theirs);
    }
    this.callouts = undefined;
  }

  #reset(): void {
    this.guest = undefined;
    this.exchange = undefined;
    this.epoch++;
    this.refusal = "the context is closed";
    this.answering = undefined;
    this.logging = false;
    this.pendingResponse = undefined;
    this.resumed = false;
    this.responseSeen = false;
    this.#answerCount = 0;
    this.outputBytes = 0;
    this.#head.reset();
    this.fuelUsed = 0;
    this.hostCalls = 0;
    this.isTimed = false;
    this.isStream = false;
    this.spentMs = 0;
    this.callouts = undefined;
    this.done = "no";
    this.letGo("request");
    this.letGo("response");
  }
}
