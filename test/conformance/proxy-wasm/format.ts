import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import wabtInit from "wabt";
import { parse } from "yaml";
import type { FilterBudget } from "../../../src/core/limits.ts";

/** The files of this suite, as README.md describes them. */

export type Host = "selvedge" | "envoy";

export interface WireMessage {
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: string;
  readonly trailers?: readonly (readonly [string, string])[];
}
export interface CaseRequest extends WireMessage {
  readonly method?: string;
  readonly path?: string;
}
export interface CaseAnswer extends WireMessage {
  readonly status?: number;
}
/** What must have come: fields that are not named are not looked at; null: must be absent. */
export interface Expected {
  readonly status?: number;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | null>>;
  readonly body?: string;
  readonly trailers?: Readonly<Record<string, string | null>>;
}
/** Where a host does something else than the case says, and which one is right. */
export interface Difference {
  readonly host: Host;
  readonly why: string;
  /** A line of the script, without `=>`; `gives` stands in place of what the line says. */
  readonly line?: string;
  readonly gives?: string;
  /** null: the connection is closed without one. */
  readonly answer?: Expected | null;
  readonly upstream?: Expected | null;
  readonly refused?: string | boolean;
}

export interface Case {
  readonly name: string;
  readonly about?: string;
  readonly module?: string;
  /** Instead of a module of this suite: one that was built, by its name in `SELVEDGE_ENVOY_FILTERS` (the long suites). */
  readonly file?: string;
  /** What it needs beyond the defaults of our host. */
  readonly budget?: Partial<FilterBudget>;
  /** Pairs of texts that are replaced in the module before it is assembled. */
  readonly replace?: readonly (readonly [string, string])[];
  readonly configuration?: string;
  /** `head`: what pauses at a head sees the body meanwhile. */
  readonly pauseHolds?: "head";
  /** Which plug-in of the module. Default: the one without a name. */
  readonly rootId?: string;
  readonly script?: string;
  /** For modules that are not scripted: lines that they log. */
  readonly logs?: readonly string[];
  readonly requests?: readonly CaseRequest[];
  /** Absent: nobody listens there. */
  readonly upstream?: CaseAnswer | "absent";
  /** The answer of the service `aside` to calls whose path begins with the name of the case. Nobody listens at the service `nobody`. */
  readonly aside?: CaseAnswer;
  /** A path at which `aside` answers this case as well. */
  readonly asidePath?: string;
  readonly answer?: Expected;
  /** What the upstream got last; null: nothing. */
  readonly got?: Expected | null;
  /** What `aside` got last, in that path. */
  readonly called?: Expected;
  /** The module or its configuration must be refused; a text must stand in the reason (of our host). */
  readonly refused?: string | boolean;
  readonly differs?: readonly Difference[];
  /** A host that cannot run it. */
  readonly except?: { readonly host: Host; readonly why: string };
}

export interface CaseFile {
  readonly about: string;
  readonly cases: readonly Case[];
}

const folder = (name: string): string => fileURLToPath(new URL(`./${name}/`, import.meta.url));

/** All cases by the name of their file, in a fixed order. Throws when a name stands twice. */
export function readCases(): ReadonlyMap<string, readonly Case[]> {
  const files = new Map<string, readonly Case[]>();
  const names = new Set<string>();
  for (const file of readdirSync(folder("cases")).sort()) {
    const { cases } = parse(readFileSync(`${folder("cases")}${file}`, "utf8")) as CaseFile;
    for (const { name } of cases) {
      if (names.has(name)) throw new Error(`${file}: there are two cases ${name}`);
      names.add(name);
    }
    files.set(file.replace(".yaml", ""), cases);
  }
  return files;
}

/** Cases that a host accepts and can run. */
export const playable = (cases: readonly Case[], host: Host): readonly Case[] =>
  cases.filter((each) => each.refused === undefined && each.except?.host !== host);

/** Cases that a host must refuse, with what must stand in its reason ("": anything). */
export function refusals(cases: readonly Case[], host: Host): { each: Case; reason: string }[] {
  return cases.flatMap((each) => {
    const other = each.differs?.find((one) => one.host === host && one.refused !== undefined);
    const refused = (other ?? each).refused;
    return refused === undefined || refused === false ? [] : [{ each, reason: refused === true ? "" : refused }];
  });
}

const assembled = new Map<string, Uint8Array<ArrayBuffer>>();
const wabt = await wabtInit();

/** The module of a case. */
export function assembleModule({ file, module = "actor.wat", replace = [] }: Case): Uint8Array<ArrayBuffer> {
  const key = JSON.stringify([file ?? module, replace]);
  const known = assembled.get(key);
  if (known !== undefined) return known;
  if (file !== undefined) {
    const built = new Uint8Array(readFileSync(join(process.env.SELVEDGE_ENVOY_FILTERS ?? "", `${file}.wasm`)));
    assembled.set(key, built);
    return built;
  }
  let text = readFileSync(`${folder("modules")}${module}`, "utf8");
  for (const [from, to] of replace) {
    if (!text.includes(from)) throw new Error(`${module} has no ${from}`);
    text = text.replaceAll(from, to);
  }
  const parsed = wabt.parseWat(module, text);
  parsed.resolveNames();
  parsed.validate();
  const bytes = new Uint8Array(parsed.toBinary({}).buffer);
  parsed.destroy();
  assembled.set(key, bytes);
  return bytes;
}
