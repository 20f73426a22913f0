import type { NatsConnection } from "@nats-io/nats-core";
import { isSubjectToken, NATS_NAMES } from "../../config/nats/names.ts";
import { utf8Bytes } from "../../core/bytes.ts";
import { CONTROL_LIMITS } from "../../core/limits.ts";
import type { InboxAnswer } from "./answer.ts";

export interface SendOptions {
  /** YAML or JSON; for a delete also references. */
  readonly text: string;
  /** How long each answer may take. */
  readonly timeoutMs: number;
  /** On a secured server: the user that one may publish as. */
  readonly author?: string;
}

/** Room for headers in a message of 1 MB, or of what the server allows. */
const HEADER_BYTES = 16 * 1024;

/**
 * Requests an apply. A text that does not fit a message goes in parts before, to the same subject: who may apply needs no rights
 * on the object store. Rejects when nobody answers.
 */
export function applyOverNats(connection: NatsConnection, options: SendOptions): Promise<InboxAnswer> {
  return send(connection, NATS_NAMES.apply, options);
}

/** Requests a delete. */
export function deleteOverNats(connection: NatsConnection, options: SendOptions): Promise<InboxAnswer> {
  return send(connection, NATS_NAMES.delete, options);
}

/** Requests that the configuration becomes what it was after `revision`. */
export function rollbackOverNats(
  connection: NatsConnection,
  revision: number,
  options: Omit<SendOptions, "text">,
): Promise<InboxAnswer> {
  return send(connection, NATS_NAMES.apply, { ...options, text: JSON.stringify({ rollback: revision }) });
}

async function send(connection: NatsConnection, subject: string, { text, timeoutMs, author }: SendOptions): Promise<InboxAnswer> {
  if (author !== undefined && !isSubjectToken(author))
    throw new Error(`user ${JSON.stringify(author)}: only letters, digits, - and _`);
  const to = author === undefined ? subject : `${subject}.${author}`;
  const ask = async (payload: string | Uint8Array): Promise<InboxAnswer> =>
    (await connection.request(to, payload, { timeout: timeoutMs })).json<InboxAnswer>();
  const bytes = utf8Bytes(text);
  const { inboxMessageBytes: most } = CONTROL_LIMITS;
  const roomBytes = Math.min(connection.info?.max_payload ?? most, most) - HEADER_BYTES;
  if (bytes.byteLength <= roomBytes) return ask(bytes);
  const refs: string[] = [];
  // In base64, three bytes take four.
  const partBytes = Math.floor(roomBytes / 4) * 3;
  for (let at = 0; at < bytes.byteLength; at += partBytes) {
    const part = Buffer.from(bytes.subarray(at, at + partBytes)).toString("base64");
    const answer = await ask(JSON.stringify({ part }));
    if (!answer.ok) return answer;
    refs.push(answer.digest);
  }
  return ask(JSON.stringify({ refs }));
}
