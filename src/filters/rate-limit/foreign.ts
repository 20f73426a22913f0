import type { Bytes } from "../../core/bytes.ts";
import { ALLOWED, FULL, type RateLimitQuestion, type RateLimitTable, REFUSED } from "./table.ts";

/** Name under which filters call it. */
export const RATE_LIMIT_FUNCTION = "selvedge.rate_limit";

/** Limits in one call. */
export const RATE_LIMIT_QUESTIONS_MAX = 16;

const QUESTION_BYTES = 40;
const ANSWER_BYTES = 16;
/** TAT is kept in 50 bits; what is asked at once stays far below. */
const UNITS_MAX = 2 ** 49;

/**
 * The foreign function `selvedge.rate_limit`. An empty call answers the 16 bytes of the hash's secret. Otherwise `args` is 1 to
 * 16 questions of 40 bytes, little-endian: hash (16), increment (8) and capacity (8) in units of 100 ns, flags (4; bit 0:
 * shadow), reserved (4). The answer has 16 bytes for each: level (8, signed), outcome (4: 0 refused, 1 allowed, 2 table full),
 * reserved (4). Undefined: the arguments are malformed. The answer is valid until the next call.
 */
export class RateLimitFunction {
  readonly #table: RateLimitTable;
  readonly #secret: Uint8Array;
  readonly #questions: RateLimitQuestion[] = [];
  readonly #answers: (Uint8Array | undefined)[] = [];
  readonly #answer = new Uint8Array(RATE_LIMIT_QUESTIONS_MAX * ANSWER_BYTES);
  readonly #answerView = new DataView(this.#answer.buffer);
  /** Decisions, refusals, and keys that found no slot, by this process. */
  readonly counts = { allowed: 0, refused: 0, full: 0 };

  constructor(table: RateLimitTable) {
    this.#table = table;
    this.#secret = table.secret();
    for (let i = 0; i < RATE_LIMIT_QUESTIONS_MAX; i++) {
      this.#questions.push({ hash: new Uint32Array(4), increment: 0, capacity: 0, shadow: false, outcome: REFUSED, level: 0 });
      this.#answers.push(this.#answer.subarray(0, (i + 1) * ANSWER_BYTES));
    }
  }

  /** The questions lie at `[at, at + size)` of `memory`, which must be inside. */
  call(memory: DataView, at: number, size: number): Bytes | undefined {
    if (size === 0) return this.#secret;
    const count = size / QUESTION_BYTES;
    const answer = this.#answers[count - 1];
    if (answer === undefined || !this.#read(memory, at, count)) return undefined;
    const allowed = this.#table.decide(this.#questions, count);
    if (allowed) this.counts.allowed++;
    else this.counts.refused++;
    const view = this.#answerView;
    for (let i = 0; i < count; i++) {
      const { outcome, level } = this.#questions[i] as RateLimitQuestion;
      if (outcome === FULL) this.counts.full++;
      // By hand: the remainder of numbers that are no 32-bit integers is a call of the runtime's.
      const high = Math.floor(level / 0x1_0000_0000);
      view.setUint32(i * ANSWER_BYTES, level - high * 0x1_0000_0000, true);
      view.setInt32(i * ANSWER_BYTES + 4, high, true);
      view.setUint32(i * ANSWER_BYTES + 8, outcome === ALLOWED ? 1 : outcome, true);
    }
    return answer;
  }

  #read(view: DataView, start: number, count: number): boolean {
    for (let i = 0; i < count; i++) {
      const at = start + i * QUESTION_BYTES;
      const question = this.#questions[i] as RateLimitQuestion;
      for (let word = 0; word < 4; word++) question.hash[word] = view.getUint32(at + word * 4, true);
      question.increment = view.getUint32(at + 16, true) + view.getUint32(at + 20, true) * 0x1_0000_0000;
      question.capacity = view.getUint32(at + 24, true) + view.getUint32(at + 28, true) * 0x1_0000_0000;
      question.shadow = (view.getUint32(at + 32, true) & 1) === 1;
      if (question.increment <= 0 || question.increment > UNITS_MAX || question.capacity > UNITS_MAX) return false;
    }
    return true;
  }
}
