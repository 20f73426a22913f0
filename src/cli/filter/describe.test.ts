import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildPlugin, PDK_ACTOR } from "../../../test/kit/extism.ts";
import { uleb } from "../../../test/kit/wasm.ts";
import { utf8Bytes } from "../../core/bytes.ts";
import { COMPONENT_LIMITS } from "../../core/limits.ts";
import { describeModule } from "./describe.ts";

const MAGIC = [0x00, 0x61, 0x73, 0x6d];
const CORE = [...MAGIC, 1, 0, 0, 0];
const COMPONENT = [...MAGIC, 0x0d, 0, 1, 0];

const text = (name: string): number[] => [name.length, ...utf8Bytes(name)];
const section = (id: number, ...body: number[]): number[] => [id, body.length, ...body];
const module = (...parts: number[][]): Uint8Array => Uint8Array.from([...CORE, ...parts.flat()]);

describe("what a module is", () => {
  test("a built-in filter: ABI, needs, memory, types", () => {
    const bytes = new Uint8Array(readFileSync(join(import.meta.dir, "../../../dist/filters/authz.wasm")));
    const found = describeModule(bytes);
    expect(found).toMatchObject({ format: "core module", abi: "proxy-wasm", abiVersions: ["0.2.1"], sizeBytes: bytes.length });
    expect(found.memories[0]?.minimum).toBeGreaterThan(0);
    expect(found.notes).toEqual([]);
    expect(found.exports).toContainEqual({ name: "proxy_on_configure", kind: "function", type: "(i32, i32) -> i32" });
    const imports = new Set(
      WebAssembly.Module.imports(new WebAssembly.Module(bytes)).map((each) => `${each.module}.${each.name}`),
    );
    expect(new Set(found.imports.map(({ name }) => name))).toEqual(imports);
    expect(found.needs.map(({ grant }) => grant)).toEqual(expect.arrayContaining(["headers", "log", "metrics", "respond"]));
  });

  test("what a proxy would refuse is said", () => {
    const imports = section(2, 2, ...text("env"), ...text("proxy_http_call"), 0, 0, ...text("other"), ...text("x"), 0, 0);
    const types = section(1, 1, 0x60, 0, 0);
    const exports = section(7, 1, ...text("proxy_abi_version_0_2_0"), 0, 0);
    const memory = section(5, 2, 0, 1, 3, 1, 2);
    const found = describeModule(module(types, imports, memory, exports));
    expect(found.abiVersions).toEqual(["0.2.0"]);
    expect(found.needs).toEqual([{ what: "HTTP calls to services", grant: "callouts", because: ["env.proxy_http_call"] }]);
    expect(found.notes.join("\n")).toContain("More than one memory");
    expect(found.notes.join("\n")).toContain("Shared and 64-bit");
    expect(found.notes.join("\n")).toContain("other.x");
    expect(found.notes.join("\n")).toContain("does not export its memory");
  });

  test("Extism, metadata and producers", () => {
    const imports = section(2, 1, ...text("extism:host/env"), ...text("var_get"), 0, 0);
    const types = section(1, 1, 0x60, 1, 0x7e, 1, 0x7e);
    const metadata = section(0, ...text("selvedge.filter"), ...utf8Bytes('{"name":"x"}'));
    const producers = section(0, ...text("producers"), 1, ...text("language"), 1, ...text("Rust"), ...text("1.95"));
    const found = describeModule(module(types, imports, metadata, producers));
    expect(found).toMatchObject({ abi: "extism", metadata: { name: "x" }, producers: ["Rust 1.95"] });
    expect(found.imports[0]?.type).toBe("(i64) -> i64");
    expect(found.notes.join("\n")).toContain("exports none of on_request");
  });

  test("a plug-in of Extism: what a proxy would refuse, and what fails when it is called", () => {
    const found = describeModule(PDK_ACTOR);
    expect(found.abi).toBe("extism");
    // Callbacks of a plug-in get and answer what proxy-wasm has functions for.
    expect(found.needs.map(({ what, because }) => [what.split(" (")[0], because[0]])).toEqual([
      ["shared data of its own; sharedData names one that filters share", "extism:host/env.var_get"],
      ["reading fields", "on_request"],
      ["changing fields", "on_request"],
      ["answering itself", "on_request"],
      ["log lines", "extism:host/env.log_info"],
    ]);
    expect(found.notes).toEqual([]);
    const foreign = buildPlugin({ exports: { on_request: "i32.const 0" }, imports: [["extism:host/user", "f"]] });
    const described = describeModule(foreign);
    expect(described.notes).toEqual(["No host of such plug-ins offers the function extism:host/user.f: a proxy refuses it."]);
    expect(described.needs).toContainEqual({
      what: "HTTP calls to services",
      grant: "callouts",
      because: ["extism:host/env.http_request"],
    });
  });

  test("a component", () => {
    const imports = section(10, 1, 0, ...text("selvedge:filter/host@0.1.0"), 5, 0);
    const exports = section(11, 1, 0, ...text("selvedge:filter/handler@0.1.0"), 5, 0, 0);
    const inner = section(1, ...CORE);
    const found = describeModule(Uint8Array.from([...COMPONENT, ...inner, ...imports, ...exports]));
    expect(found).toMatchObject({ format: "component", abi: "component", coreModules: [8] });
    expect(found.abiVersions).toEqual(["selvedge:filter@0.1.0"]);
    expect(found.exports[0]).toEqual({ name: "selvedge:filter/handler@0.1.0", kind: "instance", type: "" });
  });

  test("a component: memories of its core modules, and what its callbacks let it do", () => {
    const importHttp = section(10, 1, 0, ...text("selvedge:filter/http@0.1.0"), 5, 0);
    const exported = ["heads", "bodies"].flatMap((name) => [0, ...text(`selvedge:filter/${name}@0.1.0`), 5, 0, 0]);
    const memory = section(1, ...CORE, ...section(5, 1, 1, 3, 7));
    const found = describeModule(Uint8Array.from([...COMPONENT, ...memory, ...importHttp, ...section(11, 2, ...exported)]));
    expect(found.memories).toEqual([{ minimum: 3, maximum: 7, imported: false }]);
    expect(found.needs.map(({ grant }) => grant)).toEqual([
      ...["bodies", "bodies", "headers", "headers", "attributes", "attributes", "respond"],
    ]);
    // Compilers put their modules into components inside.
    const nested = describeModule(Uint8Array.from([...COMPONENT, ...section(4, ...COMPONENT, ...memory)]));
    expect([nested.memories, nested.coreModules]).toEqual([found.memories, found.coreModules]);
    const deep = (depth: number): number[] => {
      let bytes = [...COMPONENT];
      for (let i = 0; i < depth; i++) bytes = [...COMPONENT, 4, ...uleb(bytes.length), ...bytes];
      return bytes;
    };
    expect(describeModule(Uint8Array.from(deep(COMPONENT_LIMITS.depth))).format).toBe("component");
    expect(() => describeModule(Uint8Array.from(deep(COMPONENT_LIMITS.depth + 1)))).toThrow("nested deeper than 32");
    const torn = Uint8Array.from([...COMPONENT, ...section(1, ...MAGIC)]);
    expect(() => describeModule(torn)).toThrow("longer than what is left");
  });

  test.each([
    ["nothing", new Uint8Array(), "empty"],
    ["text format", utf8Bytes("(module)"), "text format"],
    ["a web page", utf8Bytes("<html>"), "HTML"],
    ["a native program", utf8Bytes("\u007fELF\u0002\u0001"), "native program"],
    ["half a header", Uint8Array.from(MAGIC), "inside its header"],
    ["another version", Uint8Array.from([...MAGIC, 9, 0, 0, 0]), "version 9"],
    ["a section beyond the end", module([2, 100, 1]), "longer than what is left"],
    ["a number without end", module([2, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]), "too large"],
    ["an unknown section", module(section(99)), "no section 99"],
    ["a list of a billion", module(section(2, 0xff, 0xff, 0xff, 0xff, 0x0f)), "list of"],
    ["a name that is no text", module(section(0, 1, 0xff)), "not UTF-8"],
  ])("%s is refused with the reason", (_what, bytes, reason) => {
    expect(() => describeModule(bytes)).toThrow(reason);
  });

  test("no prefix and no flipped byte of a module does more than throw an Error", () => {
    const bytes = new Uint8Array(readFileSync(join(import.meta.dir, "../../../dist/filters/authz.wasm"))).slice(0, 1200);
    for (let length = 0; length < bytes.length; length++) {
      try {
        describeModule(bytes.slice(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
        expect(error).not.toBeInstanceOf(RangeError);
      }
    }
    for (let at = 8; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at] = (changed[at] ?? 0) ^ 0x5a;
      try {
        describeModule(changed);
      } catch (error) {
        expect(error).not.toBeInstanceOf(RangeError);
      }
    }
  });
});
