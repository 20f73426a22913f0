import { COMPONENT_LIMITS, type FilterBudget } from "../../core/limits.ts";
import type { CompiledModule } from "../guest/compiler.ts";
import { describeBreach, describeTrap, outOfFuel, TOO_DEEP } from "../guest/faults.ts";
import { FuelGauge, firstFuel } from "../guest/fuel.ts";
import { HostWork } from "../guest/work.ts";
import type { CoreModule } from "./definitions.ts";
import { Trap } from "./memory.ts";

/** The fuel of all core instances of one guest. Each has a tank of its own; all are filled to the same mark. */
export class Meters {
  /** Of those that have code: the others use nothing. */
  readonly #tanks: FuelGauge[] = [];
  /** What the host does for them. */
  readonly work = new HostWork();
  #instances = 0;
  readonly #owners = new Set<CoreModule>();
  #mark: number;
  #isStarting = true;

  constructor(readonly budget: FilterBudget) {
    this.#mark = firstFuel(budget);
  }

  /** A core instance came to life: runs its start function. Throws what that throws, and when there are too many of them. */
  add(exports: WebAssembly.Exports, module: CoreModule, { hasCode, ownsMemory }: CompiledModule): void {
    if (++this.#instances > COMPONENT_LIMITS.coreModules)
      throw new Error(`the component makes more than ${COMPONENT_LIMITS.coreModules} core instances`);
    if (ownsMemory) {
      if (this.#owners.has(module)) throw new Error("the component makes two instances of a core module that has a memory");
      this.#owners.add(module);
    }
    const tank = new FuelGauge(exports);
    if (hasCode) {
      this.#tanks.push(tank);
      this.work.addTank(tank);
    }
    tank.start();
  }

  /** Fills every tank to a mark; answers what was used since they were filled last. */
  fill(mark: number): number {
    const tanks = this.#tanks;
    let used = this.work.settle();
    for (let i = 0; i < tanks.length; i++) used += this.#mark - Math.max(0, (tanks[i] as FuelGauge).swap(mark));
    this.#mark = mark;
    return used;
  }

  /** It is configured: from now on each callback has fuel of its own. */
  endStart(): void {
    this.#isStarting = false;
  }

  /** Why a guest stopped, in words that are the same on every runtime where that is possible. */
  describe(error: unknown): string {
    if (error instanceof Trap) return describeBreach(error.message);
    for (const tank of this.#tanks) {
      const kind = tank.classify();
      if (kind === "depth") return TOO_DEEP;
      if (kind !== "fuel") continue;
      if (this.#isStarting) return outOfFuel(this.#mark, "while it started");
      return outOfFuel(this.#mark, this.#mark < this.budget.callbackFuel ? "in one exchange" : "in one callback");
    }
    return describeTrap(error);
  }
}
