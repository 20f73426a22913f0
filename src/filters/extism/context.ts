import type { Bytes } from "../../core/bytes.ts";
import type { HeaderBlock } from "../../core/head.ts";
import { FILTER_HEAD_LIMITS } from "../../core/limits.ts";
import { CONTINUE, type Direction, type FilterContext, type FilterExchange, PAUSE, type Verdict } from "../contract.ts";
import { writeRequestPseudo, writeStatus } from "../guest/fields.ts";
import type { Grants } from "../guest/grants.ts";
import { fitsHead } from "../guest/head-budget.ts";
import { refusalOf } from "../guest/pool.ts";
import type { FaultKind } from "../stats.ts";
import { type Answer, AnswerError, type Phase, readAnswer } from "./answer.ts";
import { type ExtismGuest, type GuestCallbacks, type GuestOwner, NO_CALLBACKS } from "./guest.ts";
import { requestInput, responseInput } from "./input.ts";

const SOURCE = ["source", "address"];
/** `fault`: what it counts as; absent: it was counted already. */
export const failed = (reason: string, fault?: FaultKind): Verdict => ({
  kind: "fail",
  reason,
  ...(fault === undefined ? {} : { fault }),
});

/** One function of a plug-in, and what of an exchange it is asked about. */
export interface Step {
  readonly name: string;
  readonly phase: Phase;
  readonly direction: Direction;
  readonly callback: "request" | "requestBody" | "response" | "responseBody";
}

const ON_REQUEST: Step = { name: "on_request", phase: "request", direction: "request", callback: "request" };
const ON_RESPONSE: Step = { name: "on_response", phase: "response", direction: "response", callback: "response" };
const ON_BODY: Readonly<Record<Direction, Step>> = {
  request: { name: "on_request_body", phase: "body", direction: "request", callback: "requestBody" },
  response: { name: "on_response_body", phase: "body", direction: "response", callback: "responseBody" },
};

/** One exchange in one instance. Reused by its module; `epoch` tells one life from the next. */
export class ExtismContext implements FilterContext {
  epoch = 0;
  /** Undefined once closed. */
  exchange: FilterExchange | undefined;
  /** Undefined: none, or another one for each callback (`WaitingContext`). */
  guest: ExtismGuest | undefined;
  /** Undefined: it fails every callback. */
  protected owner: GuestOwner | undefined;
  /** Which there are. */
  protected callbacks: GuestCallbacks = NO_CALLBACKS;
  /** Fuel that its calls used so far. */
  fuelUsed = 0;
  /** Calls to the host so far, in callbacks that answer a verdict. */
  hostCalls = 0;
  /** Of the exchange: whether each call is timed. */
  isTimed = false;
  spentMs = 0;
  #refusal = "";
  #outputBytes = 0;
  /** What the plug-in kept when it saw the request. */
  #state: string | undefined;

  open(guest: ExtismGuest, exchange: FilterExchange): void {
    this.guest = guest;
    guest.contexts.add(this);
    this.begin(guest.owner, guest.callbacks, exchange);
  }

  protected begin(owner: GuestOwner, callbacks: GuestCallbacks, exchange: FilterExchange): void {
    this.owner = owner;
    this.callbacks = callbacks;
    this.exchange = exchange;
    this.isTimed = exchange.isTimed;
  }

  /** A context without an instance: it fails every callback. */
  refuse(reason: string, exchange: FilterExchange): void {
    this.#refusal = reason;
    this.exchange = exchange;
  }

  get instance(): ExtismGuest | undefined {
    return this.guest;
  }

  wantsBody(direction: Direction): boolean {
    const { requestBody, responseBody } = this.callbacks;
    return this.owner === undefined || (direction === "request" ? requestBody : responseBody) !== undefined;
  }
  wantsTrailers(): boolean {
    return true;
  }

  onRequestHead(end: boolean): Verdict {
    return this.#onHead(ON_REQUEST, end);
  }
  onResponseHead(end: boolean): Verdict {
    return this.#onHead(ON_RESPONSE, end);
  }

  #onHead(step: Step, end: boolean): Verdict {
    const { owner, exchange } = this;
    if (owner === undefined || exchange === undefined) return refusalOf(this.#refusal);
    if (this.callbacks[step.callback] !== undefined || this.guest?.fault !== undefined)
      return this.ask(owner, exchange, step, end);
    this.#passHead(exchange, step.direction, end);
    return CONTINUE;
  }

