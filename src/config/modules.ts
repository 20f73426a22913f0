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

/** The built-in filters of dist/filters/ (or those embedded in the executable). Reads each once. */
export function builtinModules(_folder?: string): ModuleCatalogue {
  throw new Error("not yet");
}
