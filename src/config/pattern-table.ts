import type { RE2JS } from "re2js";
import { latin1Text, utf8Bytes } from "../core/bytes.ts";
import { CONFIG_LIMITS } from "../core/limits.ts";
import { writtenOut } from "./pattern-size.ts";

/**
 * An expression as a table: the deterministic automaton over bytes, made whole before it meets a text. So one byte of a text costs one
 * read whatever the expression, nothing grows by what peers send, and an expression that has no table of a bounded size is refused.
 */
export interface PatternTable {
  /** Byte to class of bytes that the expression does not tell apart. */
  readonly classes: Uint8Array;
  readonly classCount: number;
  /** State times classes, plus class: the next state. State 0: nothing can match any more. State 1: the start. */
  readonly next: Uint16Array;
  /** 1 by state: a text that ends here matches. */
  readonly accepts: Uint8Array;
  /** What making it took, in live instructions looked at: the same on every runtime. */
  readonly steps: number;
}

/** Why an expression has no table. */
export interface PatternTooLarge {
  readonly message: string;
  readonly steps: number;
}

/** What of `re2js` is needed: its automaton makes a state when it is asked for. Held by test/config/pattern-table.portable.ts. */
interface State {
  readonly nfaStates: readonly number[];
  readonly isMatch: boolean;
}
interface Automaton {
  readonly numClasses: number;
  readonly latin1Class: Int32Array;
  start(input: { context(at: number): number }, at: number): State | null;
  /** `null`: its own bound of memory is reached. */
  step(state: State, classNumber: number, rune: number, anchor: number): State | null;
}
interface Program {
  numInst(): number;
  getInst(at: number): { readonly runes: { readonly length: number } };
}

/** What the engine's own compiler spends on an instruction, on a bound of a range, and on the room of so many classes, in steps. */
const INSTRUCTION_STEPS = 8;
const RANGE_STEPS = 4;
const CLASSES_PER_STEP = 16;

const ANCHOR_BOTH = 2;
const END_OF_TEXT = -1;
/** At the start of a text, which is the start of a line. */
const START = { context: () => 5 };

/** The anchored automaton of an expression. Throws the engine's `Error` when it is none. */
export function buildPatternTable(engine: typeof RE2JS, expression: string): PatternTable | PatternTooLarge {
  const text = wireText(expression);
  if (writtenOut(text) > CONFIG_LIMITS.regexAtoms) {
    const message = `It has more than ${CONFIG_LIMITS.regexAtoms} characters and classes once repetitions are written out.`;
    return { message, steps: text.length };
  }
  const re2 = engine.compile(text).re2();
  const program: Program = re2.prog;
  const instructions = program.numInst();
  const max = CONFIG_LIMITS.regexInstructions;
  let steps = instructions * INSTRUCTION_STEPS;
  if (instructions > max)
    return { message: `It takes ${instructions} instructions once repetitions are written out; ${max} at most.`, steps };
  // Making its classes looks at every range of every instruction.
  for (let i = 0; i < instructions; i++) steps += program.getInst(i).runes.length * RANGE_STEPS;
  return steps > CONFIG_LIMITS.regexSteps ? tooManySteps(0, steps) : walk(re2.dfa, steps);
}

function walk(automaton: Automaton, before: number): PatternTable | PatternTooLarge {
  const { classes, bytes } = classesOf(automaton);
  const classCount = bytes.length;
  const first = automaton.start(START, 0);
  let steps = before;
  if (first === null) return tooManySteps(0, steps);
  const states = [first];
  const numbers = new Map<State, number>([[first, 1]]);
  const cells: number[] = [];
  const accepts = [0];
  for (const state of states) {
    const end = automaton.step(state, automaton.numClasses, END_OF_TEXT, ANCHOR_BOTH);
    if (end === null) return tooManySteps(states.length, steps);
    accepts.push(end.isMatch ? 1 : 0);
    steps += Math.ceil(automaton.numClasses / CLASSES_PER_STEP);
    for (const byte of bytes) {
      const next = automaton.step(state, automaton.latin1Class[byte] as number, byte, ANCHOR_BOTH);
      steps += 1 + state.nfaStates.length + (next?.nfaStates.length ?? 0);
      if (next === null || steps > CONFIG_LIMITS.regexSteps) return tooManySteps(states.length, steps);
      cells.push(numberOf(next, states, numbers));
    }
  }
  const next = new Uint16Array(classCount + cells.length);
  next.set(cells, classCount);
  return { classes, classCount, next, accepts: Uint8Array.from(accepts), steps };
}

function numberOf(state: State, states: State[], numbers: Map<State, number>): number {
  if (state.nfaStates.length === 0) return 0;
  const known = numbers.get(state);
  if (known !== undefined) return known;
  numbers.set(state, states.push(state));
  return states.length;
}

/** The classes that bytes are in, numbered from 0, and a byte of each. */
function classesOf(automaton: Automaton): { readonly classes: Uint8Array; readonly bytes: readonly number[] } {
  const classes = new Uint8Array(256);
  const bytes: number[] = [];
  const numbers = new Map<number, number>();
  for (let byte = 0; byte < 256; byte++) {
    const known = automaton.latin1Class[byte] as number;
    let number = numbers.get(known);
    if (number === undefined) {
      number = bytes.push(byte) - 1;
      numbers.set(known, number);
    }
    classes[byte] = number;
  }
  return { classes, bytes };
}

function tooManySteps(states: number, steps: number): PatternTooLarge {
  const message = `Its table of states takes more than ${CONFIG_LIMITS.regexSteps} steps to make (${states} states were not all).`;
  return { message, steps };
}

/** Does the whole text match? One character of the text is one byte. */
export function matchesTable(table: PatternTable, text: string): boolean {
  const { classes, classCount, next } = table;
  const { length } = text;
  let state = 1;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0xff) return false;
    state = next[state * classCount + (classes[code] as number)] as number;
    if (state === 0) return false;
  }
  return table.accepts[state] === 1;
}

/** What a configured literal looks like in a header block: UTF-8, one character per byte. */
export function wireText(text: string): string {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return latin1Text(utf8Bytes(text));
  return text;
}
