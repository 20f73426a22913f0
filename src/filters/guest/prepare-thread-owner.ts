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
  readonly resolve: (result: ThreadResult) => void;
  readonly reject: (error: Error) => void;
}

/** The thread that prepares large modules: there while there is something to do, and a moment longer. */
export class PrepareThread {
  #thread: Thread | undefined;
  #idle: Timer | undefined;
  #nextId = 1;
  /** Jobs whose last word has not come, those that are not answered yet with who waits. */
  readonly #jobs = new Map<number, Waiting>();

  constructor(
    readonly clock: Clock,
    readonly folder: string | undefined,
    /** Why something could not be kept on disk. */
    readonly onProblem: (problem: string) => void,
  ) {}

  /** Rejects with what is wrong with the module, or with the thread. */
  run(job: PrepareJob): Promise<ThreadResult> {
    this.#idle?.cancel();
    const { promise, resolve, reject } = Promise.withResolvers<ThreadResult>();
    const id = this.#nextId++;
    this.#jobs.set(id, { resolve, reject });
    try {
      this.#thread ??= startThread(
        embeddedPath("threads/prepare") ?? new URL("./prepare-thread.ts", import.meta.url),
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
    return promise;
  }

  #onAnswer(answer: ThreadAnswer): void {
    const waiting = this.#jobs.get(answer.id);
    if ("module" in answer) {
      waiting?.resolve({ module: answer.module, facts: answer.facts });
      return;
    }
    this.#jobs.delete(answer.id);
    if ("refusal" in answer) waiting?.reject(new Error(answer.refusal));
    else if (answer.kept !== undefined) this.onProblem(answer.kept);
    if (this.#jobs.size === 0) this.#idle = this.clock.setTimer(PREPARE_LIMITS.threadIdleMs, () => this.#end());
  }

  /** Nobody's module was refused, but none can be had: who loads them says so, and the next one starts a new thread. */
  #onFailure(reason: string): void {
    const waiting = [...this.#jobs.values()];
    this.#jobs.clear();
    this.#end();
    for (const { reject } of waiting) reject(new Error(`the thread that prepares modules broke: ${reason}`));
  }

  #end(): void {
    this.#thread?.stop();
    this.#thread = undefined;
  }
}
