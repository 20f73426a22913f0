import { parseShallowJson } from "../../core/json-text.ts";

/** What a message on `selvedge.config.apply` or `.delete` asks for, besides what it brings itself. */
export type Payload =
  | { readonly kind: "text" }
  /** The text lies in the object store, in parts. */
  | { readonly kind: "stored"; readonly digests: readonly string[] }
  /** A part to be stored: what does not fit a message comes so, by whoever may publish and nothing else. */
  | { readonly kind: "part"; readonly bytes: Uint8Array }
  | { readonly kind: "rollback"; readonly revision: number }
  | { readonly kind: "bad"; readonly message: string };

const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** Parts of one text. */
const PARTS_MAX = 1_000;

/**
 * `{"ref": "sha256:…"}`, `{"refs": ["sha256:…", …]}`, `{"part": "<base64>"}`, `{"rollback": 41}`; anything else is resources. No
 * resource looks like one of these: it has an apiVersion.
 */
export function readPayload(text: string): Payload {
  const key = /^\{\s*"(ref|refs|part|rollback)"\s*:/.exec(text)?.[1];
  if (key === undefined) return { kind: "text" };
  let value: unknown;
  try {
    const content = parseShallowJson(text) as Record<string, unknown>;
    if (Object.keys(content).length === 1) value = content[key];
  } catch {
    // Said below.
  }
  if (key === "part") return readPart(value);
  if (key === "rollback")
    return typeof value === "number" && Number.isSafeInteger(value) && value > 0
      ? { kind: "rollback", revision: value }
      : { kind: "bad", message: 'The rollback is malformed; expected {"rollback": 41}.' };
  const digests = key === "ref" ? [value] : value;
  if (Array.isArray(digests) && digests.length > 0 && digests.length <= PARTS_MAX && digests.every(isDigest))
    return { kind: "stored", digests };
  return { kind: "bad", message: 'The reference is malformed; expected {"ref":"sha256:…"} or {"refs":["sha256:…"]}.' };
}

const isDigest = (value: unknown): value is string => typeof value === "string" && DIGEST.test(value);

function readPart(value: unknown): Payload {
  const isBase64 = typeof value === "string" && value !== "" && /^[A-Za-z0-9+/]+={0,2}$/.test(value);
  if (isBase64) return { kind: "part", bytes: new Uint8Array(Buffer.from(value, "base64")) };
  return { kind: "bad", message: 'The part is malformed; expected {"part":"<base64>"}.' };
}
