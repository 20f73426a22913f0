import { expect, test } from "bun:test";
import { KINDS } from "../config/schema/index.ts";
import { joinKind, parseKind } from "./reference.ts";

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

test("a kind and names stand for references, and references for themselves", () => {
  expect(joinKind(["routes", "shop", "blog"])).toEqual(["routes/shop", "routes/blog"]);
  for (const args of [[], ["routes"], ["route/shop"], ["route/shop", "Filter/prod/limit"]]) expect(joinKind(args)).toEqual(args);
  expect(() => joinKind(["roote", "shop"])).toThrow("there is no kind");
});
