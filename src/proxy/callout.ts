import type { FilterConfig } from "../config/snapshot.ts";
import { type Bytes, concatBytes, copyBytes, EMPTY_BYTES, viewOf } from "../core/bytes.ts";
import type { Bug } from "../core/containment.ts";
import { Deadline } from "../core/deadline.ts";
import { Failure } from "../core/failure.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../core/head.ts";
import type { CalloutAnswer, CalloutRequest } from "../filters/contract.ts";
import { Attempt, type AttemptOwner } from "./attempt.ts";
import { NO_HINT } from "./balance/picker.ts";
import { calloutFields, calloutHead } from "./callout-head.ts";
import type { ProxyCore } from "./core.ts";
import type { Generation } from "./generation.ts";
import type { UpstreamStream } from "./stream.ts";
import type { UpstreamService } from "./upstream/service.ts";

let lastId = 0;

/** Starts a filter's HTTP call to a service; its id, or 0: refused (not granted, unknown service, no endpoint, bad head). `done` comes later, once. `told`: the fields of the request that it is made for. */
export function startCallout(
  core: ProxyCore,
  generation: Generation,
  filter: FilterConfig,
  request: CalloutRequest,
  done: (answer: CalloutAnswer | undefined) => void,
  told?: HeaderBlock,
): number {
  const name = request.service.includes("/") ? request.service : `default/${request.service}`;
  if (!filter.capabilities.callouts.includes(name)) return 0;
  const service = generation.services.get(name);
  const head = calloutHead(request.headers, generation, told);
  if (service === undefined || head === undefined) return 0;
  lastId = (lastId % 0x7fff_ffff) + 1;
  const trailers = request.trailers === undefined ? undefined : calloutFields(request.trailers, generation, undefined);
  const callout = new Callout(core, lastId, head, { ...request, trailers }, done);
  core.callouts.set(callout.id, callout);
  // Never within the caller's call: a filter must not hear an answer before it knows the id.
  queueMicrotask(() => core.turn.run(callout, () => callout.start(service)));
  return callout.id;
}

/** Forgets a call-out: its answer does nothing. */
export function cancelCallout(core: ProxyCore, id: number): void {
  core.callouts.get(id)?.cancel();
}

/** One call under way. */
export class Callout implements AttemptOwner {
  #attempt: Attempt | undefined;
  #head: ResponseHead | undefined;
  #body: Bytes[] = [];
  #bytes = 0;
  #over = false;
  #isStarting = false;
  /** Its filter has heard the answer, or wants none. */
  #isTold = false;
  readonly #deadline = new Deadline(() => this.#finish(undefined), this);

  constructor(
    readonly core: ProxyCore,
    readonly id: number,
    readonly head: RequestHead,
    readonly request: CalloutRequest,
    readonly done: (answer: CalloutAnswer | undefined) => void,
  ) {}

  start(service: UpstreamService): void {
    if (this.#over) return;
    this.core.deadlines.arm(this.#deadline, this.request.timeoutMs);
    this.#isStarting = true;
    const lease = service.pick(undefined, NO_HINT);
    if (lease === undefined) {
      this.#finish(undefined);
    } else {
      this.#attempt = new Attempt(this, service, lease, undefined);
      this.#attempt.start(false);
    }
    this.#isStarting = false;
  }

  cancel(): void {
    this.#isTold = true;
    if (this.#over) return;
    this.#over = true;
    this.#cleanUp();
  }

  onAttemptReady(stream: UpstreamStream): void {
    const { body, trailers } = this.request;
    const end = body.byteLength === 0 && trailers === undefined;
    if (!end) this.head.headers.set("content-length", String(body.byteLength));
    stream.sendHead(this.head, end);
    if (end) return;
    stream.sendData(body);
    stream.sendEnd(trailers);
  }

  onAttemptHead(head: ResponseHead, end: boolean): void {
    if (head.status < 200) return;
    this.#head = head;
    if (end) this.#succeed(undefined);
  }

  onAttemptData(bytes: Bytes, start: number, end: number): void {
    this.#bytes += end - start;
    if (this.#bytes > this.request.answerBytes) this.#finish(undefined);
    else this.#body.push(copyBytes(viewOf(bytes, start, end)));
  }

  onAttemptEnd(trailers: HeaderBlock | undefined): void {
    this.#succeed(trailers);
  }

  onAttemptFailure(): void {
    this.#finish(undefined);
  }

  onAttemptWritable(): void {}

  #succeed(trailers: HeaderBlock | undefined): void {
    const head = this.#head as ResponseHead;
    const headers = head.headers.copy();
    headers.names.unshift(":status");
    headers.values.unshift(String(head.status));
    this.#finish({ headers, body: this.#body.length === 0 ? EMPTY_BYTES : concatBytes(this.#body), trailers });
  }

  #finish(answer: CalloutAnswer | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.#cleanUp();
    // A filter that answers each refusal by the next call must let everything else have its turn.
    if (this.#isStarting) this.core.turn.time.setTimer(0, () => this.#tell(answer));
    else this.#tell(answer);
  }

  /** What throws in the filter's hands is no fault of the connection that carried the answer. */
  #tell(answer: CalloutAnswer | undefined): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.core.turn.run(this, () => this.done(answer));
  }

  /** The filter hears that there is no answer. */
  abandon(bug: Bug): void {
    this.#over = true;
    bug.step(() => this.core.callouts.delete(this.id));
    bug.step(() => this.core.deadlines.remove(this.#deadline));
    bug.step(() => this.#attempt?.abandon(bug));
    bug.step(() => this.#tell(undefined));
    bug.failure.addAddress(`call-out to ${this.request.service}`);
  }

  #cleanUp(): void {
    this.core.callouts.delete(this.id);
    this.core.deadlines.remove(this.#deadline);
    this.#attempt?.cancel(new Failure("filter_failed", "call-out over"));
  }
}
