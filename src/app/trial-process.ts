import type { TrialFault } from "../config/filter-check.ts";
import type { FilterConfig } from "../config/snapshot.ts";
import type { Clock, Timer } from "../core/clock.ts";
import { TRIAL_LIMITS } from "../core/limits.ts";
import type { LogLevel } from "../core/log.ts";
import { type SelfCommand, spawnWorker, type WorkerProcess } from "../runtime/process.ts";
import { TRIAL_VARIABLE, type TrialAnswer, type TrialQuestion } from "./messages.ts";

type Verdict = string | TrialFault | undefined;

interface Waiting {
  readonly id: number;
  readonly resolve: (verdict: Verdict) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
}

const HINT =
  "apply it again later; when it happens again, its start takes more memory than there is: look at what it does there, or try it with `selvedge validate`";

/** A process beside this one that tries filters, one at a time: there while there is something to try, and a moment longer. */
export class TrialProcess {
  #child: WorkerProcess | undefined;
  /** The module that it has. */
  #digest = "";
  #waiting: Waiting | undefined;
  #idle: Timer | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #nextId = 1;
  #isClosed = false;

  constructor(
    readonly clock: Clock,
    readonly logLevel: LogLevel,
    /** Default: this program. */
    readonly self?: SelfCommand,
  ) {}

  /** Its process id while it is there. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Rejects only when it was closed. */
  run(config: FilterConfig, bytes: Uint8Array): Promise<Verdict> {
    const next = this.#last.then(() => this.#ask(config, bytes));
    this.#last = next.catch(() => {});
    return next;
  }

  /** Ends the process; whoever waits is told. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#end();
    this.#waiting?.reject(closed());
    this.#settle();
  }

  #ask(config: FilterConfig, bytes: Uint8Array): Promise<Verdict> {
    if (this.#isClosed) return Promise.reject(closed());
    this.#idle?.cancel();
    const { promise, resolve, reject } = Promise.withResolvers<Verdict>();
    const limitMs = Math.ceil(TRIAL_LIMITS.prepareMs + config.budget.startFuel / TRIAL_LIMITS.startFuelPerMs);
    const timer = this.clock.setTimer(limitMs, () => this.#giveUp(`it had no answer after ${limitMs} ms, and was killed`));
    const id = this.#nextId++;
    this.#waiting = { id, resolve, reject, timer };
    this.#child ??= this.#start();
    const isKnown = this.#digest === config.digest;
    this.#digest = config.digest;
    const question: TrialQuestion = isKnown ? { id, config } : { id, config, bytes };
    // A closed channel: its exit is on its way.
    this.#child.send(question);
    return promise;
  }

  #start(): WorkerProcess {
    this.#digest = "";
    const child: WorkerProcess = spawnWorker([], {
      env: { [TRIAL_VARIABLE]: this.logLevel },
      ...(this.self === undefined ? {} : { self: this.self }),
      onMessage: (message) => this.#onAnswer(message as TrialAnswer),
      onExit: (code, signal, error) => {
        if (this.#child !== child) return;
        this.#giveUp(error?.message ?? (signal === undefined ? `it ended with exit code ${code}` : `it was killed (${signal})`));
      },
    });
    return child;
  }

  #onAnswer(answer: TrialAnswer): void {
    if (answer.type !== "answer" || answer.id !== this.#waiting?.id) return;
    this.#waiting.resolve(answer.reason);
    this.#settle();
    this.#idle = this.clock.setTimer(TRIAL_LIMITS.idleMs, () => this.#end());
  }

  /** The filter may be good or not. */
  #giveUp(reason: string): void {
    this.#end();
    this.#waiting?.resolve({ message: `The filter could not be tried: of the process that tried it, ${reason}.`, hint: HINT });
    this.#settle();
  }

  #settle(): void {
    this.#waiting?.timer.cancel();
    this.#waiting = undefined;
  }

  #end(): void {
    this.#idle?.cancel();
    const child = this.#child;
    this.#child = undefined;
    child?.kill("SIGKILL");
  }
}

const closed = (): Error => new Error("the control plane stops: its trials are over");
