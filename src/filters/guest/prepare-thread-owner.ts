import type { Clock, Timer } from "../../core/clock.ts";
import { PREPARE_LIMITS } from "../../core/limits.ts";
import { embeddedPath } from "../../runtime/embedded.ts";
import { startThread, type Thread } from "../../runtime/thread.ts";
import type { ModuleFacts } from "./prepare.ts";
import type { PrepareJob } from "./prepare-job.ts";
import type { ThreadAnswer, ThreadQuestion } from "./prepare-thread.ts";

export interface ThreadResult {
  readonly module: WebAssembly.Module;
  readonly facts: ModuleFacts;
}

interface Waiting {
  readonly job: PrepareJob;
  /** Who waits has the module; the rest is for the disk. */
  isAnswered: boolean;
  readonly resolve: (result: ThreadResult) => void;
  readonly reject: (error: Error) => void;
}

const PROGRAM = embeddedPath("threads/prepare") ?? new URL("./prepare-thread.ts", import.meta.url);

/** The thread that prepares large modules, one after the other: there while there is something to do, and a moment longer. */
export class PrepareThread {
  #thread: Thread | undefined;
  #idle: Timer | undefined;
  /** Of the job that the thread is at. */
  #late: Timer | undefined;
  #lateId = 0;
  #nextId = 1;
  /** Jobs whose last word has not come, in the order in which the thread does them. */
  readonly #jobs = new Map<number, Waiting>();

  constructor(
    readonly clock: Clock,
    readonly folder: string | undefined,
    /** Why something could not be kept on disk. */
    readonly onProblem: (problem: string) => void,
    /** What the thread starts with. */
    readonly program: string | URL = PROGRAM,
  ) {}

  /** Rejects with what is wrong with the module, or with the thread. */
  run(job: PrepareJob): Promise<ThreadResult> {
    this.#idle?.cancel();
    const { promise, resolve, reject } = Promise.withResolvers<ThreadResult>();
    const id = this.#nextId++;
    this.#jobs.set(id, { job, isAnswered: false, resolve, reject });
    this.#post(id, job);
    this.#watch();
    return promise;
  }

  #post(id: number, job: PrepareJob): void {
    try {
      this.#thread ??= startThread(
        this.program,
        (message) => this.#onAnswer(message as ThreadAnswer),
        (reason) => this.#onFailure(reason),
      );
      // A copy of its own: the original stays with who has it. (What slice makes of a Buffer is none.)
      const wasm = new Uint8Array(job.wasm);
      const question: ThreadQuestion = { id, job: { ...job, wasm }, folder: this.folder };
      this.#thread.post(question, [wasm.buffer as ArrayBuffer]);
    } catch (error) {
      this.#onFailure((error as Error).message);
    }
  }

  /** Each job has its time from when the thread comes to it. */
  #watch(): void {
    const id = this.#jobs.keys().next().value ?? 0;
    if (id === this.#lateId) return;
    this.#late?.cancel();
    this.#lateId = id;
    this.#late = id === 0 ? undefined : this.clock.setTimer(PREPARE_LIMITS.jobMs, () => this.#giveUp(id));
  }

  /** Whatever it is at: the thread ends, and another one begins with the next job. */
  #giveUp(id: number): void {
    const late = this.#jobs.get(id);
    this.#jobs.delete(id);
    this.#end();
    const reason = `it was not done after ${PREPARE_LIMITS.jobMs} ms, and was given up`;
    if (late?.isAnswered === false) late.reject(new Error(`the module could not be prepared: ${reason}`));
    else this.onProblem(reason);
    for (const [each, { job }] of [...this.#jobs]) if (this.#jobs.has(each)) this.#post(each, job);
    this.#watch();
  }

  #onAnswer(answer: ThreadAnswer): void {
    const waiting = this.#jobs.get(answer.id);
    if (waiting !== undefined && "module" in answer) {
      waiting.isAnswered = true;
      waiting.resolve({ module: answer.module, facts: answer.facts });
      return;
    }
    this.#jobs.delete(answer.id);
    this.#watch();
    if ("refusal" in answer) waiting?.reject(new Error(answer.refusal));
    else if ("kept" in answer && answer.kept !== undefined) this.onProblem(answer.kept);
    if (this.#jobs.size === 0) this.#idle = this.clock.setTimer(PREPARE_LIMITS.threadIdleMs, () => this.#end());
  }

  /** Nobody's module was refused, but none can be had: who loads them says so, and the next one starts a new thread. */
  #onFailure(reason: string): void {
    const waiting = [...this.#jobs.values()];
    this.#jobs.clear();
    this.#watch();
    this.#end();
    for (const { reject } of waiting) reject(new Error(`the thread that prepares modules broke: ${reason}`));
  }

  #end(): void {
    this.#thread?.stop();
    this.#thread = undefined;
  }
}
