import type { ComponentInstance } from "./call.ts";
import type { Declaration, TypeDefinition, TypeReference } from "./definitions.ts";
import { type AnyType, type FunctionType, type Param, ResourceType, type ValueType } from "./types.ts";
import { enumType, optionType, resultType, variantType } from "./types-cases.ts";
import { FlagsType, ListType, RecordType } from "./types-compound.ts";
import { HandleType, simpleType } from "./types-simple.ts";

/** A type of an instance that was not evaluated yet: every import of it has resources of its own. */
export interface OpenType {
  readonly kind: "instance" | "component";
  readonly declarations: readonly Declaration[];
  readonly scope: TypeScope;
}
export type ScopeType = AnyType | OpenType;

/** Types by index, and those of the components around. */
export class TypeScope {
  readonly types: ScopeType[] = [];
  constructor(readonly parent: TypeScope | undefined) {}

  type(index: number): ScopeType {
    const type = this.types[index];
    if (type === undefined) throw new Error(`type ${index} does not exist`);
    return type;
  }

  value(reference: TypeReference): ValueType {
    if (typeof reference === "string") return simpleType(reference);
    const type = this.type(reference);
    if (type.kind !== "value") throw new Error(`type ${reference} is not one of values`);
    return type.type;
  }

  function(index: number): FunctionType {
    const type = this.type(index);
    if (type.kind !== "function") throw new Error(`type ${index} is not one of functions`);
    return type;
  }

  resource(index: number): ResourceType {
    const type = this.type(index);
    if (!(type instanceof ResourceType)) throw new Error(`type ${index} is not a resource`);
    return type;
  }

  /** The scope so many components further out. */
  outer(depth: number): TypeScope {
    let scope: TypeScope | undefined = this;
    for (let i = 0; i < depth; i++) scope = scope?.parent;
    if (scope === undefined) throw new Error("an alias points out of the component");
    return scope;
  }

  /** Makes a type of its definition. `instance`: the owner of resources that are defined here. */
  make(definition: TypeDefinition, instance: ComponentInstance | undefined): ScopeType {
    switch (definition.kind) {
      case "function":
        return this.#makeFunction(definition.params, definition.result);
      case "resource":
        if (instance === undefined) throw new Error("a resource is defined inside a type");
        return new ResourceType("resource", undefined, instance);
      case "instance":
      case "component":
        return { kind: definition.kind, declarations: definition.declarations, scope: this };
      default:
        return { kind: "value", type: checkText(this.#makeValue(definition)) };
    }
  }

  #makeFunction(params: readonly { name: string; type: TypeReference }[], result: TypeReference | undefined): FunctionType {
    const typed: Param[] = params.map(({ name, type }) => ({ name, type: this.value(type) }));
    const answer = result === undefined ? undefined : this.value(result);
    const inputs = typed.map(({ name, type }) => `${name}: ${type.text}`).join(", ");
    const text = `func(${inputs})${answer === undefined ? "" : ` -> ${answer.text}`}`;
    if (text.length > TEXT_MAX) throw new Error("a function is made of too many types");
    return { kind: "function", params: typed, result: answer, text };
  }

  #makeValue(definition: Exclude<TypeDefinition, { kind: "function" | "resource" | "instance" | "component" }>): ValueType {
    switch (definition.kind) {
      case "primitive":
        return simpleType(definition.type);
      case "record":
        return new RecordType(
          definition.fields.map(({ name, type }) => ({ name, type: this.value(type) })),
          false,
        );
      case "tuple":
        return new RecordType(
          definition.types.map((type, i) => ({ name: String(i), type: this.value(type) })),
          true,
        );
      case "variant":
        return variantType(definition.cases.map(({ name, type }) => ({ name, type: this.#optional(type) })));
      case "enum":
        return enumType(definition.names);
      case "flags":
        return new FlagsType(definition.names);
      case "list":
        return new ListType(this.value(definition.type));
      case "option":
        return optionType(this.value(definition.type));
      case "result":
        return resultType(this.#optional(definition.ok), this.#optional(definition.error));
      default:
        return new HandleType(this.resource(definition.resource), definition.kind === "own");
    }
  }

  #optional(reference: TypeReference | undefined): ValueType | undefined {
    return reference === undefined ? undefined : this.value(reference);
  }
}

/** Types inside types are described again and again, so a small component could describe an endless one. */
const TEXT_MAX = 8_192;

function checkText(type: ValueType): ValueType {
  if (type.text.length > TEXT_MAX) throw new Error("a type is made of too many types");
  return type;
}
