import { type Command, type FlagSpec, GLOBAL_FLAGS } from "./command.ts";

/** Shell scripts that complete commands, flags and the values of flags that have a fixed set. */

const flagsOf = (command: Command): readonly FlagSpec[] => [...command.flags, ...GLOBAL_FLAGS];

/** In single quotes for any shell. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

export function bashCompletion(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const flags = flagsOf(command).map((flag) => `--${flag.name}`);
    return `    ${command.name}) flags=${quote(flags.join(" "))} ;;`;
  });
  const values = choicesOf(commands).map(
    ([flag, choices]) => `    --${flag}) COMPREPLY=($(compgen -W ${quote(choices.join(" "))} -- "$word")); return ;;`,
  );
  return `# bash completion for selvedge
_selvedge() {
  local word="\${COMP_WORDS[COMP_CWORD]}" flags=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${quote(commands.map((command) => command.name).join(" "))} -- "$word"))
    return
  fi
  case "\${COMP_WORDS[COMP_CWORD-1]}" in
${values.join("\n")}
  esac
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -o filenames -F _selvedge selvedge
`;
}

export function zshCompletion(commands: readonly Command[], summaries: ReadonlyMap<string, string>): string {
  const names = commands.map((command) => quote(`${command.name}:${summaries.get(command.name) ?? ""}`));
  const cases = commands.map((command) => {
    const flags = flagsOf(command).map((flag) => quote(`--${flag.name}[${zshText(flag.help)}]${zshValue(flag)}`));
    return `    ${command.name}) _arguments ${flags.join(" ")} '*:file:_files' ;;`;
  });
  return `#compdef selvedge
_selvedge() {
  local -a commands
  commands=(${names.join(" ")})
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command="$words[2]"
  shift words
  (( CURRENT-- ))
  case "$command" in
${cases.join("\n")}
  esac
}
compdef _selvedge selvedge
`;
}

const zshText = (text: string): string => text.replace(/[[\]:]/g, " ");

function zshValue(flag: FlagSpec): string {
  if (flag.type === "switch") return "";
  if (flag.choices !== undefined) return `:value:(${flag.choices.join(" ")})`;
  return /file|path|folder/.test(flag.value ?? "") ? ":file:_files" : ":value:";
}

export function fishCompletion(commands: readonly Command[], summaries: ReadonlyMap<string, string>): string {
  const lines = ["# fish completion for selvedge", "complete -c selvedge -f"];
  for (const command of commands) {
    const summary = quote(summaries.get(command.name) ?? "");
    lines.push(`complete -c selvedge -n __fish_use_subcommand -a ${command.name} -d ${summary}`);
    for (const flag of flagsOf(command)) {
      const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
      const value =
        flag.type === "switch" ? "" : flag.choices === undefined ? " -r -F" : ` -x -a ${quote(flag.choices.join(" "))}`;
      lines.push(
        `complete -c selvedge -n '__fish_seen_subcommand_from ${command.name}' -l ${flag.name}${short}${value} -d ${quote(flag.help)}`,
      );
    }
  }
  return `${lines.join("\n")}\n`;
}

function choicesOf(commands: readonly Command[]): [string, readonly string[]][] {
  const found = new Map<string, readonly string[]>();
  for (const flag of commands.flatMap(flagsOf)) if (flag.choices !== undefined) found.set(flag.name, flag.choices);
  return [...found];
}
