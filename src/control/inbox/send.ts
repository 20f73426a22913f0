import type { NatsConnection } from "@nats-io/nats-core";
import { Objm } from "@nats-io/obj";
import { sha256Digest } from "../../config/canonical.ts";
import { isSubjectToken, NATS_NAMES } from "../../config/nats/names.ts";
import { seal, sealedName } from "../../config/nats/seal.ts";
import { utf8Bytes } from "../../core/bytes.ts";
import type { InboxAnswer } from "./answer.ts";

export interface SendOptions {
  /** YAML or JSON; for a delete also references. */
  readonly text: string;
  /** How long the answer may take. */
  readonly timeoutMs: number;
  /** On a secured server: the user that one may publish as. */
  readonly author?: string;
}

/** Room for headers in a message of 1 MB, or of what the server allows. */
const HEADER_BYTES = 16 * 1024;

/** Requests an apply. A text that does not fit a message goes into the object store first. Rejects when nobody answers. */
export function applyOverNats(connection: NatsConnection, options: SendOptions): Promise<InboxAnswer> {
  return send(connection, NATS_NAMES.apply, options);
}

/** Requests a delete. */
export function deleteOverNats(connection: NatsConnection, options: SendOptions): Promise<InboxAnswer> {
  return send(connection, NATS_NAMES.delete, options);
}

async function send(connection: NatsConnection, subject: string, { text, timeoutMs, author }: SendOptions): Promise<InboxAnswer> {
  if (author !== undefined && !isSubjectToken(author))
    throw new Error(`user ${JSON.stringify(author)}: only letters, digits, - and _`);
  const bytes = utf8Bytes(text);
  const fits = bytes.byteLength + HEADER_BYTES <= (connection.info?.max_payload ?? 1024 * 1024);
  const payload = fits ? bytes : JSON.stringify({ ref: await upload(connection, bytes) });
  const answer = await connection.request(author === undefined ? subject : `${subject}.${author}`, payload, {
    timeout: timeoutMs,
  });
  return answer.json<InboxAnswer>();
}

async function upload(connection: NatsConnection, bytes: Uint8Array): Promise<string> {
  const digest = sha256Digest(bytes);
  const store = await new Objm(connection).open(NATS_NAMES.objectBucket);
  await store.putBlob({ name: sealedName(digest) }, seal(bytes, digest));
  return digest;
}
