import { utf8Text } from "../../core/bytes.ts";
import { CAPABILITY_LIMITS } from "../../core/limits.ts";
import { isWritableField, readName } from "../guest/fields.ts";
import type { GuestMemory } from "../guest/memory.ts";
import { BAD_ARGUMENT, INTERNAL_FAILURE, INVALID_MEMORY_ACCESS, NOT_FOUND, OK } from "./abi.ts";
import type { GuestCallbacks } from "./callbacks.ts";
import type { GuestInstance } from "./instance.ts";

/**
 * What this host offers beyond the ABI, as foreign functions that any filter may call. Most grant nothing, they only save
 * work; publishing is a capability. A host without them (Envoy) answers `NOT_FOUND`, and the filter does without.
 */

/** A call with its arguments at `[at, at + size)`, checked to be inside. Answers a status. */
export type Extension = (guest: GuestInstance, memory: GuestMemory, at: number, size: number) => number;

/** Bits of `selvedge.skip_callbacks`. */
export const SKIP_CONTEXTS = 1;
export const SKIP_REQUEST_HEADERS = 2;
export const SKIP_REQUEST_BODY = 4;
export const SKIP_REQUEST_TRAILERS = 8;
export const SKIP_RESPONSE_HEADERS = 16;
export const SKIP_RESPONSE_BODY = 32;
export const SKIP_RESPONSE_TRAILERS = 64;
const SKIP_ALL = 127;

/**
 * `selvedge.skip_callbacks` (four bytes, little-endian: the bits above): callbacks that these settings do not need, though
 * the module exports them. `SKIP_CONTEXTS` stands for `proxy_on_context_create` and `proxy_on_delete` of exchanges. Only from
 * a callback of the plugin, while no exchange has a context.
 */
function skipCallbacks(guest: GuestInstance, memory: GuestMemory, at: number, size: number): number {
  if (size !== 4 || guest.active !== undefined || guest.contexts.size > 0) return BAD_ARGUMENT;
  const bits = memory.u32(at);
  if (bits > SKIP_ALL) return BAD_ARGUMENT;
  const unless = <T>(bit: number, callback: T): T | undefined => ((bits & bit) === 0 ? callback : undefined);
  const { callbacks } = guest;
  const kept: GuestCallbacks = {
    ...callbacks,
    contextCreate: unless(SKIP_CONTEXTS, callbacks.contextCreate),
    contextDelete: unless(SKIP_CONTEXTS, callbacks.contextDelete),
    requestHeaders: unless(SKIP_REQUEST_HEADERS, callbacks.requestHeaders),
    requestBody: unless(SKIP_REQUEST_BODY, callbacks.requestBody),
    requestTrailers: unless(SKIP_REQUEST_TRAILERS, callbacks.requestTrailers),
    responseHeaders: unless(SKIP_RESPONSE_HEADERS, callbacks.responseHeaders),
    responseBody: unless(SKIP_RESPONSE_BODY, callbacks.responseBody),
    responseTrailers: unless(SKIP_RESPONSE_TRAILERS, callbacks.responseTrailers),
  };
  guest.callbacks = kept;
  return OK;
}

/** What was added last, by position: policies and the like stay the same, and comparing costs a third of making a text. */
const LAST_VALUES = 8;
const lastValues = new Array<string>(LAST_VALUES).fill("");

/**
 * `selvedge.add_response_headers` (header pairs as the ABI serialises them): fields that are added to the answer when its
 * head passes this filter, before `proxy_on_response_headers`, with the rules and the budget of
 * `proxy_add_header_map_value`; what may not be written is left out. Of pairs that are refused, those in front of the fault
 * stay. Only while the answer has not passed.
 */
