import { DEPTH_EXPORT, FUEL_EXPORT, MeterError, meterModule } from "../../src/filters/meter/index.ts";
import { ModuleAssembler, type Type } from "../kit/assembler.ts";
import { readMeter, setMeter, startMetered } from "../kit/metered.ts";

interface Value {
  readonly type: Type;
  readonly lane_type?: string;
  readonly value?: string | readonly string[];
}
interface Action {
  readonly type: "invoke" | "get";
  readonly module?: string;
  readonly field: string;
  readonly args?: readonly Value[];
}
/** A command of wast2json's output, as far as it is used. */
export interface Command {
  readonly type: string;
  readonly line: number;
  readonly name?: string;
  readonly as?: string;
  readonly filename?: string;
  readonly module_type?: string;
  readonly action?: Action;
  readonly expected?: readonly Value[];
}

type Exports = Readonly<Record<string, WebAssembly.ExportValue>>;
type Read = (name: string) => Uint8Array<ArrayBuffer>;

/** The module of an action does not run: neither engine nor meter is to blame. */
class NotRun extends Error {}
const NOT_RUN = "not run";

const FUEL = 2 ** 31 - 1;
const DEPTH = 60_000;

/** One world of instances: of original modules, or of rewritten ones. */
class World {
  readonly #registered = new Map<string, Exports>();
  readonly #named = new Map<string, Exports | undefined>();
  readonly #metered: Exports[] = [];
  #current: Exports | undefined;

  constructor(
    readonly rewrite: (wasm: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>,
    readonly isMetered: boolean,
  ) {
    const print = (): void => {};
    const global = (type: WebAssembly.ValueType, value: number | bigint): WebAssembly.Global =>
      new WebAssembly.Global({ value: type, mutable: false }, value);
    this.#registered.set("spectest", {
      print,
      print_i32: print,
      print_i64: print,
      print_f32: print,
      print_f64: print,
      print_i32_f32: print,
      print_f64_f64: print,
      global_i32: global("i32", 666),
      global_i64: global("i64", 666n),
      global_f32: global("f32", 666.6),
      global_f64: global("f64", 666.6),
      table: new WebAssembly.Table({ initial: 10, maximum: 20, element: "anyfunc" }),
      memory: new WebAssembly.Memory({ initial: 1, maximum: 2 }),
    });
  }

  /** The module of this command does not run. */
  forget(command: Command): void {
    this.#current = undefined;
    if (command.name !== undefined) this.#named.set(command.name, undefined);
  }

  /** What a command did, as text; undefined: nothing to compare. */
  outcome(command: Command, read: Read): string | undefined {
    try {
      return this.#run(command, read);
    } catch (error) {
      return describe(error);
    }
  }

  #run(command: Command, read: Read): string | undefined {
    switch (command.type) {
      case "module":
        this.#current = undefined;
        if (command.name !== undefined) this.#named.set(command.name, undefined);
        this.#current = this.#instantiate(read(command.filename ?? ""));
        if (command.name !== undefined) this.#named.set(command.name, this.#current);
        return "instantiated";
      case "register":
        this.#registered.set(command.as ?? "", this.#module(command.name));
        return undefined;
      case "assert_unlinkable":
      case "assert_uninstantiable":
        if (command.module_type === "text") return undefined;
        this.#instantiate(read(command.filename ?? ""));
        return "instantiated";
      case "assert_invalid":
      case "assert_malformed":
        return undefined;
      default:
        return command.action === undefined ? undefined : this.#act(command.action, command.expected ?? []);
    }
  }

  #module(name: string | undefined): Exports {
    const found = name === undefined ? this.#current : this.#named.get(name);
    if (found === undefined) throw new NotRun();
    return found;
  }

  #instantiate(wasm: Uint8Array<ArrayBuffer>): Exports {
    const module = new WebAssembly.Module(this.rewrite(wasm));
    this.#refill();
    const exports = new WebAssembly.Instance(module, Object.fromEntries(this.#registered) as WebAssembly.Imports).exports;
    if (this.isMetered) {
      this.#metered.push(exports);
      startMetered(exports);
    }
    return exports;
  }

  #refill(): void {
    for (const exports of this.#metered) {
      setMeter(exports, FUEL_EXPORT, FUEL);
      setMeter(exports, DEPTH_EXPORT, DEPTH);
    }
  }

  /** Whether some instance ran out of depth in the last action. */
  get isTooDeep(): boolean {
    return this.#metered.some((exports) => readMeter(exports, DEPTH_EXPORT) < 0);
  }

  #act(action: Action, expected: readonly Value[]): string {
    const field = this.#module(action.module)[action.field];
    this.#refill();
    if (action.type === "get") return show((field as WebAssembly.Global).value);
    const args = action.args ?? [];
    const fn = field as (...values: unknown[]) => unknown;
    if ([...args, ...expected].some(({ type }) => type === "v128")) return callThroughModule(fn, args, expected);
    const result = fn(...args.map(toJavaScript));
    return Array.isArray(result) ? result.map(show).join(" ") : show(result);
  }
}

