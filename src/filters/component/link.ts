import { COMPONENT_LIMITS } from "../../core/limits.ts";
import { CallContext, ComponentInstance, type GuestStore } from "./call.ts";
import { refuseWrongAllocator, refuseWrongCore } from "./core-types.ts";
import type { CanonOptions, ComponentDefinition, CoreModule, Definition, ItemType, NamedIndex, Sort } from "./definitions.ts";
import { type ComponentFunction, type CoreFunction, LiftedFunction, lowerFunction, resourceFunction } from "./functions.ts";
import { LinearMemory } from "./memory.ts";
import { type OpenType, type ScopeType, TypeScope } from "./scope.ts";
import { type FunctionType, ResourceType } from "./types.ts";

/** Something with a name that goes in or out of a component. */
export type Item =
  | { readonly kind: "func"; readonly func: ComponentFunction }
  | { readonly kind: "type"; readonly type: ScopeType }
  | { readonly kind: "instance"; readonly exports: ReadonlyMap<string, Item> }
  | { readonly kind: "component"; readonly component: BoundComponent };

/** A component with the one that it stands in: it may name the types of that. */
interface BoundComponent {
  readonly definition: ComponentDefinition;
  readonly around: Linkage | undefined;
}

/** What satisfies the imports of a component. Throws an `Error` that names what is missing. */
export interface ImportResolver {
  /** A function of an imported interface. */
  func(interfaceName: string, name: string, type: FunctionType): (...args: never[]) => unknown;
  resource(interfaceName: string, name: string): ResourceType;
}

/** What linking needs of the host. */
export interface LinkHost {
  readonly store: GuestStore;
  readonly imports: ImportResolver;
  /** Makes an instance of a core module; the one place where guests come to life. */
  instantiate(module: CoreModule, imports: WebAssembly.Imports): WebAssembly.ModuleImports;
}

/**
 * Links a component whose core modules are compiled: makes its core instances and answers what it exports. Throws an `Error`
 * that says why not.
 */
export function linkComponent(definition: ComponentDefinition, host: LinkHost): ReadonlyMap<string, Item> {
  const steps: Steps = { left: COMPONENT_LIMITS.definitions };
  return new Linkage({ definition, around: undefined }, undefined, host, steps).run();
}

/** A text of 64 characters counts for a step. */
const TEXT_STEPS_SHIFT = 6;

interface Steps {
  left: number;
}

/** One component instance while it is made: its index spaces, filled in the order of its definitions. */
class Linkage {
  readonly scope: TypeScope;
  readonly instance: ComponentInstance;
  readonly #coreFuncs: CoreFunction[] = [];
  readonly #coreTables: WebAssembly.Table[] = [];
  readonly #coreMemories: WebAssembly.Memory[] = [];
  readonly #coreGlobals: WebAssembly.Global[] = [];
  readonly #coreInstances: WebAssembly.ModuleImports[] = [];
  readonly #funcs: ComponentFunction[] = [];
  readonly #instances: ReadonlyMap<string, Item>[] = [];
  readonly modules: CoreModule[] = [];
  readonly components: BoundComponent[] = [];
  readonly #exports = new Map<string, Item>();
  /** Views of memories, shared by all functions that name the same one. */
  readonly #linear = new Map<WebAssembly.Memory, LinearMemory>();

  constructor(
    readonly component: BoundComponent,
    readonly args: ReadonlyMap<string, Item> | undefined,
    readonly host: LinkHost,
    readonly steps: Steps,
  ) {
    this.scope = new TypeScope(component.around?.scope);
    this.instance = new ComponentInstance(host.store);
  }

  run(): ReadonlyMap<string, Item> {
    for (const definition of this.component.definition.definitions) {
      if (--this.steps.left < 0) throw new Error(`the component takes more than ${COMPONENT_LIMITS.definitions} steps to link`);
      this.#define(definition);
    }
    return this.#exports;
  }

