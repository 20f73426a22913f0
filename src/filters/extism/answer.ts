import { Buffer } from "node:buffer";
import { type Bytes, EMPTY_BYTES, utf8Bytes } from "../../core/bytes.ts";
import { HeaderBlock } from "../../core/head.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { EXTISM_LIMITS } from "../../core/limits.ts";
import { isEditable } from "../component/edits.ts";
import type { LocalResponse } from "../contract.ts";
import { lowerName, parseStatus } from "../guest/fields.ts";

/** What a plug-in answered to a callback: read and checked as a whole before anything of it happens. */
export interface Answer {
  readonly set: HeaderBlock | undefined;
  readonly add: HeaderBlock | undefined;
  readonly remove: readonly string[];
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly authority: string | undefined;
  /** Of the answer that passes by. */
  readonly status: number | undefined;
  readonly respond: LocalResponse | undefined;
  /** It does not want this exchange: why. */
  readonly fail: string | undefined;
  readonly state: string | undefined;
  /** The new body. */
  readonly body: Bytes | undefined;
}

export type Phase = "request" | "response" | "body";

/** A member that is misspelled must not let through what it was to refuse: what is not here is refused. */
const MEMBERS: Readonly<Record<Phase, ReadonlySet<string>>> = {
  request: new Set(["headers", "method", "path", "authority", "respond", "fail", "state"]),
  response: new Set(["headers", "status", "respond", "fail"]),
  body: new Set(["body", "bodyBase64", "respond", "fail"]),
};
const HEADER_MEMBERS: ReadonlySet<string> = new Set(["set", "add", "remove"]);
const RESPOND_MEMBERS: ReadonlySet<string> = new Set(["status", "headers", "body", "bodyBase64"]);

/** A reason that goes to the log: it may be anybody's. */
const REASON_CHARS = 200;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Why an answer cannot be taken. */
export class AnswerError extends Error {}

/** Throws an `AnswerError` that says what is wrong with the text. */
export function readAnswer(text: string, phase: Phase): Answer {
  const answer = parseObject(text);
  checkMembers(answer, MEMBERS[phase], "its answer");
  const headers = answer.headers === undefined ? {} : objectOf(answer.headers, "headers");
  checkMembers(headers, HEADER_MEMBERS, "headers");
  return {
    set: readFields(headers.set, "headers.set", true),
    add: readFields(headers.add, "headers.add", true),
    remove: readNames(headers.remove),
    method: textOf(answer.method, "method"),
    path: textOf(answer.path, "path"),
    authority: textOf(answer.authority, "authority"),
    status: answer.status === undefined ? undefined : statusOf(answer.status),
    respond: answer.respond === undefined ? undefined : readResponse(objectOf(answer.respond, "respond")),
    fail: textOf(answer.fail, "fail")?.slice(0, REASON_CHARS),
    state: readState(answer.state),
    body: readBody(answer),
  };
}

type JsonObject = Readonly<Record<string, unknown>>;

function parseObject(text: string): JsonObject {
  let parsed: unknown;
  try {
    parsed = parseShallowJson(text);
  } catch {
    throw new AnswerError("its answer is no JSON");
  }
  return objectOf(parsed, "its answer");
}

function objectOf(value: unknown, what: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new AnswerError(`${what} is no object`);
  return value as JsonObject;
}

function checkMembers(object: JsonObject, known: ReadonlySet<string>, what: string): void {
  for (const name of Object.keys(object)) {
    if (!known.has(name)) throw new AnswerError(`${what} has an unknown member ${JSON.stringify(name.slice(0, 64))}`);
  }
}

function textOf(value: unknown, what: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw new AnswerError(`${what} is no text`);
  return value;
}

function statusOf(value: unknown): number {
  // Nothing else: an object may not become a text.
  const status = typeof value === "number" || typeof value === "string" ? parseStatus(String(value)) : undefined;
  if (status === undefined) throw new AnswerError("a status is none of 200 to 599");
  return status;
}

function readState(value: unknown): string | undefined {
  const state = textOf(value, "state");
  if (state !== undefined && state.length > EXTISM_LIMITS.stateChars)
    throw new AnswerError(`state is longer than ${EXTISM_LIMITS.stateChars} characters`);
  return state;
}

/** Pairs of name and value. `isStrict`: one that may not be written is an error; else it is left out. */
function readFields(value: unknown, what: string, isStrict: boolean): HeaderBlock | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw new AnswerError(`${what} is no list of pairs`);
  const block = new HeaderBlock();
  for (const pair of value as unknown[]) {
    const [name, text]: unknown[] = Array.isArray(pair) && pair.length === 2 ? pair : [];
    if (typeof name !== "string" || typeof text !== "string") throw new AnswerError(`${what} is no list of pairs`);
    const key = lowerName(name);
    if (isEditable(key, text)) block.add(key, text);
    else if (isStrict) throw new AnswerError(`${what}: the field ${JSON.stringify(key.slice(0, 64))} may not be written so`);
  }
  return block;
}

const NO_NAMES: readonly string[] = [];

function readNames(value: unknown): readonly string[] {
  if (value === undefined) return NO_NAMES;
  if (!Array.isArray(value) || value.some((name) => typeof name !== "string"))
    throw new AnswerError("headers.remove is no list of names");
  if (value.length > EXTISM_LIMITS.removedNames)
    throw new AnswerError(`headers.remove has more than ${EXTISM_LIMITS.removedNames} names`);
  return value.map((name) => lowerName(String(name)));
}

function readBody(object: JsonObject): Bytes | undefined {
  const encoded = textOf(object.bodyBase64, "bodyBase64");
  const text = textOf(object.body, "body");
  if (encoded === undefined) return text === undefined ? undefined : utf8Bytes(text);
  if (text !== undefined) throw new AnswerError("body and bodyBase64 exclude each other");
  if (encoded.length % 4 !== 0 || !BASE64.test(encoded)) throw new AnswerError("bodyBase64 is no base64");
  return new Uint8Array(Buffer.from(encoded, "base64"));
}

function readResponse(response: JsonObject): LocalResponse {
  checkMembers(response, RESPOND_MEMBERS, "respond");
  const headers = readFields(response.headers, "respond.headers", false) ?? new HeaderBlock();
  headers.remove("content-length");
  const body = readBody(response) ?? EMPTY_BYTES;
  return { kind: "respond", status: statusOf(response.status), headers, body, grpcStatus: -1, details: "" };
}
