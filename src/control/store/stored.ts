import { z } from "zod";
import type { Json } from "../../config/parse.ts";
import { utf8Text } from "../../core/bytes.ts";
import { isNestedDeeper } from "../../core/json-text.ts";
import { CONTROL_LIMITS } from "../../core/limits.ts";
import { parseKey } from "../model/resource.ts";
import { UnreadableError } from "../nats/unreadable.ts";
import type { Change, LogEntry } from "./store.ts";

/** An entry as it lies in the stream: large changes are in the object store. Entries of older versions do not say their revision. */
export type StoredEntry = Omit<LogEntry, "revision" | "changes"> & {
  readonly revision?: number | undefined;
  readonly changes?: readonly Change[] | undefined;
  readonly object?: string | undefined;
};

/** How far the view is. */
export interface Checkpoint {
  readonly revision: number;
  readonly digest: string;
  readonly timeMs: number;
  readonly inboxSequence: number;
}

/** A resource in the view. */
export interface ViewValue {
  readonly revision: number;
  readonly written?: Json | undefined;
  /** Digest of the sealed object that holds it. */
  readonly object?: string | undefined;
}

// Fields of later versions are passed over, so none of these is strict.
const count = z.int().min(0);
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
// JSON.parse made it: what is left to see is that a resource is an object.
const written = z.custom<Json>((value) => typeof value === "object" && value !== null && !Array.isArray(value));
const changes = z.array(
  z.object({
    key: z.string().refine((key) => parseKey(key) === key),
    before: written.optional(),
    after: written.optional(),
  }),
);
const checkpointFields = { digest: z.string(), timeMs: z.number(), inboxSequence: count };
const entry = z
  .object({
    ...{ ...checkpointFields, revision: count.min(1).optional(), previous: count, author: z.string(), origin: z.string() },
    ...{ changes: changes.optional(), object: digest.optional() },
  })
  .refine((value) => (value.changes === undefined) !== (value.object === undefined));
const checkpoint = z.object({ ...checkpointFields, revision: count });
const viewValue = z
  .object({ revision: count, written: written.optional(), object: digest.optional() })
  .refine((value) => (value.written === undefined) !== (value.object === undefined));

/** They throw an `UnreadableError`, and nothing else. */
export const readStoredEntry = (bytes: Uint8Array): StoredEntry => read(entry, bytes) as StoredEntry;
export const readChanges = (bytes: Uint8Array): readonly Change[] => read(changes, bytes) as Change[];
export const readCheckpoint = (bytes: Uint8Array): Checkpoint => read(checkpoint, bytes);
export const readViewValue = (bytes: Uint8Array): ViewValue => read(viewValue, bytes);

/** The resource inside a sealed object. */
export const readWritten = (bytes: Uint8Array): Json => read(written, bytes);

function read<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  const parsed = schema.safeParse(parseJson(bytes));
  if (!parsed.success) throw new UnreadableError("wrong_shape");
  return parsed.data;
}

function parseJson(bytes: Uint8Array): unknown {
  const text = utf8Text(bytes);
  if (isNestedDeeper(text, CONTROL_LIMITS.storedDepth)) throw new UnreadableError("too_deep");
  try {
    return JSON.parse(text);
  } catch {
    throw new UnreadableError("not_json");
  }
}
