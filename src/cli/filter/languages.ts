import type { FilterAbi } from "../../config/snapshot.ts";

/** Languages that `filter new` has templates for and that `filter build` compiles. */
export const LANGUAGES = ["assemblyscript", "rust", "go", "javascript", "typescript", "python", "c", "zig"] as const;
export type Language = (typeof LANGUAGES)[number];

export const ABIS = ["proxy-wasm", "component", "extism"] as const satisfies readonly FilterAbi[];

/** What a project of one language and ABI has in its README and its configuration. */
export interface Template {
  /** Folder of `filters-wasm/templates`. */
  readonly folder: string;
  readonly title: string;
  readonly source: string;
  readonly bindings: string;
  /** What `bindings` are. */
  readonly bindingsText: string;
  readonly toolchain: string;
  /** What comes before the first build, in the project. */
  readonly prepare?: "npm install";
  /** A budget that the language's runtime needs, beyond the default; "": none. */
  readonly budget: string;
}

const RUST = "Building needs Rust (https://rustup.rs) with its target for wasm";
const GO = "Building needs Go 1.24 or later (https://go.dev/dl); TinyGo is not needed.";
const NODE = "Building needs Node 20 or later, and what npm installs in its folder once.";
const NPM = { toolchain: NODE, prepare: "npm install" } as const;
const PROXY_WASM_BINDINGS = "bindings to the proxy-wasm ABI; no need to change them";
/** What runs inside an interpreter, or reads JSON by reflection, takes some hundred thousand instructions for a callback. */
const HEAVY = "{ callbackFuel: 10000000, exchangeFuel: 50000000 }";

/** Of each language, by ABI; the first is the default. */
const TEMPLATES: Readonly<Record<Language, Partial<Record<FilterAbi, Omit<Template, "folder">>>>> = {
  assemblyscript: {
    "proxy-wasm": {
      ...{ title: "AssemblyScript", source: "assembly/index.ts", bindings: "assembly/proxy-wasm/" },
      ...{ bindingsText: PROXY_WASM_BINDINGS, budget: "" },
      toolchain:
        "Building needs the AssemblyScript compiler: a checkout of Selvedge has it; elsewhere `npm install` in its folder.",
    },
  },
  rust: {
    "proxy-wasm": {
      ...{ title: "Rust", source: "src/lib.rs", bindings: "Cargo.toml", bindingsText: "names the SDK, crate proxy-wasm" },
      ...{ toolchain: `${RUST}: \`rustup target add wasm32-unknown-unknown\`.`, budget: "" },
    },
    component: {
      ...{ title: "Rust", source: "src/lib.rs", bindings: "wit/filter.wit" },
      ...{ bindingsText: "the interfaces of Selvedge, from which wit-bindgen makes the bindings", budget: "" },
      toolchain: `${RUST}: \`rustup target add wasm32-wasip2\`.`,
    },
    extism: {
      ...{ title: "Rust", source: "src/lib.rs", bindings: "Cargo.toml", bindingsText: "names the SDK, crate extism-pdk" },
      ...{ toolchain: `${RUST}: \`rustup target add wasm32-unknown-unknown\`.`, budget: "" },
    },
  },
  go: {
    "proxy-wasm": {
      ...{ title: "Go", source: "main.go", bindings: "proxywasm/", bindingsText: PROXY_WASM_BINDINGS },
      ...{ toolchain: GO, budget: "" },
    },
    extism: {
      ...{ title: "Go", source: "main.go", bindings: "go.mod", bindingsText: "names the SDK, github.com/extism/go-pdk" },
      // Each call of the host costs fuel, and the PDK reads by eight bytes at a time; Go's JSON reflects.
      ...{ toolchain: GO, budget: HEAVY },
    },
  },
  javascript: {
    component: {
      ...{ title: "JavaScript", source: "src/filter.js", bindings: "sdk/" },
      ...{ bindingsText: "`@selvedge/filter`: SDK, types and the interfaces of Selvedge; no need to change it", ...NPM },
      budget: HEAVY,
    },
  },
  typescript: {
    component: {
      ...{ title: "TypeScript", source: "src/filter.ts", bindings: "sdk/" },
      ...{ bindingsText: "`@selvedge/filter`: SDK, types and the interfaces of Selvedge; no need to change it", ...NPM },
      budget: HEAVY,
    },
  },
  python: {
    component: {
      ...{ title: "Python", source: "src/app.py", bindings: "wit/filter.wit" },
      ...{ bindingsText: "the interfaces of Selvedge, from which componentize-py makes the bindings", budget: HEAVY },
      toolchain:
        "Building needs Python 3.10 or later and componentize-py: `pip install componentize-py==0.25.1`. It takes half a minute: the module holds Python itself.",
    },
  },
  c: {
    "proxy-wasm": {
      ...{ title: "C", source: "src/filter.c", bindings: "src/proxy_wasm.h", bindingsText: PROXY_WASM_BINDINGS, budget: "" },
      toolchain:
        "Building needs Zig, which brings a C compiler for wasm with its library: `pip install ziglang`, or https://ziglang.org. The first build compiles that library too, which takes a minute.",
    },
  },
  zig: {
    "proxy-wasm": {
      ...{ title: "Zig", source: "src/main.zig", bindings: "src/proxy_wasm.zig", bindingsText: PROXY_WASM_BINDINGS, budget: "" },
      toolchain: "Building needs Zig 0.16 or later: `pip install ziglang`, or https://ziglang.org.",
    },
  },
};

/** ABIs that a language has a template for; the first is the default. */
export function abisOf(language: Language): FilterAbi[] {
  const made = TEMPLATES[language];
  return (Object.keys(made) as FilterAbi[]).filter((abi) => made[abi] !== undefined);
}

export function defaultAbi(language: Language): FilterAbi {
  return abisOf(language)[0] ?? "proxy-wasm";
}

/** Undefined: there is none for this ABI. */
export function templateOf(language: Language, abi: FilterAbi): Template | undefined {
  const found = TEMPLATES[language][abi];
  if (found === undefined) return undefined;
  return { folder: abi === defaultAbi(language) ? language : `${language}-${abi}`, ...found };
}
