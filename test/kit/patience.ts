/**
 * How long tests wait before they call something lost. Far beyond what anything takes, also on a machine ten times slower than
 * usual with everything cold: these limits end what hangs, and assert nothing about speed.
 */

/** For one thing to come true, ms. */
export const WAIT_MS = 60_000;
/** For a whole test with several such things, ms. `scripts/test.mjs` gives the same to `bun test`. */
export const TEST_MS = 240_000;
