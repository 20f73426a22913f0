import { WAIT_MS } from "./patience.ts";

/** What is said of a connection that was refused or cut: by Node and Bun, and by Deno's `fetch` (numbers as on Linux). */
const CUT = /\b(ECONNREFUSED|ECONNRESET|EPIPE|os error (32|104|111)|connection closed before message completed)\b/;

function isCut(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  // `fetch` may keep the reason in `cause`.
  return CUT.test("code" in error ? `${error.code} ${error.message}` : error.message) || isCut(error.cause);
}

/**
 * Resolves once `condition` holds; rejects after `limitMs` (far beyond what it should take: not a timed assertion). A connection
 * that was refused or cut while it asked says "not yet": who listens may be on its way up, or too busy to take callers. Anything else
 * that it throws ends the wait.
 */
export async function until(condition: () => boolean | Promise<boolean>, limitMs = WAIT_MS): Promise<void> {
  const endMs = Date.now() + limitMs;
  for (let cut: unknown; ; ) {
    try {
      if (await condition()) return;
    } catch (error) {
      if (!isCut(error)) throw error;
      cut = error;
    }
    if (Date.now() > endMs) throw new Error(`did not come true within ${limitMs} ms: ${condition}`, { cause: cut });
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
