import { type Bytes, EMPTY_BYTES } from "../../core/bytes.ts";
import { HeaderBlock } from "../../core/head.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import { readNode, wireText } from "../attributes.ts";
import type { AttributeValue, BodyBuffer, CalloutRequest, Direction } from "../contract.ts";
import { replaceBlock } from "../guest/fields.ts";
import { fitsHead } from "../guest/head-budget.ts";
import { InternTable } from "../guest/interned.ts";
import type { GuestMemory } from "../guest/memory.ts";
import { RATE_LIMIT_FUNCTION } from "../rate-limit/foreign.ts";
import {
  BAD_ARGUMENT,
  BUFFER_CALL_BODY,
  BUFFER_DOWNSTREAM_DATA,
  BUFFER_LAST,
  BUFFER_PLUGIN_CONFIGURATION,
  BUFFER_REQUEST_BODY,
  BUFFER_RESPONSE_BODY,
  BUFFER_UPSTREAM_DATA,
  BUFFER_VM_CONFIGURATION,
  INTERNAL_FAILURE,
  INVALID_MEMORY_ACCESS,
  NOT_FOUND,
  OK,
  PARSE_FAILURE,
} from "./abi.ts";
import { EXTENSIONS, type Extension } from "./extensions.ts";
import type { PlacedForeignFunction } from "./foreign.ts";
import type { GuestInstance } from "./instance.ts";
import { giveAttribute, isPairs, readPath } from "./property.ts";

/** Host calls about everything but header maps and the stream. */

const LOG_LEVEL_LAST = 5;
const LEVEL_NUMBERS = { debug: 1, info: 2, warn: 3, error: 4 } as const;

export function log(guest: GuestInstance, memory: GuestMemory, level: number, at: number, size: number): number {
  if (level >>> 0 > LOG_LEVEL_LAST) return BAD_ARGUMENT;
  if (!memory.has(at, size)) return INVALID_MEMORY_ACCESS;
  if (!guest.owner.grants.may("log")) return INTERNAL_FAILURE;
  guest.lastLog = memory.utf8(at, Math.min(size >>> 0, PROXY_WASM_LIMITS.logLineBytes));
  guest.owner.log(level, guest.lastLog, guest.exchange);
  return OK;
}

export function getLogLevel(guest: GuestInstance, memory: GuestMemory, pointer: number): number {
  if (!memory.has(pointer, 4)) return INVALID_MEMORY_ACCESS;
  memory.setU32(pointer, LEVEL_NUMBERS[guest.owner.options.log.level]);
  return OK;
}

// ---------------------------------------------------------------- properties

export function getProperty(
  guest: GuestInstance,
  memory: GuestMemory,
  pathAt: number,
  pathSize: number,
  atPointer: number,
  sizePointer: number,
): number {
  if (!memory.has(pathAt, pathSize)) return INVALID_MEMORY_ACCESS;
  if (!memory.has(atPointer, 4) || !memory.has(sizePointer, 4)) return INVALID_MEMORY_ACCESS;
  if (pathSize >>> 0 > PROXY_WASM_LIMITS.nameBytes) return BAD_ARGUMENT;
  const path = readPath(memory, pathAt, pathSize);
  const own = pluginProperty(guest, path);
  const { grants } = guest.owner;
  if (own === undefined && !grants.mayReadAttribute(path)) return NOT_FOUND;
  const value = own ?? readNode(path, guest.owner.options.node) ?? guest.active?.exchange?.attribute(path);
  if (value === undefined) return NOT_FOUND;
  return giveAttribute(memory, isPairs(value) ? grants.visiblePairs(path, value) : value, atPointer, sizePointer);
}

/** What the host itself knows about the filter. */
export function pluginProperty(guest: GuestInstance, path: readonly string[]): AttributeValue | undefined {
  if (path.length > 1) return undefined;
  switch (path[0]) {
    case "plugin_name":
      return wireText(guest.owner.config.name);
    case "plugin_root_id":
      return wireText(guest.owner.config.rootId ?? "");
    case "plugin_vm_id":
      return wireText(guest.owner.config.capabilities.sharedData ?? guest.owner.config.name);
    default:
      return undefined;
  }
}

