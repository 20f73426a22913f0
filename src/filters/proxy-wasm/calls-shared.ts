import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { GuestMemory } from "../guest/memory.ts";
import { BAD_ARGUMENT, CAS_MISMATCH, EMPTY, INTERNAL_FAILURE, INVALID_MEMORY_ACCESS, NOT_FOUND, OK } from "./abi.ts";
import { pluginProperty } from "./calls-state.ts";
import type { GuestInstance } from "./instance.ts";

/** Host calls about what filters share (data, queues) and about their metrics. */

// ---------------------------------------------------------------- shared data and queues

export function getSharedData(
  guest: GuestInstance,
  memory: GuestMemory,
  keyAt: number,
  keySize: number,
  atPointer: number,
  sizePointer: number,
  casPointer: number,
): number {
  if (!memory.has(keyAt, keySize) || !memory.has(casPointer, 4)) return INVALID_MEMORY_ACCESS;
  if (keySize >>> 0 > PROXY_WASM_LIMITS.nameBytes) return BAD_ARGUMENT;
  guest.isBound = true;
  const entry = guest.namespace.get(memory.latin1(keyAt, keySize));
  if (entry === undefined) return NOT_FOUND;
  const status = memory.giveBytes(entry.value, atPointer, sizePointer);
  if (status === OK) memory.setU32(casPointer, entry.cas);
  return status;
}

export function setSharedData(
  guest: GuestInstance,
  memory: GuestMemory,
  keyAt: number,
  keySize: number,
  valueAt: number,
  valueSize: number,
  cas: number,
): number {
  if (!memory.has(keyAt, keySize) || !memory.has(valueAt, valueSize)) return INVALID_MEMORY_ACCESS;
  if (keySize >>> 0 > PROXY_WASM_LIMITS.nameBytes) return BAD_ARGUMENT;
  guest.isBound = true;
  const { config, stats } = guest.owner;
  const isTooLarge = valueSize >>> 0 > config.budget.sharedDataBytes;
  const status = isTooLarge
    ? INTERNAL_FAILURE
    : guest.namespace.set(memory.latin1(keyAt, keySize), memory.copy(valueAt, valueSize), cas >>> 0, config.budget);
  if (status !== OK && status !== CAS_MISMATCH) stats.onFault("budget");
  return status;
}

export function registerSharedQueue(
  guest: GuestInstance,
  memory: GuestMemory,
  nameAt: number,
  nameSize: number,
  idPointer: number,
): number {
  if (!memory.has(nameAt, nameSize) || !memory.has(idPointer, 4)) return INVALID_MEMORY_ACCESS;
  if (nameSize >>> 0 > PROXY_WASM_LIMITS.nameBytes) return BAD_ARGUMENT;
  // That of the filter stands: who is told of items is the same. One of its own is made anew.
  if (guest.namespace !== guest.owner.namespace) guest.isBound = true;
  const id = guest.namespace.registerQueue(memory.latin1(nameAt, nameSize), guest.queueListener);
  if (id < 0) return INTERNAL_FAILURE;
  memory.setU32(idPointer, id);
  return OK;
}

export function resolveSharedQueue(
  guest: GuestInstance,
  memory: GuestMemory,
  vmAt: number,
  vmSize: number,
  nameAt: number,
  nameSize: number,
  idPointer: number,
): number {
  if (!memory.has(vmAt, vmSize) || !memory.has(nameAt, nameSize) || !memory.has(idPointer, 4)) return INVALID_MEMORY_ACCESS;
  const vm = memory.latin1(vmAt, Math.min(vmSize >>> 0, PROXY_WASM_LIMITS.nameBytes));
  // Queues of another namespace are not granted: they do not exist for this filter. Filters for Envoy know no namespaces.
  const own = String(pluginProperty(guest, ["plugin_vm_id"]));
  if (vm !== "" && vm !== own && vm !== own.slice(own.indexOf("/") + 1)) {
    guest.owner.grants.deny("sharedData");
    return NOT_FOUND;
  }
  const id = guest.namespace.resolveQueue(memory.latin1(nameAt, Math.min(nameSize >>> 0, PROXY_WASM_LIMITS.nameBytes)));
  if (id < 0) return NOT_FOUND;
  memory.setU32(idPointer, id);
  return OK;
}

