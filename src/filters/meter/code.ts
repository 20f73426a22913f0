import { METER_LIMITS } from "../../core/limits.ts";
import { CallGraph } from "./calls.ts";
import { BodyDecoder } from "./decode.ts";
import { BodyEmitter, type BodyShape, type ResultType } from "./emit.ts";
import { malformed, overLimit } from "./error.ts";
import type { RewriteSettings } from "./module.ts";
import { Plan } from "./plan.ts";
import type { ByteReader } from "./reader.ts";
import { checkValueType } from "./refuse.ts";
import { type FunctionShape, type ModuleShape, SECTION, type Section, slotsOf } from "./shape.ts";
import type { ByteSink } from "./sink.ts";

/** What a call takes of the depth besides its values: return address, saved registers, the instance. */
const CALL_SLOTS = 16;
/** The most that a function whose callers pay may cost, take of the stack, and have bytes. */
const PREPAID_FUEL = 64;
const PREPAID_SLOTS = 64;
const PREPAID_BYTES = 128;

/** What is known of a function before and after its instructions were read. */
interface Body extends BodyShape {
  /** Of the depth: what a call takes, parameters and locals. */
  readonly slots: number;
  readonly results: number;
  depth: number;
  catches: boolean;
  leavesEarly: boolean;
  eventsFrom: number;
  eventsTo: number;
  entry: number;
}

/** Rewrites the code section, and adds the types that its guards need. */
export class CodeRewriter {
  guarded = 0;
  instructions = 0;
  readonly #shape: ModuleShape;
  #locals = 0;
  readonly #sink: ByteSink;
  readonly #settings: RewriteSettings;
  readonly #resultTypes: ResultType[] = [];

  constructor(shape: ModuleShape, sink: ByteSink, settings: RewriteSettings) {
    this.#shape = shape;
    this.#sink = sink;
    this.#settings = settings;
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
    const { functionTypes, importedFunctions, bytes, globals, entries } = this.#shape;
    const { bounds, splitFuel, foreignFuel } = this.#settings;
    const sink = this.#sink;
    const count = reader.count();
    if (count !== functionTypes.length - importedFunctions) throw malformed("the module has functions without code");
    sink.reserve(5);
    sink.u32(count);
    const plan = new Plan(splitFuel, foreignFuel);
    const prepaid = new Uint8Array(count);
    const decoder = new BodyDecoder(this.#shape, plan, prepaid);
    const bodies = Array.from({ length: count }, (_, i) =>
      this.#readBody(reader, functionTypes[importedFunctions + i] as number),
    );
    reader.finish("the code section");
    if (splitFuel > 0) this.#findPrepaid(bodies, decoder, plan, prepaid);
    decoder.graph = new CallGraph(count);
    this.#decode(bodies, decoder, plan, prepaid);
    this.instructions = decoder.instructions;
    const takes = decoder.graph.placeGuards(entries.map((index) => index - importedFunctions));
    const masks = {
      memoryBytes: bounds.memoryPages * 65_536,
      memoryPages: bounds.memoryPages,
      tableElements: bounds.tableElements,
    };
    const emitter = new BodyEmitter(sink, bytes, plan, globals, masks);
    bodies.forEach((body, i) => {
      if (prepaid[i] !== 0) {
        emitter.copy(body);
        return;
      }
      body.depth = takes[i] as number;
      if (body.depth > 0) this.guarded++;
      emitter.emit(body);
    });
  }

  /** Reads what stands in front of the instructions. */
  #readBody(reader: ByteReader, typeIndex: number): Body {
    const type = this.#shape.types[typeIndex] as FunctionShape;
    const size = reader.u32();
    const at = reader.at;
    if (size > METER_LIMITS.functionBytes)
      throw overLimit(`the module has a function of ${size} bytes, the limit is ${METER_LIMITS.functionBytes}`);
    reader.skip(size);
    const end = reader.at;
    reader.at = at;
    const localRuns = reader.u32();
    const localsAt = reader.at;
    let locals = type.params;
    let slots = CALL_SLOTS + type.paramSlots;
    for (let i = 0; i < localRuns; i++) {
      const run = reader.u32();
      const valueType = reader.byte();
      checkValueType(valueType);
      locals += run;
      slots += run * slotsOf(valueType);
      if (locals > METER_LIMITS.locals) throw overLimit(`the module has a function with more than ${METER_LIMITS.locals} locals`);
      if (reader.at > end) throw malformed("the module has a function that ends in its locals");
    }
    this.#locals += locals;
    if (this.#locals > METER_LIMITS.localsInAll)
      throw overLimit(`the module has more than ${METER_LIMITS.localsInAll} locals in all`);
    const start = reader.at;
    reader.at = end;
    return {
      at,
      start,
      end,
      localsAt,
      localRuns,
      locals,
      slots,
      results: type.results,
      resultType: this.#resultTypes[typeIndex] as ResultType,
      depth: 0,
      catches: false,
      leavesEarly: false,
      eventsFrom: 0,
      eventsTo: 0,
      entry: 0,
    };
  }

  /**
   * Finds the short functions that only their callers in the module can call, and that do nothing that takes long: they need not
   * count, their callers pay for all that they can do. What costs a call costs as much as such a function otherwise.
   */
  #findPrepaid(bodies: readonly Body[], decoder: BodyDecoder, plan: Plan, prepaid: Uint8Array): void {
    const { entries, importedFunctions } = this.#shape;
    const isEntry = new Uint8Array(bodies.length);
    for (const index of entries) isEntry[index - importedFunctions] = 1;
    bodies.forEach((body, i) => {
      if (isEntry[i] === 1 || body.end - body.start > PREPAID_BYTES || body.slots > PREPAID_SLOTS) return;
      decoder.decode(body.start, body.end, body.locals, body.results);
      if (!decoder.calls && !decoder.isLong && !decoder.catches && plan.fuel <= PREPAID_FUEL) prepaid[i] = plan.fuel;
      plan.drop(0, 0);
    });
    decoder.instructions = 0;
  }

  #decode(bodies: readonly Body[], decoder: BodyDecoder, plan: Plan, prepaid: Uint8Array): void {
    bodies.forEach((body, i) => {
      body.eventsFrom = plan.events;
      body.entry = decoder.decode(body.start, body.end, body.locals, body.results);
      body.eventsTo = plan.events;
      body.catches = decoder.catches;
      body.leavesEarly = decoder.leavesEarly;
      // What catches has to put the depth right again, which what it called may have left too low.
      decoder.graph?.close(i, body.slots + decoder.heightMax, decoder.catches && decoder.calls);
      if (prepaid[i] !== 0) plan.drop(body.eventsFrom, body.entry);
    });
  }
}