function show(value: unknown): string {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (typeof value === "function") return "function";
  return `${typeof value} ${String(value)}`;
}

function describe(error: unknown): string {
  if (error instanceof NotRun) return NOT_RUN;
  // Which of several reasons comes first depends on the maxima, which metering cuts.
  if (error instanceof WebAssembly.LinkError) return "LinkError: ";
  if (!(error instanceof Error)) return `thrown ${typeof error}`;
  // Engines add positions, offsets and names, which rewriting moves.
  const message = error.message
    .replace(/\(evaluating .*|@\+\d+|function #?\S+|at offset \d+|\d+/g, "")
    .replace(/Compiling.*/, "");
  return `${error.constructor.name}: ${message.trim()}`;
}

const scratch = new DataView(new ArrayBuffer(8));

function toJavaScript(value: Value): unknown {
  const raw = String(value.value);
  switch (value.type) {
    case "i32":
      return Number(raw) | 0;
    case "i64":
      return BigInt.asIntN(64, BigInt(raw));
    case "f32":
      if (raw.startsWith("nan")) return Number.NaN;
      scratch.setUint32(0, Number(raw));
      return scratch.getFloat32(0);
    case "f64":
      if (raw.startsWith("nan")) return Number.NaN;
      scratch.setBigUint64(0, BigInt(raw));
      return scratch.getFloat64(0);
    default:
      return raw === "null" ? null : `reference ${raw}`;
  }
}

/** The sixteen bytes of a vector. */
function vectorBytes(value: Value): number[] {
  const lanes = value.value as readonly string[];
  const width = 16 / lanes.length;
  return lanes.flatMap((lane) => {
    const number = lane.startsWith("nan") ? 0n : BigInt.asUintN(width * 8, BigInt(lane));
    return Array.from({ length: width }, (_, i) => Number((number >> BigInt(i * 8)) & 0xffn));
  });
}

/** Vectors cannot pass through JavaScript: a module calls the function with constants and stores the results in its memory. */
function callThroughModule(fn: unknown, args: readonly Value[], expected: readonly Value[]): string {
  const module = new ModuleAssembler();
  const callee = module.importFunction(
    "spec",
    "callee",
    args.map(({ type }) => type),
    expected.map(({ type }) => type),
  );
  module.memory(1, 1, "memory");
  const push = args.map((arg) => {
    if (arg.type === "v128") return `v128.const ${vectorBytes(arg).join(" ")}`;
    const value = toJavaScript(arg) as number | bigint;
    return `${arg.type}.const ${String(value)}`;
  });
  const locals = expected.map(({ type }) => type);
  const pop = locals.map((_, i) => `local.set ${locals.length - 1 - i}`);
  const store = locals.map((type, i) => `i32.const ${i * 16} local.get ${i} ${type}.store`);
  module.func({ name: "run", locals, body: `${push.join(" ")} call ${callee} ${pop.join(" ")} ${store.join(" ")}` });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.build()), {
    spec: { callee: fn as WebAssembly.ImportValue },
  });
  (exports.run as () => void)();
  const memory = new Uint8Array((exports.memory as WebAssembly.Memory).buffer, 0, locals.length * 16);
  return Buffer.from(memory).toString("hex");
}

/** Runs files in both worlds and counts what differs. */
export class SpecRun {
  compared = 0;
  #valid = 0;
  #invalid = 0;
  #returned = 0;
  #trapped = 0;
  #skipped = 0;
  #notRun = 0;
  #depth: string[] = [];
  readonly #differences: string[] = [];
  readonly #becameValid: string[] = [];
  readonly #becameInvalid: string[] = [];
  readonly #refused = new Map<string, number>();

