import type { Bytes } from "../../core/bytes.ts";
import { type PrepareBounds, type PreparedModule, prepareModule } from "./prepare.ts";
import type { PreparedCache } from "./prepared-cache.ts";

/** What is to be prepared, and under which name it is kept. */
export interface PrepareJob {
  readonly wasm: Bytes;
  readonly key: string;
  readonly bounds: PrepareBounds;
}

/** What came of it. `problem`: why the folder is of no use, once it is known. */
export interface PrepareResult<Compiled> {
  readonly compiled: Compiled;
  readonly prepared: PreparedModule;
  /** Resolves, with the reason when it could not be kept on disk. */
  readonly kept: Promise<string | undefined>;
}

const NOTHING = Promise.resolve(undefined);

/**
 * Takes rewritten bytes from disk, or makes them, and compiles them. What is on disk was valid when it was made; bytes that this
 * engine does not take all the same are made anew. Rejects with what is wrong with the module, never because of the disk.
 */
export async function runPrepareJob<Compiled>(
  { wasm, key, bounds }: PrepareJob,
  cache: PreparedCache | undefined,
  compile: (bytes: Uint8Array<ArrayBuffer>) => Compiled | Promise<Compiled>,
): Promise<PrepareResult<Compiled>> {
  let problem: string | undefined;
  const known = await cache?.read(key).catch((error: Error) => {
    problem = error.message;
    return undefined;
  });
  if (known !== undefined) {
    try {
      return { compiled: await compile(known.bytes), prepared: known, kept: NOTHING };
    } catch {
      // Made anew below, which replaces the file.
    }
  }
  const prepared = prepareModule(wasm, bounds);
  const compiled = await compile(prepared.bytes);
  if (cache === undefined || problem !== undefined) return { compiled, prepared, kept: Promise.resolve(problem) };
  const kept = cache.write(key, prepared).then(
    () => undefined,
    (error: Error) => error.message,
  );
  return { compiled, prepared, kept };
}
