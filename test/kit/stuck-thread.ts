/** The thread that prepares modules, which never comes to an end with those whose key begins with `stuck`. */
import "../../src/filters/guest/prepare-thread.ts";

interface Self {
  onmessage: ((event: { readonly data: { readonly job: { readonly key: string } } }) => void) | null;
  postMessage(message: object): void;
}

const self = globalThis as unknown as Self;
const prepare = self.onmessage;
const post = self.postMessage.bind(self);
let done = (): void => {};
/** The end of the job before: they are done one after the other. */
let last = Promise.resolve();

self.postMessage = (message) => {
  post(message);
  if (!("module" in message)) done();
};

self.onmessage = (event) => {
  last = last.then(async () => {
    // Without using a core, should a runtime not be able to stop it.
    if (event.data.job.key.startsWith("stuck")) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    const end = Promise.withResolvers<void>();
    done = end.resolve;
    prepare?.(event);
    await end.promise;
  });
};