export function setProperty(
  guest: GuestInstance,
  memory: GuestMemory,
  pathAt: number,
  pathSize: number,
  valueAt: number,
  valueSize: number,
): number {
  if (!memory.has(pathAt, pathSize) || !memory.has(valueAt, valueSize)) return INVALID_MEMORY_ACCESS;
  const context = guest.active;
  if (context?.exchange === undefined) return NOT_FOUND;
  if (pathSize >>> 0 > PROXY_WASM_LIMITS.nameBytes) return BAD_ARGUMENT;
  if (!context.spend((pathSize >>> 0) + (valueSize >>> 0) + PROXY_WASM_LIMITS.headerOverheadBytes)) return INTERNAL_FAILURE;
  const path = readPath(memory, pathAt, pathSize);
  if (!guest.owner.grants.mayWriteAttribute(path)) return INTERNAL_FAILURE;
  if (context.exchange.setAttribute(path, memory.copy(valueAt, valueSize))) return OK;
  guest.owner.stats.onFault("budget");
  return INTERNAL_FAILURE;
}

// ---------------------------------------------------------------- buffers

/** The bytes or the body behind a buffer id; a number is the status that says why there are none. */
function findBuffer(guest: GuestInstance, buffer: number): Bytes | BodyBuffer | number {
  switch (buffer) {
    case BUFFER_REQUEST_BODY:
      return findBody(guest, "request", false);
    case BUFFER_RESPONSE_BODY:
      return findBody(guest, "response", false);
    case BUFFER_DOWNSTREAM_DATA:
      return findBody(guest, "request", true);
    case BUFFER_UPSTREAM_DATA:
      return findBody(guest, "response", true);
    case BUFFER_CALL_BODY:
      return guest.answer?.body ?? NOT_FOUND;
    case BUFFER_VM_CONFIGURATION:
      return EMPTY_BYTES;
    case BUFFER_PLUGIN_CONFIGURATION:
      return guest.owner.settingsBytes;
    default:
      return buffer >>> 0 <= BUFFER_LAST ? NOT_FOUND : BAD_ARGUMENT;
  }
}

function findBody(guest: GuestInstance, direction: Direction, isStream: boolean): BodyBuffer | number {
  if (!guest.owner.grants.mayReadBody(direction)) return INTERNAL_FAILURE;
  const context = guest.active;
  if (context?.exchange === undefined || context.isStream !== isStream) return NOT_FOUND;
  const { requestBody, responseBody } = context.hands;
  return (direction === "request" ? requestBody : responseBody) ? context.exchange.body(direction) : NOT_FOUND;
}

export function getBufferBytes(
  guest: GuestInstance,
  memory: GuestMemory,
  buffer: number,
  start: number,
  maxSize: number,
  atPointer: number,
  sizePointer: number,
): number {
  const found = findBuffer(guest, buffer);
  if (typeof found === "number") return found;
  const from = start >>> 0;
  const most = maxSize >>> 0;
  if (from + most > 0xffff_ffff) return BAD_ARGUMENT;
  const bytes = found instanceof Uint8Array ? found.subarray(from, from + most) : found.read(from, most);
  return memory.giveBytes(bytes, atPointer, sizePointer);
}

export function getBufferStatus(
  guest: GuestInstance,
  memory: GuestMemory,
  buffer: number,
  sizePointer: number,
  unusedPointer: number,
): number {
  const found = findBuffer(guest, buffer);
  if (typeof found === "number") return found;
  if (!memory.has(sizePointer, 4) || !memory.has(unusedPointer, 4)) return INVALID_MEMORY_ACCESS;
  memory.setU32(sizePointer, found.length);
  memory.setU32(unusedPointer, 0);
  return OK;
}

export function setBufferBytes(
  guest: GuestInstance,
  memory: GuestMemory,
  buffer: number,
  start: number,
  size: number,
  valueAt: number,
  valueSize: number,
): number {
  const found = findBuffer(guest, buffer);
  if (typeof found === "number") return found;
  if (found instanceof Uint8Array) return BAD_ARGUMENT;
  if (
    !guest.owner.grants.mayWriteBody(buffer === BUFFER_REQUEST_BODY || buffer === BUFFER_DOWNSTREAM_DATA ? "request" : "response")
  )
    return INTERNAL_FAILURE;
  if (!memory.has(valueAt, valueSize)) return INVALID_MEMORY_ACCESS;
  if (guest.active?.spend(valueSize >>> 0) !== true) return INTERNAL_FAILURE;
  memory.work.kept(found.moves(start >>> 0, size >>> 0, valueSize >>> 0));
  return found.replace(start >>> 0, size >>> 0, memory.view(valueAt, valueSize)) ? OK : INTERNAL_FAILURE;
}

