import type { HeaderEditConfig } from "../../config/snapshot.ts";
import type { HeaderBlock } from "../../core/head.ts";

/**
 * Fields that frame the message or steer the connection: the codec writes them itself (RFC 9110 §7.6.1, RFC 9112 §6).
 * Configuration refuses edits of them; should one slip through, it must not be able to break framing.
 */
const RESERVED: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Edits fields in place: first `set`, then `add`, then `remove` (as Gateway API orders them). Values are literals; names are lower case. */
export function applyHeaderEdits(block: HeaderBlock, edits: HeaderEditConfig): void {
  const { set, add, remove } = edits;
  for (let i = 0; i < set.length; i++) {
    const pair = set[i] as readonly [string, string];
    if (!RESERVED.has(pair[0])) block.set(pair[0], pair[1]);
  }
  for (let i = 0; i < add.length; i++) {
    const pair = add[i] as readonly [string, string];
    if (!RESERVED.has(pair[0])) block.add(pair[0], pair[1]);
  }
  for (let i = 0; i < remove.length; i++) {
    const name = remove[i] as string;
    if (!RESERVED.has(name)) block.remove(name);
  }
}
