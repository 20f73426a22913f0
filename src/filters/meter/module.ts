import type { Bytes } from "../../core/bytes.ts";
import { METER_LIMITS } from "../../core/limits.ts";
import { copyImports, copyMemories, copyTables, type Limits, readElements, readGlobals, type SizeBounds } from "./bounds.ts";
import { CodeRewriter } from "./code.ts";
import { noteReference } from "./constants.ts";
import { malformed, unsupported } from "./error.ts";
import type { MeteredModule } from "./index.ts";
import {
  DEPTH_EXPORT,
  FUEL_EXPORT,
  isMeterExport,
  keeperExports,
  MEMORY_EXPORT,
  meterFunctions,
  meterGlobals,
  START_EXPORT,
  writeKeeperExports,
  writeKeptGlobals,
  writeMeterExport,
  writeMeterGlobals,
} from "./meters.ts";
import { ByteReader } from "./reader.ts";
import {
  checkCount,
  type ModuleShape,
  newShape,
  rankOf,
  readFunctions,
  readTags,
  readTypes,
  SECTION,
  type Section,
  splitSections,
} from "./shape.ts";
import { ByteSink } from "./sink.ts";

export interface RewriteSettings {
  readonly fuel: number;
  readonly depth: number;
  readonly bounds: SizeBounds;
  readonly splitFuel: number;
  readonly foreignFuel: number;
  readonly keeps: boolean;
}

/** Custom sections whose offsets into the code, or whose meaning, rewriting breaks. */
const MOVED = /^(\.debug_|metadata\.code\.|reloc\.|linking$|sourceMappingURL$|external_debug_info$)/;

/** Sections that a metered module always has, in their order. */
const ALWAYS = [SECTION.type, SECTION.function, SECTION.global, SECTION.export, SECTION.code] as const;

/** Rewrites section by section; what the meter adds comes last in each, so that no index moves. */
export function rewriteModule(wasm: Bytes, settings: RewriteSettings): MeteredModule {
  const sections = splitSections(wasm);
  // Room for what is inserted, so that the buffer rarely grows.
  const sink = new ByteSink(wasm.length + (wasm.length >> 2) + 256);
  sink.copy(wasm, 0, 8);
  return new ModuleRewriter(wasm, settings, sink).run(sections);
}

class ModuleRewriter {
  readonly #wasm: Bytes;
  readonly #settings: RewriteSettings;
  readonly #sink: ByteSink;
  readonly #shape: ModuleShape;
  readonly #dropped: string[] = [];
  #code: CodeRewriter | undefined;
  #memory: Limits | undefined;
  /** How many of `ALWAYS` are written. */
  #written = 0;

  constructor(wasm: Bytes, settings: RewriteSettings, sink: ByteSink) {
    this.#wasm = wasm;
    this.#settings = settings;
    this.#sink = sink;
    this.#shape = newShape(wasm);
  }

  run(sections: readonly Section[]): MeteredModule {
    const shape = this.#shape;
    const start = sections.find(({ id }) => id === SECTION.start);
    if (start !== undefined) shape.start = this.#readStart(start);
    for (const section of sections) {
      if (section.id !== SECTION.custom) this.#addMissing(rankOf(section.id));
      this.#rewrite(section);
    }
    this.#addMissing(Number.POSITIVE_INFINITY);
    const memory = this.#memory;
    return {
      bytes: this.#sink.finish(),
      report: {
        functions: shape.functionTypes.length - shape.importedFunctions,
        guardedFunctions: this.#code?.guarded ?? 0,
        instructions: this.#code?.instructions ?? 0,
        memory: memory === undefined ? undefined : { minPages: memory.min, maxPages: memory.max },
        droppedSections: this.#dropped,
        hostInTable: shape.hostInTable,
      },
    };
  }

