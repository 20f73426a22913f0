import { METER_LIMITS } from "../../core/limits.ts";
import { BodyDecoder } from "./decode.ts";
import { BodyEmitter, type ResultType } from "./emit.ts";
import { malformed, overLimit } from "./error.ts";
import type { RewriteSettings } from "./module.ts";
import { Plan } from "./plan.ts";
import type { ByteReader } from "./reader.ts";
import { checkValueType } from "./refuse.ts";
import { type FunctionShape, type ModuleShape, SECTION, type Section, slotsOf } from "./shape.ts";
import type { ByteSink } from "./sink.ts";

/** What a call takes of the depth besides its values: return address, saved registers, the instance. */
const CALL_SLOTS = 16;
/** A function that calls nothing cannot recurse: it is guarded only when its frame is larger than this. */
const LEAF_SLOTS = 64;

/** Rewrites the code section, and adds the types that its guards need. */
export class CodeRewriter {
  guarded = 0;
  readonly #shape: ModuleShape;
  readonly #sink: ByteSink;
  readonly #settings: RewriteSettings;
  readonly #resultTypes: ResultType[] = [];
  #decoder: BodyDecoder | undefined;

  constructor(shape: ModuleShape, sink: ByteSink, settings: RewriteSettings) {
    this.#shape = shape;
    this.#sink = sink;
    this.#settings = settings;
  }

  get instructions(): number {
    return this.#decoder?.instructions ?? 0;
  }

  /**
   * Writes the type section. The block around a guarded body has the function's results: two or more need a type of their own
   * without parameters, which is appended unless there is one.
   */
  writeTypes(section: Section): void {
    const { bytes, types } = this.#shape;
    const sink = this.#sink;
    const known = new Map<string, number>();
    const key = (type: FunctionShape): string =>
      Buffer.from(bytes.buffer, bytes.byteOffset + type.resultsAt, type.results).toString("latin1");
    types.forEach((type, index) => {
      if (type.params === 0 && type.results > 1 && !known.has(key(type))) known.set(key(type), index);
    });
    const added: FunctionShape[] = [];
    for (const type of types) {
      if (type.results < 2) {
        this.#resultTypes.push({ byte: type.results === 0 ? 0x40 : (bytes[type.resultsAt] as number) });
        continue;
      }
      let index = known.get(key(type));
      if (index === undefined) {
        index = types.length + added.length;
        known.set(key(type), index);
        added.push(type);
      }
      this.#resultTypes.push({ index });
    }
    const sizeAt = sink.openSection(SECTION.type);
    sink.reserve(section.end - section.start + 8);
    sink.u32(types.length + added.length);
    let from = section.start;
    while ((bytes[from++] as number) >= 0x80);
    sink.copy(bytes, from, section.end);
    for (const type of added) {
      sink.reserve(type.results + 8);
      sink.byte(0x60);
      sink.byte(0x00);
      sink.u32(type.results);
      sink.copy(bytes, type.resultsAt, type.resultsAt + type.results);
    }
    sink.closeSection(sizeAt);
  }

  rewrite(reader: ByteReader): void {
    const { functionTypes, importedFunctions, bytes, globals } = this.#shape;
    const { bounds, splitFuel, foreignFuel } = this.#settings;
    const sink = this.#sink;
    const count = reader.count();
    if (count !== functionTypes.length - importedFunctions) throw malformed("the module has functions without code");
    sink.reserve(5);
    sink.u32(count);
    const plan = new Plan(splitFuel, foreignFuel);
    const decoder = new BodyDecoder(this.#shape, plan);
    this.#decoder = decoder;
    const masks = {
      memoryBytes: bounds.memoryPages * 65_536,
      memoryPages: bounds.memoryPages,
      tableElements: bounds.tableElements,
    };
    const emitter = new BodyEmitter(sink, bytes, plan, globals, masks);
    for (let i = 0; i < count; i++) this.#rewriteBody(reader, functionTypes[importedFunctions + i] as number, decoder, emitter);
    reader.finish("the code section");
  }

  #rewriteBody(reader: ByteReader, typeIndex: number, decoder: BodyDecoder, emitter: BodyEmitter): void {
    const type = this.#shape.types[typeIndex] as FunctionShape;
    const size = reader.u32();
    const start = reader.at;
    if (size > METER_LIMITS.functionBytes)
      throw overLimit(`the module has a function of ${size} bytes, the limit is ${METER_LIMITS.functionBytes}`);
    reader.skip(size);
    const end = reader.at;
    reader.at = start;
    const localRuns = reader.u32();
    const localsAt = reader.at;
    let locals = type.params;
    let slots = type.paramSlots;
    for (let i = 0; i < localRuns; i++) {
      const run = reader.u32();
      const valueType = reader.byte();
      checkValueType(valueType);
      locals += run;
      slots += run * slotsOf(valueType);
      if (locals > METER_LIMITS.locals) throw overLimit(`the module has a function with more than ${METER_LIMITS.locals} locals`);
      if (reader.at > end) throw malformed("the module has a function that ends in its locals");
    }
    const bodyStart = reader.at;
    decoder.decode(bodyStart, end, locals, type.results);
    slots += CALL_SLOTS + decoder.heightMax;
    const depth = decoder.calls || slots > LEAF_SLOTS ? slots : 0;
    if (depth > 0) this.guarded++;
    emitter.emit(
      {
        start: bodyStart,
        end,
        localsAt,
        localRuns,
        locals,
        depth,
        resultType: this.#resultTypes[typeIndex] as ResultType,
      },
      decoder,
    );
    reader.at = end;
  }
}