// ---------------------------------------------------------------- contexts, time, calls

export function setEffectiveContext(guest: GuestInstance, _memory: GuestMemory, id: number): number {
  if (id === 1) {
    guest.active = undefined;
    return OK;
  }
  const context = guest.contexts.get(id);
  if (context === undefined) return BAD_ARGUMENT;
  guest.active = context;
  return OK;
}

export function done(guest: GuestInstance): number {
  const context = guest.active;
  if (context === undefined || context.done !== "waiting") return NOT_FOUND;
  context.done = "yes";
  const { epoch } = context;
  guest.defer(() => {
    if (context.exchange !== undefined || context.epoch !== epoch) return;
    context.callLog(guest);
    context.finish();
  });
  return OK;
}

export function setTickPeriod(guest: GuestInstance, _memory: GuestMemory, periodMs: number): number {
  // What an exchange wants ends with it, and in between there are no ticks.
  if (!guest.isTaken) guest.setTick(periodMs >>> 0);
  return OK;
}

export function getCurrentTime(guest: GuestInstance, memory: GuestMemory, pointer: number): number {
  if (!memory.has(pointer, 8)) return INVALID_MEMORY_ACCESS;
  memory.setU64(pointer, guest.owner.timeNanos());
  return OK;
}

export function getStatus(
  _guest: GuestInstance,
  memory: GuestMemory,
  codePointer: number,
  atPointer: number,
  sizePointer: number,
): number {
  if (!memory.has(codePointer, 4)) return INVALID_MEMORY_ACCESS;
  memory.setU32(codePointer, 0);
  return memory.giveText("", atPointer, sizePointer);
}

/** A name that guests call foreign functions by. */
export interface ForeignName {
  readonly name: string;
  readonly extension: Extension | undefined;
}

const foreignNames = new InternTable<ForeignName>((name) => ({ name, extension: EXTENSIONS.get(name) }));

/** What the filter may call by this name; a guest mostly calls the same one again, so the newest is remembered. */
function findForeign(guest: GuestInstance, wanted: ForeignName): PlacedForeignFunction | undefined {
  if (guest.foreignName === wanted) return guest.foreignFunction;
  const { config, options } = guest.owner;
  const found = options.foreign.find(wanted.name, config.capabilities);
  if (found === undefined) {
    if (wanted.name === RATE_LIMIT_FUNCTION) guest.owner.grants.deny("rateLimit");
    return undefined;
  }
  guest.foreignName = wanted;
  guest.foreignFunction = found;
  return found;
}

export function callForeignFunction(
  guest: GuestInstance,
  memory: GuestMemory,
  nameAt: number,
  nameSize: number,
  argsAt: number,
  argsSize: number,
  atPointer: number,
  sizePointer: number,
): number {
  if (!memory.has(nameAt, nameSize) || !memory.has(argsAt, argsSize)) return INVALID_MEMORY_ACCESS;
  if (nameSize >>> 0 > PROXY_WASM_LIMITS.nameBytes) return NOT_FOUND;
  const wanted = foreignNames.find(memory.words, memory.bytes, nameAt >>> 0, nameSize >>> 0);
  const { extension } = wanted;
  if (extension !== undefined) {
    guest.isBound = true;
    return extension(guest, memory, argsAt, argsSize);
  }
  const run = findForeign(guest, wanted);
  if (run === undefined) return NOT_FOUND;
  guest.isBound = true;
  const result = run(guest.owner.config, memory.words, argsAt >>> 0, argsSize >>> 0);
  if (result === undefined) return BAD_ARGUMENT;
  // A guest that expects nothing passes no pointers.
  if (result.byteLength === 0 && atPointer === 0 && sizePointer === 0) return OK;
  return memory.giveBytes(result, atPointer, sizePointer);
}

