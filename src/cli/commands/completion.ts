import { type Command, CommandError, EXIT } from "../command.ts";
import { COMMANDS, loadAllCommands, RUNNABLE } from "../commands.ts";
import { bashCompletion, fishCompletion, zshCompletion } from "../completions.ts";

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

export const command: Command = {
  name: "completion",
  summary: "print a completion script for a shell",
  description:
    "Prints a script that completes commands, flags and the values of those that have a fixed set, for bash, zsh or fish. It completes what is called selvedge: the executable on the PATH, or an alias for `node bin/selvedge.mjs` of a checkout.",
  arguments: "<bash|zsh|fish>",
  argumentSuggestions: Object.keys(SHELLS),
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [],
  examples: [
    { says: "in ~/.bashrc, or with zsh in ~/.zshrc", line: 'eval "$(selvedge completion bash)"' },
    { says: "for fish", line: "selvedge completion fish > ~/.config/fish/completions/selvedge.fish" },
  ],
  async run(context) {
    const shell = context.args[0] ?? "";
    if (!isShell(shell))
      throw new CommandError(`no completion for ${JSON.stringify(shell)}`, "there is one for bash, zsh and fish", EXIT.usage);
    const commands = await loadAllCommands();
    const summaries = new Map([...COMMANDS, ...RUNNABLE].map(({ name, summary }) => [name, summary]));
    context.terminal.out(SHELLS[shell](commands, summaries));
    return EXIT.ok;
  },
};

function isShell(text: string): text is keyof typeof SHELLS {
  return Object.hasOwn(SHELLS, text);
}