  #define(definition: Definition): void {
    switch (definition.kind) {
      case "module":
        this.modules.push(definition.module);
        return;
      case "core-instance":
        this.#coreInstances.push(this.#instantiateCore(definition.module, definition.args));
        return;
      case "core-exports":
        this.#coreInstances.push(this.#collectCore(definition.exports));
        return;
      case "component":
        this.components.push({ definition: definition.component, around: this });
        return;
      case "instance":
        this.#instances.push(this.#instantiate(definition.component, definition.args));
        return;
      case "exports":
        this.#instances.push(this.#collect(definition.exports));
        return;
      case "alias":
        this.#add(definition.sort, find(at(this.#instances, definition.instance, "instance"), definition.name));
        return;
      case "alias-core":
        this.#addCore(at(this.#coreInstances, definition.instance, "core instance"), definition.name, definition.sort);
        return;
      case "alias-outer":
        this.#addOuter(definition.sort, definition.depth, definition.index);
        return;
      case "type":
        this.scope.types.push(this.#makeType(definition.type));
        return;
      case "core-types":
        return;
      case "lift":
        this.#funcs.push(this.#lift(definition.func, definition.options, definition.type));
        return;
      case "lower":
        this.#coreFuncs.push(lowerFunction(at(this.#funcs, definition.func, "function"), this.#context(definition.options)));
        return;
      case "resource":
        this.#coreFuncs.push(resourceFunction(definition.call, this.scope.resource(definition.type), this.instance));
        return;
      case "import":
        this.#import(definition.name, definition.item);
        return;
      case "export": {
        const item = this.#item(definition.sort, definition.index);
        this.#exports.set(definition.name, item);
        // An export is an item of its own, with a new index.
        this.#add(definition.sort, item);
      }
    }
  }

  // ------------------------------------------------------------ core

  #instantiateCore(module: number, args: readonly { name: string; instance: number }[]): WebAssembly.ModuleImports {
    const imports: WebAssembly.Imports = Object.create(null);
    for (const { name, instance } of args) imports[name] = at(this.#coreInstances, instance, "core instance");
    return this.host.instantiate(at(this.modules, module, "core module"), imports);
  }

