import type { AliasDefinition, CoreSort, Sort } from "./definitions.ts";
import type { Reader } from "./reader.ts";

const CORE_SORTS: ReadonlyMap<number, CoreSort> = new Map([
  [0x00, "func"],
  [0x01, "table"],
  [0x02, "memory"],
  [0x03, "global"],
]);

export function readCoreSort(reader: Reader): CoreSort {
  return CORE_SORTS.get(reader.byte()) ?? reader.fail("unknown core sort");
}

export function readSort(reader: Reader): Sort {
  switch (reader.byte()) {
    case 0x00: {
      const code = reader.byte();
      if (code === 0x10) return "core-type";
      if (code === 0x11) return "module";
      if (code === 0x12) return "core-instance";
      const core = CORE_SORTS.get(code);
      return core === undefined ? reader.fail("unknown core sort") : `core-${core}`;
    }
    case 0x01:
      return "func";
    case 0x02:
      return "value";
    case 0x03:
      return "type";
    case 0x04:
      return "component";
    case 0x05:
      return "instance";
    default:
      return reader.fail("unknown sort");
  }
}

export function readAlias(reader: Reader): AliasDefinition {
  const sort = readSort(reader);
  switch (reader.byte()) {
    case 0x00:
      return { kind: "alias", sort, instance: reader.u32(), name: reader.text() };
    case 0x01: {
      if (!sort.startsWith("core-") || sort === "core-type" || sort === "core-instance") reader.fail("unknown alias");
      return { kind: "alias-core", sort: sort.slice(5) as CoreSort, instance: reader.u32(), name: reader.text() };
    }
    case 0x02:
      return { kind: "alias-outer", sort, depth: reader.u32(), index: reader.u32() };
    default:
      return reader.fail("unknown alias");
  }
}
