import type { Clock } from "./clock.ts";

/** The time as `Date` has it (RFC 9110 §5.6.7, IMF-fixdate), made once a second. */
export class HttpDate {
  #second = Number.NaN;
  #text = "";

  constructor(readonly clock: Clock) {}

  text(): string {
    const second = Math.floor(this.clock.wallMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#text = new Date(second * 1000).toUTCString();
    }
    return this.#text;
  }
}
