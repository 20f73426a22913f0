import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { latin1Bytes, writeLatin1 } from "../src/core/bytes.ts";
import { VirtualClock } from "../src/core/clock.ts";
import { Deadline, DeadlineQueue } from "../src/core/deadline.ts";
import { HeaderBlock, hostOf } from "../src/core/head.ts";
import { SeededRng } from "../src/core/rng.ts";
import { ByteWriter } from "../src/core/writer.ts";
import { describe, test } from "./kit/suite.ts";

test("texts of any length are written one byte per character, and nothing beside them", () => {
  const all = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join("");
  for (const length of [0, 1, 13, 14, 15, 16, 255, 256, 5_000]) {
    const text = all.repeat(20).slice(0, length);
    const bytes = Buffer.alloc(length + 8, 7);
    writeLatin1(bytes, text, 4);
    assert.deepEqual(bytes.subarray(4, 4 + length), latin1Bytes(text));
    assert.deepEqual([...bytes.subarray(0, 4), ...bytes.subarray(4 + length)], new Array(8).fill(7));
  }
});

describe("HeaderBlock", () => {
  test("keeps duplicates and order; set replaces the first and removes the others", () => {
    const block = HeaderBlock.from([
      ["A", "1"],
      ["b", "2"],
      ["a", "3"],
      ["c", "4"],
    ]);
    assert.deepEqual(block.getAll("a"), ["1", "3"]);
    block.set("a", "9");
    assert.deepEqual(block.entries(), [
      ["a", "9"],
      ["b", "2"],
      ["c", "4"],
    ]);
    assert.equal(block.remove("b"), true);
    assert.equal(block.remove("b"), false);
    block.set("d", "5");
    assert.deepEqual(block.entries(), [
      ["a", "9"],
      ["c", "4"],
      ["d", "5"],
    ]);
  });

  test("hostOf cuts the port and keeps IPv6 brackets", () => {
    assert.equal(hostOf("a.b:80"), "a.b");
    assert.equal(hostOf("a.b"), "a.b");
    assert.equal(hostOf("[::1]:80"), "[::1]");
    assert.equal(hostOf("[::1]"), "[::1]");
  });
});

describe("DeadlineQueue", () => {
  test("fires at most one tick late and never early, over a range beyond the wheel", () => {
    const clock = new VirtualClock();
    const queue = new DeadlineQueue(clock, 50);
    const rng = new SeededRng(7);
    const late: number[] = [];
    for (let i = 0; i < 2_000; i++) {
      const afterMs = rng.below(120_000);
      const dueMs = clock.nowMs() + afterMs;
      queue.arm(new Deadline(() => late.push(clock.nowMs() - dueMs)), afterMs);
    }
    clock.advance(130_000);
    assert.equal(late.length, 2_000);
    assert.ok(Math.min(...late) >= 0, `early by ${-Math.min(...late)} ms`);
    assert.ok(Math.max(...late) <= 100, `late by ${Math.max(...late)} ms`);
    assert.equal(queue.size, 0);
    assert.equal(clock.pending, 0);
  });

  test("re-arming moves it either way, disarming silences it", () => {
    const clock = new VirtualClock();
    const queue = new DeadlineQueue(clock, 50);
    const fired: string[] = [];
    const a = new Deadline(() => fired.push(`a@${clock.nowMs()}`));
    const b = new Deadline(() => fired.push(`b@${clock.nowMs()}`));
    const c = new Deadline(() => fired.push("c"));
    queue.arm(a, 1_000);
    queue.arm(b, 1_000);
    queue.arm(c, 1_000);
    clock.advance(500);
    queue.arm(a, 100);
    queue.arm(b, 5_000);
    queue.disarm(c);
    clock.advance(10_000);
    assert.deepEqual(fired, ["a@600", "b@5500"]);
  });
});

describe("ByteWriter", () => {
  test("grows, keeps every byte of latin1 text", () => {
    const writer = new ByteWriter(4);
    writer.latin1("caf\xe9");
    writer.byte(0xff);
    writer.bytes(new Uint8Array([1, 2, 3]));
    assert.deepEqual([...writer.view()], [0x63, 0x61, 0x66, 0xe9, 0xff, 1, 2, 3]);
  });
});

describe("SeededRng", () => {
  test("replays from its seed and is roughly uniform", () => {
    const a = new SeededRng(42);
    const b = new SeededRng(42);
    const buckets = new Array<number>(10).fill(0);
    for (let i = 0; i < 10_000; i++) {
      const value = a.below(10);
      assert.equal(value, b.below(10));
      buckets[value] = (buckets[value] ?? 0) + 1;
    }
    assert.ok(Math.min(...buckets) > 850 && Math.max(...buckets) < 1150, buckets.join(" "));
  });
});
