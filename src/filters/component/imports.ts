import { DENIED_CALL } from "../guest/faults.ts";
import type { ComponentGuest } from "./guest.ts";
import { type HostFunction, INTERFACES } from "./interfaces.ts";
import type { ImportResolver } from "./link.ts";
import { Trap } from "./memory.ts";
import { type FunctionType, ResourceType } from "./types.ts";
import { WASI_INTERFACES } from "./wasi.ts";

/** Interfaces that nothing can grant, with what to do instead. */
const REFUSED: readonly (readonly [prefix: string, hint: string])[] = [
  ["wasi:http/", "filters do not serve or call by wasi:http; for calls there is selvedge:filter/call-out"],
];

/** Satisfies what a component imports by what its filter was granted; everything else is refused when it is linked. */
export class ImportTable implements ImportResolver {
  readonly #resources = new Map<string, ResourceType>();

  constructor(readonly guest: ComponentGuest) {}

  func(interfaceName: string, name: string, type: FunctionType): (...args: never[]) => unknown {
    const { known, isWasi } = this.#interface(interfaceName);
    const found = known.get(name);
    if (found === undefined) {
      if (!isWasi) throw new Error(`it imports ${interfaceName}.${name}, which this host does not have`);
      return refuseCall(interfaceName, name);
    }
    // WASI grew from version to version; what is handed over is checked value by value.
    if (!isWasi && found.type !== type.text)
      throw new Error(`it imports ${interfaceName}.${name} as ${type.text}, but it is ${found.type}`);
    return found.run(this.guest);
  }

  resource(interfaceName: string, name: string): ResourceType {
    const { isWasi } = this.#interface(interfaceName);
    const key = `${interfaceName}#${name}`;
    let resource = this.#resources.get(key);
    if (resource === undefined) {
      // Types are compared by their texts: a resource of WASI must not pass for one of ours that is called the same.
      resource = new ResourceType(isWasi ? key : name, undefined, undefined);
      this.#resources.set(key, resource);
    }
    return resource;
  }

  #interface(interfaceName: string): { known: ReadonlyMap<string, HostFunction>; isWasi: boolean } {
    const at = interfaceName.lastIndexOf("@");
    const name = at < 0 ? interfaceName : interfaceName.slice(0, at);
    const version = at < 0 ? "" : interfaceName.slice(at + 1);
    const own = INTERFACES.get(name);
    if (own !== undefined) {
      if (!version.startsWith("0.1.")) throw new Error(`it imports ${interfaceName}; this host has version 0.1`);
      this.#checkCapability(name, interfaceName);
      return { known: own, isWasi: false };
    }
    const wasi = WASI_INTERFACES.get(name);
    if (wasi === undefined) {
      const refused = REFUSED.find(([prefix]) => name.startsWith(prefix));
      throw new Error(`it imports ${interfaceName}: ${refused?.[1] ?? "there is no capability that grants it"}`);
    }
    if (!version.startsWith("0.2.")) throw new Error(`it imports ${interfaceName}; this host has WASI 0.2`);
    return { known: wasi, isWasi: true };
  }

  #checkCapability(name: string, interfaceName: string): void {
    const { callouts, random, nats } = this.guest.owner.grants.capabilities;
    const needs = (isGranted: boolean, how: string): void => {
      if (!isGranted) throw new Error(`it imports ${interfaceName}: grant it by capabilities.${how}`);
    };
    if (name === "selvedge:filter/call-out") needs(callouts.length > 0, "callouts, which names the services");
    else if (name === "selvedge:filter/random") needs(random, "random");
    else if (name === "selvedge:filter/nats") needs(nats.publish.length > 0, "nats.publish, which names the subjects");
  }
}

/** A function of WASI that is there so that language runtimes link, but that nobody may call. */
function refuseCall(interfaceName: string, name: string): () => never {
  return () => {
    throw new Trap(`${DENIED_CALL} ${interfaceName}.${name}: nobody can grant it`);
  };
}
