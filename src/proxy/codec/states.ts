import { assert } from "../../core/assert.ts";
import type { Http1State } from "./types.ts";

/** What happens to one direction. */
export const EVENT = {
  /** Some bytes of a head are there. */
  begin: 0,
  /** An empty line or a 1xx head is over: the real head is still to come. */
  again: 1,
  /** A head is over and a body follows. */
  body: 2,
  /** The message is complete. */
  complete: 3,
  /** 101, or 2xx to CONNECT. */
  switch: 4,
  /** The next exchange. */
  next: 5,
  /** FIN. */
  end: 6,
  fail: 7,
} as const;
type EventName = keyof typeof EVENT;

/** States as numbers: several transitions happen in each exchange. */
export const STATE = { idle: 0, head: 1, body: 2, done: 3, tunnel: 4, closed: 5, failed: 6 } as const;

/** States as those above the codec see them, by number. */
export const STATE_NAMES = Object.keys(STATE) as readonly Http1State[];

/** Every transition there is; anything else is a bug of ours. */
const TRANSITIONS: Readonly<Record<Http1State, Readonly<Partial<Record<EventName, Http1State>>>>> = {
  idle: { begin: "head", again: "idle", body: "body", complete: "done", switch: "tunnel", end: "closed", fail: "failed" },
  head: { begin: "head", again: "idle", body: "body", complete: "done", switch: "tunnel", fail: "failed" },
  body: { complete: "done", fail: "failed" },
  done: { switch: "tunnel", next: "idle", end: "closed", fail: "failed" },
  tunnel: { end: "closed", fail: "failed" },
  closed: { fail: "failed" },
  failed: { fail: "failed" },
};

const NOWHERE = 255;
const NEXT = new Uint8Array(STATE_NAMES.length * 8).fill(NOWHERE);
for (const from of STATE_NAMES) {
  for (const [event, to] of Object.entries(TRANSITIONS[from])) NEXT[STATE[from] * 8 + EVENT[event as EventName]] = STATE[to];
}

/** The state after an event, both as numbers. Throws on a transition that the table does not have. */
export function advance(state: number, event: number): number {
  const next = NEXT[state * 8 + event] as number;
  if (next === NOWHERE) assert(false, `no transition from ${STATE_NAMES[state]} on ${event}`);
  return next;
}
