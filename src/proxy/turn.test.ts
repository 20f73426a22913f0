import { expect, test } from "bun:test";
import { VirtualClock } from "../core/clock.ts";
import { Containment } from "../core/containment.ts";
import { ARRIVAL_LIMITS } from "../core/limits.ts";
import { SILENT_LOG } from "../core/log.ts";
import { Turn, TurnClock } from "./turn.ts";

test("the wall clock of a turn tells the moment that its monotonic time does, however long the turn takes", () => {
  const time = new VirtualClock(1_700_000_000_000);
  const turn = new Turn(time);
  const clock = new TurnClock(turn);
  turn.enter();
  const [nowMs, wallMs] = [clock.nowMs(), clock.wallMs()];
  time.advance(40);
  expect([clock.nowMs(), clock.wallMs()]).toEqual([nowMs, wallMs]);
  turn.renew();
  expect([clock.nowMs(), clock.wallMs()]).toEqual([nowMs + 40, wallMs + 40]);
  turn.leave();
  expect([clock.nowMs(), clock.wallMs()]).toEqual([nowMs + 40, wallMs + 40]);
});

/** A batch that runs as long as the test says. */
class Batch {
  readonly ends: (() => void)[] = [];
  running = true;

  join(action: () => void): boolean {
    if (this.running) this.ends.push(action);
    return this.running;
  }
  handOn(): void {
    this.onHandOn();
  }
  onHandOn = (): void => {};
  end(): void {
    this.running = false;
    for (const action of this.ends.splice(0)) action();
  }
}

/** A turn within a batch; what throws in it costs whom it blames. */
function inBatch(): { readonly time: VirtualClock; readonly batch: Batch; readonly turn: Turn } {
  const time = new VirtualClock(1_700_000_000_000);
  const batch = new Batch();
  return { time, batch, turn: new Turn(time, new Containment(time, SILENT_LOG, () => {}), batch) };
}

function marking(turn: Turn, written: string[]): (name: string) => void {
  return (name) => {
    turn.enter();
    turn.mark({ flush: () => void written.push(name), abandon: () => void written.push(`${name} abandoned`) });
    turn.leave();
  };
}

test("a batch is one turn: one time, and all that it made is written when it ends", () => {
  const { time, batch, turn } = inBatch();
  const written: string[] = [];
  const come = marking(turn, written);
  come("a");
  const nowMs = turn.nowMs();
  time.advance(0.5);
  come("b");
  expect(turn.nowMs()).toBe(nowMs);
  expect(written).toEqual([]);
  expect(batch.ends.length).toBe(1);
  batch.end();
  expect(written).toEqual(["a", "b"]);
  come("c");
  expect(written).toEqual(["a", "b", "c"]);
});

test("a batch that takes long writes what is ready before it ends, and knows what time it is", () => {
  const { time, batch, turn } = inBatch();
  const written: string[] = [];
  const come = marking(turn, written);
  come("a");
  expect(turn.nowMs()).toBe(time.nowMs());
  time.advance(ARRIVAL_LIMITS.flushMs - 0.01);
  for (const name of ["b", "c", "d"]) come(name);
  expect(written).toEqual([]);
  time.advance(0.01);
  for (const name of ["e", "f", "g", "h"]) come(name);
  expect(written).toEqual(["a", "b", "c", "d", "e", "f", "g", "h"]);
  expect(turn.nowMs()).toBe(time.nowMs());
  come("i");
  expect(written.length).toBe(8);
  batch.end();
  expect(written.at(-1)).toBe("i");
});

test("while what comes takes long, each is written before the next one has its turn, at a time of its own", () => {
  const { time, batch, turn } = inBatch();
  const written: string[] = [];
  const times: number[] = [];
  const come = marking(turn, written);
  const comeSlowly = (name: string): void => {
    turn.enter();
    times.push(turn.nowMs());
    time.advance(10);
    come(name);
    turn.leave();
  };
  // Nobody knows yet that they take long.
  for (const name of ["a", "b", "c", "d"]) comeSlowly(name);
  expect(written).toEqual(["a", "b", "c", "d"]);
  for (const name of ["e", "f", "g"]) {
    comeSlowly(name);
    expect(written.at(-1)).toBe(name);
  }
  expect(times.slice(4)).toEqual([40, 50, 60]);
  // The next batch still knows.
  batch.end();
  batch.running = true;
  comeSlowly("h");
  expect(written.at(-1)).toBe("h");
  // Quick again: not after each any more.
  for (const name of ["i", "j"]) come(name);
  expect(written.at(-1)).toBe("h");
  batch.end();
  expect(written.at(-1)).toBe("j");
});

