import { proxy_log } from "./imports";

/**
 * A bug, or `throw`: says where and traps. The host applies `onFailure` and makes a new instance. In a file without objects of
 * its own: the compiler starts with this one, before its memory management is there.
 */
export function abortFilter(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = (message === null ? "abort" : message) + " at " + (file === null ? "?" : file) + ":" + line.toString();
  const bytes = String.UTF8.encode(text);
  proxy_log(4, changetype<usize>(bytes), bytes.byteLength);
  unreachable();
}
