import type { FilterBudget } from "../../core/limits.ts";

import { prepareModule } from "../proxy-wasm/prepare.ts";
import type { ComponentDefinition, CoreModule } from "./definitions.ts";

/**
 * Prepares and compiles every core module inside a component, off the hot path. The one place through which they all pass:
 * what holds for a module alone (bounds of memory and tables, metering) holds for those inside. Rejects with an `Error` that
 * says what is wrong.
 */
export async function compileCoreModules(component: ComponentDefinition, budget: FilterBudget): Promise<void> {
  for (const module of listModules(component)) {
    const prepared = prepareModule(module.bytes, budget);
    module.compiled = await WebAssembly.compile(prepared as Uint8Array<ArrayBuffer>);
  }
}

function listModules(component: ComponentDefinition): CoreModule[] {
  return component.definitions.flatMap((definition) => {
    if (definition.kind === "module") return [definition.module];
    return definition.kind === "component" ? listModules(definition.component) : [];
  });
}
