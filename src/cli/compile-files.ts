import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { CompileResult } from "../config/compile.ts";
import type { ConfigIssue } from "../config/issue.ts";
import type { ParsedResource } from "../config/parse.ts";
import type { PartialResource } from "../config/prune.ts";
import { SystemClock } from "../core/clock.ts";
import type { CommandContext } from "./command.ts";
import { readNamedFiles } from "./files.ts";
import { pullerOf } from "./registry.ts";

/** What files come to, without a control plane. */
export interface CompiledFiles {
  readonly compiled: CompileResult;
  readonly resources: readonly ParsedResource[];
  readonly partial: readonly PartialResource[];
  /** Of reading and of compiling; in no order. */
  readonly issues: readonly ConfigIssue[];
}

/** Reads and compiles what `-f` names; modules in registries are pulled. */
export async function compileNamedFiles(context: CommandContext): Promise<CompiledFiles> {
  const { parseResources } = await import("../config/parse.ts");
  const { compileSnapshot, locatorOf } = await import("../config/compile.ts");
  const { builtinModules, withStoredModules } = await import("../config/modules.ts");
  const { pinModules } = await import("../config/oci/pin.ts");
  const { cwd, env } = context.terminal;
  const clock = new SystemClock();
  const parsed = (await readNamedFiles(context)).map(({ file, text }) => parseResources(text, { file, env }));
  const pull = pullerOf(context);
  const pinned = await pinModules(
    parsed.flatMap((each) => each.resources),
    { pull, clock, known: async () => undefined },
  );
  const { resources } = pinned;
  const partial = parsed.flatMap((each) => each.partial);
  const compiled = compileSnapshot(
    resources.map((each) => each.resource),
    {
      revision: 1,
      alone: "files",
      modules: withStoredModules(builtinModules(), (digest) => pinned.modules.get(digest)),
      readFile: (path, from) => readFileSync(resolve(cwd, from.startsWith("<") ? "." : dirname(from), path)),
      locate: locatorOf(resources),
      refused: parsed.flatMap((each) => each.refused),
      partial,
      notPulled: pinned.failures,
      nowMs: clock.wallMs(),
    },
  );
  return { compiled, resources, partial, issues: [...parsed.flatMap((each) => each.issues), ...compiled.issues] };
}