  /** The body may get another length. */
  #passHead(exchange: FilterExchange, direction: Direction, end: boolean): void {
    if (end || this.callbacks[ON_BODY[direction].callback] === undefined) return;
    const head = direction === "request" ? exchange.request : exchange.response;
    head?.headers.remove("content-length");
  }

  onRequestData(end: boolean): Verdict {
    return end ? this.#onBody("request") : PAUSE;
  }
  onResponseData(end: boolean): Verdict {
    return end ? this.#onBody("response") : PAUSE;
  }
  onRequestTrailers(): Verdict {
    return this.wantsBody("request") ? this.#onBody("request") : CONTINUE;
  }
  onResponseTrailers(): Verdict {
    return this.wantsBody("response") ? this.#onBody("response") : CONTINUE;
  }

  /** The whole body is there. */
  #onBody(direction: Direction): Verdict {
    const { owner, exchange } = this;
    if (owner === undefined || exchange === undefined) return refusalOf(this.#refusal);
    if (exchange.body(direction).length === 0 && this.guest?.fault === undefined) return CONTINUE;
    return this.ask(owner, exchange, ON_BODY[direction], true);
  }

  /** Calls the plug-in and does what it answers. */
  protected ask(owner: GuestOwner, exchange: FilterExchange, step: Step, end: boolean): Verdict {
    const { guest } = this;
    const callback = this.callbacks[step.callback];
    if (guest === undefined || guest.fault !== undefined || callback === undefined)
      return failed(guest?.fault ?? "it has no such function");
    return (
      this.fuelRefusal(owner) ??
      this.judge(guest, exchange, step, end, guest.call(step.name, callback, this.inputOf(owner, exchange, step, end), this))
    );
  }

  /** Undefined: it has fuel for a call. */
  protected fuelRefusal(owner: GuestOwner): Verdict | undefined {
    const isEmpty = this.fuelUsed >= owner.config.budget.exchangeFuel || owner.fuelUsed >= owner.fuelLimit;
    return isEmpty ? failed(owner.fuelReason(), "fuel") : undefined;
  }

  /** What a function gets to see: valid until the next is asked for. */
  protected inputOf(owner: GuestOwner, exchange: FilterExchange, { phase, direction }: Step, end: boolean): string | Bytes {
    const { grants } = owner;
    const { request, response } = exchange;
    if (phase === "request") return requestInput(request, sourceOf(grants, exchange), end, grants.requestRead);
    if (phase === "response") return response === undefined ? "" : responseInput(response, request, end, this.#state, grants);
    const body = exchange.body(direction);
    return body.read(0, body.length);
  }

  /** Does what a function answered; undefined: it did not. */
  protected judge(guest: ExtismGuest, exchange: FilterExchange, step: Step, end: boolean, output: string | undefined): Verdict {
    if (output === undefined) {
      const { fault } = guest;
      if (fault === undefined) return failed(guest.refusal, guest.refusalKind);
      return guest.unanswered === "" ? failed(fault) : failed(guest.unanswered, "callout");
    }
    const verdict = this.#read(guest, exchange, step, output);
    if (verdict === CONTINUE && step.phase !== "body") this.#passHead(exchange, step.direction, end);
    return verdict;
  }

  #read(guest: ExtismGuest, exchange: FilterExchange, { name, phase, direction }: Step, output: string): Verdict {
    const { owner, kernel } = guest;
    const isTransform = phase === "body" && owner.transforms[direction] !== undefined;
    if (output === "" && !isTransform) return CONTINUE;
    this.#outputBytes += kernel.outputSize;
    if (this.#outputBytes > owner.config.budget.outputBytes)
      return failed("the filter's answer is larger than its budget", "budget");
    try {
      // Also when it is empty: a function that takes things out may leave nothing.
      if (isTransform) return replaceBody(owner.grants, exchange, direction, kernel.outputBytes());
      return this.#obey(guest, exchange, phase, readAnswer(output, phase), direction);
    } catch (error) {
      if (!(error instanceof AnswerError)) throw error;
      return failed(`${name}: ${error.message}`, "answer");
    }
  }

  #obey(guest: ExtismGuest, exchange: FilterExchange, phase: Phase, answer: Answer, direction: Direction): Verdict {
    if (answer.fail !== undefined) return failed(`the filter failed: ${answer.fail}`, "failed");
    const { grants } = guest.owner;
    if (answer.respond !== undefined) {
      if (!grants.may("respond")) throw new AnswerError("it may not answer (capabilities.respond)");
      if (!fitsHead(answer.respond.headers)) throw new AnswerError("its response has more fields than a head may have");
      grants.cutAnswer(answer.respond.headers);
      return answer.respond;
    }
    if (phase === "body") {
      const { body } = answer;
      return body === undefined ? CONTINUE : replaceBody(grants, exchange, direction, body);
    }
    checkFields(grants, phase, answer);
    const { response } = exchange;
    if (phase === "request") {
      this.#state = answer.state;
      this.#writeTarget(exchange, answer);
      editFields(exchange.request.headers, answer);
    } else if (response !== undefined) {
      if (answer.status !== undefined) writeStatus(response, String(answer.status));
      editFields(response.headers, answer);
    }
    return CONTINUE;
  }

  /** All of it or nothing. */
  #writeTarget(exchange: FilterExchange, answer: Answer): void {
    const { request } = exchange;
    const { method, path, query, authority } = request;
    for (const name of ["method", "path", "authority"] as const) {
      const value = answer[name];
      if (value === undefined) continue;
      const written = writeRequestPseudo(request, `:${name}`, value);
      if (written === "refused") {
        Object.assign(request, { method, path, query, authority });
        throw new AnswerError(`the ${name} may not be written so`);
      }
      if (written === "target") exchange.markTargetChanged();
    }
  }

  spentFuel(): number {
    return this.fuelUsed;
  }

  onLog(): void {}

  close(): void {
    const { guest } = this;
    if (this.exchange === undefined) return;
    this.reset();
    if (guest === undefined) return;
    guest.contexts.delete(this);
    guest.owner.onContextEnd(guest, this);
  }

  protected reset(): void {
    this.guest = undefined;
    this.exchange = undefined;
    this.owner = undefined;
    this.callbacks = NO_CALLBACKS;
    this.epoch++;
    this.fuelUsed = 0;
    this.hostCalls = 0;
    this.isTimed = false;
    this.spentMs = 0;
    this.#outputBytes = 0;
    this.#state = undefined;
    this.#refusal = "the context is closed";
  }
}

