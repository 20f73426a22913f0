import { parseArgs } from "node:util";
import { nearest } from "../config/suggest.ts";
import { CommandError, EXIT, type FlagSpec } from "./command.ts";

type Value = string | number | boolean | readonly string[];

/** Where a value comes from, strongest first. */
export type FlagOrigin = "flag" | "environment" | "file" | "default";

/** The values of a command's flags, checked. Asking for a flag that the command does not have is a bug and throws. */
export class FlagValues {
  readonly #values = new Map<string, { value: Value | undefined; origin: FlagOrigin }>();

  set(name: string, value: Value | undefined, origin: FlagOrigin): void {
    this.#values.set(name, { value, origin });
  }
  has(name: string): boolean {
    return this.#values.has(name);
  }
  originOf(name: string): FlagOrigin {
    return this.#of(name).origin;
  }
  text(name: string): string | undefined {
    const { value } = this.#of(name);
    return value === undefined ? undefined : String(value);
  }
  number(name: string): number | undefined {
    const { value } = this.#of(name);
    return typeof value === "number" ? value : undefined;
  }
  /** True or false; undefined when neither said nor by default. */
  choice(name: string): boolean | undefined {
    const { value } = this.#of(name);
    return typeof value === "boolean" ? value : undefined;
  }
  on(name: string): boolean {
    return this.choice(name) === true;
  }
  list(name: string): readonly string[] {
    const { value } = this.#of(name);
    return Array.isArray(value) ? value : [];
  }

  #of(name: string): { value: Value | undefined; origin: FlagOrigin } {
    const entry = this.#values.get(name);
    if (entry === undefined) throw new Error(`no such flag: ${name}`);
    return entry;
  }
}

/** What stands on the command line, not yet checked. */
export interface CommandLine {
  readonly given: ReadonlyMap<string, readonly (string | boolean)[]>;
  readonly args: readonly string[];
}

export function environmentName(flag: string): string {
  return `SELVEDGE_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/** Splits a command line. Throws a `CommandError` for flags that do not exist or lack their value. */
export function readCommandLine(argv: readonly string[], specs: readonly FlagSpec[], command: string): CommandLine {
  const options = Object.fromEntries(
    specs.map((spec) => [
      spec.name,
      {
        type: spec.type === "switch" ? ("boolean" as const) : ("string" as const),
        multiple: true,
        ...(spec.short === undefined ? {} : { short: spec.short }),
      },
    ]),
  );
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true });
  const given = new Map<string, (string | boolean)[]>();
  const args: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") args.push(token.value);
    if (token.kind !== "option") continue;
    const { name, value } = resolveOption(token.name, token.value, token.rawName, specs, command);
    given.set(name, [...(given.get(name) ?? []), value]);
  }
  return { given, args };
}

function resolveOption(
  name: string,
  value: string | undefined,
  raw: string,
  specs: readonly FlagSpec[],
  command: string,
): { name: string; value: string | boolean } {
  const spec = specs.find((each) => each.name === name);
  if (spec === undefined) {
    const negated = name.startsWith("no-")
      ? specs.find((each) => each.name === name.slice(3) && each.type === "switch")
      : undefined;
    if (negated !== undefined && value === undefined) return { name: negated.name, value: false };
    const near = nearest(
      name,
      specs.map((each) => each.name),
    );
    const hint = near === undefined ? `selvedge ${command} --help lists the flags` : `did you mean --${near}?`;
    throw new CommandError(`${command} has no flag ${raw}`.trim(), hint, EXIT.usage);
  }
  if (spec.type === "switch") {
    if (value === undefined) return { name, value: true };
    return { name, value: parseSwitch(value, `--${name}`) };
  }
  if (value === undefined)
    throw new CommandError(`--${name} needs a value: --${name} ${spec.value ?? "<value>"}`, "", EXIT.usage);
  return { name, value };
}

function parseSwitch(text: string, where: string): boolean {
  if (/^(1|true|yes|on)$/i.test(text)) return true;
  if (/^(0|false|no|off)$/i.test(text)) return false;
  throw new CommandError(`${where}: ${JSON.stringify(text)} is neither true nor false`, "", EXIT.usage);
}

/**
 * Decides every flag: command line, then environment, then file, then default. `file` holds the values of the configuration
 * file for this command, by flag name.
 */
export function decideFlags(
  specs: readonly FlagSpec[],
  line: CommandLine,
  env: Readonly<Record<string, string | undefined>>,
  file: ReadonlyMap<string, unknown>,
): FlagValues {
  const values = new FlagValues();
  for (const spec of specs) {
    const given = line.given.get(spec.name);
    const fromEnv = env[environmentName(spec.name)];
    if (given !== undefined) {
      values.set(spec.name, convert(spec, given, `--${spec.name}`), "flag");
    } else if (fromEnv !== undefined && fromEnv !== "") {
      const parts = spec.type === "list" ? fromEnv.split(",").map((part) => part.trim()) : [fromEnv];
      values.set(spec.name, convert(spec, parts, environmentName(spec.name)), "environment");
    } else if (file.has(spec.name)) {
      values.set(spec.name, convert(spec, [file.get(spec.name)].flat(), `${spec.name} in the configuration file`), "file");
    } else {
      values.set(spec.name, spec.default, "default");
    }
  }
  return values;
}

/** Checks values that came as text (or from YAML) and gives them the flag's type; of several the last counts. */
function convert(spec: FlagSpec, given: readonly unknown[], where: string): Value {
  for (const each of given) {
    if (!["string", "number", "boolean"].includes(typeof each))
      throw new CommandError(`${where}: a plain value is needed`, "", EXIT.usage);
  }
  if (spec.type === "list") return given.map((each) => checkChoice(spec, String(each), where));
  const last = given.at(-1);
  if (spec.type === "switch") return typeof last === "boolean" ? last : parseSwitch(String(last), where);
  if (spec.type === "number") return toNumber(spec, String(last), where);
  return checkChoice(spec, String(last), where);
}

function toNumber(spec: FlagSpec, text: string, where: string): number {
  // A port as it stands in an address: `:8080`.
  const digits = spec.value === "<port>" ? text.replace(/^:(?=\d)/, "") : text;
  const value = digits.trim() === "" ? Number.NaN : Number(digits);
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = spec;
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  const range = spec.max === undefined ? `from ${min}` : `from ${min} to ${max}`;
  throw new CommandError(`${where}: ${JSON.stringify(text)} is not a whole number ${range}`, "", EXIT.usage);
}

function checkChoice(spec: FlagSpec, text: string, where: string): string {
  if (spec.choices === undefined || spec.choices.includes(text)) return text;
  const near = nearest(text, spec.choices);
  const hint = near === undefined ? "" : `did you mean ${near}?`;
  throw new CommandError(`${where}: ${JSON.stringify(text)} is not one of ${spec.choices.join(", ")}`, hint, EXIT.usage);
}
