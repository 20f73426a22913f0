import { EMPTY_BYTES } from "../../core/bytes.ts";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../../core/head.ts";
import { FILTER_HEAD_LIMITS, PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { Direction, LocalResponse } from "../contract.ts";
import {
  isWritableField,
  lowerName,
  parseStatus,
  REQUEST_PSEUDO_NAMES,
  readAnswerValue,
  readName,
  readRequestPseudo,
  replaceBlock,
  writeRequestPseudo,
  writeStatus,
} from "../guest/fields.ts";
import { fitsHead } from "../guest/head-budget.ts";
import type { GuestMemory } from "../guest/memory.ts";
import { pairsSize } from "../guest/memory.ts";
import type { NameSet } from "../guest/name-set.ts";
import {
  BAD_ARGUMENT,
  INTERNAL_FAILURE,
  INVALID_MEMORY_ACCESS,
  MAP_CALL_HEADERS,
  MAP_CALL_TRAILERS,
  MAP_LAST,
  MAP_REQUEST_HEADERS,
  MAP_REQUEST_TRAILERS,
  MAP_RESPONSE_HEADERS,
  MAP_RESPONSE_TRAILERS,
  NOT_FOUND,
  OK,
  STREAM_DOWNSTREAM,
  STREAM_LAST,
  STREAM_REQUEST,
  STREAM_RESPONSE,
  STREAM_UPSTREAM,
  UNIMPLEMENTED,
} from "./abi.ts";
import type { StreamContext } from "./context.ts";
import type { GuestInstance } from "./instance.ts";

/** Host calls about header maps and the stream. Every one answers a status and never throws on what a guest passes. */

const PSEUDO_NAMES: readonly string[] = REQUEST_PSEUDO_NAMES;

/** Whose fields a map has; undefined: those of a call-out's answer, which is the filter's own. */
function directionOf(map: number): Direction | undefined {
  if (map === MAP_REQUEST_HEADERS || map === MAP_REQUEST_TRAILERS) return "request";
  return map === MAP_RESPONSE_HEADERS || map === MAP_RESPONSE_TRAILERS ? "response" : undefined;
}

/** Which names of a map the filter may see; undefined: all. */
function readableNames(guest: GuestInstance, map: number): NameSet | undefined {
  const direction = directionOf(map);
  return direction === undefined ? undefined : guest.owner.grants.readable(direction);
}

function mayWrite(guest: GuestInstance, map: number, key: string): boolean {
  const direction = directionOf(map);
  return direction !== undefined && guest.owner.grants.mayWrite(direction, key);
}

/** The block behind a map, for reading; undefined: no such map, or not there now. */
function readableBlock(guest: GuestInstance, map: number): HeaderBlock | undefined {
  const context = guest.active;
  // A stream of bytes has no heads.
  const exchange = context?.isStream === true ? undefined : context?.exchange;
  switch (map) {
    case MAP_REQUEST_HEADERS:
      return exchange?.request.headers;
    case MAP_RESPONSE_HEADERS:
      return exchange?.response?.headers;
    case MAP_REQUEST_TRAILERS:
      return exchange?.requestTrailers;
    case MAP_RESPONSE_TRAILERS:
      return exchange?.responseTrailers;
    case MAP_CALL_HEADERS:
      return guest.answer?.headers;
    case MAP_CALL_TRAILERS:
      return guest.answer === undefined ? undefined : (guest.answer.trailers ?? NO_FIELDS);
    default:
      return undefined;
  }
}

const NO_FIELDS = new HeaderBlock();

/** The block behind a map, for writing: only while that part of the message is in the filter's hands. */
function writableBlock(guest: GuestInstance, map: number): HeaderBlock | undefined {
  const context = guest.active;
  const exchange = context?.exchange;
  if (context === undefined || exchange === undefined || context.isStream) return undefined;
  const { hands } = context;
  switch (map) {
    case MAP_REQUEST_HEADERS:
      return hands.requestHead ? exchange.request.headers : undefined;
    case MAP_RESPONSE_HEADERS:
      return hands.responseHead ? exchange.response?.headers : undefined;
    case MAP_REQUEST_TRAILERS:
      if (hands.requestTrailers) return exchange.requestTrailers;
      return hands.requestBody ? exchange.addTrailers("request") : undefined;
    case MAP_RESPONSE_TRAILERS:
      if (hands.responseTrailers) return exchange.responseTrailers;
      return hands.responseBody ? exchange.addTrailers("response") : undefined;
    default:
      return undefined;
  }
}

/** A value of a map that is not there, as in Envoy: SDKs take NOT_FOUND as "none", and everything else as a mistake. */
const missingMap = (guest: GuestInstance): number => (guest.active?.logging === true ? NOT_FOUND : BAD_ARGUMENT);

function requestOf(guest: GuestInstance): RequestHead | undefined {
  return guest.active?.exchange?.request;
}
function responseOf(guest: GuestInstance): ResponseHead | undefined {
  return guest.active?.exchange?.response;
}

/** Every value of a name counts for policy: use the pairs. This answers the first value, as Envoy does. */
export function getHeaderMapValue(
  guest: GuestInstance,
  memory: GuestMemory,
  map: number,
  keyAt: number,
  keySize: number,
  atPointer: number,
  sizePointer: number,
): number {
  if (!memory.has(keyAt, keySize)) return INVALID_MEMORY_ACCESS;
  if (keySize >>> 0 > FILTER_HEAD_LIMITS.bytes) return BAD_ARGUMENT;
  const block = readableBlock(guest, map);
  const absent = guest.hasEmptyValues ? "" : undefined;
  if (block === undefined) {
    const status = missingMap(guest);
    return status === NOT_FOUND && absent !== undefined ? memory.giveText(absent, atPointer, sizePointer) : status;
  }
  const key = readName(memory, keyAt, keySize);
  const direction = directionOf(map);
  let value: string | undefined;
  // What it may not see is not there for it, as in the list of all pairs.
  if (direction !== undefined && !guest.owner.grants.mayRead(direction, key)) value = undefined;
  else if (map === MAP_REQUEST_HEADERS && isPseudo(key)) {
    const request = requestOf(guest);
    value = request === undefined ? undefined : readRequestPseudo(request, key);
  } else if (map === MAP_RESPONSE_HEADERS && key === ":status") value = String(responseOf(guest)?.status);
  else value = block.get(key);
  value ??= absent;
  return value === undefined ? NOT_FOUND : memory.giveText(value, atPointer, sizePointer);
}

const isPseudo = (key: string): boolean => key.charCodeAt(0) === 0x3a /* : */ || key === "host";

/** Where `listMap` puts a map with its pseudo headers, so that nothing is made per call. */
const LISTED: { readonly names: string[]; readonly values: string[] } = { names: [], values: [] };

/** Names and values of a map with its pseudo headers in front; valid until the next call. */
function listMap(
  guest: GuestInstance,
  map: number,
  block: HeaderBlock,
): { readonly names: readonly string[]; readonly values: readonly string[] } {
  const { names, values } = LISTED;
  const visible = readableNames(guest, map);
  let count = 0;
  if (map === MAP_REQUEST_HEADERS) {
    const request = requestOf(guest);
    if (request === undefined) return NO_FIELDS;
    for (const name of PSEUDO_NAMES) {
      if (visible?.has(name) === false) continue;
      names[count] = name;
      values[count++] = readRequestPseudo(request, name) ?? "";
    }
  } else if (map === MAP_RESPONSE_HEADERS) {
    if (visible?.has(":status") !== false) {
      names[0] = ":status";
      values[0] = String(responseOf(guest)?.status);
      count = 1;
    }
  } else if (visible === undefined) return block;
  for (let i = 0; i < block.length; i++) {
    const name = block.names[i] as string;
    if (visible?.has(name) === false) continue;
    names[count] = name;
    values[count++] = block.values[i] as string;
  }
  names.length = count;
  values.length = count;
  return LISTED;
}

export function getHeaderMapPairs(
  guest: GuestInstance,
  memory: GuestMemory,
  map: number,
  atPointer: number,
  sizePointer: number,
): number {
  if (!memory.has(atPointer, 4) || !memory.has(sizePointer, 4)) return INVALID_MEMORY_ACCESS;
  const block = readableBlock(guest, map);
  // A map of the ABI that is not there now is an empty one: SDKs panic at any other answer.
  if (block === undefined) return map >>> 0 <= MAP_LAST ? memory.giveText("", atPointer, sizePointer) : BAD_ARGUMENT;
  const { names, values } = listMap(guest, map, block);
  return memory.givePairs(names, values, atPointer, sizePointer);
}

export function getHeaderMapSize(guest: GuestInstance, memory: GuestMemory, map: number, sizePointer: number): number {
  if (!memory.has(sizePointer, 4)) return INVALID_MEMORY_ACCESS;
  const block = readableBlock(guest, map);
  if (block === undefined) return BAD_ARGUMENT;
  memory.work.items(block.length);
  const { names, values } = listMap(guest, map, block);
  memory.setU32(sizePointer, pairsSize(names, values));
  return OK;
}

/** Writes a pseudo header; undefined: the key is none. */
function writePseudo(guest: GuestInstance, map: number, key: string, value: string): number | undefined {
  const exchange = guest.active?.exchange;
  if (map === MAP_REQUEST_HEADERS && isPseudo(key)) {
    if (exchange === undefined) return BAD_ARGUMENT;
    const written = writeRequestPseudo(exchange.request, key, value);
    if (written === "target") exchange.markTargetChanged();
    return written === "refused" ? BAD_ARGUMENT : OK;
  }
  if (map === MAP_RESPONSE_HEADERS && key === ":status") {
    return exchange?.response !== undefined && writeStatus(exchange.response, value) ? OK : BAD_ARGUMENT;
  }
  return undefined;
}

function writeField(
  guest: GuestInstance,
  memory: GuestMemory,
  map: number,
  keyAt: number,
  keySize: number,
  valueAt: number,
  valueSize: number,
  add: boolean,
): number {
  if (!memory.has(keyAt, keySize) || !memory.has(valueAt, valueSize)) return INVALID_MEMORY_ACCESS;
  const block = writableBlock(guest, map);
  const context = guest.active;
  if (block === undefined || context === undefined) return BAD_ARGUMENT;
  if (!context.spendFields(directionOf(map) ?? "request", 1, (keySize >>> 0) + (valueSize >>> 0))) return INTERNAL_FAILURE;
  const key = readName(memory, keyAt, keySize);
  const value =
    map === MAP_RESPONSE_HEADERS ? readAnswerValue(memory, key, valueAt, valueSize) : memory.latin1(valueAt, valueSize);
  if (!mayWrite(guest, map, key)) return INTERNAL_FAILURE;
  const pseudo = writePseudo(guest, map, key, value);
  if (pseudo !== undefined) return pseudo;
  if (!isWritableField(key, value)) return BAD_ARGUMENT;
  if (add) block.add(key, value);
  else block.set(key, value);
  return OK;
}

export function addHeaderMapValue(
  guest: GuestInstance,
  memory: GuestMemory,
  map: number,
  keyAt: number,
  keySize: number,
  valueAt: number,
  valueSize: number,
): number {
  return writeField(guest, memory, map, keyAt, keySize, valueAt, valueSize, true);
}

export function replaceHeaderMapValue(
  guest: GuestInstance,
  memory: GuestMemory,
  map: number,
  keyAt: number,
  keySize: number,
  valueAt: number,
  valueSize: number,
): number {
  return writeField(guest, memory, map, keyAt, keySize, valueAt, valueSize, false);
}

export function removeHeaderMapValue(
  guest: GuestInstance,
  memory: GuestMemory,
  map: number,
  keyAt: number,
  keySize: number,
): number {
  if (!memory.has(keyAt, keySize)) return INVALID_MEMORY_ACCESS;
  const block = writableBlock(guest, map);
  if (block === undefined || keySize >>> 0 > FILTER_HEAD_LIMITS.bytes) return BAD_ARGUMENT;
  const key = readName(memory, keyAt, keySize);
  if ((map === MAP_REQUEST_HEADERS && isPseudo(key)) || key === ":status") return BAD_ARGUMENT;
  if (!mayWrite(guest, map, key)) return INTERNAL_FAILURE;
  block.remove(key);
  return OK;
}

/**
 * Replaces a whole map. Pseudo headers that are missing stay; fields that may not be written are left out. What is not
 * granted stays as it is: when the pairs would change it, nothing happens.
 */
export function setHeaderMapPairs(guest: GuestInstance, memory: GuestMemory, map: number, at: number, size: number): number {
  if (!memory.has(at, size)) return INVALID_MEMORY_ACCESS;
  const block = writableBlock(guest, map);
  const context = guest.active;
  if (block === undefined || context === undefined) return BAD_ARGUMENT;
  const count = memory.pairCount(at, size);
  if (count === undefined) return BAD_ARGUMENT;
  if (!context.spendFields(directionOf(map) ?? "request", count, size >>> 0)) return INTERNAL_FAILURE;
  const pairs = memory.readPairs(at, size);
  if (pairs === undefined) return BAD_ARGUMENT;
  const { names, values } = pairs;
  // Each field that is there is compared, or taken out.
  memory.work.items(block.length);
  const kept = keepUnwritable(guest, map, block, names, values);
  if (kept === undefined) return INTERNAL_FAILURE;
  for (let i = names.length - 1; i >= 0; i--) {
    const key = lowerName(names[i] as string);
    const pseudo = writePseudo(guest, map, key, values[i] as string);
    if (pseudo === undefined) continue;
    if (pseudo !== OK) return pseudo;
    names.splice(i, 1);
    values.splice(i, 1);
  }
  replaceBlock(block, names, values);
  for (let i = 0; i < kept.length; i++) block.add(kept.names[i] as string, kept.values[i] as string);
  return OK;
}

/**
 * Takes what may not be written out of `names` and `values`, and answers what of it the map has. Undefined: the pairs change
 * what may not be written: a field that the filter sees is not there as it was, or one that it does not see is among them.
 */
function keepUnwritable(
  guest: GuestInstance,
  map: number,
  block: HeaderBlock,
  names: string[],
  values: string[],
): HeaderBlock | undefined {
  const direction = directionOf(map);
  const { grants } = guest.owner;
  const writable = direction === undefined ? undefined : grants.writable(direction);
  if (writable === undefined) return NO_FIELDS;
  const listed = listMap(guest, map, block);
  const seen: string[] = [];
  for (let i = 0; i < listed.names.length; i++) {
    if (!writable.has(listed.names[i] as string)) seen.push(`${listed.names[i]}\0${listed.values[i]}`);
  }
  const given: string[] = [];
  for (let i = names.length - 1; i >= 0; i--) {
    const key = lowerName(names[i] as string);
    if (writable.has(key)) continue;
    given.unshift(`${key}\0${values[i]}`);
    names.splice(i, 1);
    values.splice(i, 1);
  }
  // Pseudo headers that are missing stay anyhow.
  const changed = given.some((pair) => !seen.includes(pair)) || seen.some((pair) => pair[0] !== ":" && !given.includes(pair));
  if (changed) {
    grants.deny("headers");
    return undefined;
  }
  const kept = new HeaderBlock();
  for (let i = 0; i < block.length; i++) {
    const name = block.names[i] as string;
    if (!writable.has(name)) kept.add(name, block.values[i] as string);
  }
  return kept;
}

/** The direction that a stream type of the ABI means to this context; a status: none. */
function laneOf({ isStream }: StreamContext, stream: number): Direction | number {
  if (stream >>> 0 > STREAM_LAST) return BAD_ARGUMENT;
  if (stream === (isStream ? STREAM_DOWNSTREAM : STREAM_REQUEST)) return "request";
  return stream === (isStream ? STREAM_UPSTREAM : STREAM_RESPONSE) ? "response" : UNIMPLEMENTED;
}

export function continueStream(guest: GuestInstance, _memory: GuestMemory, stream: number): number {
  const context = guest.active;
  if (context?.exchange === undefined) return BAD_ARGUMENT;
  const direction = laneOf(context, stream);
  if (typeof direction === "number") return direction;
  if (context.answering === direction) {
    context.resumed = true;
    return OK;
  }
  const { epoch } = context;
  guest.defer(() => {
    if (context.epoch !== epoch) return;
    context.letGo(direction);
    context.exchange?.resume(context, direction);
  });
  return OK;
}

export function closeStream(guest: GuestInstance, _memory: GuestMemory, stream: number): number {
  const context = guest.active;
  if (context?.exchange === undefined) return BAD_ARGUMENT;
  const direction = laneOf(context, stream);
  if (typeof direction === "number") return direction;
  if (!guest.owner.grants.may("respond")) return INTERNAL_FAILURE;
  // Whatever `onFailure` says: closing is what the filter wants. With the head out, an answer turns into a reset.
  return respond(guest, {
    kind: "respond",
    status: 503,
    headers: new HeaderBlock(),
    body: EMPTY_BYTES,
    grpcStatus: -1,
    details: "closed_by_filter",
  });
}

export function sendLocalResponse(
  guest: GuestInstance,
  memory: GuestMemory,
  status: number,
  detailsAt: number,
  detailsSize: number,
  bodyAt: number,
  bodySize: number,
  headersAt: number,
  headersSize: number,
  grpcStatus: number,
): number {
  if (!memory.has(detailsAt, detailsSize) || !memory.has(bodyAt, bodySize)) return INVALID_MEMORY_ACCESS;
  if (!memory.has(headersAt, headersSize)) return INVALID_MEMORY_ACCESS;
  const code = parseStatus(String(status));
  const context = guest.active;
  if (context?.exchange === undefined || context.isStream || code === undefined) return BAD_ARGUMENT;
  const { grants } = guest.owner;
  if (!grants.may("respond") || !context.spend((bodySize >>> 0) + (headersSize >>> 0))) return INTERNAL_FAILURE;
  if (!memory.mayBeHead(headersAt, headersSize)) return INTERNAL_FAILURE;
  const pairs = memory.readPairs(headersAt, headersSize);
  if (pairs === undefined) return BAD_ARGUMENT;
  const headers = new HeaderBlock();
  if (!fitsHead(pairs)) return INTERNAL_FAILURE;
  replaceBlock(headers, pairs.names, pairs.values);
  grants.cutAnswer(headers);
  headers.remove("content-length");
  // As Envoy does; what has no type is guessed by browsers.
  if (bodySize !== 0 && !headers.has("content-type")) headers.add("content-type", "text/plain");
  return respond(guest, {
    kind: "respond",
    status: code,
    headers,
    body: memory.copy(bodyAt, bodySize),
    grpcStatus: grpcStatus | 0,
    details: memory.latin1(detailsAt, Math.min(detailsSize >>> 0, PROXY_WASM_LIMITS.nameBytes)),
  });
}

function respond(guest: GuestInstance, response: LocalResponse): number {
  const context = guest.active;
  if (context === undefined) return BAD_ARGUMENT;
  if (context.answering !== undefined) {
    context.pendingResponse ??= response;
    return OK;
  }
  const { epoch } = context;
  guest.defer(() => {
    if (context.epoch === epoch) context.exchange?.respond(context, response);
  });
  return OK;
}
