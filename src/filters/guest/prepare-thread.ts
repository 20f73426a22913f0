// What the thread starts with that prepares large modules: one after the other, compiled modules go back as they are.
import { SystemClock } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import { serveThread } from "../../runtime/thread.ts";
import type { ModuleFacts } from "./prepare.ts";
import { type PrepareJob, runPrepareJob } from "./prepare-job.ts";
import { PreparedCache } from "./prepared-cache.ts";

export interface ThreadQuestion {
  readonly id: number;
  readonly job: PrepareJob;
  /** Where rewritten modules are kept; undefined: nowhere. */
  readonly folder: string | undefined;
}

export type ThreadAnswer =
  | { readonly id: number; readonly module: WebAssembly.Module; readonly facts: ModuleFacts }
  /** What is wrong with the module. */
  | { readonly id: number; readonly refusal: string }
  /** The end of a job: after its module, once it is on disk, or with the reason why it is not. */
  | { readonly id: number; readonly kept: string | undefined };

let last: Promise<void> = Promise.resolve();

serveThread((message, answer) => {
  const question = message as ThreadQuestion;
  last = last.then(() => run(question, answer));
});

async function run({ id, job, folder }: ThreadQuestion, answer: (message: ThreadAnswer) => void): Promise<void> {
  const cache = folder === undefined ? undefined : new PreparedCache(folder, new SystemClock());
  try {
    const { compiled, prepared, kept } = await runPrepareJob(job, cache, (bytes) => new WebAssembly.Module(bytes));
    answer({ id, module: compiled, facts: prepared.facts });
    answer({ id, kept: await kept });
  } catch (error) {
    answer({ id, refusal: describeCause(error) });
  }
}
