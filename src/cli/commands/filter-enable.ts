import { switchCommand } from "../filter/switch.ts";

export const command = switchCommand("enable", {
  summary: "run a filter again that was disabled",
  description: "Takes back what `filter disable` did at the same place: the whole mesh, or one proxy.",
  says: "run it again",
});
