import { describeCause } from "../../core/failure.ts";
import { KEPT_START_LIMITS } from "../../core/limits.ts";
import type { Grants } from "../guest/grants.ts";
import { GuestMemory } from "../guest/memory.ts";
import { ROOT_CONTEXT_ID } from "./abi.ts";
import type { GuestCallback, GuestCallbacks } from "./callbacks.ts";
import { makeImports } from "./imports.ts";
import { GuestInstance } from "./instance.ts";
import { KeptStart } from "./kept-start.ts";
import type { GuestOwner } from "./owner.ts";

/** The newest first. */
const ABI_MARKERS = ["proxy_abi_version_0_2_1", "proxy_abi_version_0_2_0", "proxy_abi_version_0_1_0"];

/** A start that was costly, for the instances that come after. */
export interface StartKeeper {
  kept: KeptStart | undefined;
}

/**
 * An instance that is initialised and configured: by its start, or by what was kept of an earlier one. Throws an `Error` that says why not. At once: the engines' asynchronous way
 * blocks for as long (50 ms for a module of 25 MB on Bun, 65 on Deno).
 */
export function instantiateGuest(owner: GuestOwner, module: WebAssembly.Module, keeper: StartKeeper): GuestInstance {
  const guest = new GuestInstance(owner);
  const imports = makeImports(guest, module);
  let instance: WebAssembly.Instance;
  try {
    instance = new WebAssembly.Instance(module, imports);
  } catch (error) {
    throw new Error(guest.fault ?? describeCause(error));
  }
  return initialise(guest, instance, keeper);
}

function initialise(guest: GuestInstance, instance: WebAssembly.Instance, keeper: StartKeeper): GuestInstance {
  const { exports } = instance;
  const { owner } = guest;
  const { kept } = keeper;
  const fuelBefore = owner.fuelUsed;
  guest.begin(exports, kept !== undefined);
  const marker = ABI_MARKERS.find((each) => typeof exports[each] === "function");
  if (marker === undefined) {
    throw new Error("the module exports no proxy_abi_version_0_2_1, _0_2_0 or _0_1_0: it is no proxy-wasm filter");
  }
  guest.hasEmptyValues = marker === "proxy_abi_version_0_1_0";
  if (!(exports.memory instanceof WebAssembly.Memory)) throw new Error("the module exports no memory");
  const allocator = callbackOf(exports, "proxy_on_memory_allocate") ?? callbackOf(exports, "malloc");
  if (allocator === undefined) throw new Error("the module exports neither proxy_on_memory_allocate nor malloc");
  guest.attach(
    new GuestMemory(exports.memory, guardAllocator(guest, allocator), guest.work),
    collectCallbacks(exports, owner.grants),
  );
  guest.bornMs = owner.options.clock.nowMs();
  try {
    if (kept !== undefined) kept.give(guest, exports);
    else {
      start(guest, exports);
      guest.settleFuel();
      if (owner.fuelUsed - fuelBefore > KEPT_START_LIMITS.startFuel) keeper.kept = KeptStart.of(guest, exports);
    }
    guest.finishStart();
  } catch (error) {
    guest.retire();
    throw error;
  }
  return guest;
}

/** The allocator runs inside a host call: what it throws is kept as the instance's fault. */
function guardAllocator(guest: GuestInstance, allocator: GuestCallback): (size: number) => number {
  return (size) => {
    try {
      const at = allocator(size);
      return typeof at === "number" ? at : 0;
    } catch (error) {
      guest.fault ??= `${guest.describe(error)}, in the allocator`;
      return 0;
    }
  };
}

/** The order of the specification ("Integration", "Context lifecycle", "Configuration"). */
function start(guest: GuestInstance, exports: WebAssembly.Exports): void {
  const run = (phase: string, name: string, a: number, b: number): number | undefined => {
    const callback = callbackOf(exports, name);
    if (callback === undefined) return undefined;
    const result = guest.enter(phase, callback, undefined, a, b, 0);
    if (guest.fault !== undefined) throw new Error(guest.fault);
    return result;
  };
  if (callbackOf(exports, "_initialize") !== undefined) {
    run("initialize", "_initialize", 0, 0);
    run("main", "main", 0, 0);
  } else run("start", "_start", 0, 0);
  run("context_create", "proxy_on_context_create", ROOT_CONTEXT_ID, 0);
  if (run("vm_start", "proxy_on_vm_start", ROOT_CONTEXT_ID, 0) === 0) throw refusal(guest, "proxy_on_vm_start answered false");
  const size = Buffer.byteLength(guest.owner.config.settings);
  if (run("configure", "proxy_on_configure", ROOT_CONTEXT_ID, size) === 0) {
    throw refusal(guest, "proxy_on_configure answered false");
  }
}

/** The guest's last log line says more than that it refused. */
function refusal(guest: GuestInstance, otherwise: string): Error {
  return new Error(guest.lastLog === "" ? otherwise : guest.lastLog);
}

function callbackOf(exports: WebAssembly.Exports, name: string): GuestCallback | undefined {
  const found = exports[name];
  if (found === undefined) return undefined;
  if (typeof found !== "function") throw new Error(`the export ${name} is not a function`);
  return found as GuestCallback;
}

/** Bodies that it may not see are not shown to it, as if it exported nothing for them. */
function collectCallbacks(exports: WebAssembly.Exports, { capabilities }: Grants): GuestCallbacks {
  const { bodies } = capabilities;
  const of = (name: string): GuestCallback | undefined => callbackOf(exports, `proxy_on_${name}`);
  return {
    contextCreate: of("context_create"),
    requestHeaders: of("request_headers"),
    requestBody: bodies.request === "none" ? undefined : of("request_body"),
    requestTrailers: of("request_trailers"),
    responseHeaders: of("response_headers"),
    responseBody: bodies.response === "none" ? undefined : of("response_body"),
    responseTrailers: of("response_trailers"),
    newConnection: of("new_connection"),
    downstreamData: bodies.request === "none" ? undefined : of("downstream_data"),
    upstreamData: bodies.response === "none" ? undefined : of("upstream_data"),
    downstreamClose: of("downstream_connection_close"),
    upstreamClose: of("upstream_connection_close"),
    httpCallResponse: of("http_call_response"),
    queueReady: of("queue_ready"),
    tick: of("tick"),
    done: of("done"),
    log: of("log"),
    contextDelete: of("delete"),
  };
}
