import { expect, test } from "bun:test";
import { CONTROL_LIMITS } from "../../core/limits.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { UnreadableMessages } from "./unreadable.ts";

test("each is named once, however often it is met and however many there are; the newest are shown", () => {
  const lines: string[] = [];
  const messages = new UnreadableMessages({ ...SILENT_LOG, error: (message) => void lines.push(message) });
  const { unreadable, unreadableNamed } = CONTROL_LIMITS;
  for (let round = 0; round < 3; round++) for (let i = 1; i <= unreadable + 1; i++) messages.note("log", i, "not_json");
  expect(lines.length).toBe(unreadable + 1);
  expect(messages.list().map(({ sequence }) => sequence)).toEqual(
    Array.from({ length: unreadable }, (_, i) => unreadable + 1 - i),
  );
  messages.note("view", 1, "wrong_shape");
  expect([lines.length, messages.list()[0]?.where]).toEqual([unreadable + 2, "view"]);
  for (let round = 0; round < 2; round++) for (let i = 1; i <= unreadableNamed; i++) messages.note("log", i, "not_json");
  // One more than there is room for was in view, and the last of the log is not named.
  expect(lines.length).toBe(unreadableNamed + 1);
  expect(lines.at(-1)).toContain("further ones are passed over");
  expect(messages.list()[0]?.sequence).toBe(unreadableNamed - 1);
});
