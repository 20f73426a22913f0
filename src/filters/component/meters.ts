import { COMPONENT_LIMITS } from "../../core/limits.ts";
import { classifyTrap, FUEL_EXPORT } from "../meter/index.ts";
import type { CoreModule } from "./definitions.ts";
import { Trap } from "./memory.ts";

/** The fuel of all core instances of one guest. Each has a tank of its own. */
export class Meters {
  readonly #exports: WebAssembly.Exports[] = [];
  readonly #tanks: WebAssembly.Global[] = [];
  readonly #owners = new Set<CoreModule>();

  /** A core instance came to life. Throws when there are too many of them. */
  add(exports: WebAssembly.Exports, module: CoreModule): void {
    if (this.#exports.length >= COMPONENT_LIMITS.coreModules)
      throw new Error(`the component makes more than ${COMPONENT_LIMITS.coreModules} core instances`);
    if (module.ownsMemory) {
      if (this.#owners.has(module)) throw new Error("the component makes two instances of a core module that has a memory");
      this.#owners.add(module);
    }
    this.#exports.push(exports);
    const fuel = exports[FUEL_EXPORT];
    if (module.hasCode && fuel instanceof WebAssembly.Global) this.#tanks.push(fuel);
  }

  /** Fills every tank for one callback. */
  refuel(): void {
    const tanks = this.#tanks;
    for (let i = 0; i < tanks.length; i++) (tanks[i] as WebAssembly.Global).value = COMPONENT_LIMITS.callbackFuel;
  }

  /** Why a guest stopped, in words that are the same on every runtime where that is possible. */
  describe(error: unknown): string {
    if (error instanceof Trap) return `trap: ${error.message}`;
    for (const exports of this.#exports) {
      const kind = classifyTrap(exports);
      if (kind === "fuel") return "trap: the fuel of the callback is used up";
      if (kind === "depth") return "trap: calls are nested too deep";
    }
    if (error instanceof RangeError) return "trap: the stack overflowed";
    return error instanceof Error ? `trap: ${plainMessage(error.message)}` : "trap: an exception was not caught";
  }
}

/** JavaScriptCore says more than what happened, and says it differently. */
function plainMessage(message: string): string {
  if (/^unreachable/i.test(message)) return "unreachable";
  const at = message.indexOf(" (evaluating ");
  return (at < 0 ? message : message.slice(0, at)).slice(0, 200);
}
