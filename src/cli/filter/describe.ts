import { sha256Digest } from "../../config/canonical.ts";
import type { ModuleSummary } from "../../config/module-summary.ts";
import { METADATA_SECTION } from "../../config/module-summary.ts";
import { type Bytes, utf8Text } from "../../core/bytes.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { type Need, needsOf } from "./capabilities.ts";
import { type ComponentOutline, readComponent } from "./component.ts";
import { type CoreModule, type CustomSection, readCoreModule } from "./core-module.ts";
import { WasmReader } from "./wasm-reader.ts";

/** What a module is, as `filter inspect` shows it. Plain data: it is the JSON of `--json`. */
export interface ModuleDescription {
  readonly format: "core module" | "component";
  readonly abi: string;
  /** Versions of the ABI that the module says it speaks: `0.2.1`; of a component those of the interfaces. */
  readonly abiVersions: readonly string[];
  readonly sizeBytes: number;
  readonly digest: string;
  readonly imports: readonly Named[];
  readonly exports: readonly Named[];
  /** Of a component those that its core modules make. */
  readonly memories: readonly Extent[];
  readonly tables: readonly Extent[];
  readonly functions: number | undefined;
  readonly codeBytes: number | undefined;
  readonly dataBytes: number | undefined;
  readonly coreModules: readonly number[];
  readonly hasStart: boolean;
  readonly needs: readonly Need[];
  /** From the `producers` section: languages, compilers, SDKs. */
  readonly producers: readonly string[];
  readonly customSections: readonly { readonly name: string; readonly bytes: number }[];
  /** The metadata that `filter build` puts in; undefined: none. */
  readonly metadata: unknown;
  /** Things that a proxy would refuse or that are worth knowing. */
  readonly notes: readonly string[];
}

interface Named {
  /** Module and name of an import. */
  readonly name: string;
  readonly kind: string;
  readonly type: string;
}

interface Extent {
  readonly minimum: number;
  /** Null: none declared. */
  readonly maximum: number | null;
  readonly imported: boolean;
}

const MAGIC = [0x00, 0x61, 0x73, 0x6d];

/** Reads a module's outline. Throws an `Error` that says what is wrong when the bytes are no module. */
export function describeModule(bytes: Bytes): ModuleDescription {
  if (bytes.byteLength === 0) throw new Error("the file is empty");
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) throw new Error(`it is no WebAssembly: ${guessFormat(bytes)}`);
  if (bytes.byteLength < 8) throw new Error("it ends inside its header");
  const version = (bytes[4] ?? 0) | ((bytes[5] ?? 0) << 8);
  const layer = (bytes[6] ?? 0) | ((bytes[7] ?? 0) << 8);
  const reader = new WasmReader(bytes, 8);
  if (layer === 1) return describeComponent(bytes, readComponent(reader));
  if (layer === 0 && version === 1) return describeCore(bytes, readCoreModule(reader));
  throw new Error(`version ${version}, layer ${layer} of WebAssembly is not known`);
}

/** People pass the text format, or the error page that a download brought. */
function guessFormat(bytes: Bytes): string {
  const head = utf8Text(bytes.subarray(0, 64)).trimStart();
  if (head.startsWith("(module") || head.startsWith("(component") || head.startsWith(";;"))
    return "it is the text format; wat2wasm or wasm-tools parse makes a module of it";
  if (head.startsWith("<")) return "it is HTML or XML, perhaps a failed download";
  if (head.startsWith("\u007fELF")) return "it is a native program; build for a wasm target";
  return "the first bytes are not \\0asm";
}

function describeCore(bytes: Bytes, core: CoreModule): ModuleDescription {
  const { abi, versions } = abiOf(core);
  const notes: string[] = [];
  if (abi === "unknown")
    notes.push("It exports no proxy_abi_version_0_…, imports nothing of Extism, and is no component: no host here runs it.");
  if (core.memories.some((memory) => memory.shared || memory.wide)) notes.push("Shared and 64-bit memories are refused.");
  if (core.memories.length > 1) notes.push("More than one memory is refused.");
  if (core.memories.length === 0) notes.push("It has no memory.");
  if (abi === "proxy-wasm") notes.push(...proxyWasmNotes(core));
  if (abi === "extism") notes.push(...extismNotes(core));
  return {
    ...{ format: "core module", abi, abiVersions: versions, sizeBytes: bytes.byteLength, digest: sha256Digest(bytes) },
    imports: core.imports.map(({ module, name, kind, type }) => ({ name: `${module}.${name}`, kind, type })),
    exports: core.exports.map(({ name, kind, type }) => ({ name, kind, type })),
    memories: core.memories.map(extentOf),
    tables: core.tables.map(extentOf),
    ...{ functions: core.functions, codeBytes: core.codeBytes, dataBytes: core.dataBytes },
    ...{
      coreModules: [],
      hasStart: core.hasStart,
      needs: needsOf(core.imports, abi === "extism" ? functionsOf(core) : []),
      notes,
    },
    ...describeCustom(core.custom),
  };
}

function describeComponent(bytes: Bytes, outline: ComponentOutline): ModuleDescription {
  const named = ({ name, kind }: { name: string; kind: string }): Named => ({ name, kind, type: "" });
  const names = [...outline.imports, ...outline.exports].map(({ name }) => name);
  const versions = [...new Set(names.flatMap((name) => /^(selvedge:filter)\/[^@]*(@.*)$/.exec(name)?.slice(1).join("") ?? []))];
  return {
    ...{ format: "component", abi: "component", abiVersions: versions },
    ...{ sizeBytes: bytes.byteLength, digest: sha256Digest(bytes) },
    imports: outline.imports.map(named),
    exports: outline.exports.map(named),
    memories: outline.memories.map(extentOf),
    ...{ tables: [], functions: undefined, codeBytes: undefined, dataBytes: undefined },
    ...{ coreModules: outline.coreModules, hasStart: false },
    needs: needsOf(
      outline.imports.map(({ name }) => ({ module: name, name: "" })),
      outline.exports.map(({ name }) => name),
    ),
    notes: versions.length === 0 ? ["It uses no interface of selvedge:filter."] : [],
    ...describeCustom(outline.custom),
  };
}

