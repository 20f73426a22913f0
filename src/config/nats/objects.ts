import type { NatsConnection } from "@nats-io/nats-core";
import { utf8Text } from "../../core/bytes.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { NATS_NAMES, OBJECT_GET_SUBJECT } from "./names.ts";

/**
 * Reads an object of the bucket as JetStream's object store lays it out (ADR-20 of nats-architecture-and-design): the newest
 * message on `$O.<bucket>.M.<name>` says how many chunks lie on `$O.<bucket>.C.<nuid>`. By direct gets, because a proxy has
 * neither consumers nor a stream API.
 */
const REQUEST_MS = 5_000;
/** An object that was written again between two of our requests is read again from the start. */
const TRIES = 3;

interface ObjectMeta {
  readonly nuid: string;
  readonly size: number;
  readonly chunks: number;
  readonly deleted?: boolean;
}

/** Undefined: there is no such object. Rejects when NATS does not answer. */
export async function readObject(connection: NatsConnection, name: string): Promise<Uint8Array | undefined> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const meta = await readMeta(connection, name);
    if (meta === undefined) return undefined;
    const bytes = await readChunks(connection, meta);
    if (bytes !== undefined) return bytes;
  }
  return undefined;
}

async function readMeta(connection: NatsConnection, name: string): Promise<ObjectMeta | undefined> {
  const subject = `$O.${NATS_NAMES.objectBucket}.M.${base64Url(name)}`;
  const answer = await connection.request(`${OBJECT_GET_SUBJECT}.${subject}`, "", { timeout: REQUEST_MS });
  if (isStatus(answer)) return undefined;
  const meta = parseShallowJson(utf8Text(answer.data)) as Partial<ObjectMeta>;
  if (meta.deleted === true || typeof meta.nuid !== "string" || !/^\w+$/.test(meta.nuid)) return undefined;
  if (typeof meta.size !== "number" || typeof meta.chunks !== "number" || !(meta.size >= 0)) return undefined;
  if (meta.size > CONFIG_LIMITS.moduleBytes) throw new Error(`object ${name} has ${meta.size} bytes, more than allowed`);
  return { nuid: meta.nuid, size: meta.size, chunks: meta.chunks };
}

async function readChunks(connection: NatsConnection, meta: ObjectMeta): Promise<Uint8Array | undefined> {
  const subject = `$O.${NATS_NAMES.objectBucket}.C.${meta.nuid}`;
  const bytes = new Uint8Array(meta.size);
  let at = 0;
  let sequence = 1;
  for (let chunk = 0; chunk < meta.chunks; chunk++) {
    const query = JSON.stringify({ seq: sequence, next_by_subj: subject });
    const answer = await connection.request(OBJECT_GET_SUBJECT, query, { timeout: REQUEST_MS });
    if (isStatus(answer)) return undefined;
    if (at + answer.data.byteLength > bytes.byteLength) return undefined;
    bytes.set(answer.data, at);
    at += answer.data.byteLength;
    sequence = Number(answer.headers?.get("Nats-Sequence")) + 1;
    if (!Number.isSafeInteger(sequence)) return undefined;
  }
  return at === meta.size ? bytes : undefined;
}

/** A direct get that found nothing answers with a status instead of a message. */
export function isStatus(answer: { readonly headers?: { readonly code: number } }): boolean {
  return (answer.headers?.code ?? 0) !== 0;
}

/** With padding, as the object store writes names into subjects. */
export function base64Url(text: string): string {
  return Buffer.from(text).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
}
