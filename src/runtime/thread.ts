/** A thread of this process with a channel to it. It does not keep the process alive. */
export interface Thread {
  /** `transfer`: what the thread owns from then on. */
  post(message: unknown, transfer: readonly ArrayBuffer[]): void;
  /** At once, whatever it is doing. Idempotent. */
  stop(): void;
}

/** Web workers, which both runtimes have; only Bun's can let a process end by itself. */
interface WebWorker {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onerror: ((event: { readonly message?: string; preventDefault?: () => void }) => void) | null;
  onmessageerror: (() => void) | null;
  postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void;
  terminate(): void;
  unref?(): void;
}

/**
 * Starts a file of this program as a thread. `onFailure`: it could not be started, broke, or said what cannot be read; nothing more
 * comes from it then.
 */
export function startThread(
  module: string | URL,
  onMessage: (message: unknown) => void,
  onFailure: (reason: string) => void,
): Thread {
  const worker = new Worker(module, { type: "module" }) as unknown as WebWorker;
  let isStopped = false;
  const stop = (): void => {
    isStopped = true;
    worker.terminate();
  };
  const fail = (reason: string): void => {
    if (isStopped) return;
    stop();
    onFailure(reason);
  };
  worker.onmessage = ({ data }) => {
    if (!isStopped) onMessage(data);
  };
  worker.onerror = (event) => {
    // Otherwise Deno ends the whole process.
    event.preventDefault?.();
    fail(event.message ?? "the thread broke");
  };
  worker.onmessageerror = () => fail("what the thread said cannot be read");
  worker.unref?.();
  return { post: (message, transfer) => worker.postMessage(message, transfer), stop };
}

/** The other end: called by what a thread starts with. */
export function serveThread(onMessage: (message: unknown, answer: (message: unknown) => void) => void): void {
  const self = globalThis as unknown as Pick<WebWorker, "onmessage"> & { postMessage(message: unknown): void };
  self.onmessage = ({ data }) => onMessage(data, (message) => self.postMessage(message));
}
