import { isCredential, isProxysAttribute, isTrusted } from "../../core/guarded-names.ts";
import { metadataOf } from "../module-summary.ts";
import { type CapabilitiesSpec, capabilities as schema } from "../schema/capabilities.ts";
import type { FilterCapabilities } from "../snapshot.ts";

/** What a module says that it needs to be granted, as its author wrote it. Anybody can write it: nothing is granted because of it. */
export interface Declared {
  readonly spec: CapabilitiesSpec;
  /** What was said and is no default of ours: `log`, `bodies.request`. */
  readonly said: ReadonlySet<string>;
}

/** Something that a module declares and nobody granted. */
export interface Missing {
  /** Below `capabilities`: `["headers", "request", "read"]`. */
  readonly path: readonly string[];
  /** What to write there, as YAML in one line: `true`, `[cookie]`. */
  readonly write: string;
}

/** By the bytes of the module: they stay the same from apply to apply. */
const read = new WeakMap<Uint8Array, { readonly declared: Declared | undefined }>();

/** Undefined: the module declares nothing, or nothing that this version can read. */
export function declaredCapabilities(wasm: Uint8Array): Declared | undefined {
  const known = read.get(wasm);
  if (known !== undefined) return known.declared;
  const declared = readDeclared(wasm);
  read.set(wasm, { declared });
  return declared;
}

function readDeclared(wasm: Uint8Array): Declared | undefined {
  try {
    const { capabilities } = metadataOf(wasm);
    const parsed = schema.safeParse(capabilities);
    return parsed.success ? { spec: parsed.data, said: namesIn(capabilities as object) } : undefined;
  } catch {
    return undefined;
  }
}

/** Keys, and those of what is below them. */
function namesIn(written: object): ReadonlySet<string> {
  const names = new Set<string>();
  for (const [key, value] of Object.entries(written)) {
    names.add(key);
    if (typeof value === "object" && value !== null) for (const below of Object.keys(value)) names.add(`${key}.${below}`);
  }
  return names;
}

const SWITCHES = ["rateLimit", "clock", "random", "metrics", "log", "respond"] as const;
const ACCESS = ["none", "read", "write"] as const;
const never = (): boolean => false;

/** What is declared and not granted, in the order of the documentation. Services have names of their own everywhere, so any will do. */
export function missingGrants({ spec, said }: Declared, granted: FilterCapabilities): Missing[] {
  const missing: Missing[] = [];
  const lack = (path: readonly string[], write: string): void => void missing.push({ path, write });
  if (spec.callouts.length > 0 && granted.callouts.length === 0)
    lack(["callouts"], listOf(spec.callouts.map(({ service }) => service)));
  if (spec.sharedData !== undefined && granted.sharedData === undefined) lack(["sharedData"], spec.sharedData);
  for (const name of SWITCHES) if (said.has(name) && spec[name] === true && !granted[name]) lack([name], "true");
  for (const side of ["request", "response"] as const) {
    const wanted = spec.bodies[side];
    if (said.has(`bodies.${side}`) && ACCESS.indexOf(wanted) > ACCESS.indexOf(granted.bodies[side]))
      lack(["bodies", side], wanted);
  }
  for (const side of ["request", "response"] as const) {
    const [wanted, given] = [spec.headers[side], granted.headers[side]];
    lackNames(["headers", side, "read"], wanted.read, given.read, isCredential, lack);
    lackNames(["headers", side, "write"], wanted.write, given.write, side === "request" ? isTrusted : isCredential, lack);
  }
  lackNames(["attributes", "read"], spec.attributes.read, granted.attributes.read, never, lack);
  lackNames(["attributes", "write"], spec.attributes.write, granted.attributes.write, isProxysAttribute, lack);
  const subjects = spec.nats.publish.filter((subject) => !granted.nats.publish.includes(subject));
  if (subjects.length > 0) lack(["nats", "publish"], listOf([...granted.nats.publish, ...subjects]));
  return missing;
}

/** `mustBeNamed`: what no wildcard stands for, as the host decides it. */
function lackNames(
  path: readonly string[],
  wanted: readonly string[] | undefined,
  granted: readonly string[],
  mustBeNamed: (name: string) => boolean,
  lack: (path: readonly string[], write: string) => void,
): void {
  const missing = (wanted ?? []).filter((pattern) => !isCovered(pattern, granted, mustBeNamed));
  if (missing.length > 0) lack(path, listOf([...granted, ...missing]));
}

function isCovered(pattern: string, granted: readonly string[], mustBeNamed: (name: string) => boolean): boolean {
  if (granted.includes("**") || granted.includes(pattern)) return true;
  if (pattern === "**" || pattern === "*") return false;
  const isPrefix = pattern.endsWith("*");
  if (!isPrefix && mustBeNamed(pattern)) return false;
  const name = isPrefix ? pattern.slice(0, -1) : pattern;
  return granted.some((each) => each.endsWith("*") && name.startsWith(each.slice(0, -1)));
}

/** Longest list that is written out; a module may declare what it likes. */
const LIST_CHARS = 400;

/** As YAML in one line; what is no plain word is quoted. */
function listOf(items: readonly string[]): string {
  const text = `[${items.map((item) => (/^[A-Za-z0-9][A-Za-z0-9./_-]*$/.test(item) ? item : JSON.stringify(item))).join(", ")}]`;
  return text.length <= LIST_CHARS ? text : `${text.slice(0, LIST_CHARS)}…]`;
}
