import { describeCause } from "../core/failure.ts";

/** Why nobody could be asked over HTTP, in few words: what runtimes say differs, and holds advice of their own. */
export function fetchCause(error: unknown): string {
  const message = describeCause(error);
  if (error instanceof Error && error.name === "TimeoutError") return "no answer in time";
  if (/ECONNREFUSED|connection refused/i.test(message)) return "connection refused";
  const unknownHost = /ENOTFOUND|failed to lookup address/i.test(message);
  return unknownHost ? "no such host" : message;
}
