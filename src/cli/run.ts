import { nearest } from "../config/suggest.ts";
import { jsonText } from "../core/json-text.ts";
import { type Command, type CommandContext, CommandError, EXIT, GLOBAL_FLAGS, type Launchers } from "./command.ts";
import { COMMANDS, type CommandGroup, loadAllCommands } from "./commands.ts";
import { readFlagFile } from "./flag-file.ts";
import { decideFlags, readCommandLine } from "./flags.ts";
import { formatGroup, formatHelp, formatOverview } from "./help.ts";
import { asTyped } from "./program.ts";
import { choosePaint, printable, type Terminal } from "./terminal.ts";

/** Runs one command line and resolves with the exit code. Never rejects. */
export async function runCommandLine(argv: readonly string[], terminal: Terminal, launch: Launchers): Promise<number> {
  const json = argv.includes("--json");
  try {
    return await dispatch(argv, terminal, launch);
  } catch (error) {
    const failure = error instanceof CommandError ? error : undefined;
    const message = error instanceof Error ? error.message : String(error);
    const hint = asTyped(failure?.hint ?? fileHint(error), terminal);
    if (json) terminal.error(`${jsonText({ error: message, ...(hint === "" ? {} : { hint }) })}\n`);
    else
      terminal.error(
        printable(`${choosePaint(terminal, undefined).red("error:")} ${message}\n${hint === "" ? "" : `${hint}\n`}`),
      );
    // A bug of ours, not a mistake of the caller: where it happened helps whoever reports it.
    if (failure === undefined && terminal.env.SELVEDGE_DEBUG !== undefined && error instanceof Error)
      terminal.error(`${error.stack ?? ""}\n`);
    return failure?.exit ?? EXIT.failed;
  }
}

/** What to do about a file or folder that the system refused to make, write or read; "" for all other errors. */
function fileHint(error: unknown): string {
  if (typeof error !== "object" || error === null || !("path" in error) || !("code" in error)) return "";
  if (error.code === "ENOENT") return "is the folder there?";
  if (error.code === "ENOTDIR") return "what should be a folder is a file";
  if (error.code === "EACCES" || error.code === "EPERM") return "this user may not do that there";
  return error.code === "EROFS" ? "nothing can be written there" : "";
}

async function dispatch(argv: readonly string[], terminal: Terminal, launch: Launchers): Promise<number> {
  const [name, ...rest] = argv;
  const paint = choosePaint(terminal, undefined);
  if (name === undefined || name === "--help" || name === "-h") {
    terminal.out(asTyped(formatOverview(COMMANDS, paint), terminal));
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  if (name === "help") return dispatch([...rest, "--help"], terminal, launch);
  if (name === "--version" || name === "-v") return dispatch(["version"], terminal, launch);
  const entry = COMMANDS.find((each) => each.name === name);
  if (entry === undefined) throw unknownCommand("", name, COMMANDS);
  if ("parts" in entry) return dispatchGroup(entry, rest, terminal, launch);
  const { command } = await entry.load();
  return runCommand(command, rest, terminal, launch);
}

async function dispatchGroup(
  group: CommandGroup,
  argv: readonly string[],
  terminal: Terminal,
  launch: Launchers,
): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h") {
    terminal.out(asTyped(formatGroup(group, choosePaint(terminal, undefined)), terminal));
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  const entry = group.parts.find((each) => each.name === `${group.name} ${name}`);
  if (entry === undefined) throw unknownCommand(group.name, name, group.parts);
  const { command } = await entry.load();
  return runCommand(command, rest, terminal, launch);
}

function unknownCommand(group: string, name: string, known: readonly { readonly name: string }[]): CommandError {
  const typed = `${group} ${name}`.trim();
  // The word alone: beside a long group's name every word would seem near.
  const names = known.map((each) => each.name.slice(group === "" ? 0 : group.length + 1));
  const near = nearest(name, names);
  const all = group === "" ? "selvedge --help lists the commands" : `there are ${names.join(", ")}`;
  const hint = near === undefined ? all : `did you mean selvedge ${`${group} ${near}`.trim()}?`;
  return new CommandError(`there is no command ${JSON.stringify(typed)}`, hint, EXIT.usage);
}

async function runCommand(command: Command, argv: readonly string[], terminal: Terminal, launch: Launchers): Promise<number> {
  const specs = [...command.flags, ...GLOBAL_FLAGS];
  const line = readCommandLine(argv, specs, command.name);
  if (line.given.get("help")?.at(-1) === true) {
    const wanted = line.given.get("color")?.at(-1);
    const text = formatHelp(command, choosePaint(terminal, typeof wanted === "boolean" ? wanted : undefined));
    terminal.out(asTyped(text, terminal));
    return EXIT.ok;
  }
  const named = line.given.get("config")?.at(-1) ?? terminal.env.SELVEDGE_CONFIG;
  const file = await readFlagFile(typeof named === "string" ? named : undefined, terminal.cwd, command, loadAllCommands);
  const flags = decideFlags(specs, line, terminal.env, file);
  checkArguments(command, line.args);
  const context: CommandContext = { flags, args: line.args, terminal, launch };
  return command.run(context);
}

function checkArguments(command: Command, args: readonly string[]): void {
  const { argumentsMin = 0, argumentsMax = 0 } = command;
  const usage = `usage: selvedge ${command.name}${command.arguments === undefined ? "" : ` ${command.arguments}`}`;
  if (args.length < argumentsMin)
    throw new CommandError(`${command.name} needs ${command.arguments ?? "an argument"}`, usage, EXIT.usage);
  const extra = args[argumentsMax];
  if (extra === undefined) return;
  // `apply shop.yaml`
  const isFile = argumentsMax === 0 && command.flags.some(({ name, short }) => name === "file" && short === "f");
  const hint = isFile && /\.(ya?ml|json)$/.test(extra) ? `files are named with -f: selvedge ${command.name} -f ${extra}` : usage;
  throw new CommandError(`${command.name}: unexpected argument ${JSON.stringify(extra)}`, hint, EXIT.usage);
}