function addResponseHeaders(guest: GuestInstance, memory: GuestMemory, at: number, size: number): number {
  const context = guest.active;
  if (context?.exchange === undefined) return NOT_FOUND;
  if (context.responseSeen) return BAD_ARGUMENT;
  const { grants } = guest.owner;
  const start = at >>> 0;
  const end = start + (size >>> 0);
  if (end - start < 4) return BAD_ARGUMENT;
  const count = memory.u32(start);
  let lengthAt = start + 4;
  let dataAt = lengthAt + count * 8;
  if (dataAt + count * 2 > end) return BAD_ARGUMENT;
  for (let i = 0; i < count; i++) {
    const nameSize = memory.u32(lengthAt);
    const valueSize = memory.u32(lengthAt + 4);
    lengthAt += 8;
    const valueAt = dataAt + nameSize + 1;
    const next = valueAt + valueSize + 1;
    if (next > end) return BAD_ARGUMENT;
    if (!context.spendFields("response", 1, nameSize + valueSize)) return INTERNAL_FAILURE;
    const name = readName(memory, dataAt, nameSize);
    const known = lastValues[i & (LAST_VALUES - 1)] as string;
    const value = memory.isText(valueAt, valueSize, known) ? known : memory.latin1(valueAt, valueSize);
    lastValues[i & (LAST_VALUES - 1)] = value;
    if (isWritableField(name, value) && grants.mayWrite("response", name)) context.wantInAnswer(name, value);
    dataAt = next;
  }
  return OK;
}

/**
 * `selvedge.map_counter` (eight bytes, little-endian: the id of a counter that this filter defined, an address): the filter
 * counts in eight bytes of its own memory at that address from now on, and the host adds what they grew by whenever metrics
 * are read. Only from a callback of the plugin. `NOT_FOUND`: no such counter, or not offered.
 */
function mapCounter(guest: GuestInstance, memory: GuestMemory, at: number, size: number): number {
  if (size !== 8 || guest.active !== undefined || guest.isTaken) return BAD_ARGUMENT;
  const { metrics, options, config, grants } = guest.owner;
  if (!grants.may("metrics")) return INTERNAL_FAILURE;
  const id = guest.metricHandles.get(memory.u32(at));
  const cell = memory.u32((at >>> 0) + 4);
  if (options.metrics.onPull === undefined || metrics.get(id) !== "counter") return NOT_FOUND;
  if (!memory.has(cell, 8)) return INVALID_MEMORY_ACCESS;
  return guest.mappedCounters.add(memory, id, cell, config.budget.metrics) ? OK : INTERNAL_FAILURE;
}

/**
 * `selvedge.nats_publish` (the subject, NUL, the payload): a message over NATS. `NOT_FOUND` without any subject granted, or where
 * there is no NATS; `INTERNAL_FAILURE`: this subject is not granted, too large, too many within a second, or not connected.
 */
function natsPublish(guest: GuestInstance, memory: GuestMemory, at: number, size: number): number {
  const { grants } = guest.owner;
  if (grants.capabilities.nats.publish.length === 0) {
    grants.deny("nats");
    return NOT_FOUND;
  }
  if (size >>> 0 > CAPABILITY_LIMITS.patternChars + 1 + grants.capabilities.nats.payloadBytes) return INTERNAL_FAILURE;
  memory.work.kept(size >>> 0);
  const bytes = memory.view(at, size);
  const end = bytes.subarray(0, CAPABILITY_LIMITS.patternChars + 1).indexOf(0);
  if (end < 0) return BAD_ARGUMENT;
  const answer = grants.publish(utf8Text(bytes.subarray(0, end)), bytes.subarray(end + 1));
  if (answer === "sent") return OK;
  return answer === "unavailable" && grants.publishMessage === undefined ? NOT_FOUND : INTERNAL_FAILURE;
}

/** By name. */
export const EXTENSIONS: ReadonlyMap<string, Extension> = new Map([
  ["selvedge.skip_callbacks", skipCallbacks],
  ["selvedge.add_response_headers", addResponseHeaders],
  ["selvedge.map_counter", mapCounter],
  ["selvedge.nats_publish", natsPublish],
]);
