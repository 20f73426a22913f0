import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { embeddedPath } from "../../runtime/embedded.ts";
import { CommandError } from "../command.ts";
import type { Language } from "./manifest.ts";

/** What a language's project has in its README. */
interface LanguageText {
  readonly title: string;
  readonly source: string;
  readonly bindings: string;
  readonly toolchain: string;
}

export const LANGUAGE_TEXTS: Readonly<Record<Language, LanguageText>> = {
  assemblyscript: {
    title: "AssemblyScript",
    source: "assembly/index.ts",
    bindings: "assembly/proxy-wasm/",
    toolchain: "Building needs the AssemblyScript compiler: `npm install` in this folder.",
  },
  rust: {
    title: "Rust",
    source: "src/lib.rs",
    bindings: "Cargo.toml",
    toolchain: "Building needs Rust (https://rustup.rs) with its target for wasm: `rustup target add wasm32-unknown-unknown`.",
  },
  go: {
    title: "Go",
    source: "main.go",
    bindings: "proxywasm/",
    toolchain: "Building needs Go 1.24 or later (https://go.dev/dl); TinyGo is not needed.",
  },
  c: {
    title: "C",
    source: "src/filter.c",
    bindings: "src/proxy_wasm.h",
    toolchain:
      "Building needs Zig, which brings a C compiler for wasm with its library: `pip install ziglang`, or https://ziglang.org.",
  },
  zig: {
    title: "Zig",
    source: "src/main.zig",
    bindings: "src/proxy_wasm.zig",
    toolchain: "Building needs Zig 0.16 or later: `pip install ziglang`, or https://ziglang.org.",
  },
};

/** Files of a new project by path. */
export function projectFiles(name: string, language: Language): Map<string, string> {
  const { title, source, bindings, toolchain } = LANGUAGE_TEXTS[language];
  const values: Readonly<Record<string, string>> = { name, language, title, source, bindings, toolchain };
  const fill = (text: string): string => text.replace(/\{\{(\w+)\}\}/g, (whole, key: string) => values[key] ?? whole);
  const files = new Map<string, string>();
  for (const [path, text] of Object.entries(readBundle())) {
    const [folder, ...rest] = path.split("/");
    if (folder !== "common" && folder !== language) continue;
    const target = fill(rest.join("/"));
    files.set(target === "gitignore" ? ".gitignore" : target, fill(text));
  }
  return files;
}

function readBundle(): Readonly<Record<string, string>> {
  const path =
    embeddedPath("filters/templates.bundle") ?? fileURLToPath(new URL("../../../dist/filters/templates.bundle", import.meta.url));
  if (!existsSync(path)) throw new CommandError("the templates are not built", "npm run build makes them");
  return JSON.parse(readFileSync(path, "utf8")) as Readonly<Record<string, string>>;
}
