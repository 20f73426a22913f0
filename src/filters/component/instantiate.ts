import { describeCause } from "../../core/failure.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import { exportedTypes } from "../guest/signatures.ts";
import { hideMeters } from "./core-modules.ts";
import { rememberTypes } from "./core-types.ts";
import type { ComponentDefinition, CoreModule } from "./definitions.ts";
import type { ComponentFunction } from "./functions.ts";
import { CONFIGURE_PHASE, ComponentGuest, type GuestCallbacks, type GuestOwner } from "./guest.ts";
import { ImportTable } from "./imports.ts";
import { type Item, linkComponent } from "./link.ts";

/** Callbacks by the names that the WIT gives them, with their types. */
const VERDICT =
  "variant{continue, pause, respond(record{status: u16, headers: list<record{name: string, value: string}>, body: list<u8>}), fail(string)}";
const ANSWER = "record{status: u16, headers: list<record{name: string, value: string}>, body: list<u8>}";
const CALLBACKS = "flags{request-head, request-body, request-trailers, response-head, response-body, response-trailers, done}";

const CONFIGURE = `func(settings: string) -> result<${CALLBACKS}, string>`;
const TYPES = {
  requestHead: ["heads", "on-request-head", `func(exchange: u32, request: borrow<request>, end: bool) -> ${VERDICT}`],
  requestBody: ["bodies", "on-request-body", `func(exchange: u32, body: borrow<body>, end: bool) -> ${VERDICT}`],
  requestTrailers: ["bodies", "on-request-trailers", `func(exchange: u32, trailers: borrow<trailers>) -> ${VERDICT}`],
  responseHead: [
    "heads",
    "on-response-head",
    `func(exchange: u32, request: borrow<request>, response: borrow<response>, end: bool) -> ${VERDICT}`,
  ],
  responseBody: ["bodies", "on-response-body", `func(exchange: u32, body: borrow<body>, end: bool) -> ${VERDICT}`],
  responseTrailers: ["bodies", "on-response-trailers", `func(exchange: u32, trailers: borrow<trailers>) -> ${VERDICT}`],
  done: ["heads", "on-done", "func(exchange: u32, request: borrow<request>)"],
  callAnswer: [
    "call-answers",
    "on-call-answer",
    `func(exchange: u32, call: u32, answer: option<${ANSWER}>, request: borrow<request>) -> ${VERDICT}`,
  ],
} as const;

/** Bits of what `configure` answers, in the order of the WIT. */
const BITS: Readonly<Record<keyof GuestCallbacks, number>> = {
  requestHead: 1,
  requestBody: 2,
  requestTrailers: 4,
  responseHead: 8,
  responseBody: 16,
  responseTrailers: 32,
  done: 64,
  callAnswer: 0,
};

/** Makes an instance and configures it. Throws an `Error` that says why not; then nothing of it stays. */
export function instantiateGuest(owner: GuestOwner, component: ComponentDefinition): ComponentGuest {
  const guest = new ComponentGuest(owner);
  guest.bornMs = owner.options.clock.nowMs();
  const exports = link(guest, component);
  const configure = findExport(exports, "configuration", "configure", CONFIGURE);
  if (configure === undefined) throw new Error("the component exports no selvedge:filter/configuration@0.1.0: it is no filter");
  const answer = guest.enter(CONFIGURE_PHASE, configure, [owner.config.settings]);
  if (guest.fault !== undefined) throw new Error(guest.fault);
  const result = answer as { ok: number } | { error: string };
  if ("error" in result)
    throw new Error(result.error.slice(0, PROXY_WASM_LIMITS.logLineBytes) || "configure refused the settings");
  refuseBodies(guest, result.ok);
  guest.callbacks = collect(exports, result.ok);
  guest.endStart();
  return guest;
}

/** A filter that asks for bodies and would get none would let pass what it is there to look at. */
function refuseBodies({ owner }: ComponentGuest, wanted: number): void {
  const { bodies } = owner.grants.capabilities;
  for (const direction of ["request", "response"] as const) {
    if ((wanted & BITS[`${direction}Body`]) !== 0 && bodies[direction] === "none")
      throw new Error(`it asks for bodies of the ${direction}: grant them by capabilities.bodies.${direction}`);
  }
}

function link(guest: ComponentGuest, component: ComponentDefinition): ReadonlyMap<string, Item> {
  const { store } = guest;
  guest.inside = true;
  store.beginCall();
  try {
    return linkComponent(component, {
      store,
      imports: new ImportTable(guest),
      instantiate: (module, imports) => instantiateCore(guest, module, imports),
    });
  } catch (error) {
    const isTrap = error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
    throw new Error(store.fault ?? (isTrap ? guest.meters.describe(error) : describeCause(error)));
  } finally {
    guest.inside = false;
  }
}

function instantiateCore(guest: ComponentGuest, module: CoreModule, imports: WebAssembly.Imports): WebAssembly.ModuleImports {
  if (module.compiled === undefined) throw new Error("a core module is not compiled");
  const { exports } = new WebAssembly.Instance(module.compiled.module, imports);
  guest.meters.add(exports, module, module.compiled);
  guest.isolation?.add(exports);
  const visible = hideMeters(exports);
  module.types ??= exportedTypes(module.bytes);
  rememberTypes(visible, module.types);
  for (const value of Object.values(visible)) {
    if (value instanceof WebAssembly.Memory && !guest.memories.includes(value)) guest.memories.push(value);
  }
  return visible;
}

/** A function of an exported interface; undefined: there is none. Throws when it has another type than the WIT says. */
function findExport(
  exports: ReadonlyMap<string, Item>,
  interfaceName: string,
  name: string,
  type: string,
): ComponentFunction | undefined {
  const prefix = `selvedge:filter/${interfaceName}@0.1.`;
  for (const [exported, item] of exports) {
    if (!exported.startsWith(prefix) || item.kind !== "instance") continue;
    const found = item.exports.get(name);
    if (found?.kind !== "func") return undefined;
    if (found.func.type.text === type) return found.func;
    throw new Error(`the export ${exported}.${name} is ${found.func.type.text}, not ${type}`);
  }
  return undefined;
}

function collect(exports: ReadonlyMap<string, Item>, wanted: number): GuestCallbacks {
  const pick = (key: keyof GuestCallbacks): ComponentFunction | undefined => {
    const [interfaceName, name, type] = TYPES[key];
    const found = findExport(exports, interfaceName, name, type);
    const bit = BITS[key];
    if (bit === 0) return found;
    if ((wanted & bit) === 0) return undefined;
    if (found === undefined) throw new Error(`configure asks for a callback that is not exported: ${name}`);
    return found;
  };
  return {
    requestHead: pick("requestHead"),
    requestBody: pick("requestBody"),
    requestTrailers: pick("requestTrailers"),
    responseHead: pick("responseHead"),
    responseBody: pick("responseBody"),
    responseTrailers: pick("responseTrailers"),
    done: pick("done"),
    callAnswer: pick("callAnswer"),
  };
}
