import { type ConfigIssue, countIssues, issueOf } from "../../config/issue.ts";
import { CONTROL_LIMITS } from "../../core/limits.ts";
import type { Refusal } from "../control.ts";
import type { InboxAnswer } from "./answer.ts";

/** Characters of each text that is kept: what control planes tell each other may be anybody's on a server without permissions. */
const TEXT_CHARS = 1_000;

/** What was published and refused lately, whichever control plane processed it, since this one started. */
export class RefusalLog {
  /** By message; the newest stands last. */
  readonly #kept = new Map<string, Refusal>();

  /** What became of a message. The same one again, of ourselves or of another control plane, changes nothing. */
  add(sequence: number, subject: string, answer: InboxAnswer, timeMs: number): void {
    const key = `${sequence} ${subject}`;
    if (answer.ok !== false || !Array.isArray(answer.issues) || this.#kept.has(key)) return;
    const [, , action, author = ""] = subject.split(".");
    const { moreIssues = 0 } = answer;
    const issues = answer.issues.filter((each: ConfigIssue | null) => typeof each === "object" && each !== null);
    this.#kept.set(key, {
      ...{ timeMs, author: textOf(author), action: action === "delete" ? "delete" : "apply", reason: textOf(answer.reason) },
      issues: countIssues(issues) + (Number.isSafeInteger(moreIssues) ? moreIssues : 0),
      first: firstOf(issues),
    });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > CONTROL_LIMITS.refusals && oldest !== undefined) this.#kept.delete(oldest);
  }

  /** The newest first. */
  list(): readonly Refusal[] {
    return [...this.#kept.values()].reverse();
  }
}

const textOf = (value: unknown): string => (typeof value === "string" ? value.slice(0, TEXT_CHARS) : "");
const wholeOf = (value: unknown): number => (Number.isSafeInteger(value) ? (value as number) : 0);

function firstOf([first]: readonly ConfigIssue[]): ConfigIssue {
  const { code, message, hint, resource, path, file, line, column } = first ?? issueOf({ code: "", message: "" });
  return {
    ...{ code: textOf(code), message: textOf(message), hint: textOf(hint), resource: textOf(resource), path: textOf(path) },
    ...{ file: textOf(file), line: wholeOf(line), column: wholeOf(column) },
  };
}