const functionsOf = (core: CoreModule): string[] => core.exports.flatMap(({ kind, name }) => (kind === "function" ? [name] : []));

const extentOf = ({
  minimum,
  maximum,
  imported,
}: {
  minimum: number;
  maximum: number | undefined;
  imported: boolean;
}): Extent => ({
  minimum,
  maximum: maximum ?? null,
  imported,
});

function abiOf(core: CoreModule): { abi: string; versions: string[] } {
  const versions = core.exports.flatMap(({ name }) => {
    const version = /^proxy_abi_version_(\d+_\d+_\d+)$/.exec(name)?.[1];
    return version === undefined ? [] : [version.replaceAll("_", ".")];
  });
  if (versions.length > 0) return { abi: "proxy-wasm", versions };
  if (core.imports.some(({ module }) => module === EXTISM_MODULE)) return { abi: "extism", versions: [] };
  return { abi: "unknown", versions: [] };
}

function proxyWasmNotes(core: CoreModule): string[] {
  const notes: string[] = [];
  const exported = new Set(core.exports.map(({ name }) => name));
  if (!exported.has("memory")) notes.push("It does not export its memory: a proxy refuses it.");
  if (!exported.has("proxy_on_memory_allocate") && !exported.has("malloc"))
    notes.push("It exports neither proxy_on_memory_allocate nor malloc: a proxy refuses it.");
  const callbacks = [...exported].filter((name) =>
    /^proxy_on_(request|response|http|tick|queue|downstream|upstream|new)/.test(name),
  );
  if (callbacks.length === 0) notes.push("It exports no callback of an exchange: it does nothing.");
  for (const { module, name, kind } of core.imports) {
    const known =
      module === "env" ? name.startsWith("proxy_") || name === "abort" : /^wasi_(snapshot_preview1|unstable)$/.test(module);
    if (kind !== "function" || !known)
      notes.push(`No host of proxy-wasm offers the ${kind} ${module}.${name}: a proxy refuses it.`);
  }
  return notes;
}

/** Where plug-ins of Extism have their host's functions. */
const EXTISM_MODULE = "extism:host/env";
const EXTISM_FUNCTION =
  /^(alloc|free|length|length_unsafe|(load|store)_u(8|64)|input_(length|offset|load_u8|load_u64)|(output|error)_set|config_get|var_(get|set)|log_(trace|debug|info|warn|error)|get_log_level|http_(request|status_code|headers))$/;

function extismNotes(core: CoreModule): string[] {
  const notes: string[] = [];
  const exported = new Set(core.exports.map(({ name }) => name));
  if (!["on_request", "on_request_body", "on_response", "on_response_body"].some((name) => exported.has(name)))
    notes.push(
      'It exports none of on_request, on_request_body, on_response, on_response_body: a proxy refuses it, unless settings."selvedge.transform" names functions that change bodies.',
    );
  for (const { module, name, kind } of core.imports) {
    const known =
      module === EXTISM_MODULE
        ? EXTISM_FUNCTION.test(name)
        : module === "wasi_snapshot_preview1" || (module === "env" && name === "abort");
    if (kind !== "function" || !known)
      notes.push(`No host of such plug-ins offers the ${kind} ${module}.${name}: a proxy refuses it.`);
  }
  return notes;
}

function describeCustom(
  sections: readonly CustomSection[],
): Pick<ModuleDescription, "producers" | "customSections" | "metadata"> {
  const metadata = sections.find(({ name }) => name === METADATA_SECTION);
  return {
    producers: sections.filter(({ name }) => name === "producers").flatMap(({ bytes }) => readProducers(bytes)),
    customSections: sections.map(({ name, bytes }) => ({ name, bytes: bytes.byteLength })),
    metadata: metadata === undefined ? undefined : parseJson(utf8Text(metadata.bytes)),
  };
}

/** The `producers` section (tool conventions, "ProducersSection"): fields of name and version. */
function readProducers(bytes: Bytes): string[] {
  const found: string[] = [];
  try {
    const reader = new WasmReader(bytes);
    const fields = reader.u32();
    for (let i = 0; i < fields; i++) {
      reader.name();
      const values = reader.u32();
      for (let j = 0; j < values; j++) found.push(`${reader.name()} ${reader.name()}`.trim());
    }
  } catch {
    // A section for people: what cannot be read is left out.
  }
  return found;
}

function parseJson(text: string): unknown {
  try {
    return parseShallowJson(text);
  } catch {
    return text;
  }
}

/** Who signed a module, and what it carries that looks like a signature and proves nothing. */
export function describeSigners({ signers, badSignatures = [] }: Pick<ModuleSummary, "signers" | "badSignatures">): string {
  const genuine = signers.length === 0 ? "" : `signed by ${signers.join(", ")}`;
  const bad = badSignatures.map(({ code, key, reason }) => {
    const whose = key === "" ? "a signature" : `a signature of ${key}`;
    return `carries ${whose} that does not verify (${code}): ${reason}`;
  });
  return genuine === "" && bad.length === 0 ? "not signed" : [genuine, ...bad].filter((each) => each !== "").join("; ");
}
