import { CONFIG_LIMITS } from "../../core/limits.ts";
import { Refusal, textOf } from "./text.ts";

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  kB: 1_000,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

/** What stands for "no bound" in a snapshot: `Infinity` does not survive JSON. */
export const UNBOUNDED_BYTES = Number.MAX_SAFE_INTEGER;

/** `250ms`, `15s`, `1m30s`, `1.5h` → milliseconds. */
export function readDuration(text: string): number | Refusal {
  const pieces = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/gy)];
  if (text === "0") return 0;
  if (pieces.length === 0 || pieces.reduce((length, piece) => length + piece[0].length, 0) !== text.length) {
    return new Refusal("bad_duration", `${JSON.stringify(text)} is not a duration.`, "write it like 250ms, 15s, 1m30s or 1h");
  }
  const ms = pieces.reduce((sum, piece) => sum + Number(piece[1]) * (UNIT_MS[piece[2] as string] as number), 0);
  if (ms > CONFIG_LIMITS.durationMs) {
    return new Refusal("out_of_range", `${text} is longer than ${formatDuration(CONFIG_LIMITS.durationMs)}.`);
  }
  return Math.round(ms);
}

/** `512`, `64KiB`, `1MB` → bytes. Decimal units are powers of 1000, `Ki` ones of 1024. */
export function readSize(text: string): number | Refusal {
  const match = /^(\d+(?:\.\d+)?) ?([kKMG]?i?B?)$/.exec(text);
  const factor = match === null ? undefined : UNIT_BYTES[match[2] as string];
  if (match === null || factor === undefined) {
    return new Refusal("bad_size", `${JSON.stringify(text)} is not a size.`, "write it like 512B, 64KiB or 1MB");
  }
  const bytes = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(bytes) ? bytes : new Refusal("out_of_range", `${text} is too large.`);
}

/** Milliseconds → the shortest text that reads back as the same. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  for (const unit of ["d", "h", "m", "s"]) {
    const factor = UNIT_MS[unit] as number;
    if (ms % factor === 0) return `${ms / factor}${unit}`;
  }
  return `${ms}ms`;
}

/** Bytes → the shortest text that reads back as the same. */
export function formatSize(bytes: number): string {
  if (bytes >= UNBOUNDED_BYTES) return "unlimited";
  for (const unit of ["GiB", "MiB", "KiB"]) {
    const factor = UNIT_BYTES[unit] as number;
    if (bytes > 0 && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}B`;
}

/** A duration in `[minMs, maxMs]`; milliseconds when read. */
export function duration(minMs = 0, maxMs: number = CONFIG_LIMITS.durationMs) {
  return textOf("duration", (text) => {
    const ms = readDuration(text);
    if (ms instanceof Refusal || (ms >= minMs && ms <= maxMs)) return ms;
    return new Refusal("out_of_range", `${text} is not between ${formatDuration(minMs)} and ${formatDuration(maxMs)}.`);
  });
}

/** A size in `[minBytes, maxBytes]`; bytes when read. */
export function size(minBytes: number, maxBytes: number) {
  return textOf("size", (text) => {
    const bytes = readSize(text);
    if (bytes instanceof Refusal || (bytes >= minBytes && bytes <= maxBytes)) return bytes;
    return new Refusal("out_of_range", `${text} is not between ${formatSize(minBytes)} and ${formatSize(maxBytes)}.`);
  });
}

/** A size, or `unlimited`. */
export const sizeOrUnlimited = () =>
  textOf("size or `unlimited`", (text) => (text === "unlimited" ? UNBOUNDED_BYTES : readSize(text)));
