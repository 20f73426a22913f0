import type { Clock } from "../core/clock.ts";
import { Containment } from "../core/containment.ts";
import { DeadlineQueue } from "../core/deadline.ts";
import type { ResponseHead } from "../core/head.ts";
import { HttpDate } from "../core/http-date.ts";
import type { Log } from "../core/log.ts";
import { IdSource, type Rng } from "../core/rng.ts";
import { ChainPool } from "../filters/chain.ts";
import { ARRIVALS } from "../runtime/arrivals.ts";
import type { Callout } from "./callout.ts";
import type { Generation } from "./generation.ts";
import type { Observer } from "./observe/record.ts";
import { SocketBudget } from "./socket-budget.ts";
import { Turn, TurnClock } from "./turn.ts";

/** What every exchange of one process shares. The generation is replaced by one assignment; exchanges keep the one they began with. */
export class ProxyCore {
  readonly deadlines: DeadlineQueue;
  readonly turn: Turn;
  /** Reads the time once per turn. */
  readonly clock: Clock;
  readonly ids = new IdSource();
  readonly httpDate: HttpDate;
  readonly chains: ChainPool;
  readonly sockets: SocketBudget;
  readonly callouts = new Map<number, Callout>();
  generation: Generation | undefined;
  /** Set once the process stops: connections close after the exchange at hand. */
  draining = false;

  constructor(
    time: Clock,
    readonly rng: Rng,
    readonly log: Log,
    readonly observer: Observer,
    /** File descriptors that this process may have; undefined: not known. */
    descriptors?: number,
  ) {
    this.sockets = new SocketBudget(descriptors);
    this.turn = new Turn(time, new Containment(time, log, () => observer.onContained()), ARRIVALS);
    this.clock = new TurnClock(this.turn);
    this.httpDate = new HttpDate(this.clock);
    this.deadlines = new DeadlineQueue(this.clock, undefined, (error, blamed) => this.turn.thrown(error, blamed));
    this.chains = new ChainPool(this.deadlines, time);
  }

  /** Whoever answers: a head without a `date` gets it (RFC 9110 §6.6.1: who answers, and who forwards). */
  addDate({ status, headers }: ResponseHead): void {
    if (status !== 101 && !headers.has("date")) headers.add("date", this.httpDate.text());
  }
}
