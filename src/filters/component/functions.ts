import { OutOfFuel } from "../guest/work.ts";
import type { CallContext, ComponentInstance } from "./call.ts";
import { Trap } from "./memory.ts";
import { alignTo, type CoreValue, FlatValues, type FunctionType, joinFlat, type ResourceType, type ValueType } from "./types.ts";

/** A function between components, or between a component and the host. Throws when the guest traps. */
export interface ComponentFunction {
  readonly type: FunctionType;
  call(args: readonly unknown[]): unknown;
}

export type CoreFunction = (...values: CoreValue[]) => unknown;

/** Several values in memory, one after the other: what does not fit into core values. */
class Spilled {
  readonly align: number;
  readonly size: number;
  readonly #offsets: number[] = [];

  constructor(readonly types: readonly ValueType[]) {
    let at = 0;
    let align = 1;
    for (const type of types) {
      at = alignTo(at, type.align);
      this.#offsets.push(at);
      at += type.size;
      align = Math.max(align, type.align);
    }
    this.align = align;
    this.size = alignTo(at, align);
  }

  load(call: CallContext, at: number): unknown[] {
    call.memory.check(at, this.size, this.align);
    return this.types.map((type, i) => type.load(call, at + (this.#offsets[i] as number)));
  }
  store(call: CallContext, at: number, values: readonly unknown[]): void {
    this.types.forEach((type, i) => {
      type.store(call, at + (this.#offsets[i] as number), values[i]);
    });
  }
}

/** A function of the guest as the host calls it (`canon lift`). */
export class LiftedFunction implements ComponentFunction {
  readonly #params: readonly ValueType[];
  readonly #spilled: Spilled | undefined;
  /** The result lies in memory, and the core function answers where. */
  readonly #inMemory: boolean;

  constructor(
    readonly type: FunctionType,
    readonly core: CoreFunction,
    readonly postReturn: CoreFunction | undefined,
    readonly context: CallContext,
  ) {
    this.#params = type.params.map((param) => param.type);
    this.#spilled = joinFlat(this.#params) === undefined ? new Spilled(this.#params) : undefined;
    this.#inMemory = type.result !== undefined && type.result.flat?.length !== 1;
  }

  call(args: readonly unknown[]): unknown {
    const { context, type } = this;
    const { store } = context;
    if (store.fault !== undefined) throw new Trap(store.fault);
    const lent = store.lent;
    const answered = this.core(...this.#lower(args));
    context.linear?.refresh();
    if (store.fault !== undefined) throw new Trap(store.fault);
    const result = type.result === undefined ? undefined : this.#lift(type.result, answered);
    if (this.postReturn !== undefined) {
      store.mayLeave = false;
      if (type.result === undefined) this.postReturn();
      else this.postReturn(answered as CoreValue);
      store.mayLeave = true;
    }
    if (store.lent !== lent) throw new Trap("a handle that was lent for one call was kept");
    return result;
  }

  #lower(args: readonly unknown[]): CoreValue[] {
    const { context } = this;
    const params = this.#params;
    if (params.length === 0) return NO_VALUES;
    const flat = new FlatValues([]);
    if (this.#spilled !== undefined) {
      const at = context.allocate(this.#spilled.size, this.#spilled.align);
      this.#spilled.store(context, at, args);
      flat.push(at);
    } else for (let i = 0; i < params.length; i++) params[i]?.lower(context, flat, args[i]);
    return flat.values;
  }

  #lift(result: ValueType, answered: unknown): unknown {
    if (typeof answered !== "number" && typeof answered !== "bigint") throw new Trap("a function answered nothing");
    if (!this.#inMemory) return result.lift(this.context, new FlatValues([answered]));
    const at = Number(answered) >>> 0;
    this.context.memory.check(at, result.size, result.align);
    return result.load(this.context, at);
  }
}

const NO_VALUES: CoreValue[] = [];

/**
 * A function of the host, or of another component, as a core module calls it (`canon lower`). What goes wrong is the
 * instance's fault; the guest may catch the exception, but it cannot go on.
 */
export function lowerFunction(func: ComponentFunction, context: CallContext): CoreFunction {
  const { params, result } = func.type;
  const types = params.map((param) => param.type);
  const spilled = joinFlat(types) === undefined ? new Spilled(types) : undefined;
  const isResultInMemory = result !== undefined && result.flat?.length !== 1;
  const { store } = context;
  const nothing = !isResultInMemory && result?.flat?.[0] === "l" ? 0n : 0;
  return (...values) => {
    try {
      store.beginHostCall();
      context.linear?.refresh();
      const from = new FlatValues(values);
      let args: unknown[];
      if (spilled === undefined) {
        args = [];
        for (let i = 0; i < types.length; i++) args.push(types[i]?.lift(context, from));
      } else args = spilled.load(context, from.nextInteger() >>> 0);
      // Looked at before anything happens: a call whose answer has no place changes nothing.
      const resultAt = isResultInMemory ? from.nextInteger() >>> 0 : 0;
      if (isResultInMemory) context.memory.check(resultAt, result.size, result.align);
      const answered = func.call(args);
      if (result === undefined) return undefined;
      // The callee may have been the guest itself, through another component.
      context.linear?.refresh();
      if (!isResultInMemory) {
        const flat = new FlatValues([]);
        result.lower(context, flat, answered);
        return flat.values[0];
      }
      result.store(context, resultAt, answered);
      return undefined;
    } catch (error) {
      store.break(error);
      // Without fuel it ends by itself: nothing that it could catch.
      if (error instanceof OutOfFuel) return nothing;
      throw error;
    }
  };
}

/** `resource.new`, `resource.drop`, `resource.rep` as a core module calls them. */
export function resourceFunction(
  call: "new" | "drop" | "rep",
  resource: ResourceType,
  instance: ComponentInstance,
): CoreFunction {
  const { handles, store } = instance;
  const guard =
    (run: (value: number) => number | undefined): CoreFunction =>
    (value) => {
      try {
        store.countHostCall();
        return run(Number(value));
      } catch (error) {
        store.break(error);
        throw error;
      }
    };
  if (call === "drop") {
    return guard((index) => {
      const { owned, rep } = handles.drop(index >>> 0, resource);
      if (owned) resource.drop?.(rep);
      else store.lent--;
      return undefined;
    });
  }
  if (resource.owner !== instance) throw new Error(`resource.${call} of a resource that is not the component's own`);
  if (call === "new") return guard((rep) => handles.add(resource, rep, true));
  return guard((index) => handles.get(index >>> 0, resource) as number);
}