  constructor(
    readonly splitFuel: number,
    readonly keeps: boolean,
    readonly say: (line: string) => void,
  ) {}

  #meter(wasm: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const { splitFuel, keeps } = this;
    const options = { fuel: FUEL, depth: DEPTH, memoryBytes: 2 ** 32, tableElements: 10_000_000, splitFuel, keeps };
    return meterModule(wasm, options).bytes;
  }

  runFile(file: string, commands: readonly Command[], read: Read): void {
    const before = new World((wasm) => wasm, false);
    const after = new World((wasm) => this.#meter(wasm), true);
    for (const command of commands) {
      const place = `${file}:${command.line} ${command.type}`;
      if (command.filename !== undefined && !this.#isRunnable(command, place, read)) {
        // It runs in neither world, so that what it would do to others is the same.
        before.forget(command);
        after.forget(command);
        this.#skipped++;
        continue;
      }
      const expected = before.outcome(command, read);
      const actual = after.outcome(command, read);
      if (expected === undefined) continue;
      this.#compare(place, expected, actual ?? "nothing", after);
    }
  }

  /** Modules as text are for engines that read text; definitions without an instance are not run. */
  #isRunnable({ filename = "", module_type }: Command, place: string, read: Read): boolean {
    return module_type !== "text" && filename.endsWith(".wasm") && this.#checkValidity(place, read(filename));
  }

  /** False: invalid for the engine (a host loads no such module), or valid and refused. */
  #checkValidity(place: string, wasm: Uint8Array<ArrayBuffer>): boolean {
    const isValid = WebAssembly.validate(wasm);
    if (isValid) this.#valid++;
    else this.#invalid++;
    let rewritten: Uint8Array<ArrayBuffer>;
    try {
      rewritten = this.#meter(wasm);
    } catch (error) {
      if (!(error instanceof MeterError)) this.#differences.push(`${place}: ${String(error)}`);
      else if (isValid) {
        this.#skipped++;
        this.#refused.set(error.message, (this.#refused.get(error.message) ?? 0) + 1);
        this.say(`${place}: refused, ${error.message}`);
      }
      return false;
    }
    if (WebAssembly.validate(rewritten) !== isValid) (isValid ? this.#becameInvalid : this.#becameValid).push(place);
    return isValid;
  }

  #compare(place: string, expected: string, actual: string, after: World): void {
    if (expected === NOT_RUN && expected === actual) {
      this.#notRun++;
      return;
    }
    this.compared++;
    if (expected === actual) {
      if (/^\w+Error: /.test(expected)) this.#trapped++;
      else this.#returned++;
      this.say(`${place}: ${expected}`);
      return;
    }
    const isDepth = expected.startsWith("RangeError") && after.isTooDeep;
    (isDepth ? this.#depth : this.#differences).push(`${place}: ${expected} | ${actual}`);
  }

  /** Prints the result. True: nothing differs. */
  report(say: (line: string) => void): boolean {
    say(`modules: ${this.#valid} valid, ${this.#invalid} invalid`);
    for (const [reason, count] of this.#refused) say(`  refused ${count}: ${reason}`);
    say(`valid modules that became invalid: ${this.#becameInvalid.length}`);
    for (const line of this.#becameInvalid) say(`  ${line}`);
    say(`invalid modules that became valid: ${this.#becameValid.length}`);
    for (const line of this.#becameValid) say(`  ${line}`);
    say(`assertions and instantiations compared: ${this.compared} (${this.#returned} returned, ${this.#trapped} failed alike)`);
    say(`not compared: ${this.#skipped} of refused modules, ${this.#notRun} of modules that the engine does not run`);
    say(`stopped by the depth guard instead of the engine's own stack check: ${this.#depth.length}`);
    for (const line of this.#depth) say(`  ${line}`);
    say(`differences: ${this.#differences.length}`);
    for (const line of this.#differences.slice(0, 100)) say(`  ${line}`);
    return this.#differences.length === 0 && this.#becameInvalid.length === 0 && this.#becameValid.length === 0;
  }
}
