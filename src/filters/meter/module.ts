import { type Bytes, utf8Bytes } from "../../core/bytes.ts";
import { METER_LIMITS } from "../../core/limits.ts";
import { copyImports, copyMemories, copyTables, type Limits, readElements, readGlobals, type SizeBounds } from "./bounds.ts";
import { CodeRewriter } from "./code.ts";
import { noteReference } from "./constants.ts";
import { malformed, unsupported } from "./error.ts";
import type { MeteredModule } from "./index.ts";
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
  readonly fuelName: string;
  readonly depthName: string;
  readonly bounds: SizeBounds;
  readonly splitFuel: number;
  readonly foreignFuel: number;
}

/** Custom sections whose offsets into the code, or whose meaning, rewriting breaks. */
const MOVED = /^(\.debug_|metadata\.code\.|reloc\.|linking$|sourceMappingURL$|external_debug_info$)/;

/** Rewrites section by section; the two globals and their exports come last in their sections, so that no index moves. */
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
  #hasGlobals = false;
  #hasExports = false;
  #hasCode = false;

  constructor(wasm: Bytes, settings: RewriteSettings, sink: ByteSink) {
    this.#wasm = wasm;
    this.#settings = settings;
    this.#sink = sink;
    this.#shape = newShape(wasm);
  }

  run(sections: readonly Section[]): MeteredModule {
    for (const section of sections) {
      if (section.id !== SECTION.custom) this.#addMissing(rankOf(section.id));
      this.#rewrite(section);
    }
    this.#addMissing(Number.POSITIVE_INFINITY);
    const shape = this.#shape;
    if (!this.#hasCode && shape.functionTypes.length > shape.importedFunctions)
      throw malformed("the module has functions without code");
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

  /** The sections of globals and exports are written even when the module has none, before the one of this rank. */
  #addMissing(rank: number): void {
    if (!this.#hasGlobals && rank > rankOf(SECTION.global)) this.#globals(undefined);
    if (!this.#hasExports && rank > rankOf(SECTION.export)) this.#exports(undefined);
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
      case SECTION.type:
        readTypes(shape, reader);
        this.#codeRewriter().writeTypes(section);
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
      case SECTION.global:
        this.#globals(reader);
        return;
      case SECTION.export:
        this.#exports(reader);
        return;
      case SECTION.code:
        this.#hasCode = true;
        this.#within(section, () => this.#codeRewriter().rewrite(reader));
        return;
      default:
        this.#read(section, reader);
        sink.reserve(section.end - section.at);
        sink.copy(this.#wasm, section.at, section.end);
    }
  }

  /** Sections that stay as they are. */
  #read(section: Section, reader: ByteReader): void {
    if (section.id === SECTION.function) readFunctions(this.#shape, reader);
    else if (section.id === SECTION.tag) readTags(this.#shape, reader);
    else if (section.id === SECTION.element) readElements(this.#shape, reader);
    else if (section.id === SECTION.start) this.#shape.entries.push(reader.u32());
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

  #globals(reader: ByteReader | undefined): void {
    this.#hasGlobals = true;
    const sink = this.#sink;
    const shape = this.#shape;
    const sizeAt = sink.openSection(SECTION.global);
    const count = reader?.count() ?? 0;
    sink.reserve(32);
    sink.u32(count + 2);
    if (reader !== undefined) {
      const from = reader.at;
      readGlobals(shape, reader, count);
      sink.reserve(reader.end - from + 32);
      sink.copy(this.#wasm, from, reader.end);
    }
    for (const initial of [this.#settings.fuel, this.#settings.depth]) {
      // A mutable i32 with a constant.
      sink.byte(0x7f);
      sink.byte(0x01);
      sink.byte(0x41);
      sink.s32(initial);
      sink.byte(0x0b);
    }
    sink.closeSection(sizeAt);
  }

  #exports(reader: ByteReader | undefined): void {
    this.#hasExports = true;
    const sink = this.#sink;
    const { fuelName, depthName } = this.#settings;
    const sizeAt = sink.openSection(SECTION.export);
    const count = reader?.count() ?? 0;
    sink.reserve(5);
    sink.u32(count + 2);
    if (reader !== undefined) {
      const from = reader.at;
      this.#readExports(reader, count);
      sink.reserve(reader.end - from);
      sink.copy(this.#wasm, from, reader.end);
    }
    [fuelName, depthName].forEach((name, i) => {
      const bytes = utf8Bytes(name);
      sink.reserve(bytes.length + 16);
      sink.u32(bytes.length);
      sink.copy(bytes, 0, bytes.length);
      sink.byte(0x03);
      sink.u32(this.#shape.globals + i);
    });
    sink.closeSection(sizeAt);
  }

  #readExports(reader: ByteReader, count: number): void {
    checkCount(count, METER_LIMITS.exports, "exports");
    const { fuelName, depthName } = this.#settings;
    const shape = this.#shape;
    for (let i = 0; i < count; i++) {
      const name = reader.name();
      if (name === fuelName || name === depthName)
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
