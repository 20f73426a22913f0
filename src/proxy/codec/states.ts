import { assert } from "../../core/assert.ts";
import type { Http1State } from "./types.ts";

/** What happens to one direction. */
export type Http1Event =
  /** Some bytes of a head are there. */
  | "begin"
  /** An empty line or a 1xx head is over: the real head is still to come. */
  | "again"
  /** A head is over and a body follows. */
  | "body"
  /** The message is complete. */
  | "complete"
  /** 101, or 2xx to CONNECT. */
  | "switch"
  /** The next exchange. */
  | "next"
  /** FIN. */
  | "end"
  | "fail";

/** Every transition there is; anything else is a bug of ours. */
const TRANSITIONS: Readonly<Record<Http1State, Readonly<Partial<Record<Http1Event, Http1State>>>>> = {
  idle: { begin: "head", again: "idle", body: "body", complete: "done", switch: "tunnel", end: "closed", fail: "failed" },
  head: { begin: "head", again: "idle", body: "body", complete: "done", switch: "tunnel", fail: "failed" },
  body: { complete: "done", fail: "failed" },
  done: { switch: "tunnel", next: "idle", end: "closed", fail: "failed" },
  tunnel: { end: "closed", fail: "failed" },
  closed: { fail: "failed" },
  failed: { fail: "failed" },
};

/** The state after an event. Throws on a transition that the table does not have. */
export function advance(state: Http1State, event: Http1Event): Http1State {
  const next = TRANSITIONS[state][event];
  assert(next !== undefined, `no transition from ${state} on ${event}`);
  return next;
}
