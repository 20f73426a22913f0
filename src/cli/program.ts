import { COMMANDS } from "./commands.ts";
import type { Terminal } from "./terminal.ts";

/** What the user can type to run this program: `SELVEDGE_PROGRAM`, which a checkout's bin/selvedge.mjs sets; else `selvedge`. */
export const programOf = ({ env }: Pick<Terminal, "env">): string => env.SELVEDGE_PROGRAM || "selvedge";

/** What stands in the place of a command besides the commands. */
const OTHER_WORDS = ["help", "--help", "<command>"];

/** A text of ours with its commands (`selvedge filter build …`) as the user can type them. Never for text of others. */
export function asTyped(text: string, terminal: Pick<Terminal, "env">): string {
  const program = programOf(terminal);
  if (program === "selvedge") return text;
  // Also behind what begins bold letters, which ends in one.
  return text.replace(/(?<=\[[\d;]*m|\b)selvedge ([a-z-]+|<command>)/g, (written, name: string) =>
    OTHER_WORDS.includes(name) || COMMANDS.some((each) => each.name === name) ? `${program} ${name}` : written,
  );
}
