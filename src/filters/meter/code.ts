import { METER_LIMITS } from "../../core/limits.ts";
import { CallGraph } from "./calls.ts";
import { BodyDecoder } from "./decode.ts";
import { BodyEmitter, type BodyShape, type ResultType } from "./emit.ts";
import { malformed, overLimit } from "./error.ts";
import { meterFunctions, writeKeeperBodies, writeMeterBodies, writeMeterType } from "./meters.ts";
import type { RewriteSettings } from "./module.ts";
import { NOISY, type PaidEntries } from "./paid.ts";
import { Plan } from "./plan.ts";
import type { ByteReader } from "./reader.ts";
import { checkValueType } from "./refuse.ts";
import { type FunctionShape, type ModuleShape, SECTION, type Section, slotsOf } from "./shape.ts";
import type { ByteSink } from "./sink.ts";

/** What a call takes of the depth besides its values: return address, saved registers, the instance. */
const CALL_SLOTS = 16;
/** The most that callers pay for the entry of a function, and what that calls. */
const PAID_ENTRY_FUEL = 1_024;

/** What is known of a function before and after its instructions were read. */
interface Body extends BodyShape {
  /** Of the depth: what a call takes, parameters and locals. */
  slots: number;
  readonly results: number;
  depth: number;
  isPaid: boolean;
  isUnchanged: boolean;
  leavesEarly: boolean;
  eventsFrom: number;
  eventsTo: number;
  entry: number;
}

/** Rewrites the code section, and adds the types that its guards need. */
export class CodeRewriter {
  guarded = 0;
  instructions = 0;
  /** Type of the functions that the meter adds. */
  meterType = 0;
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
  writeTypes(section: Section | undefined): void {
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
    sink.reserve((section === undefined ? 0 : section.end - section.start) + 16);
    this.meterType = types.length + added.length;
    sink.u32(this.meterType + 1);
    if (section !== undefined) {
      let from = section.start;
      while ((bytes[from++] as number) >= 0x80);
      sink.copy(bytes, from, section.end);
    }
    for (const type of added) {
      sink.reserve(type.results + 8);
      sink.byte(0x60);
      sink.byte(0x00);
      sink.u32(type.results);
      sink.copy(bytes, type.resultsAt, type.resultsAt + type.results);
    }
    writeMeterType(sink);
    sink.closeSection(sizeAt);
  }

  /** Undefined: the module has no code but the meter's own. */
  rewrite(reader: ByteReader | undefined): void {
    const { functionTypes, importedFunctions, bytes, globals, mutableGlobals } = this.#shape;
    const { bounds, splitFuel, foreignFuel, keeps } = this.#settings;
    const sink = this.#sink;
    const count = reader?.count() ?? 0;
    if (count !== functionTypes.length - importedFunctions) throw malformed("the module has functions without code");
    sink.reserve(5);
    sink.u32(count + meterFunctions(keeps));
    const bodies = Array.from({ length: count }, (_, i) =>
      this.#readBody(reader as ByteReader, functionTypes[importedFunctions + i] as number),
    );
    reader?.finish("the code section");
    const plan = new Plan(splitFuel, foreignFuel, keeps);
    this.#decode(bodies, plan);
    const masks = {
      memoryBytes: bounds.memoryPages * 65_536,
      memoryPages: bounds.memoryPages,
      tableElements: bounds.tableElements,
    };
    const emitter = new BodyEmitter(sink, bytes, plan, globals, masks);
    for (const body of bodies) {
      if (body.depth > 0) this.guarded++;
      if (body.isUnchanged) emitter.copy(body);
      else emitter.emit(body);
    }
    writeMeterBodies(sink, globals);
    if (keeps) writeKeeperBodies(sink, globals + 2, mutableGlobals);
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
      isPaid: false,
      isUnchanged: false,
      leavesEarly: false,
      eventsFrom: 0,
      eventsTo: 0,
      entry: 0,
    };
  }

  /**
   * First who calls whom, which tells where guards stand. Then the plan, callees first: the entry of a function without a guard
   * that only the module itself can call is paid for by its callers, who have to know what it costs.
   */
  #decode(bodies: readonly Body[], plan: Plan): void {
    const paid: PaidEntries = { fuel: new Int32Array(bodies.length), noise: new Uint8Array(bodies.length).fill(NOISY) };
    const decoder = new BodyDecoder(this.#shape, plan, paid);
    const graph = this.#findCalls(bodies, decoder, plan);
    const { entries, importedFunctions } = this.#shape;
    const takes = graph.placeGuards(entries.map((index) => index - importedFunctions));
    for (const i of graph.order) {
      const body = bodies[i];
      if (body === undefined) continue;
      body.depth = takes[i] as number;
      const mayBePaid = body.depth === 0 && !graph.isEntry(i) && this.#settings.splitFuel > 0;
      this.#plan(body, decoder, plan, mayBePaid);
      if (mayBePaid && (plan.costs[body.entry] as number) > PAID_ENTRY_FUEL) {
        plan.drop(body.eventsFrom, body.entry);
        this.#plan(body, decoder, plan, false);
      }
      if (!body.isPaid) continue;
      paid.fuel[i] = plan.costs[body.entry] as number;
      body.isUnchanged = !plan.charges(body.eventsFrom);
      paid.noise[i] = body.isUnchanged ? decoder.noise : NOISY;
    }
  }

  #findCalls(bodies: readonly Body[], decoder: BodyDecoder, plan: Plan): CallGraph {
    const graph = new CallGraph(bodies.length);
    decoder.graph = graph;
    bodies.forEach((body, i) => {
      decoder.decode(body.start, body.end, body.locals, body.results, false);
      body.slots += decoder.heightMax;
      // What catches has to put the depth right again, which what it called may have left too low.
      graph.close(i, body.slots, decoder.catches && decoder.calls);
      plan.drop(0, 0);
    });
    decoder.graph = undefined;
    // All of them were counted; the passes to come see the same ones.
    this.#shape.wideOperands = this.#shape.heldValues = Number.NEGATIVE_INFINITY;
    this.instructions = decoder.instructions;
    return graph;
  }

  #plan(body: Body, decoder: BodyDecoder, plan: Plan, isPaid: boolean): void {
    body.isPaid = isPaid;
    body.eventsFrom = plan.events;
    body.entry = decoder.decode(body.start, body.end, body.locals, body.results, isPaid);
    body.eventsTo = plan.events;
    body.leavesEarly = decoder.leavesEarly;
  }
}
