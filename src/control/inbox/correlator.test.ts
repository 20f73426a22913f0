import { describe, expect, test } from "bun:test";
import { ReplyCorrelator } from "./correlator.ts";

describe("reply correlator", () => {
  test("direct first, then stored: the result goes to the reply", () => {
    const correlator = new ReplyCorrelator<string>();
    expect(correlator.onArrival("d", "inbox.1", 0)).toBeUndefined();
    expect(correlator.onProcessed(1, "d", "done", true, 1)).toBe("inbox.1");
    expect(correlator.size).toBe(0);
  });

  test("stored first, then direct: the result waits for the reply", () => {
    const correlator = new ReplyCorrelator<string>();
    expect(correlator.onProcessed(1, "d", "done", true, 0)).toBe("");
    expect(correlator.onArrival("d", "inbox.1", 1)).toBe("done");
    expect(correlator.size).toBe(0);
  });

  test("a message without reply uses up its own place, not that of a request with the same content", () => {
    const correlator = new ReplyCorrelator<string>();
    correlator.onArrival("d", "", 0);
    correlator.onArrival("d", "inbox.2", 1);
    expect(correlator.onProcessed(1, "d", "first", true, 2)).toBe("");
    expect(correlator.onProcessed(2, "d", "second", true, 3)).toBe("inbox.2");
  });

  test("a published message whose direct twin comes late does not answer a later request with its own result", () => {
    const correlator = new ReplyCorrelator<string>();
    correlator.onProcessed(1, "d", "first", true, 0);
    expect(correlator.onArrival("d", "", 1)).toBe("first");
    expect(correlator.onArrival("d", "inbox.2", 2)).toBeUndefined();
    expect(correlator.onProcessed(2, "d", "second", true, 3)).toBe("inbox.2");
  });

  test("what was stored before we listened leaves no result behind", () => {
    const correlator = new ReplyCorrelator<string>();
    expect(correlator.onProcessed(1, "d", "old", false, 0)).toBe("");
    expect(correlator.onArrival("d", "inbox.2", 1)).toBeUndefined();
    expect(correlator.onProcessed(2, "d", "new", true, 2)).toBe("inbox.2");
  });

  test("two control planes: what one processed, the other strikes off", () => {
    const [one, two] = [new ReplyCorrelator<string>(), new ReplyCorrelator<string>()];
    for (const each of [one, two]) each.onArrival("d", "inbox.1", 0);
    expect(one.onProcessed(1, "d", "first", true, 1)).toBe("inbox.1");
    two.onProcessed(1, "d", "elsewhere", true, 2);
    for (const each of [one, two]) each.onArrival("d", "inbox.2", 3);
    expect(two.onProcessed(2, "d", "second", true, 4)).toBe("inbox.2");
    // Our own notice comes back to us.
    one.onProcessed(1, "d", "elsewhere", true, 5);
    one.onProcessed(2, "d", "elsewhere", true, 6);
    expect(one.size + two.size).toBe(0);
  });

  test("the one that processes dies before it answers: the other, who gets it again, answers", () => {
    const two = new ReplyCorrelator<string>();
    two.onArrival("d", "inbox.1", 0);
    expect(two.onProcessed(1, "d", "done", true, 1)).toBe("inbox.1");
  });

  test("it dies after it answered and told: the other stays silent and keeps nothing", () => {
    const two = new ReplyCorrelator<string>();
    two.onArrival("d", "inbox.1", 0);
    two.onProcessed(1, "d", "elsewhere", true, 1);
    expect(two.onProcessed(1, "d", "done", true, 2)).toBe("");
    expect(two.onArrival("d", "inbox.2", 3)).toBeUndefined();
  });

  test("notices that overtake direct messages, and each other, still use up one direct message each", () => {
    const correlator = new ReplyCorrelator<string>();
    correlator.onProcessed(2, "d", "second", true, 0);
    correlator.onProcessed(1, "d", "first", true, 1);
    correlator.onArrival("d", "inbox.1", 2);
    correlator.onArrival("d", "inbox.2", 3);
    expect(correlator.size).toBe(0);
    expect(correlator.onArrival("d", "inbox.3", 4)).toBeUndefined();
    expect(correlator.onProcessed(3, "d", "third", true, 5)).toBe("inbox.3");
    expect(correlator.onProcessed(3, "d", "third", true, 6)).toBe("");
    expect(correlator.size).toBe(0);
  });

  test("nothing is kept for ever", () => {
    const correlator = new ReplyCorrelator<string>(100, 10);
    correlator.onArrival("a", "inbox.1", 0);
    correlator.onProcessed(1, "b", "done", true, 0);
    correlator.sweep(10);
    expect(correlator.size).toBe(2);
    correlator.sweep(11);
    expect(correlator.size).toBe(1);
    correlator.sweep(101);
    expect(correlator.size).toBe(0);
    correlator.onArrival("a", "inbox.1", 0);
    correlator.onArrival("a", "inbox.2", 200);
    expect(correlator.onProcessed(2, "a", "done", true, 201)).toBe("inbox.2");
  });

  test("after a reset sequences start again", () => {
    const correlator = new ReplyCorrelator<string>();
    correlator.onProcessed(500, "d", "x", false, 0);
    correlator.onArrival("d", "inbox.1", 1);
    correlator.reset();
    expect(correlator.onProcessed(1, "d", "y", true, 2)).toBe("inbox.1");
  });
});
