import { COMPONENT_LIMITS } from "../../core/limits.ts";
import { type CoreLimits, type CustomSection, readCoreModule } from "./core-module.ts";
import type { WasmReader } from "./wasm-reader.ts";

/** A component's names (component model, "Binary.md"), read without its types. */
export interface ComponentOutline {
  /** `selvedge:filter/host@0.1.0`, in order. */
  readonly imports: readonly ComponentName[];
  readonly exports: readonly ComponentName[];
  /** Sizes of the core modules inside, bytes, those of components inside too. */
  readonly coreModules: readonly number[];
  /** Those that the core modules make themselves. */
  readonly memories: readonly CoreLimits[];
  readonly custom: readonly CustomSection[];
}

export interface ComponentName {
  readonly name: string;
  readonly kind: string;
}

/** Magic number and version of a core module, and of a component. */
const HEADER_BYTES = 8;
const SORTS = ["core module", "function", "value", "type", "component", "instance"];

/** `reader` stands behind the header. Throws an `Error` with the offset when the sections are malformed. */
export function readComponent(reader: WasmReader, depth = 0): ComponentOutline {
  if (depth > COMPONENT_LIMITS.depth) throw reader.fault(`components are nested deeper than ${COMPONENT_LIMITS.depth}`);
  const outline = { imports: [], exports: [], coreModules: [], memories: [], custom: [] } as Draft;
  while (!reader.done) {
    const id = reader.byte();
    const section = reader.part(reader.u32());
    if (id > 12) throw section.fault(`there is no section ${id}`);
    if (id === 0) outline.custom.push({ name: section.name(), bytes: section.take(section.end - section.at) });
    else if (id === 1) readModule(section, outline);
    else if (id === 4) readNested(section, depth, outline);
    else if (id === 10) readNames(section, outline.imports, readImport);
    else if (id === 11) readNames(section, outline.exports, readExport);
  }
  return outline;
}

interface Draft extends ComponentOutline {
  readonly imports: ComponentName[];
  readonly exports: ComponentName[];
  readonly coreModules: number[];
  readonly memories: CoreLimits[];
  readonly custom: CustomSection[];
}

function readModule(section: WasmReader, { coreModules, memories }: Draft): void {
  coreModules.push(section.end - section.at);
  section.take(HEADER_BYTES);
  for (const memory of readCoreModule(section).memories) if (!memory.imported) memories.push(memory);
}

/** Its names are its own; what it is made of counts. */
function readNested(section: WasmReader, depth: number, { coreModules, memories }: Draft): void {
  section.take(HEADER_BYTES);
  const inner = readComponent(section, depth + 1);
  coreModules.push(...inner.coreModules);
  memories.push(...inner.memories);
}

function readNames(section: WasmReader, into: ComponentName[], read: (section: WasmReader) => ComponentName): void {
  const count = section.u32();
  for (let i = 0; i < count; i++) into.push(read(section));
}

function readImport(section: WasmReader): ComponentName {
  const name = readExternName(section);
  return { name, kind: readDescription(section) };
}

function readExport(section: WasmReader): ComponentName {
  const name = readExternName(section);
  const sort = section.byte();
  const kind = sort === 0 ? (section.byte() === 0x11 ? "core module" : "core item") : (SORTS[sort] ?? "item");
  section.u32();
  if (section.byte() === 1) readDescription(section);
  return { name, kind };
}

/** A name, and since the addition of implementation ids a list of options behind it, which newer producers write. */
function readExternName(section: WasmReader): string {
  const form = section.byte();
  if (form > 1) throw section.fault("a name of an unknown form");
  return section.name();
}

/** What an import or export is, answered as its sort; its type is skipped. */
function readDescription(section: WasmReader): string {
  const sort = section.byte();
  if (sort === 0) section.byte();
  if (sort === 2) {
    if (section.byte() === 0) section.u32();
    else section.byte();
    return "value";
  }
  if (sort === 3) {
    if (section.byte() === 0) section.u32();
    return "type";
  }
  section.u32();
  return SORTS[sort] ?? "item";
}
