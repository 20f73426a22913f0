import { expect, test } from "bun:test";
import { KINDS } from "../config/schema/index.ts";
import { parseKind } from "./reference.ts";

test("a kind may be written in lower case and in the plural", () => {
  for (const kind of KINDS) expect(parseKind(kind.toLowerCase())).toBe(kind);
  expect(["gateways", "routes", "services", "filters", "meshes"].map(parseKind)).toEqual([
    "Gateway",
    "Route",
    "Service",
    "Filter",
    "Mesh",
  ]);
  expect(() => parseKind("gatewaies")).toThrow("there is no kind");
});
