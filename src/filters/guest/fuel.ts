import { type FilterBudget, METER_LIMITS } from "../../core/limits.ts";
import { stackSlots } from "../../runtime/process.ts";
import { classifyTrap, DEPTH_EXPORT, FUEL_EXPORT, type MeterSwap, START_EXPORT, type TrapKind } from "../meter/index.ts";

/** Of the fuel for a start: what the counter begins with. */
export const firstFuel = ({ startFuel }: FilterBudget): number => Math.min(startFuel, METER_LIMITS.counter);

/** The fuel of one instance of a metered module. */
export class FuelGauge {
  /** Sets the fuel, answers what was left of it; negative: it ran out. */
  readonly swap: MeterSwap;

  /** Of the fuel for a start: what the counter has no room for yet. */
  reserve = 0;

  /** With a budget: calls nest as deep as it says, as far as the stack goes, and its fuel for the start is there. */
  constructor(
    readonly exports: WebAssembly.Exports,
    budget?: FilterBudget,
  ) {
    this.swap = exports[FUEL_EXPORT] as MeterSwap;
    if (budget === undefined) return;
    (exports[DEPTH_EXPORT] as MeterSwap)(Math.min(budget.depthSlots, stackSlots()));
    this.reserve = budget.startFuel - firstFuel(budget);
  }

  /** In a call of the host, while the guest starts: adds of the reserve what the counter has room for, and answers how much. */
  refill(): number {
    if (this.reserve === 0) return 0;
    const left = this.swap(0);
    const added = Math.min(this.reserve, METER_LIMITS.counter - left);
    this.swap(left + added);
    this.reserve -= added;
    return added;
  }

  /** Takes fuel for work of the host's, in one of its calls. False: there is less, and nothing is left. */
  take(fuel: number): boolean {
    const left = this.swap(0);
    const isEnough = left >= fuel;
    this.swap(isEnough ? left - fuel : -1);
    return isEnough;
  }

  /** Runs the module's start function, which the engine does not do for a metered one. Throws what that throws. */
  start(): void {
    (this.exports[START_EXPORT] as (() => void) | undefined)?.();
  }

  /**
   * After a trap, before fuel is set again: what ran out. A fault of the guest's own may have come in the middle of a loop, whose
   * work nobody has counted yet: all that it was given counts as used.
   */
  classify(): TrapKind {
    const kind = classifyTrap(this.exports);
    if (kind === "guest") this.swap(0);
    return kind;
  }
}
