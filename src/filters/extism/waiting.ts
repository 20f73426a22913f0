import { CONTINUE, type FilterExchange, PAUSE, type Verdict } from "../contract.ts";
import { refusalOf } from "../guest/pool.ts";
import { ExtismContext, failed, type Step } from "./context.ts";
import type { ExtismGuest, GuestCallbacks, GuestOwner } from "./guest.ts";

/** Stands for an exchange that is over, in an instance that has not yet ended what it began for it: that is not free. */
const GONE = new ExtismContext();

/** The module of a plug-in that may wait: its instances go from callback to callback. */
export interface LeasingOwner extends GuestOwner {
  /** An instance for one callback; a text: why there is none; undefined: all are in use, and `start` gets either later, unless `forget` comes before. */
  lease(context: WaitingContext, start: (leased: ExtismGuest | string) => void): ExtismGuest | string | undefined;
  giveBack(guest: ExtismGuest, context: WaitingContext): void;
  forget(context: WaitingContext): void;
  endContext(context: WaitingContext): void;
}

/**
 * One exchange of a plug-in that may wait in the middle of a function (`http_request`). Each callback pauses the exchange, and has an instance
 * for itself: one that is free, or the exchange's own when the filter is isolated.
 */
export class WaitingContext extends ExtismContext {
  /** Undefined: the filter is isolated, and `guest` is this exchange's for all its life. */
  #leasing: LeasingOwner | undefined;
  /** A callback is under way, or waits for an instance. */
  #isAsking = false;
  /** In it. */
  #busy: ExtismGuest | undefined;
  /** The callback of the other direction: one at a time, as where nothing waits. */
  #next: (() => void) | undefined;

  openLeasing(owner: LeasingOwner, callbacks: GuestCallbacks, exchange: FilterExchange): void {
    this.#leasing = owner;
    this.begin(owner, callbacks, exchange);
  }

  protected override ask(owner: GuestOwner, exchange: FilterExchange, step: Step, end: boolean): Verdict {
    if (!this.#isAsking) return this.#start(owner, exchange, step, end);
    this.#next = () => {
      if (exchange.isPaused(this, step.direction)) this.#obey(exchange, step, this.#start(owner, exchange, step, end));
    };
    return PAUSE;
  }

  #start(owner: GuestOwner, exchange: FilterExchange, step: Step, end: boolean): Verdict {
    const refused = this.fuelRefusal(owner);
    if (refused !== undefined) return refused;
    const run = (guest: ExtismGuest | string): Verdict =>
      typeof guest === "string" ? refusalOf(guest) : this.#run(guest, exchange, step, end);
    const leased =
      this.#leasing === undefined
        ? this.guest
        : this.#leasing.lease(this, (later) =>
            owner.guardContext(this, () => {
              this.#isAsking = false;
              if (exchange.isPaused(this, step.direction)) return this.#obey(exchange, step, run(later));
              if (typeof later !== "string") this.#release(later);
              this.#goOn();
            }),
          );
    if (leased !== undefined) return run(leased);
    this.#isAsking = true;
    return PAUSE;
  }

  #run(guest: ExtismGuest, exchange: FilterExchange, step: Step, end: boolean): Verdict {
    const { epoch } = this;
    const callback = guest.callbacks[step.callback];
    if (callback === undefined || guest.fault !== undefined) {
      this.#release(guest);
      return failed(guest.fault ?? "it has no such function");
    }
    this.#isAsking = true;
    this.#busy = guest;
    const { owner } = guest;
    const input = this.inputOf(owner, exchange, step, end);
    const isCalled = guest.callWaiting(step.name, callback, input, this, (output) => {
      if (this.epoch === epoch)
        return owner.guardContext(this, () => this.#obey(exchange, step, this.#finish(guest, exchange, step, end, output)));
      owner.guard(guest, () => {
        guest.contexts.delete(GONE);
        owner.onAbandonedEnd(guest);
      });
    });
    return isCalled ? PAUSE : this.#finish(guest, exchange, step, end, undefined);
  }

  #finish(guest: ExtismGuest, exchange: FilterExchange, step: Step, end: boolean, output: string | undefined): Verdict {
    // What it was asked about may be gone: its place took an answer that is none of its business.
    const isDue = output === undefined || exchange.isPaused(this, step.direction);
    const verdict = isDue ? this.judge(guest, exchange, step, end, output) : CONTINUE;
    this.#isAsking = false;
    this.#busy = undefined;
    this.#release(guest);
    return verdict;
  }

  #release(guest: ExtismGuest): void {
    this.#leasing?.giveBack(guest, this);
  }

  override get instance(): ExtismGuest | undefined {
    return this.#busy ?? this.guest;
  }

  /** A verdict that comes when the exchange is paused already. */
  #obey(exchange: FilterExchange, { direction }: Step, verdict: Verdict): void {
    const { epoch } = this;
    if (verdict === PAUSE) return;
    if (verdict === CONTINUE) exchange.resume(this, direction);
    else if (verdict.kind === "respond") exchange.respond(this, verdict);
    else if (verdict.kind === "fail") exchange.fail(this, verdict.reason, verdict.fault);
    else exchange.fail(this, "it is switched off");
    if (this.epoch === epoch && !this.#isAsking) this.#goOn();
  }

  #goOn(): void {
    const next = this.#next;
    this.#next = undefined;
    next?.();
  }

  override close(): void {
    const leasing = this.#leasing;
    if (this.exchange === undefined) return;
    leasing?.forget(this);
    this.#busy?.abandon();
    this.#busy?.contexts.add(GONE);
    this.#busy?.contexts.delete(this);
    super.close();
    leasing?.endContext(this);
  }

  protected override reset(): void {
    super.reset();
    this.#leasing = undefined;
    this.#isAsking = false;
    this.#busy = undefined;
    this.#next = undefined;
  }
}
