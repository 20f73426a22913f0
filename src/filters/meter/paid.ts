/** What callers need to know of the functions that they pay for. */
export interface PaidEntries {
  /** What the callers of each function pay for its entry; 0: it does that itself. */
  readonly fuel: Int32Array;
  /** `NOISY`, `ESCAPES` or `QUIET`. */
  readonly noise: Uint8Array;
}

/** It does not use the counter, nor does what it calls. */
export const QUIET = 0;
/** It leaves the counter as it is when it returns; but it may trap or throw instead, and for that the global has to be right. */
export const ESCAPES = 1;
/** It uses the counter: who calls it has to load it again. */
export const NOISY = 2;
