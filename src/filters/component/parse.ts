import type { Bytes } from "../../core/bytes.ts";
import { COMPONENT_LIMITS } from "../../core/limits.ts";
import type { CanonOptions, ComponentDefinition, Definition, NamedIndex, Sort } from "./definitions.ts";
import { readAlias, readCoreSort, readSort } from "./parse-alias.ts";
import { readExternName, readItemType, readList, readType } from "./parse-types.ts";
import { Reader } from "./reader.ts";

/** Magic, version 13, layer 1. A core module has version 1, layer 0. */
const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];

/** Reads a component without running anything of it. Throws an `Error` that says what is wrong. */
export function parseComponent(bytes: Bytes): ComponentDefinition {
  const reader = new Reader(bytes);
  const budget: ParseBudget = { definitions: COMPONENT_LIMITS.definitions, modules: COMPONENT_LIMITS.coreModules };
  return readComponent(reader, 0, budget);
}

interface ParseBudget {
  definitions: number;
  modules: number;
}

function readComponent(reader: Reader, depth: number, budget: ParseBudget): ComponentDefinition {
  if (depth > COMPONENT_LIMITS.depth) reader.fail(`components are nested deeper than ${COMPONENT_LIMITS.depth}`);
  for (const byte of HEADER) if (reader.byte() !== byte) reader.fail("not a component of the known version");
  const definitions: Definition[] = [];
  while (!reader.done) {
    const id = reader.byte();
    const size = reader.u32();
    if (size > reader.end - reader.at) reader.fail(`section ${id} is longer than the component`);
    const section = new Reader(reader.bytes, reader.at, reader.at + size);
    const before = definitions.length;
    readSection(section, id, depth, definitions, budget);
    if (!section.done) section.fail(`section ${id} has bytes behind its end`);
    budget.definitions -= definitions.length - before;
    if (budget.definitions < 0) section.fail(`more than ${COMPONENT_LIMITS.definitions} definitions`);
    reader.at = section.end;
  }
  return { definitions };
}

function readSection(reader: Reader, id: number, depth: number, out: Definition[], budget: ParseBudget): void {
  switch (id) {
    case 0:
      reader.at = reader.end;
      return;
    case 1:
      if (--budget.modules < 0) reader.fail(`more than ${COMPONENT_LIMITS.coreModules} core modules`);
      out.push({
        kind: "module",
        module: { bytes: reader.take(reader.end - reader.at), compiled: undefined },
      });
      return;
    case 2:
      out.push(...readList(reader, readCoreInstance));
      return;
    case 3:
      // Core types only say what modules look like that are imported, and those are refused.
      out.push({ kind: "core-types", count: reader.count() });
      reader.at = reader.end;
      return;
    case 4:
      out.push({
        kind: "component",
        component: readComponent(new Reader(reader.bytes, reader.at, reader.end), depth + 1, budget),
      });
      reader.at = reader.end;
      return;
    case 5:
      out.push(...readList(reader, readInstance));
      return;
    case 6:
      out.push(...readList(reader, readAlias));
      return;
    case 7:
      out.push(...readList(reader, (at): Definition => ({ kind: "type", type: readType(at, 0) })));
      return;
    case 8:
      out.push(...readList(reader, readCanon));
      return;
    case 10:
      out.push(...readList(reader, (at): Definition => ({ kind: "import", name: readExternName(at), item: readItemType(at) })));
      return;
    case 11:
      out.push(...readList(reader, readExport));
      return;
    default:
      reader.fail(id === 9 ? "a start function" : `unknown section ${id}`);
  }
}

function readCoreInstance(reader: Reader): Definition {
  switch (reader.byte()) {
    case 0x00: {
      const module = reader.u32();
      const args = readList(reader, (at) => {
        const name = at.text();
        at.expect(0x12, "argument of a core instance");
        return { name, instance: at.u32() };
      });
      return { kind: "core-instance", module, args };
    }
    case 0x01: {
      const read = (at: Reader): NamedIndex => ({ name: at.text(), sort: `core-${readCoreSort(at)}`, index: at.u32() });
      return { kind: "core-exports", exports: readList(reader, read) };
    }
    default:
      return reader.fail("unknown core instance");
  }
}

const readSortIndex = (reader: Reader): { sort: Sort; index: number } => ({ sort: readSort(reader), index: reader.u32() });

function readInstance(reader: Reader): Definition {
  switch (reader.byte()) {
    case 0x00: {
      const component = reader.u32();
      return { kind: "instance", component, args: readList(reader, (at) => ({ name: at.text(), ...readSortIndex(at) })) };
    }
    case 0x01:
      return { kind: "exports", exports: readList(reader, (at) => ({ name: readExternName(at), ...readSortIndex(at) })) };
    default:
      return reader.fail("unknown instance");
  }
}

function readExport(reader: Reader): Definition {
  const name = readExternName(reader);
  const { sort, index } = readSortIndex(reader);
  // The type that it is exported at can only hide what it is; nobody looks.
  if (reader.byte() === 1) readItemType(reader);
  return { kind: "export", name, sort, index };
}

function readCanon(reader: Reader): Definition {
  const code = reader.byte();
  switch (code) {
    case 0x00: {
      reader.expect(0x00, "canonical definition");
      const func = reader.u32();
      const options = readOptions(reader);
      return { kind: "lift", func, options, type: reader.u32() };
    }
    case 0x01:
      reader.expect(0x00, "canonical definition");
      return { kind: "lower", func: reader.u32(), options: readOptions(reader) };
    case 0x02:
      return { kind: "resource", call: "new", type: reader.u32() };
    case 0x03:
      return { kind: "resource", call: "drop", type: reader.u32() };
    case 0x04:
      return { kind: "resource", call: "rep", type: reader.u32() };
    default:
      return reader.fail(
        `an asynchronous built-in (canonical definition 0x${code.toString(16)}); build it without async support`,
      );
  }
}

function readOptions(reader: Reader): CanonOptions {
  let encoding: CanonOptions["encoding"] = "utf8";
  let memory: number | undefined;
  let realloc: number | undefined;
  let postReturn: number | undefined;
  const count = reader.count();
  for (let i = 0; i < count; i++) {
    const code = reader.byte();
    if (code === 0x00) encoding = "utf8";
    else if (code === 0x01) encoding = "utf16";
    else if (code === 0x02) encoding = "latin1+utf16";
    else if (code === 0x03) memory = reader.u32();
    else if (code === 0x04) realloc = reader.u32();
    else if (code === 0x05) postReturn = reader.u32();
    else reader.fail("an asynchronous function");
  }
  return { encoding, memory, realloc, postReturn };
}
