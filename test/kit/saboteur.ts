import type { Clock, Timer } from "../../src/core/clock.ts";
import { SystemClock } from "../../src/core/clock.ts";
import type { Failure } from "../../src/core/failure.ts";
import type { ExchangeRecord, StreamRecord } from "../../src/proxy/observe/record.ts";
import { SeeingObserver } from "./proxy.ts";

/** Throws once, as a bug of ours would, in what the proxy calls all the time: its clock and its observer. */
export class Saboteur {
  #wanted: ((what: string, stack: string) => boolean) | undefined;
  /** How often it has thrown. */
  struck = 0;

  /** At the next `what` whose stack has `where` in it. */
  arm(what: string, where: RegExp = /./): void {
    this.armWhen((each, stack) => each === what && where.test(stack));
  }

  armWhen(wanted: (what: string, stack: string) => boolean): void {
    Error.stackTraceLimit = 60;
    this.#wanted = wanted;
  }

  disarm(): void {
    this.#wanted = undefined;
  }

  pass(what: string): void {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    const bug = new Error(`sabotage of ${what}`);
    if (!wanted(what, bug.stack ?? "")) return;
    this.#wanted = undefined;
    this.struck++;
    throw bug;
  }
}

export class SabotagedClock implements Clock {
  readonly #clock = new SystemClock();

  constructor(readonly saboteur: Saboteur) {}

  nowMs(): number {
    this.saboteur.pass("clock");
    return this.#clock.nowMs();
  }
  wallMs(): number {
    return this.#clock.wallMs();
  }
  setTimer(delayMs: number, fire: () => void): Timer {
    return this.#clock.setTimer(delayMs, fire);
  }
}

/** Counts first, and throws then: what it counted must be given back. */
export class SabotagedObserver extends SeeingObserver {
  constructor(readonly saboteur: Saboteur) {
    super();
  }

  override onExchangeStart(): void {
    super.onExchangeStart();
    this.saboteur.pass("onExchangeStart");
  }
  override onExchangeEnd(record: ExchangeRecord): void {
    super.onExchangeEnd(record);
    this.saboteur.pass("onExchangeEnd");
  }
  override onStreamStart(record: StreamRecord): void {
    super.onStreamStart(record);
    this.saboteur.pass("onStreamStart");
  }
  override onStreamEnd(record: StreamRecord): void {
    super.onStreamEnd(record);
    this.saboteur.pass("onStreamEnd");
  }
  override onConnectionOpen(): void {
    super.onConnectionOpen();
    this.saboteur.pass("onConnectionOpen");
  }
  override onConnectionClose(): void {
    super.onConnectionClose();
    this.saboteur.pass("onConnectionClose");
  }
  override onConnectionFailure(listener: string, failure: Failure): void {
    super.onConnectionFailure(listener, failure);
    this.saboteur.pass("onConnectionFailure");
  }
  override onUpstreamConnect(service: string, ok: boolean): void {
    super.onUpstreamConnect(service, ok);
    this.saboteur.pass("onUpstreamConnect");
  }
  override onUpstreamClose(): void {
    super.onUpstreamClose();
    this.saboteur.pass("onUpstreamClose");
  }
}
