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
import type { ExtismGuest, GuestFunction } from "./guest.ts";
import { requestInput, responseInput } from "./input.ts";

const SOURCE = ["source", "address"];
/** `fault`: what it counts as; absent: it was counted already. */
const failed = (reason: string, fault?: FaultKind): Verdict => ({
  kind: "fail",
  reason,
  ...(fault === undefined ? {} : { fault }),
});

/** One exchange in one instance. Reused by its module; `epoch` tells one life from the next. */
export class ExtismContext implements FilterContext {
  epoch = 0;
  /** Undefined once closed. */
  exchange: FilterExchange | undefined;
  guest: ExtismGuest | undefined;
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
    this.exchange = exchange;
    this.isTimed = exchange.isTimed;
    guest.contexts.add(this);
  }

  /** A context without an instance: it fails every callback. */
  refuse(reason: string, exchange: FilterExchange): void {
    this.#refusal = reason;
    this.exchange = exchange;
  }

  get wantsRequestBody(): boolean {
    return this.guest === undefined || this.guest.callbacks.requestBody !== undefined;
  }
  get wantsResponseBody(): boolean {
    return this.guest === undefined || this.guest.callbacks.responseBody !== undefined;
  }

  onRequestHead(end: boolean): Verdict {
    const { guest, exchange } = this;
    if (guest === undefined || exchange === undefined) return refusalOf(this.#refusal);
    const { request: head } = exchange;
    const { request, requestBody } = guest.callbacks;
    let verdict = CONTINUE;
    if (request !== undefined || guest.fault !== undefined) {
      const input = requestInput(head, sourceOf(guest, exchange), end, guest.owner.grants.requestRead);
      verdict = this.#ask(guest, exchange, "on_request", "request", request, input);
    }
    // The body may get another length.
    if (requestBody !== undefined && !end && verdict === CONTINUE) head.headers.remove("content-length");
    return verdict;
  }

  onResponseHead(end: boolean): Verdict {
    const { guest, exchange } = this;
    if (guest === undefined || exchange?.response === undefined) return refusalOf(this.#refusal);
    const { request, response: head } = exchange;
    const { response, responseBody } = guest.callbacks;
    let verdict = CONTINUE;
    if (response !== undefined || guest.fault !== undefined) {
      const input = responseInput(head, request, end, this.#state, guest.owner.grants);
      verdict = this.#ask(guest, exchange, "on_response", "response", response, input);
    }
    if (responseBody !== undefined && !end && verdict === CONTINUE) head.headers.remove("content-length");
    return verdict;
  }

  onRequestData(end: boolean): Verdict {
    return end ? this.#onBody("request") : PAUSE;
  }
  onResponseData(end: boolean): Verdict {
    return end ? this.#onBody("response") : PAUSE;
  }
  onRequestTrailers(): Verdict {
    return this.wantsRequestBody ? this.#onBody("request") : CONTINUE;
  }
  onResponseTrailers(): Verdict {
    return this.wantsResponseBody ? this.#onBody("response") : CONTINUE;
  }

  /** The whole body is there. */
  #onBody(direction: Direction): Verdict {
    const { guest, exchange } = this;
    if (guest === undefined || exchange === undefined) return refusalOf(this.#refusal);
    const body = exchange.body(direction);
    if (body.length === 0 && guest.fault === undefined) return CONTINUE;
    const callback = direction === "request" ? guest.callbacks.requestBody : guest.callbacks.responseBody;
    return this.#ask(guest, exchange, `on_${direction}_body`, "body", callback, body.read(0, body.length), direction);
  }

  /** Calls the plug-in and does what it answers. */
  #ask(
    guest: ExtismGuest,
    exchange: FilterExchange,
    name: string,
    phase: Phase,
    callback: GuestFunction | undefined,
    input: string | Uint8Array,
    direction?: Direction,
  ): Verdict {
    if (guest.fault !== undefined || callback === undefined) return failed(guest.fault ?? "it has no such function");
    const { owner } = guest;
    if (this.fuelUsed >= owner.config.budget.exchangeFuel || owner.fuelUsed >= owner.fuelLimit)
      return failed(owner.fuelReason(), "fuel");
    const output = guest.call(name, callback, input, this);
    if (output === undefined) return guest.fault === undefined ? failed(guest.refusal, guest.refusalKind) : failed(guest.fault);
    const isTransform = direction !== undefined && owner.transforms[direction] !== undefined;
    if (output === "" && !isTransform) return CONTINUE;
    this.#outputBytes += guest.kernel.outputSize;
    if (this.#outputBytes > guest.owner.config.budget.outputBytes)
      return failed("the filter's answer is larger than its budget", "budget");
    try {
      // Also when it is empty: a function that takes things out may leave nothing.
      if (isTransform) return replaceBody(guest.owner.grants, exchange, direction, guest.kernel.outputBytes());
      return this.#obey(guest, exchange, phase, readAnswer(output, phase), direction);
    } catch (error) {
      if (error instanceof AnswerError) return failed(`${name}: ${error.message}`, "answer");
      throw error;
    }
  }

  #obey(guest: ExtismGuest, exchange: FilterExchange, phase: Phase, answer: Answer, direction: Direction | undefined): Verdict {
    if (answer.fail !== undefined) return failed(`the filter failed: ${answer.fail}`, "failed");
    const { grants } = guest.owner;
    if (answer.respond !== undefined) {
      if (!grants.may("respond")) throw new AnswerError("it may not answer (capabilities.respond)");
      if (!fitsHead(answer.respond.headers)) throw new AnswerError("its response has more fields than a head may have");
      grants.cutAnswer(answer.respond.headers);
      return answer.respond;
    }
    if (direction !== undefined) {
      const { body } = answer;
      return body === undefined ? CONTINUE : replaceBody(grants, exchange, direction, body);
    }
    if (phase !== "body") checkFields(grants, phase, answer);
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
    this.guest = undefined;
    this.exchange = undefined;
    this.epoch++;
    this.fuelUsed = 0;
    this.hostCalls = 0;
    this.isTimed = false;
    this.spentMs = 0;
    this.#outputBytes = 0;
    this.#state = undefined;
    this.#refusal = "the context is closed";
    if (guest === undefined) return;
    guest.contexts.delete(this);
    guest.owner.onContextEnd(guest, this);
  }
}

function sourceOf({ owner }: ExtismGuest, exchange: FilterExchange): string {
  return owner.grants.mayReadAttribute(SOURCE) ? String(exchange.attribute(SOURCE) ?? "") : "";
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
