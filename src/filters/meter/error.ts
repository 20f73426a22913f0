/**
 * Why a module is refused. `malformed`: no engine would take it either. `unsupported`: it uses a feature that the meter does not
 * count (the message names it). `limit`: it asks for more than a bound allows.
 */
export type MeterProblem = "malformed" | "unsupported" | "limit";

/** The only thing that metering throws. The message is a sentence part for whoever wrote the module. */
export class MeterError extends Error {
  constructor(
    readonly problem: MeterProblem,
    message: string,
  ) {
    super(message);
    this.name = "MeterError";
  }
}

export const malformed = (message: string): MeterError => new MeterError("malformed", message);
export const unsupported = (message: string): MeterError => new MeterError("unsupported", message);
export const overLimit = (message: string): MeterError => new MeterError("limit", message);
