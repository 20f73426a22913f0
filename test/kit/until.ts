import { WAIT_MS } from "./patience.ts";

/** Resolves once `condition` holds; rejects after `limitMs` (far beyond what it should take: not a timed assertion). */
export async function until(condition: () => boolean | Promise<boolean>, limitMs = WAIT_MS): Promise<void> {
  const endMs = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > endMs) throw new Error(`did not come true within ${limitMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
