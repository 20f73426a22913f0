import { classifyTrap, FUEL_EXPORT, type MeterSwap, START_EXPORT, type TrapKind } from "../meter/index.ts";

/** The fuel of one instance of a metered module. */
export class FuelGauge {
  /** Sets the fuel, answers what was left of it; negative: it ran out. */
  readonly swap: MeterSwap;

  constructor(readonly exports: WebAssembly.Exports) {
    this.swap = exports[FUEL_EXPORT] as MeterSwap;
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
