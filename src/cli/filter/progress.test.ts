import { expect, test } from "bun:test";
import { VirtualClock } from "../../core/clock.ts";
import type { CommandContext } from "../command.ts";
import { startProgress } from "./progress.ts";

function runFor(isTty: boolean, json: boolean): { readonly text: string; readonly pending: number } {
  let text = "";
  const error = (more: string): void => {
    text += more;
  };
  const context = { terminal: { error, isTty }, flags: { on: () => json } } as unknown as CommandContext;
  const clock = new VirtualClock();
  const progress = startProgress(context, "building geo", clock);
  clock.advance(1_000);
  progress.say("Compiling\x1b[2J serde");
  clock.advance(9_500);
  progress.end();
  clock.advance(60_000);
  return { text, pending: clock.pending };
}

test("a terminal sees one line that changes and goes away; what a compiler says cannot move the cursor", () => {
  const { text, pending } = runFor(true, false);
  expect(text).toStartWith(
    "\r\x1b[2Kbuilding geo\r\x1b[2Kbuilding geo, 1 s\r\x1b[2Kbuilding geo, 2 s: Compiling\uFFFD[2J serde\r",
  );
  expect([text.endsWith("\r\x1b[2K"), text.includes("\n"), pending]).toEqual([true, false, 0]);
});

test("elsewhere there is a line now and then, and none with --json", () => {
  expect(runFor(false, false)).toEqual({ text: "building geo\nbuilding geo, 10 s: Compiling\uFFFD[2J serde\n", pending: 0 });
  expect(runFor(false, true)).toEqual({ text: "", pending: 0 });
});
