import type { FilterCapabilities } from "../../config/snapshot.ts";
import { describeCause } from "../../core/failure.ts";
import { FuelGauge } from "../guest/fuel.ts";
import { GuestMemory } from "../guest/memory.ts";
import { ExtismGuest, type GuestCallbacks, type GuestFunction, type GuestOwner } from "./guest.ts";
import { makeImports } from "./imports.ts";
import { TRANSFORM } from "./settings.ts";
import { suspension } from "./suspension.ts";

/** An instance that is started and configured. Throws an `Error` that says why not; then nothing of it stays. */
export function instantiateGuest(owner: GuestOwner, module: WebAssembly.Module): ExtismGuest {
  const guest = new ExtismGuest(owner);
  guest.bornMs = owner.options.clock.nowMs();
  const exports = link(guest, module);
  const memory = exports.memory instanceof WebAssembly.Memory ? new GuestMemory(exports.memory, () => 0, guest.work) : undefined;
  const callbacks = collect(exports, owner);
  refuseBodies(owner.grants.capabilities, callbacks);
  guest.attach(memory, callbacks);
  // As hosts of Extism do: a reactor, a command, or the runtime of Haskell.
  for (const name of ["_initialize", "_start", "hs_init"]) {
    const start = functionOf(exports, name);
    if (start === undefined) continue;
    guest.start(name, start);
    break;
  }
  const { configure } = callbacks;
  if (configure !== undefined && guest.call("on_configure", configure, owner.config.settings) === undefined)
    throw new Error(guest.fault ?? guest.refusal);
  guest.endStart();
  return guest;
}

/** A plug-in that looks at bodies and would get none would let pass what it is there for. */
function refuseBodies({ bodies }: FilterCapabilities, { requestBody, responseBody }: GuestCallbacks): void {
  const refuse = (direction: string): never => {
    throw new Error(`it has a function for bodies of the ${direction}: grant them by capabilities.bodies.${direction}`);
  };
  if (requestBody !== undefined && bodies.request === "none") refuse("request");
  if (responseBody !== undefined && bodies.response === "none") refuse("response");
}

function link(guest: ExtismGuest, module: WebAssembly.Module): WebAssembly.Exports {
  const imports = makeImports(guest, module);
  try {
    const { exports } = new WebAssembly.Instance(module, imports);
    guest.begin(new FuelGauge(exports, guest.owner.config.budget));
    // A start function may have caught what stopped it.
    if (guest.fault === undefined) return exports;
  } catch (error) {
    guest.fault ??= describeCause(error);
  }
  throw new Error(guest.fault);
}

function functionOf(exports: WebAssembly.Exports, name: string): GuestFunction | undefined {
  const found = exports[name];
  if (found === undefined) return undefined;
  if (typeof found !== "function") throw new Error(`the export ${name} is not a function`);
  return found as GuestFunction;
}

function collect(exports: WebAssembly.Exports, { transforms, waits }: GuestOwner): GuestCallbacks {
  const of = (name: string): GuestFunction | undefined => functionOf(exports, name);
  const transform = (name: string | undefined): GuestFunction | undefined => {
    const found = name === undefined ? undefined : of(name);
    if (name !== undefined && found === undefined)
      throw new Error(`the plug-in exports no function ${JSON.stringify(name.slice(0, 64))}, which ${TRANSFORM} names`);
    return found;
  };
  const callbacks = {
    configure: of("on_configure"),
    request: of("on_request"),
    requestBody: transform(transforms.request) ?? of("on_request_body"),
    response: of("on_response"),
    responseBody: transform(transforms.response) ?? of("on_response_body"),
  };
  const { request, requestBody, response, responseBody } = callbacks;
  if ([request, requestBody, response, responseBody].every((each) => each === undefined))
    throw new Error("the plug-in exports none of on_request, on_request_body, on_response, on_response_body: it is no filter");
  if (!waits || suspension === undefined) return callbacks;
  const { promising } = suspension;
  const waiting = (run: GuestFunction | undefined): GuestFunction | undefined => (run === undefined ? undefined : promising(run));
  return {
    configure: callbacks.configure,
    request: waiting(request),
    requestBody: waiting(requestBody),
    response: waiting(response),
    responseBody: waiting(responseBody),
  };
}
