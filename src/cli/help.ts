import { type Command, EXIT_HELP, type FlagSpec, GLOBAL_FLAGS } from "./command.ts";
import { environmentName } from "./flags.ts";
import type { Paint } from "./terminal.ts";

const WIDTH = 100;
const INDENT = 30;

/** `selvedge --help`. */
export function formatOverview(commands: readonly { name: string; summary: string }[], paint: Paint): string {
  const width = Math.max(...commands.map((command) => command.name.length)) + 2;
  return [
    `${paint.bold("Selvedge")}: ingress gateway and service mesh in one small proxy, configured live over NATS`,
    "",
    `${paint.bold("Usage:")} selvedge <command> [flags]`,
    "",
    paint.bold("Commands:"),
    ...commands.map((command) => `  ${paint.cyan(command.name.padEnd(width))}${command.summary}`),
    "",
    "selvedge <command> --help explains a command with its flags and an example.",
    "Every flag is also an environment variable (SELVEDGE_LOG_LEVEL for --log-level) and a key of selvedge.yaml.",
    "",
  ].join("\n");
}

/** `selvedge <group> --help`. */
export function formatGroup(
  group: {
    readonly name: string;
    readonly description: string;
    readonly parts: readonly { name: string; summary: string }[];
  },
  paint: Paint,
): string {
  const width = Math.max(...group.parts.map((part) => part.name.length)) + 2;
  return [
    `${paint.bold(`selvedge ${group.name}`)}: ${group.description}`,
    "",
    `${paint.bold("Usage:")} selvedge ${group.name} <command> [flags]`,
    "",
    paint.bold("Commands:"),
    ...group.parts.map((part) => `  ${paint.cyan(part.name.padEnd(width))}${part.summary}`),
    "",
    `selvedge ${group.name} <command> --help explains a command with its flags and an example.`,
    "",
  ].join("\n");
}

/** `selvedge <command> --help`. */
export function formatHelp(command: Command, paint: Paint): string {
  const parameters = command.arguments === undefined ? "" : ` ${command.arguments}`;
  const lines = [
    `${paint.bold(`selvedge ${command.name}`)}: ${command.summary}`,
    "",
    `${paint.bold("Usage:")} selvedge ${command.name}${parameters} [flags]`,
    "",
    ...wrap(command.description, WIDTH),
    "",
  ];
  if (command.flags.length > 0) lines.push(paint.bold("Flags:"), ...command.flags.flatMap((flag) => flagLines(flag, paint)), "");
  lines.push(paint.bold("Flags of every command:"), ...GLOBAL_FLAGS.flatMap((flag) => flagLines(flag, paint)), "");
  lines.push(paint.bold(command.examples.length === 1 ? "Example:" : "Examples:"));
  for (const example of command.examples) lines.push(`  ${paint.dim(`# ${example.says}`)}`, `  ${example.line}`);
  lines.push("", paint.bold("Exit codes:"), ...EXIT_HELP.map(([code, meaning]) => `  ${code}  ${meaning}`), "");
  return lines.join("\n");
}

function flagLines(flag: FlagSpec, paint: Paint): string[] {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  const value = flag.type === "switch" ? "" : ` ${flag.value ?? "<value>"}`;
  const head = `  ${short}--${flag.name}${value}`;
  const notes: string[] = [];
  if (flag.choices !== undefined) notes.push(`one of ${flag.choices.join(", ")}`);
  if (flag.type === "list") notes.push("may be repeated");
  if (flag.default !== undefined) notes.push(`default ${flag.default}`);
  else if (flag.defaultText !== undefined) notes.push(`default: ${flag.defaultText}`);
  if (flag.name !== "help" && flag.name !== "config") notes.push(`env ${environmentName(flag.name)}`);
  const text = wrap(`${flag.help}${notes.length === 0 ? "" : ` [${notes.join("; ")}]`}`, WIDTH - INDENT);
  const padding = " ".repeat(INDENT);
  if (head.length >= INDENT - 1) return [paint.cyan(head), ...text.map((line) => padding + line)];
  return text.map((line, i) => (i === 0 ? paint.cyan(head) + " ".repeat(INDENT - head.length) + line : padding + line));
}

/** Breaks a text into lines at spaces; line breaks of the text stay. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split("\n")) {
    let line = "";
    for (const word of paragraph.split(" ")) {
      if (line !== "" && line.length + 1 + word.length > width) {
        lines.push(line);
        line = word;
      } else {
        line = line === "" ? word : `${line} ${word}`;
      }
    }
    lines.push(line);
  }
  return lines;
}
