import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type CompileResult, compileSnapshot, locatorOf } from "../../src/config/compile.ts";
import { type ConfigIssue, orderIssues } from "../../src/config/issue.ts";
import { builtinModules, type ModuleCatalogue } from "../../src/config/modules.ts";
import { type ParsedResource, parseResources } from "../../src/config/parse.ts";

/** Folder of the golden cases. */
export const GOLDEN_CONFIG = fileURLToPath(new URL("../golden/config/", import.meta.url));

const WASM = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

/** Stand-ins for the built-in filters: empty modules, told apart by a custom section. */
export const TEST_MODULES: ModuleCatalogue = builtinModules(
  new Map(["rate-limit", "authz", "transform"].map((name, i) => [name, new Uint8Array([...WASM, 0, 2, 1, 0x61 + i])])),
);

export interface Compiled extends CompileResult {
  readonly resources: readonly ParsedResource[];
  /** Of parsing and compiling. */
  readonly all: readonly ConfigIssue[];
}

export interface CompileTextOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly nowMs?: number;
  readonly revision?: number;
  /** Default: `TEST_MODULES`. */
  readonly modules?: ModuleCatalogue;
}

/** Parses and compiles a text; files come from the fixtures of the golden cases. */
export function compileText(text: string, options: CompileTextOptions = {}): Compiled {
  const { env = {}, nowMs, revision = 1, modules = TEST_MODULES } = options;
  const parsed = parseResources(text, { file: "case.yaml", env });
  const compiled = compileSnapshot(
    parsed.resources.map((each) => each.resource),
    {
      revision,
      modules,
      readFile: readFixture,
      locate: locatorOf(parsed.resources),
      refused: parsed.refused,
      partial: parsed.partial,
      ...(nowMs === undefined ? {} : { nowMs }),
    },
  );
  return { ...compiled, resources: parsed.resources, all: orderIssues(parsed.issues, compiled.issues) };
}

/** A file beside a configuration; there is no other. */
export function readFixture(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(`${GOLDEN_CONFIG}fixtures/${path}`));
  } catch {
    // The runtimes word their errors differently.
    throw new Error("no such file");
  }
}
