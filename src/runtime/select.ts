import process from "node:process";
import type { Net } from "./net.ts";

/**
 * The adapter for the runtime that we run on: Bun's native sockets on Bun, node:net elsewhere. `SELVEDGE_NET=node` forces
 * the latter. Only the chosen one is loaded.
 */
export async function selectNet(env: Readonly<Record<string, string | undefined>> = process.env): Promise<Net> {
  const wanted = env.SELVEDGE_NET ?? "";
  if (wanted !== "" && wanted !== "node" && wanted !== "bun")
    throw new Error(`SELVEDGE_NET is "${wanted}": it may be "bun" or "node"`);
  if (wanted !== "node" && "Bun" in globalThis) return (await import("./bun.ts")).bunNet;
  if (wanted === "bun") throw new Error('SELVEDGE_NET is "bun", but this is not Bun');
  return (await import("./node.ts")).nodeNet;
}
