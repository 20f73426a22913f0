import { type Bytes, utf8Bytes } from "../../core/bytes.ts";
import type { HeaderBlock } from "../../core/head.ts";
import { EXTISM_LIMITS } from "../../core/limits.ts";
import { joinValues } from "../attributes.ts";
import type { CalloutAnswer } from "../contract.ts";
import { DENIED_CALL } from "../guest/faults.ts";
import { parseStatus } from "../guest/fields.ts";
import type { CalloutGate } from "../guest/grants.ts";
import type { ExtismGuest } from "./guest.ts";
import { readHttpRequest } from "./http-request.ts";
import type { KernelHttp } from "./kernel.ts";

/** A call that waits for its answer. */
interface UnderWay {
  readonly id: number;
  readonly service: string;
  readonly gate: CalloutGate;
}

/** What a plug-in sees as the status of a call without an answer. */
const UNAVAILABLE = 503;

/**
 * `http_request` of one instance: a call-out to a service that the filter was granted. The ABI has no error for it. A call without an
 * answer looks like one that a gateway could not pass on, so that the plug-in ends by itself and its instance can be used again; but one
 * that took this for an answer could let pass what it is to refuse, so its callback fails, whatever it says.
 *
 * A call outlives its exchange: it is the answer that ends the callback. To cut it short would cost an instance each time that a client
 * goes away, and to make an answer up would have clients choose what a plug-in learns about its service.
 */
export class GuestHttp implements KernelHttp {
  status = 0;
  #answer: CalloutAnswer | undefined;
  /** Its fields as the plug-in gets them, made when it first asks: that costs no fuel. */
  #fields: Bytes | undefined;
  #calls = 0;
  /** A request of this callback could not be sent. */
  #isRefused = false;
  #underWay: UnderWay | undefined;
  #resolve: ((block: number) => void) | undefined;

  constructor(readonly guest: ExtismGuest) {}

  /** A callback begins: nothing of the one before is seen. */
  reset(): void {
    this.#forget();
    this.#calls = 0;
    this.#isRefused = false;
  }

  begin(at: number, size: number, bodyAt: number, bodySize: number): boolean {
    this.#forget();
    const { guest } = this;
    try {
      if (guest.mayCallHost() && this.#mayCall()) return this.#send(at, size, bodyAt, bodySize);
    } catch (error) {
      guest.onHostError(error);
    }
    return false;
  }

  #forget(): void {
    this.status = 0;
    this.#answer = undefined;
    this.#fields = undefined;
  }

  /** What can be told without reading the request. */
  #mayCall(): boolean {
    const { guest } = this;
    const { grants, config, waits } = guest.owner;
    const { callouts } = config.budget;
    if (grants.capabilities.callouts.length === 0) {
      grants.deny("callouts");
      guest.stop(`${DENIED_CALL} services by http_request (capabilities.callouts)`);
    } else if (!waits) guest.stop("this runtime cannot suspend a function, which http_request needs");
    else if (guest.exchange === undefined && !guest.isAbandoned) guest.stop("http_request: there is no exchange while it starts");
    else if (++this.#calls > callouts) guest.stop(`more than ${callouts} calls of http_request in one callback`);
    // Nobody is there to call for. Its instance is not broken for that: clients could have us make new ones at will.
    else if (guest.isAbandoned) this.#lose("http_request: its exchange is over");
    else if (this.#isRefused) this.#lose("http_request: one before it was refused");
    else return true;
    return false;
  }

  #send(at: number, size: number, bodyAt: number, bodySize: number): boolean {
    const { guest } = this;
    const { exchange, kernel } = guest;
    const { grants, config } = guest.owner;
    const { outputBytes } = config.budget;
    // Reading costs no fuel: what is too large is not read, and after one that was refused no other is.
    const isTooLarge = size >>> 0 > EXTISM_LIMITS.httpRequestBytes || bodySize >>> 0 > outputBytes;
    const request = isTooLarge
      ? "its request is larger than its budget"
      : readHttpRequest(kernel.text(at, size), kernel.copy(bodyAt, bodySize), outputBytes);
    if (typeof request === "string" || exchange === undefined) {
      this.#isRefused = true;
      return this.#lose(`http_request: ${String(request)}`);
    }
    const { host, headers, body } = request;
    const service = grants.serviceOfHost(host);
    if (service === undefined) {
      guest.stop(`${DENIED_CALL} ${host.slice(0, 253)}: it was granted no service of that name (capabilities.callouts)`);
      return false;
    }
    const gate = grants.calloutsTo(service);
    if (!gate.begin()) return this.#loseCall(service, "it makes more calls than its limits give it");
    const { pauseMs, bufferBytes } = config.budget;
    const sent = {
      ...{ service, headers, body, trailers: undefined },
      // Later than that no exchange waits for it.
      ...{ timeoutMs: gate.timeoutMs(pauseMs), answerBytes: gate.answerBytes(bufferBytes) },
    };
    // The call may outlive its exchange, whose chain then knows nothing of this instance.
    const id = exchange.callout(sent, (answer) => guest.owner.guard(guest, () => this.#onAnswer(id, answer)));
    if (id === 0) {
      gate.end();
      return this.#loseCall(service, "there is no such service");
    }
    this.#underWay = { id, service, gate };
    guest.suspend();
    return true;
  }

  #loseCall(service: string, why: string): false {
    return this.#lose(`http_request to ${service}: ${why}`);
  }

  #lose(reason: string): false {
    if (this.guest.unanswered === "") this.guest.unanswered = reason;
    this.status = UNAVAILABLE;
    return false;
  }

  wait(): Promise<number> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  #onAnswer(id: number, answer: CalloutAnswer | undefined): void {
    const call = this.#underWay;
    if (call?.id !== id) return;
    this.#underWay = undefined;
    call.gate.end();
    this.guest.resume();
    const block = this.#take(call, answer);
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.(block);
  }

  /** Answers the block with its body. */
  #take({ service }: UnderWay, answer: CalloutAnswer | undefined): number {
    const status = parseStatus(answer?.headers.get(":status") ?? "");
    if (answer === undefined || status === undefined) {
      this.#loseCall(service, "it has no answer, none in time, or one that is too large");
      return 0;
    }
    const block = this.#place(answer.body);
    if (block === 0 && answer.body.byteLength > 0) {
      this.#loseCall(service, "its answer is larger than the memory that it shares with the host");
      return 0;
    }
    this.status = status;
    this.#answer = answer;
    return block;
  }

  /** A plug-in that cannot pay for it is broken, and ends when it goes on. */
  #place(bytes: Bytes): number {
    try {
      return this.guest.kernel.place(bytes);
    } catch (error) {
      this.guest.onHostError(error);
      return 0;
    }
  }

  /** Bytes of values are characters of the same number, as in what callbacks get. */
  headers(): number {
    const { guest } = this;
    const fields = this.#answer?.headers;
    if (!guest.mayCallHost() || fields === undefined) return 0;
    try {
      this.#fields ??= fieldsAsJson(fields);
      return guest.kernel.place(this.#fields);
    } catch (error) {
      guest.onHostError(error);
      return 0;
    }
  }
}

function fieldsAsJson(fields: HeaderBlock): Bytes {
  const byName: Record<string, string> = Object.create(null);
  for (const name of fields.names) {
    if (!name.startsWith(":") && byName[name] === undefined) byName[name] = joinValues(fields, name) ?? "";
  }
  return utf8Bytes(JSON.stringify(byName));
}
