import { nuid } from "@nats-io/nats-core";
import { askSubject, isSubjectToken, logsSubject } from "../../config/nats/names.ts";
import type { LogAnswer, LogQuestion } from "../../config/nats/status.ts";
import { utf8Text } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import { type FilterLogPage, type FilterLogQuery, readFilterLogPage } from "../../core/filter-logs.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { FILTER_LOG_LIMITS } from "../../core/limits.ts";

/** Larger answers are ignored: a page with its last line, and the rest of the message. */
const ANSWER_BYTES = FILTER_LOG_LIMITS.pageBytes + 64 * 1024;

interface Asked {
  readonly subject: string;
  readonly settle: (page: FilterLogPage | undefined) => void;
}

/** Questions of this control plane to proxies, until they are answered or the time is over. */
export class LogQuestions {
  readonly #asked = new Map<string, Asked>();

  constructor(
    readonly clock: Clock,
    readonly publish: (subject: string, text: string) => void,
  ) {}

  /** Undefined: no answer in time, or too many questions are under way. Throws when nothing can be published. */
  ask(proxyId: string, query: FilterLogQuery): Promise<FilterLogPage | undefined> {
    if (!isSubjectToken(proxyId) || this.#asked.size >= FILTER_LOG_LIMITS.questions) return Promise.resolve(undefined);
    const question = nuid.next();
    return new Promise((resolve) => {
      const settle = (page: FilterLogPage | undefined): void => {
        timer.cancel();
        this.#asked.delete(question);
        resolve(page);
      };
      const timer = this.clock.setTimer(FILTER_LOG_LIMITS.answerMs, () => settle(undefined));
      this.#asked.set(question, { subject: logsSubject(proxyId), settle });
      const text: LogQuestion = { question, query };
      this.publish(askSubject(proxyId), JSON.stringify(text));
    });
  }

  /** A proxy may publish on its own subject only, so the subject says whose answer it is. */
  onAnswer(subject: string, data: Uint8Array): void {
    if (data.byteLength > ANSWER_BYTES) return;
    let answer: Partial<LogAnswer> | null;
    try {
      answer = parseShallowJson(utf8Text(data)) as Partial<LogAnswer> | null;
    } catch {
      return;
    }
    const asked = this.#asked.get(String(answer?.question));
    const page = readFilterLogPage(answer?.page);
    // Another control plane's, or one that comes too late.
    if (asked !== undefined && asked.subject === subject && page !== undefined) asked.settle(page);
  }
}