function sourceOf(grants: Grants, exchange: FilterExchange): string {
  return grants.mayReadAttribute(SOURCE) ? String(exchange.attribute(SOURCE) ?? "") : "";
}

/** Before any of it happens: throws an `AnswerError` that names what it may not write. */
function checkFields(grants: Grants, direction: Direction, { set, add, remove, method, path, authority, status }: Answer): void {
  const names = [...(set?.names ?? []), ...(add?.names ?? []), ...remove];
  if (method !== undefined) names.push(":method");
  if (path !== undefined) names.push(":path");
  if (authority !== undefined) names.push(":authority");
  if (status !== undefined) names.push(":status");
  const added = [...(set?.entries() ?? []), ...(add?.entries() ?? [])];
  const bytes = added.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (added.length > FILTER_HEAD_LIMITS.fields || bytes > FILTER_HEAD_LIMITS.bytes)
    throw new AnswerError("it adds more fields than a head may have");
  for (const name of names) {
    if (!grants.mayWrite(direction, name))
      throw new AnswerError(`it may not write ${JSON.stringify(name.slice(0, 64))} (capabilities.headers.${direction}.write)`);
  }
}

function editFields(block: HeaderBlock, { set, add, remove }: Answer): void {
  for (const name of remove) block.remove(name);
  if (set !== undefined) for (let i = 0; i < set.length; i++) block.set(set.names[i] as string, set.values[i] as string);
  if (add !== undefined) for (let i = 0; i < add.length; i++) block.add(add.names[i] as string, add.values[i] as string);
}

function replaceBody(grants: Grants, exchange: FilterExchange, direction: Direction, body: Bytes): Verdict {
  if (!grants.mayWriteBody(direction)) throw new AnswerError(`it may not change bodies (capabilities.bodies.${direction})`);
  const buffer = exchange.body(direction);
  return buffer.replace(0, buffer.length, body) ? CONTINUE : failed("the new body is larger than its budget", "budget");
}