  /** Some sections are written even when the module has none, before the one of this rank. */
  #addMissing(rank: number): void {
    for (let id = ALWAYS[this.#written]; id !== undefined && rank > rankOf(id); id = ALWAYS[this.#written])
      this.#always(id, undefined);
  }

  /** Writes one of the sections that there always are. Undefined: the module has none. */
  #always(id: number, section: Section | undefined): void {
    const reader = section === undefined ? undefined : new ByteReader(this.#wasm, section.start, section.end);
    this.#written++;
    if (id === SECTION.type) {
      if (reader !== undefined) readTypes(this.#shape, reader);
      this.#codeRewriter().writeTypes(section);
      return;
    }
    const sizeAt = this.#sink.openSection(id);
    if (id === SECTION.function) this.#functions(reader);
    else if (id === SECTION.global) this.#globals(reader);
    else if (id === SECTION.export) this.#exports(reader);
    else this.#codeRewriter().rewrite(reader);
    this.#sink.closeSection(sizeAt);
  }

  #rewrite(section: Section): void {
    const sink = this.#sink;
    const shape = this.#shape;
    const reader = new ByteReader(this.#wasm, section.start, section.end);
    const { bounds } = this.#settings;
    switch (section.id) {
      case SECTION.custom:
        this.#custom(section, reader);
        return;
      case SECTION.import:
        this.#within(section, () => {
          this.#memory = copyImports(shape, reader, sink, bounds);
        });
        return;
      case SECTION.table:
        this.#within(section, () => copyTables(shape, reader, sink, bounds));
        return;
      case SECTION.memory:
        this.#within(section, () => {
          this.#memory = copyMemories(shape, reader, sink, bounds) ?? this.#memory;
        });
        return;
      case SECTION.type:
      case SECTION.function:
      case SECTION.global:
      case SECTION.export:
      case SECTION.code:
        this.#always(section.id, section);
        return;
      case SECTION.start:
        // Exported instead.
        return;
      default:
        this.#read(section, reader);
        sink.reserve(section.end - section.at);
        sink.copy(this.#wasm, section.at, section.end);
    }
  }

  /** Sections that stay as they are. */
  #read(section: Section, reader: ByteReader): void {
    if (section.id === SECTION.tag) readTags(this.#shape, reader);
    else if (section.id === SECTION.element) readElements(this.#shape, reader);
    else if (section.id === SECTION.data) checkCount(reader.count(), METER_LIMITS.dataSegments, "data segments");
  }

  #codeRewriter(): CodeRewriter {
    this.#code ??= new CodeRewriter(this.#shape, this.#sink, this.#settings);
    return this.#code;
  }

  #within(section: Section, write: () => void): void {
    const sizeAt = this.#sink.openSection(section.id);
    write();
    this.#sink.closeSection(sizeAt);
  }

  #custom(section: Section, reader: ByteReader): void {
    const name = reader.name();
    if (MOVED.test(name)) {
      this.#dropped.push(name);
      return;
    }
    this.#sink.reserve(section.end - section.at);
    this.#sink.copy(this.#wasm, section.at, section.end);
  }

  #readStart(section: Section): number {
    const reader = new ByteReader(this.#wasm, section.start, section.end);
    const index = reader.u32();
    reader.finish("the start section");
    return index;
  }

  #functions(reader: ByteReader | undefined): void {
    const sink = this.#sink;
    const shape = this.#shape;
    const { meterType } = this.#codeRewriter();
    const from = reader?.at ?? 0;
    if (reader !== undefined) readFunctions(shape, reader);
    const count = shape.functionTypes.length - shape.importedFunctions;
    sink.reserve((reader === undefined ? 0 : reader.end - from) + 20);
    const added = meterFunctions(this.#settings.keeps);
    sink.u32(count + added);
    if (reader !== undefined) {
      const list = new ByteReader(this.#wasm, from, reader.end);
      list.u32();
      sink.copy(this.#wasm, list.at, list.end);
    }
    for (let i = 0; i < added; i++) sink.u32(meterType);
  }

  #globals(reader: ByteReader | undefined): void {
    const sink = this.#sink;
    const { fuel, depth, keeps } = this.#settings;
    const { mutableGlobals } = this.#shape;
    const count = reader?.count() ?? 0;
    const from = reader?.at ?? 0;
    if (reader !== undefined) readGlobals(this.#shape, reader, count);
    sink.reserve(5);
    sink.u32(count + meterGlobals(keeps, mutableGlobals));
    if (reader !== undefined) {
      sink.reserve(reader.end - from);
      sink.copy(this.#wasm, from, reader.end);
    }
    writeMeterGlobals(sink, keeps ? [fuel, depth, 0] : [fuel, depth]);
    if (keeps) writeKeptGlobals(sink, mutableGlobals);
  }

  #exports(reader: ByteReader | undefined): void {
    const sink = this.#sink;
    const { start, functionTypes, memories, importedMemories, globals, mutableGlobals } = this.#shape;
    const { keeps } = this.#settings;
    if (start !== undefined) this.#checkStart(start);
    const ownsMemory = keeps && memories > importedMemories;
    const count = reader?.count() ?? 0;
    sink.reserve(5);
    const kept = keeps ? keeperExports(mutableGlobals) : 0;
    sink.u32(count + meterFunctions(false) + kept + (start === undefined ? 0 : 1) + (ownsMemory ? 1 : 0));
    if (reader !== undefined) {
      const from = reader.at;
      this.#readExports(reader, count);
      sink.reserve(reader.end - from);
      sink.copy(this.#wasm, from, reader.end);
    }
    writeMeterExport(sink, FUEL_EXPORT, functionTypes.length);
    writeMeterExport(sink, DEPTH_EXPORT, functionTypes.length + 1);
    if (start !== undefined) writeMeterExport(sink, START_EXPORT, start);
    if (!keeps) return;
    writeKeeperExports(sink, functionTypes.length, globals, mutableGlobals);
    if (ownsMemory) writeMeterExport(sink, MEMORY_EXPORT, 0, 0x02);
  }

  /** What the engine would check, did it still see the start section. */
  #checkStart(start: number): void {
    const { types, functionTypes } = this.#shape;
    if (start >= functionTypes.length) throw malformed(`the module has no function ${start}`);
    this.#shape.entries.push(start);
    const type = types[functionTypes[start] as number];
    if (type?.params !== 0 || type.results !== 0) throw malformed("the module has a start function with parameters or results");
  }

  #readExports(reader: ByteReader, count: number): void {
    checkCount(count, METER_LIMITS.exports, "exports");
    const shape = this.#shape;
    for (let i = 0; i < count; i++) {
      const name = reader.name();
      if (isMeterExport(name))
        throw unsupported(`the module has an export that is called "${name}" already: it is metered twice, or pretends to be`);
      const kind = reader.byte();
      const index = reader.u32();
      if (kind > 4) throw malformed("the module has an export of an unknown kind");
      if (kind === 3 && index >= shape.globals) throw malformed(`the module has no global ${index}`);
      // An export declares a function, so that `ref.func` may name it.
      if (kind === 0) noteReference(shape, index);
    }
    reader.finish("the export section");
  }
}