  #collectCore(exports: readonly NamedIndex[]): WebAssembly.ModuleImports {
    const collected: WebAssembly.ModuleImports = Object.create(null);
    for (const { name, sort, index } of exports) collected[name] = this.#coreItem(sort, index);
    return collected;
  }

  #coreItem(sort: Sort, index: number): WebAssembly.ImportValue {
    if (sort === "core-func") return at(this.#coreFuncs, index, "core function");
    if (sort === "core-table") return at(this.#coreTables, index, "core table");
    if (sort === "core-memory") return at(this.#coreMemories, index, "core memory");
    return at(this.#coreGlobals, index, "core global");
  }

  #addCore(instance: WebAssembly.ModuleImports, name: string, sort: string): void {
    const value = instance[name];
    if (sort === "func" && typeof value === "function") this.#coreFuncs.push(value as CoreFunction);
    else if (sort === "table" && value instanceof WebAssembly.Table) this.#coreTables.push(value);
    else if (sort === "memory" && value instanceof WebAssembly.Memory) this.#coreMemories.push(value);
    else if (sort === "global" && value instanceof WebAssembly.Global) this.#coreGlobals.push(value);
    else throw new Error(`a core instance exports no ${sort} ${name}`);
  }

  #context(options: CanonOptions): CallContext {
    const memory = options.memory === undefined ? undefined : at(this.#coreMemories, options.memory, "core memory");
    const realloc = options.realloc === undefined ? undefined : at(this.#coreFuncs, options.realloc, "core function");
    if (realloc !== undefined) refuseWrongAllocator(realloc);
    return new CallContext(this.instance, memory && this.#view(memory), realloc, options.encoding);
  }

  #view(memory: WebAssembly.Memory): LinearMemory {
    let view = this.#linear.get(memory);
    if (view === undefined) {
      view = new LinearMemory(memory);
      this.#linear.set(memory, view);
    }
    return view;
  }

  #lift(func: number, options: CanonOptions, type: number): ComponentFunction {
    const core = at(this.#coreFuncs, func, "core function");
    const postReturn = options.postReturn === undefined ? undefined : at(this.#coreFuncs, options.postReturn, "core function");
    const context = this.#context(options);
    const lifted = this.scope.function(type);
    refuseWrongCore(lifted, core, postReturn);
    return new LiftedFunction(lifted, core, postReturn, context);
  }

  // ------------------------------------------------------------ components

  #makeType(definition: Parameters<TypeScope["make"]>[0]): ScopeType {
    const type = this.scope.make(definition, this.instance);
    this.#charge(type);
    if (definition.kind === "resource" && type instanceof ResourceType && definition.destructor !== undefined) {
      const destructor = at(this.#coreFuncs, definition.destructor, "core function");
      type.drop = (rep) => void destructor(rep as number);
    }
    return type;
  }

  /** Types are described by texts that are much longer than what describes them in the binary. */
  #charge(type: ScopeType): void {
    const { length } = type.kind === "value" ? type.type.text : type.kind === "function" ? type.text : "";
    this.steps.left -= length >> TEXT_STEPS_SHIFT;
  }

  #instantiate(component: number, args: readonly NamedIndex[]): ReadonlyMap<string, Item> {
    const given = new Map(args.map(({ name, sort, index }) => [name, this.#item(sort, index)]));
    return new Linkage(at(this.components, component, "component"), given, this.host, this.steps).run();
  }

  #collect(exports: readonly NamedIndex[]): ReadonlyMap<string, Item> {
    return new Map(exports.map(({ name, sort, index }) => [name, this.#item(sort, index)]));
  }

  #item(sort: Sort, index: number): Item {
    switch (sort) {
      case "func":
        return { kind: "func", func: at(this.#funcs, index, "function") };
      case "type":
        return { kind: "type", type: this.scope.type(index) };
      case "instance":
        return { kind: "instance", exports: at(this.#instances, index, "instance") };
      case "component":
        return { kind: "component", component: at(this.components, index, "component") };
      default:
        throw new Error(`a ${sort} goes in or out of a component`);
    }
  }

  #add(sort: Sort, item: Item): void {
    if (sort !== item.kind) throw new Error(`a ${item.kind} stands where a ${sort} is named`);
    if (item.kind === "func") this.#funcs.push(item.func);
    else if (item.kind === "type") this.scope.types.push(item.type);
    else if (item.kind === "instance") this.#instances.push(item.exports);
    else this.components.push(item.component);
  }

  #addOuter(sort: Sort, depth: number, index: number): void {
    if (sort === "type") {
      this.scope.types.push(this.scope.outer(depth).type(index));
      return;
    }
    let around: Linkage | undefined = this;
    for (let i = 0; i < depth; i++) around = around?.component.around;
    if (around === undefined) throw new Error("an alias points out of the component");
    if (sort === "module") this.modules.push(at(around.modules, index, "core module"));
    else if (sort === "component") this.components.push(at(around.components, index, "component"));
    else throw new Error(`an alias of an outer ${sort}`);
  }

  // ------------------------------------------------------------ imports

  #import(name: string, item: ItemType): void {
    if (this.args !== undefined) {
      const given = this.args.get(name);
      if (given === undefined) throw new Error(`an inner component is not given its import ${name}`);
      this.#add(item.kind, given);
      return;
    }
    if (item.kind === "type" && item.equals !== undefined) this.scope.types.push(this.scope.type(item.equals));
    else if (item.kind === "instance") this.#instances.push(this.#importInterface(name, item.type));
    else throw new Error(`it imports ${name}, which is a ${item.kind}: this host has interfaces only`);
  }

  #importInterface(name: string, index: number): ReadonlyMap<string, Item> {
    const type = this.scope.type(index);
    if (type.kind !== "instance" || !("declarations" in type)) throw new Error(`type ${index} is not one of instances`);
    return this.#satisfy(name, type);
  }

  /** Evaluates the type of an interface, asking the host for everything in it. */
  #satisfy(name: string, type: OpenType): ReadonlyMap<string, Item> {
    const scope = new TypeScope(type.scope);
    const exports = new Map<string, Item>();
    for (const declaration of type.declarations) {
      if (--this.steps.left < 0) throw new Error(`the component takes more than ${COMPONENT_LIMITS.definitions} steps to link`);
      if (declaration.kind === "type") {
        const made = scope.make(declaration.type, undefined);
        this.#charge(made);
        scope.types.push(made);
      } else if (declaration.kind === "alias-outer" && declaration.sort === "type")
        scope.types.push(scope.outer(declaration.depth).type(declaration.index));
      else if (declaration.kind === "export")
        exports.set(declaration.name, this.#satisfyOne(name, declaration.name, declaration.item, scope));
      else throw new Error(`the type of ${name} has a ${declaration.kind}`);
    }
    return exports;
  }

  #satisfyOne(interfaceName: string, name: string, item: ItemType, scope: TypeScope): Item {
    const { imports } = this.host;
    if (item.kind === "type") {
      const type = item.equals === undefined ? imports.resource(interfaceName, name) : scope.type(item.equals);
      scope.types.push(type);
      return { kind: "type", type };
    }
    if (item.kind !== "func") throw new Error(`${interfaceName} has a ${item.kind} ${name}`);
    const type = scope.function(item.type);
    const run = imports.func(interfaceName, name, type) as (...args: unknown[]) => unknown;
    return { kind: "func", func: { type, call: (args) => run(...args) } };
  }
}

function at<T>(space: readonly T[], index: number, what: string): T {
  const found = space[index];
  if (found === undefined) throw new Error(`${what} ${index} does not exist`);
  return found;
}

function find(exports: ReadonlyMap<string, Item>, name: string): Item {
  const found = exports.get(name);
  if (found === undefined) throw new Error(`an instance exports no ${name}`);
  return found;
}
