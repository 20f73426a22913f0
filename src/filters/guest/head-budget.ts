import type { HeaderBlock } from "../../core/head.ts";
import { FILTER_HEAD_LIMITS } from "../../core/limits.ts";
import type { Direction } from "../contract.ts";

/** What a filter adds to heads and trailers of one exchange: in each direction as much as a peer may send, and no more. */
export class HeadBudget {
  #requestFields = 0;
  #requestBytes = 0;
  #responseFields = 0;
  #responseBytes = 0;

  /** Counts fields that are added or set. False: too many, or too large; then nothing was counted. */
  take(direction: Direction, fields: number, bytes: number): boolean {
    const isRequest = direction === "request";
    const fieldsAfter = (isRequest ? this.#requestFields : this.#responseFields) + fields;
    const bytesAfter = (isRequest ? this.#requestBytes : this.#responseBytes) + bytes;
    if (fieldsAfter > FILTER_HEAD_LIMITS.fields || bytesAfter > FILTER_HEAD_LIMITS.bytes) return false;
    if (isRequest) {
      this.#requestFields = fieldsAfter;
      this.#requestBytes = bytesAfter;
    } else {
      this.#responseFields = fieldsAfter;
      this.#responseBytes = bytesAfter;
    }
    return true;
  }

  reset(): void {
    this.#requestFields = 0;
    this.#requestBytes = 0;
    this.#responseFields = 0;
    this.#responseBytes = 0;
  }
}

/** A head that a filter makes by itself (a response, a call) is no larger than a peer's. */
export function fitsHead({ names, values }: Pick<HeaderBlock, "names" | "values">): boolean {
  return names.length <= FILTER_HEAD_LIMITS.fields && sizeOfFields(names, values) <= FILTER_HEAD_LIMITS.bytes;
}

export function sizeOfFields(names: readonly string[], values: readonly string[]): number {
  let size = 0;
  for (let i = 0; i < names.length; i++) size += (names[i] as string).length + (values[i] as string).length;
  return size;
}