export function httpCall(
  guest: GuestInstance,
  memory: GuestMemory,
  nameAt: number,
  nameSize: number,
  headersAt: number,
  headersSize: number,
  bodyAt: number,
  bodySize: number,
  trailersAt: number,
  trailersSize: number,
  timeoutMs: number,
  idPointer: number,
): number {
  if (!memory.has(nameAt, nameSize) || !memory.has(headersAt, headersSize)) return INVALID_MEMORY_ACCESS;
  if (!memory.has(bodyAt, bodySize) || !memory.has(trailersAt, trailersSize)) return INVALID_MEMORY_ACCESS;
  if (!memory.has(idPointer, 4)) return INVALID_MEMORY_ACCESS;
  const { grants, config } = guest.owner;
  const service = grants.service(memory.utf8(nameAt, Math.min(nameSize >>> 0, PROXY_WASM_LIMITS.nameBytes)));
  if (service === undefined) return BAD_ARGUMENT;
  // Nobody counts what calls of ticks add to an exchange: each call has the bound of one.
  if ((headersSize >>> 0) + (bodySize >>> 0) + (trailersSize >>> 0) > config.budget.outputBytes) return INTERNAL_FAILURE;
  if (!memory.mayBeHead(headersAt, headersSize) || !memory.mayBeHead(trailersAt, trailersSize)) return BAD_ARGUMENT;
  const headers = calloutBlock(memory, headersAt, headersSize);
  const trailers = calloutBlock(memory, trailersAt, trailersSize);
  if (headers === undefined || trailers === undefined) return BAD_ARGUMENT;
  if (!headers.has(":method") || !headers.has(":path") || !headers.has(":authority")) return BAD_ARGUMENT;
  const id = startCallout(guest, {
    service,
    headers,
    body: memory.copy(bodyAt, bodySize),
    trailers: trailers.length === 0 ? undefined : trailers,
    timeoutMs: grants.calloutsTo(service).timeoutMs(timeoutMs >>> 0),
    answerBytes: grants.calloutsTo(service).answerBytes(config.budget.bufferBytes),
  });
  if (id === 0) return INTERNAL_FAILURE;
  memory.setU32(idPointer, id);
  return OK;
}

/** Header pairs of a call-out, checked like all that a filter writes; the pseudo headers of a request may be among them. */
function calloutBlock(memory: GuestMemory, at: number, size: number): HeaderBlock | undefined {
  const pairs = memory.readPairs(at, size);
  if (pairs === undefined || !fitsHead(pairs)) return undefined;
  const block = new HeaderBlock();
  replaceBlock(block, pairs.names, pairs.values);
  for (let i = 0; i < pairs.names.length; i++) {
    const name = pairs.names[i] as string;
    const value = pairs.values[i] as string;
    if (!CALLOUT_PSEUDO.has(name)) continue;
    for (let k = 0; k < value.length; k++) if (value.charCodeAt(k) <= 0x20 || value.charCodeAt(k) >= 0x7f) return undefined;
    block.add(name, value);
  }
  return block;
}

const CALLOUT_PSEUDO = new Set([":method", ":path", ":authority", ":scheme"]);

/** Our id of the call, 0 when it was refused. */
function startCallout(guest: GuestInstance, request: CalloutRequest): number {
  const context = guest.active;
  guest.isBound = true;
  const { config, options } = guest.owner;
  const underWay = context === undefined ? guest.rootCallouts : (context.callouts?.size ?? 0);
  if (underWay >= config.budget.callouts) return 0;
  const gate = guest.owner.grants.calloutsTo(request.service);
  if (!gate.begin()) return 0;
  const id = guest.openCallout(context, gate);
  const done = guest.answerer(id);
  let theirs = 0;
  if (context !== undefined) theirs = context.exchange?.callout(request, done) ?? 0;
  else {
    // No chain stands around a call of the plugin itself.
    guest.owner.guard(guest, () => {
      theirs = options.callout?.(config, request, (answer) => guest.owner.guard(guest, () => done(answer))) ?? 0;
    });
  }
  if (theirs === 0) {
    guest.forgetCallout(id);
    return 0;
  }
  if (context !== undefined) {
    context.callouts ??= new Map();
    context.callouts.set(id, theirs);
  }
  return id;
}

/**
 * gRPC needs HTTP/2 towards upstreams: not there yet. A call to a service that is not granted is what the ABI calls an unknown
 * upstream, every other one could not be sent: SDKs hand these two on to the filter and panic at others.
 */
export function grpcCall(guest: GuestInstance, memory: GuestMemory, nameAt: number, nameSize: number): number {
  if (!memory.has(nameAt, nameSize)) return INVALID_MEMORY_ACCESS;
  const service = guest.owner.grants.service(memory.utf8(nameAt, Math.min(nameSize >>> 0, PROXY_WASM_LIMITS.nameBytes)));
  return service === undefined ? PARSE_FAILURE : INTERNAL_FAILURE;
}

/** No call and no stream was ever opened. */
export const grpcUnknown = (): number => NOT_FOUND;