export function enqueueSharedQueue(guest: GuestInstance, memory: GuestMemory, queue: number, at: number, size: number): number {
  if (!memory.has(at, size)) return INVALID_MEMORY_ACCESS;
  const { budget } = guest.owner.config;
  if (size >>> 0 > budget.sharedDataBytes) return INTERNAL_FAILURE;
  guest.isBound = true;
  return guest.namespace.enqueue(queue >>> 0, memory.copy(at, size), budget);
}

export function dequeueSharedQueue(
  guest: GuestInstance,
  memory: GuestMemory,
  queue: number,
  atPointer: number,
  sizePointer: number,
): number {
  if (!memory.has(atPointer, 4) || !memory.has(sizePointer, 4)) return INVALID_MEMORY_ACCESS;
  guest.isBound = true;
  const item = guest.namespace.dequeue(queue >>> 0);
  if (item === null) return NOT_FOUND;
  return item === undefined ? EMPTY : memory.giveBytes(item, atPointer, sizePointer);
}

// ---------------------------------------------------------------- metrics

const METRIC_KINDS = ["counter", "gauge", "histogram"] as const;

export function defineMetric(
  guest: GuestInstance,
  memory: GuestMemory,
  type: number,
  nameAt: number,
  nameSize: number,
  idPointer: number,
): number {
  const kind = METRIC_KINDS[type >>> 0];
  if (!memory.has(nameAt, nameSize) || !memory.has(idPointer, 4)) return INVALID_MEMORY_ACCESS;
  if (kind === undefined || nameSize >>> 0 > PROXY_WASM_LIMITS.nameBytes) return BAD_ARGUMENT;
  if (!guest.owner.grants.may("metrics")) return INTERNAL_FAILURE;
  const id = guest.owner.defineMetric(kind, memory.latin1(nameAt, nameSize));
  if (id < 0) return INTERNAL_FAILURE;
  memory.setU32(idPointer, guest.metricHandles.add(id));
  return OK;
}

/** A filter touches only metrics that it defined itself. */
export function recordMetric(guest: GuestInstance, _memory: GuestMemory, id: number, value: bigint): number {
  const { metrics, options, grants } = guest.owner;
  const metric = guest.metricHandles.get(id >>> 0);
  if (!metrics.has(metric)) return grants.may("metrics") ? NOT_FOUND : INTERNAL_FAILURE;
  options.metrics.record(metric, Number(BigInt.asUintN(64, value)));
  return OK;
}

export function incrementMetric(guest: GuestInstance, _memory: GuestMemory, id: number, delta: bigint): number {
  const { metrics, options, grants } = guest.owner;
  const metric = guest.metricHandles.get(id >>> 0);
  const kind = metrics.get(metric);
  if (kind === undefined) return grants.may("metrics") ? NOT_FOUND : INTERNAL_FAILURE;
  // An i64 arrives signed.
  const by = Number(delta);
  if (kind === "histogram" || (kind === "counter" && by < 0)) return BAD_ARGUMENT;
  options.metrics.increment(metric, by);
  return OK;
}

export function getMetric(guest: GuestInstance, memory: GuestMemory, id: number, pointer: number): number {
  const { metrics, options, grants } = guest.owner;
  if (!memory.has(pointer, 8)) return INVALID_MEMORY_ACCESS;
  const metric = guest.metricHandles.get(id >>> 0);
  const kind = metrics.get(metric);
  if (kind === undefined) return grants.may("metrics") ? NOT_FOUND : INTERNAL_FAILURE;
  // It has no single value.
  if (kind === "histogram") return BAD_ARGUMENT;
  // It tells what other exchanges did.
  if (guest.isolation !== undefined) return NOT_FOUND;
  guest.mappedCounters.pullOne(metric, memory, options.metrics);
  const value = options.metrics.read(metric);
  memory.setU64(pointer, Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n);
  return OK;
}
