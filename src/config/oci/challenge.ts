import { OCI_LIMITS } from "../../core/limits.ts";

/** One challenge of `WWW-Authenticate` (RFC 9110 §11.6.1). */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const BLANKS = /[ \t]*/y;

/** Reads all challenges of a field; what cannot be read ends the list. */
export function readChallenges(field: string): readonly Challenge[] {
  if (field.length > OCI_LIMITS.challengeChars) return [];
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(field);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  while (at < field.length) {
    take(BLANKS);
    if (field[at] === ",") {
      at++;
      continue;
    }
    const name = take(TOKEN)?.[0]?.toLowerCase();
    if (name === undefined) break;
    take(BLANKS);
    if (field[at] !== "=") {
      challenges.push({ scheme: name, parameters: new Map() });
      continue;
    }
    at++;
    take(BLANKS);
    const value = take(QUOTED)?.[1]?.replace(/\\(.)/g, "$1") ?? take(TOKEN)?.[0];
    const last = challenges.at(-1);
    if (value === undefined || last === undefined) break;
    if (!last.parameters.has(name)) last.parameters.set(name, value);
  }
  return challenges;
}