test("what throws in a batch costs whom it struck: the turn goes on, and the others are written at its end", () => {
  const { batch, turn } = inBatch();
  const written: string[] = [];
  const come = marking(turn, written);
  come("a");
  turn.enter();
  turn.enter();
  turn.thrown(new Error("a bug"), { abandon: () => void written.push("b abandoned") });
  expect(turn.depth).toBe(1);
  come("c");
  expect(written).toEqual(["b abandoned"]);
  batch.end();
  expect(written).toEqual(["b abandoned", "a", "c"]);
  expect(turn.depth).toBe(0);
});

test("what starts in a batch does so when all of it has been read, in order, before anything is written; outside it starts at once", () => {
  const { batch, turn } = inBatch();
  const seen: string[] = [];
  const come = marking(turn, seen);
  const starting = (name: string, then = (): void => {}) => ({
    start: () => {
      seen.push(`${name} starts`);
      then();
    },
    abandon: () => void seen.push(`${name} abandoned`),
  });
  come("a");
  turn.start(starting("b", () => turn.start(starting("d"))));
  turn.start(
    starting("c", () => {
      turn.enter();
      throw new Error("a bug");
    }),
  );
  expect(seen).toEqual([]);
  batch.end();
  expect(seen).toEqual(["b starts", "c starts", "c abandoned", "d starts", "a"]);
  expect(turn.depth).toBe(0);
  turn.start(starting("e"));
  expect(seen.at(-1)).toBe("e starts");
});

test("a batch that takes long to start writes what is ready meanwhile", () => {
  const { time, batch, turn } = inBatch();
  const seen: string[] = [];
  const come = marking(turn, seen);
  turn.enter();
  for (let i = 0; i < 8; i++) {
    turn.start({
      start: () => {
        seen.push(`${i} starts`);
        turn.nowMs();
        time.advance(ARRIVAL_LIMITS.flushMs);
        come(`${i}`);
      },
      abandon: () => {},
    });
  }
  turn.leave();
  batch.end();
  expect(seen.slice(-8).sort()).not.toEqual(["0", "1", "2", "3", "4", "5", "6", "7"]);
  expect(seen.indexOf("0")).toBeLessThan(seen.indexOf("4 starts"));
  expect(seen.filter((each) => each.length === 1)).toEqual(["0", "1", "2", "3", "4", "5", "6", "7"]);
});

test("what waits is handed on before a timer fires: it came first", () => {
  const time = new VirtualClock(1_700_000_000_000);
  const batch = new Batch();
  const heard: string[] = [];
  batch.onHandOn = () => void heard.push("data");
  const clock = new TurnClock(new Turn(time, undefined, batch));
  clock.setTimer(10, () => void heard.push("timer"));
  clock.setTimer(10, () => void heard.push("cancelled")).cancel();
  time.advance(10);
  expect(heard).toEqual(["data", "timer"]);
});

test("however many wrote a lot in one batch, little memory is kept for the next", () => {
  const turn = new Turn(new VirtualClock(1_700_000_000_000));
  const COUNT = 100;
  const borrow = () => Array.from({ length: COUNT }, () => turn.borrow());
  const kept = (): number => {
    const writers = borrow();
    const fresh = new Set(borrow().map((writer) => writer.buffer.length));
    expect([...fresh].length).toBe(1);
    const [initial = 0] = fresh;
    let bytes = 0;
    for (const writer of writers) bytes += writer.buffer.length - initial;
    for (const writer of writers) turn.release(writer);
    return bytes;
  };
  for (let round = 0; round < 3; round++) {
    const writers = borrow();
    for (const writer of writers) writer.bytes(new Uint8Array(500_000));
    for (const writer of writers) turn.release(writer);
    const bytes = kept();
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(4 * 1024 * 1024);
  }
});
