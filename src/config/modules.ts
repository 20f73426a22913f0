import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { embeddedPath } from "../runtime/embedded.ts";
import { sha256Digest } from "./canonical.ts";
import { BUILTIN_FILTERS } from "./schema/filter.ts";

/** Bytes of a WASM module under its digest. */
export interface ModuleBytes {
  /** `sha256:` + hex. */
  readonly digest: string;
  readonly bytes: Uint8Array;
}

/** Where the compiler finds filter modules that are not files. */
export interface ModuleCatalogue {
  /** `rate-limit`, `authz`, `transform`; undefined: no such built-in (or not built). */
  builtin(name: string): ModuleBytes | undefined;
  /** Names of the built-ins that are there. */
  readonly builtins: readonly string[];
  /** A module that was stored before; undefined: unknown. */
  byDigest(digest: string): ModuleBytes | undefined;
}

const DEFAULT_FOLDER = fileURLToPath(new URL("../../dist/filters/", import.meta.url));

/**
 * The built-in filters: inside the executable when this is one, else `<name>.wasm` in a folder (default: dist/filters/ of the
 * checkout), or given by name. Each is read once, when it is first asked for.
 */
export function builtinModules(source: string | ReadonlyMap<string, Uint8Array> = DEFAULT_FOLDER): ModuleCatalogue {
  const known = new Map<string, ModuleBytes>();
  const pathOf = (name: string): string =>
    typeof source === "string" ? (embeddedPath(`filters/${name}.wasm`) ?? join(source, `${name}.wasm`)) : "";
  const has = (name: string): boolean => (typeof source === "string" ? existsSync(pathOf(name)) : source.has(name));
  const builtin = (name: string): ModuleBytes | undefined => {
    const found = known.get(name);
    if (found !== undefined || !BUILTIN_FILTERS.some((each) => each === name) || !has(name)) return found;
    const bytes = typeof source === "string" ? new Uint8Array(readFileSync(pathOf(name))) : source.get(name);
    if (bytes === undefined) return undefined;
    const module = { digest: sha256Digest(bytes), bytes };
    known.set(name, module);
    return module;
  };
  const builtins = BUILTIN_FILTERS.filter(has);
  const byDigest = (digest: string) => builtins.map(builtin).find((each) => each?.digest === digest);
  return { builtin, builtins, byDigest };
}

/** A catalogue that also finds modules that were stored (object store, earlier applies). */
export function withStoredModules(
  catalogue: ModuleCatalogue,
  stored: (digest: string) => Uint8Array | undefined,
): ModuleCatalogue {
  return {
    builtin: (name) => catalogue.builtin(name),
    builtins: catalogue.builtins,
    byDigest: (digest) => {
      const bytes = stored(digest);
      return bytes === undefined ? catalogue.byDigest(digest) : { digest, bytes };
    },
  };
}
