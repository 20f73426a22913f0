import type { Share } from "../../core/budgets.ts";
import type { Clock } from "../../core/clock.ts";
import { CONTROL_LIMITS } from "../../core/limits.ts";

/** Why there is no body: it has more than `maxBytes`, however it is framed; `share` may not take so much; it took longer than `bodyMs`. */
export type BodyRefusal = "too_large" | "busy" | "late";

/** The body as bytes. Rejects when the peer goes away. */
export async function readBody(
  request: Request,
  maxBytes: number,
  share: Share,
  clock: Clock,
): Promise<Uint8Array | BodyRefusal> {
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) return "too_large";
  const reader = request.body?.getReader();
  if (reader === undefined) return new Uint8Array();
  // Who sends a byte now and then would hold what others need.
  const { promise: late, resolve } = Promise.withResolvers<"late">();
  const timer = clock.setTimer(CONTROL_LIMITS.bodyMs, () => resolve("late"));
  const parts: Uint8Array[] = [];
  let total = 0;
  try {
    for (;;) {
      const read = await Promise.race([reader.read(), late]);
      if (read !== "late" && read.done) return Buffer.concat(parts);
      const refused = read === "late" ? read : takeBytes(read.value.byteLength);
      if (refused !== undefined) {
        parts.length = 0;
        // What still comes is not waited for.
        reader.cancel().catch(() => {});
        return refused;
      }
      if (read !== "late") parts.push(read.value);
    }
  } finally {
    timer.cancel();
  }

  function takeBytes(bytes: number): BodyRefusal | undefined {
    total += bytes;
    return total > maxBytes ? "too_large" : share.take(bytes) ? undefined : "busy";
  }
}
