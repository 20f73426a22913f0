import type { CreateFilterHost } from "../../../src/cli/command.ts";
import { runTable, type TestResult } from "../../../src/cli/filter/table-run.ts";
import { tableSchema } from "../../../src/cli/filter/table-schema.ts";
import type { FilterAbi } from "../../../src/config/snapshot.ts";
import { SystemClock } from "../../../src/core/clock.ts";
import { SILENT_LOG } from "../../../src/core/log.ts";
import { ComponentHost } from "../../../src/filters/component/host.ts";
import { ExtismHost } from "../../../src/filters/extism/host.ts";
import { type CompiledModule, ModuleCompiler } from "../../../src/filters/guest/compiler.ts";
import { SharedState } from "../../../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../../src/filters/proxy-wasm/host.ts";
import { ACTOR, readGuest } from "../../kit/component.ts";
import { buildPuppet, Puppet } from "../../kit/puppet.ts";
import { playScript } from "./scripted.ts";
import type { Case } from "./table.ts";

const MODULES: Readonly<Record<FilterAbi, Uint8Array>> = {
  "proxy-wasm": buildPuppet(),
  component: ACTOR,
  extism: readGuest("extism-script"),
};

/** Compiles each module once: what a process shares among filters that are alive is kept from case to case. */
class KeepingCompiler extends ModuleCompiler {
  readonly #kept = new Set<CompiledModule>();
  override async compile(...input: Parameters<ModuleCompiler["compile"]>): Promise<CompiledModule> {
    const compiled = await super.compile(...input);
    this.#kept.add(compiled);
    return compiled;
  }
}
const compiler = new KeepingCompiler({ clock: new SystemClock(), log: SILENT_LOG, inlineBytes: 1024 * 1024 });

/** Plays a case with the guest of an ABI, in its real host. */
export async function playCase({ script, test }: Case, abi: FilterAbi): Promise<TestResult> {
  const puppet = new Puppet();
  if (abi === "proxy-wasm") playScript(puppet, script);
  const written = { module: { file: "guest.wasm" }, tests: [{ ...test, settings: { script } }] };
  const results: TestResult[] = [];
  await runTable(
    {
      ...{ written, table: tableSchema.parse(written), defaults: {}, readModule: () => MODULES[abi] },
      ...{ locate: () => ({ line: 0, column: 0 }), createHost: hostOf(abi, puppet) },
    },
    undefined,
    (result) => results.push(result),
  );
  for (const error of puppet.errors) throw error;
  return results[0] as TestResult;
}

function hostOf(abi: FilterAbi, puppet: Puppet): CreateFilterHost {
  return ({ clock, log, metrics, callout }) => {
    const parts = { clock, log, metrics, shared: new SharedState(), compiler, publish: () => true };
    if (abi === "component") return Promise.resolve(new ComponentHost(parts));
    if (abi === "extism") return Promise.resolve(new ExtismHost(parts));
    const foreign = new ForeignFunctions();
    puppet.register(foreign);
    return Promise.resolve(new ProxyWasmHost({ ...parts, foreign, callout }));
  };
}
