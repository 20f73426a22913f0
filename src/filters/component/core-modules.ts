import { COMPONENT_LIMITS, CONFIG_LIMITS, type FilterBudget, PROXY_WASM_LIMITS } from "../../core/limits.ts";
import { DEPTH_EXPORT, FUEL_EXPORT, meterModule } from "../meter/index.ts";
import type { ComponentDefinition, CoreModule } from "./definitions.ts";

/**
 * Meters and compiles every core module inside a component, off the hot path. The one place through which they all pass: what
 * holds for a module alone (bounds of memory and tables, fuel, depth) holds for those inside. Rejects with an `Error` that
 * says what is wrong.
 */
export async function compileCoreModules(component: ComponentDefinition, budget: FilterBudget): Promise<void> {
  for (const module of listModules(component)) {
    if (module.bytes.byteLength > CONFIG_LIMITS.moduleBytes)
      throw new Error(`a core module is larger than ${CONFIG_LIMITS.moduleBytes} bytes`);
    // The original first: rewriting must not make an invalid module valid.
    if (!WebAssembly.validate(module.bytes as Uint8Array<ArrayBuffer>)) throw new Error("a core module is not valid");
    const { bytes, report } = meterModule(module.bytes, {
      fuel: COMPONENT_LIMITS.startFuel,
      memoryBytes: budget.memoryBytes,
      tableElements: PROXY_WASM_LIMITS.tableElements,
    });
    module.compiled = await WebAssembly.compile(bytes);
    module.hasCode = report.functions > 0;
    const isImported = WebAssembly.Module.imports(module.compiled).some((each) => each.kind === "memory");
    module.ownsMemory = report.memory !== undefined && !isImported;
  }
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
