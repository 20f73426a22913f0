/** Functions that wait: JavaScript Promise Integration of WebAssembly, which both runtimes have. */
interface PromiseIntegration {
  /** As an import: suspends the stack of whoever calls it, up to a `promising` function, until the promise resolves. */
  readonly Suspending: new (
    wait: () => Promise<number>,
  ) => WebAssembly.ImportValue;
  /** An export that answers a promise. Only WebAssembly may stand between it and what suspends it. */
  readonly promising: (run: () => unknown) => () => Promise<unknown>;
}

const engine = WebAssembly as unknown as Partial<PromiseIntegration>;

/** Undefined: this engine cannot suspend a function. */
export const suspension: PromiseIntegration | undefined =
  typeof engine.Suspending === "function" && typeof engine.promising === "function"
    ? { Suspending: engine.Suspending, promising: engine.promising }
    : undefined;
