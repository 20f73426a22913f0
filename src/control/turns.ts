/** Work that is done one after the other, in the order in which it came. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** How many have not ended. */
  get waiting(): number {
    return this.#waiting;
  }

  take<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const next = this.#last.then(work).finally(() => {
      this.#waiting--;
    });
    this.#last = next.catch(() => {});
    return next;
  }

  /** Resolves when all that came before has ended. */
  async done(): Promise<void> {
    await this.#last;
  }
}
