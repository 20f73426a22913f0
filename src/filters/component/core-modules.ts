import type { FilterConfig } from "../../config/snapshot.ts";
import { COMPONENT_LIMITS } from "../../core/limits.ts";
import type { ModuleCompiler } from "../guest/compiler.ts";
import { isMeterExport } from "../meter/index.ts";
import type { ComponentDefinition, CoreModule } from "./definitions.ts";

/**
 * Meters and compiles every core module inside a component, off the hot path. The one place through which they all pass: what
 * holds for a module alone (bounds of memory and tables, fuel, depth) holds for those inside. Rejects with an `Error` that
 * says what is wrong.
 */
export async function compileCoreModules(
  component: ComponentDefinition,
  { budget, isolated }: Pick<FilterConfig, "budget" | "isolated">,
  compiler: ModuleCompiler,
): Promise<void> {
  const modules = listModules(component);
  for (const module of modules) module.compiled = await compiler.compile(module.bytes, budget, isolated);
  const owners = modules.filter(({ compiled }) => compiled?.ownsMemory === true);
  if (owners.length > COMPONENT_LIMITS.memories)
    throw new Error(`the component has more than ${COMPONENT_LIMITS.memories} linear memories`);
  // What is granted is granted to the instance as a whole.
  if (owners.length < 2) return;
  const share = { ...budget, memoryBytes: Math.floor(budget.memoryBytes / owners.length) };
  for (const module of owners) module.compiled = await compiler.compile(module.bytes, share, isolated);
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
    if (!isMeterExport(name)) visible[name] = value;
  }
  return visible;
}
