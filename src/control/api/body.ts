import type { Share } from "../../core/budgets.ts";

/** The body as bytes. `too_large`: it has more than `maxBytes`, however it is framed. `busy`: `share` may not take so much. */
export async function readBody(request: Request, maxBytes: number, share: Share): Promise<Uint8Array | "too_large" | "busy"> {
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) return "too_large";
  const parts: Uint8Array[] = [];
  let total = 0;
  const reader = request.body?.getReader();
  for (let read = await reader?.read(); read !== undefined && !read.done; read = await reader?.read()) {
    total += read.value.byteLength;
    const refused = total > maxBytes ? "too_large" : share.take(read.value.byteLength) ? undefined : "busy";
    if (refused !== undefined) {
      parts.length = 0;
      await reader?.cancel();
      return refused;
    }
    parts.push(read.value);
  }
  return Buffer.concat(parts);
}
