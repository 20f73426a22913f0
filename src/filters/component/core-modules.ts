import { COMPONENT_LIMITS, CONFIG_LIMITS, type FilterBudget, PROXY_WASM_LIMITS } from "../../core/limits.ts";
import { DEPTH_EXPORT, FUEL_EXPORT, meterModule } from "../meter/index.ts";
import type { ComponentDefinition, CoreModule } from "./definitions.ts";

/**
 * Meters and compiles every core module inside a component, off the hot path. The one place through which they all pass: what
 * holds for a module alone (bounds of memory and tables, fuel, depth) holds for those inside. Rejects with an `Error` that
 * says what is wrong.
 */
export async function compileCoreModules(component: ComponentDefinition, budget: FilterBudget): Promise<void> {
  const modules = listModules(component);
  for (const module of modules) await compileModule(module, budget, budget.memoryBytes);
  const owners = modules.filter((module) => module.ownsMemory);
  if (owners.length > COMPONENT_LIMITS.memories)
    throw new Error(`the component has more than ${COMPONENT_LIMITS.memories} linear memories`);
  // What is granted is granted to the instance as a whole.
  if (owners.length > 1) {
    const share = Math.floor(budget.memoryBytes / owners.length);
    for (const module of owners) await compileModule(module, budget, share);
  }
}

async function compileModule(module: CoreModule, budget: FilterBudget, memoryBytes: number): Promise<void> {
  const original = module.bytes as Uint8Array<ArrayBuffer>;
  if (original.byteLength > CONFIG_LIMITS.moduleBytes)
    throw new Error(`a core module is larger than ${CONFIG_LIMITS.moduleBytes} bytes`);
  // The original first: rewriting must not make an invalid module valid.
  if (!WebAssembly.validate(original)) throw new Error("a core module is not valid");
  const { tableElements } = PROXY_WASM_LIMITS;
  const { bytes, report } = meterModule(original, { fuel: budget.startFuel, memoryBytes, tableElements });
  const compiled = await WebAssembly.compile(bytes);
  const isImported = WebAssembly.Module.imports(compiled).some((each) => each.kind === "memory");
  module.compiled = compiled;
  module.hasCode = report.functions > 0;
  module.ownsMemory = report.memory !== undefined && !isImported;
}

function listModules(component: ComponentDefinition): CoreModule[] {
  return component.definitions.flatMap((definition) => {
    if (definition.kind === "module") return [definition.module];
    return definition.kind === "component" ? listModules(definition.component) : [];
  });
}

/**
 * What a core instance exports, without its meters: no other module of the component may get hold of them.
 */
export function hideMeters(exports: WebAssembly.Exports): WebAssembly.ModuleImports {
  const visible: WebAssembly.ModuleImports = Object.create(null);
  for (const [name, value] of Object.entries(exports)) {
    if (name !== FUEL_EXPORT && name !== DEPTH_EXPORT) visible[name] = value;
  }
  return visible;
}
