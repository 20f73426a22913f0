import { type Command, type FlagSpec, GLOBAL_FLAGS } from "./command.ts";

/** Shell scripts that complete commands, flags and the values of flags that have a fixed set. */

const flagsOf = (command: Command): readonly FlagSpec[] => [...command.flags, ...GLOBAL_FLAGS];
const valuesOf = (flag: FlagSpec): readonly string[] | undefined => flag.suggestions ?? flag.choices;

/** First words, and the second words of those that have several. */
function wordsOf(commands: readonly Command[]): Map<string, string[]> {
  const words = new Map<string, string[]>();
  for (const { name } of commands) {
    const [first = "", second] = name.split(" ");
    const parts = words.get(first) ?? [];
    words.set(first, second === undefined ? parts : [...parts, second]);
  }
  return words;
}

/** In single quotes for any shell. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

export function bashCompletion(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const flags = flagsOf(command).map((flag) => `--${flag.name}`);
    const words = command.argumentSuggestions?.join(" ") ?? "";
    return `    ${quote(command.name)}) flags=${quote(flags.join(" "))} words=${quote(words)} ;;`;
  });
  const words = wordsOf(commands);
  const groups = [...words].filter(([, parts]) => parts.length > 0);
  const seconds = groups.map(
    ([first, parts]) => `    ${first})
      if [ "$COMP_CWORD" -eq 2 ]; then
        COMPREPLY=($(compgen -W ${quote(parts.join(" "))} -- "$word"))
        return
      fi
      command="$command \${COMP_WORDS[2]}"
      ;;`,
  );
  const values = choicesOf(commands).map(
    ([flag, choices]) => `    --${flag}) COMPREPLY=($(compgen -W ${quote(choices.join(" "))} -- "$word")); return ;;`,
  );
  return `# bash completion for selvedge
_selvedge() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" flags="" words="" command="\${COMP_WORDS[1]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${quote([...words.keys()].join(" "))} -- "$word"))
    return
  fi
  case "$command" in
${seconds.join("\n")}
  esac
  case "$before" in
${values.join("\n")}
  esac
  case "$command" in
${cases.join("\n")}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *)
      # Behind a flag stands its value.
      if [ -n "$words" ] && [ "\${before#-}" = "$before" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
      else
        COMPREPLY=($(compgen -f -- "$word"))
      fi
      ;;
  esac
}
complete -o filenames -F _selvedge selvedge
`;
}

export function zshCompletion(commands: readonly Command[], summaries: ReadonlyMap<string, string>): string {
  const words = wordsOf(commands);
  const names = [...words.keys()].map((name) => quote(`${name}:${summaries.get(name) ?? ""}`));
  const seconds = [...words]
    .filter(([, parts]) => parts.length > 0)
    .map(
      ([first, parts]) => `    ${first})
      if (( CURRENT == 2 )); then
        parts=(${parts.map((part) => quote(`${part}:${summaries.get(`${first} ${part}`) ?? ""}`)).join(" ")})
        _describe command parts
        return
      fi
      command="$command $words[2]"
      shift words
      (( CURRENT-- ))
      ;;`,
    );
  const cases = commands.map((command) => {
    const flags = flagsOf(command).map((flag) => quote(`--${flag.name}[${zshText(flag.help)}]${zshValue(flag)}`));
    const { argumentSuggestions: words } = command;
    const rest = words === undefined ? "*:file:_files" : `1:value:(${words.join(" ")})`;
    return `    ${quote(command.name)}) _arguments ${flags.join(" ")} ${quote(rest)} ;;`;
  });
  return `#compdef selvedge
_selvedge() {
  local -a commands parts
  commands=(${names.join(" ")})
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command="$words[2]"
  shift words
  (( CURRENT-- ))
  case "$command" in
${seconds.join("\n")}
  esac
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
  const values = valuesOf(flag);
  if (values !== undefined) return `:value:(${values.join(" ")})`;
  return /file|path|folder/.test(flag.value ?? "") ? ":file:_files" : ":value:";
}

export function fishCompletion(commands: readonly Command[], summaries: ReadonlyMap<string, string>): string {
  const lines = ["# fish completion for selvedge", "complete -c selvedge -f"];
  const words = wordsOf(commands);
  for (const first of words.keys())
    lines.push(`complete -c selvedge -n __fish_use_subcommand -a ${first} -d ${quote(summaries.get(first) ?? "")}`);
  for (const command of commands) {
    const [first = "", second] = command.name.split(" ");
    const others = (words.get(first) ?? []).join(" ");
    const seen = `__fish_seen_subcommand_from ${first}`;
    if (second !== undefined) {
      const condition = quote(`${seen}; and not __fish_seen_subcommand_from ${others}`);
      lines.push(`complete -c selvedge -n ${condition} -a ${second} -d ${quote(summaries.get(command.name) ?? "")}`);
    }
    const here = second === undefined ? seen : `${seen}; and __fish_seen_subcommand_from ${second}`;
    const { argumentSuggestions: suggested } = command;
    if (suggested !== undefined) lines.push(`complete -c selvedge -n ${quote(here)} -a ${quote(suggested.join(" "))}`);
    for (const flag of flagsOf(command)) {
      const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
      const values = valuesOf(flag);
      const value = flag.type === "switch" ? "" : values === undefined ? " -r -F" : ` -x -a ${quote(values.join(" "))}`;
      lines.push(`complete -c selvedge -n ${quote(here)} -l ${flag.name}${short}${value} -d ${quote(flag.help)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function choicesOf(commands: readonly Command[]): [string, readonly string[]][] {
  const found = new Map<string, readonly string[]>();
  for (const flag of commands.flatMap(flagsOf)) {
    const values = valuesOf(flag);
    if (values !== undefined) found.set(flag.name, values);
  }
  return [...found];
}
