import { expect, test } from "bun:test";
import { SeededRng } from "../core/rng.ts";
import { PendingBytes } from "./pending.ts";

/** Takes a little at a time, like a kernel under pressure. */
class Sink {
  readonly taken: number[] = [];
  constructor(readonly rng: SeededRng) {}
  write(bytes: Uint8Array, offset: number, length: number): number {
    const count = Math.min(length, this.rng.below(40_000));
    for (let i = 0; i < count; i++) this.taken.push(bytes[offset + i] as number);
    return count;
  }
}

test("what is pushed comes out once and in order, however it is taken", () => {
  const rng = new SeededRng(3);
  for (let round = 0; round < 50; round++) {
    const pending = new PendingBytes();
    const sink = new Sink(rng);
    const expected: number[] = [];
    for (let step = 0; step < 20; step++) {
      const scratch = new Uint8Array(rng.below(30_000) + 1).map(() => rng.below(256));
      const start = rng.below(scratch.byteLength);
      for (let i = start; i < scratch.byteLength; i++) expected.push(scratch[i] as number);
      pending.push(scratch, start, scratch.byteLength);
      scratch.fill(0);
      if (rng.below(3) === 0) pending.flush(sink);
      expect(pending.size).toBe(expected.length - sink.taken.length);
    }
    while (!pending.flush(sink));
    expect(pending.size).toBe(0);
    expect(Buffer.compare(Buffer.from(sink.taken), Buffer.from(expected))).toBe(0);
  }
});

test("a broken connection takes nothing, ever: the queue is emptied", () => {
  const pending = new PendingBytes();
  pending.push(new Uint8Array(100), 0, 100);
  expect(pending.flush({ write: () => -1 })).toBe(true);
  expect(pending.size).toBe(0);
});
