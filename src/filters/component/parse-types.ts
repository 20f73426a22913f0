import { COMPONENT_LIMITS } from "../../core/limits.ts";
import type { Declaration, ItemType, Labelled, Primitive, TypeDefinition, TypeReference } from "./definitions.ts";
import { readAlias } from "./parse-alias.ts";
import type { Reader } from "./reader.ts";

/** Types of a component (Component Model, "Binary Format", "Type Definitions"). What is asynchronous is refused by name. */

const PRIMITIVES: ReadonlyMap<number, Primitive> = new Map([
  [0x7f, "bool"],
  [0x7e, "s8"],
  [0x7d, "u8"],
  [0x7c, "s16"],
  [0x7b, "u16"],
  [0x7a, "s32"],
  [0x79, "u32"],
  [0x78, "s64"],
  [0x77, "u64"],
  [0x76, "f32"],
  [0x75, "f64"],
  [0x74, "char"],
  [0x73, "string"],
]);

const UNSUPPORTED: ReadonlyMap<number, string> = new Map([
  [0x67, "a list of fixed length"],
  [0x66, "a stream"],
  [0x65, "a future"],
  [0x64, "an error context"],
  [0x43, "an asynchronous function"],
  [0x3e, "a resource with an asynchronous destructor"],
]);

export function readType(reader: Reader, depth: number): TypeDefinition {
  if (depth > COMPONENT_LIMITS.depth) reader.fail(`types are nested deeper than ${COMPONENT_LIMITS.depth}`);
  const code = reader.byte();
  const primitive = PRIMITIVES.get(code);
  if (primitive !== undefined) return { kind: "primitive", type: primitive };
  switch (code) {
    case 0x72:
      return { kind: "record", fields: readLabelled(reader) };
    case 0x71:
      return { kind: "variant", cases: readCases(reader) };
    case 0x70:
      return { kind: "list", type: readReference(reader) };
    case 0x6f:
      return { kind: "tuple", types: readList(reader, readReference) };
    case 0x6e:
      return { kind: "flags", names: readList(reader, readLabel) };
    case 0x6d:
      return { kind: "enum", names: readList(reader, readLabel) };
    case 0x6b:
      return { kind: "option", type: readReference(reader) };
    case 0x6a:
      return { kind: "result", ok: readOptional(reader, readReference), error: readOptional(reader, readReference) };
    case 0x69:
      return { kind: "own", resource: reader.u32() };
    case 0x68:
      return { kind: "borrow", resource: reader.u32() };
    case 0x40:
      return readFunction(reader);
    case 0x41:
    case 0x42:
      return { kind: code === 0x41 ? "component" : "instance", declarations: readDeclarations(reader, depth) };
    case 0x3f:
      reader.expect(0x7f, "representation of a resource");
      return { kind: "resource", destructor: readOptional(reader, (at) => at.u32()) };
    default:
      return reader.fail(UNSUPPORTED.get(code) ?? `unknown type 0x${code.toString(16)}`);
  }
}

/** A vector, element by element. */
export function readList<T>(reader: Reader, read: (reader: Reader) => T): T[] {
  const count = reader.count();
  const list: T[] = [];
  for (let i = 0; i < count; i++) list.push(read(reader));
  return list;
}

function readOptional<T>(reader: Reader, read: (reader: Reader) => T): T | undefined {
  const code = reader.byte();
  if (code === 0) return undefined;
  return code === 1 ? read(reader) : reader.fail("unknown option");
}

function readReference(reader: Reader): TypeReference {
  // A signed number: primitives are its negative ones of a single byte.
  const code = reader.peek();
  const primitive = PRIMITIVES.get(code);
  if (primitive !== undefined) {
    reader.byte();
    return primitive;
  }
  if (code < 0x80 && code >= 0x40) reader.fail(UNSUPPORTED.get(code) ?? "unknown type");
  return reader.u32();
}

/** Words of letters and digits, joined by hyphens: no label can be mistaken for something of the host's language. */
const LABEL = /^(?:[a-z][a-z0-9]*|[A-Z][A-Z0-9]*)(?:-(?:[a-z0-9]+|[A-Z0-9]+))*$/;

function readLabel(reader: Reader): string {
  const label = reader.text();
  return LABEL.test(label) ? label : reader.fail("a label is no name");
}

function readLabelled(reader: Reader): Labelled[] {
  return readList(reader, (at) => ({ name: readLabel(at), type: readReference(at) }));
}

function readCases(reader: Reader): { name: string; type: TypeReference | undefined }[] {
  return readList(reader, (at) => {
    const name = readLabel(at);
    const type = readOptional(at, readReference);
    at.expect(0, "end of a case");
    return { name, type };
  });
}

function readFunction(reader: Reader): TypeDefinition {
  const params = readLabelled(reader);
  const code = reader.byte();
  if (code === 0) return { kind: "function", params, result: readReference(reader) };
  if (code !== 1) reader.fail("unknown result");
  reader.expect(0, "list of results");
  return { kind: "function", params, result: undefined };
}

function readDeclarations(reader: Reader, depth: number): Declaration[] {
  return readList(reader, (at): Declaration => {
    const code = at.byte();
    switch (code) {
      case 0x01:
        return { kind: "type", type: readType(at, depth + 1) };
      case 0x02:
        return readAlias(at);
      case 0x03:
      case 0x04:
        return { kind: code === 0x03 ? "import" : "export", name: readExternName(at), item: readItemType(at) };
      default:
        return at.fail("unknown declaration");
    }
  });
}

/** A name of an import or export. Only plain names and interface names are used; the linker decides which it knows. */
export function readExternName(reader: Reader): string {
  const code = reader.byte();
  if (code > 1) reader.fail("unknown kind of name");
  const name = reader.text();
  if (code === 1) reader.text();
  return name;
}

export function readItemType(reader: Reader): ItemType {
  switch (reader.byte()) {
    case 0x00:
      reader.expect(0x11, "import of a core item");
      return { kind: "module", type: reader.u32() };
    case 0x01:
      return { kind: "func", type: reader.u32() };
    case 0x03: {
      const bound = reader.byte();
      if (bound === 0) return { kind: "type", equals: reader.u32() };
      return bound === 1 ? { kind: "type", equals: undefined } : reader.fail("unknown bound of a type");
    }
    case 0x04:
      return { kind: "component", type: reader.u32() };
    case 0x05:
      return { kind: "instance", type: reader.u32() };
    default:
      return reader.fail("unknown kind of item");
  }
}
