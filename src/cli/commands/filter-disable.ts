import { switchCommand } from "../filter/switch.ts";

export const command = switchCommand("disable", {
  summary: "stop running a filter, without taking it off its routes",
  description:
    "A disabled filter runs nothing: its onFailure applies, so that requests are refused by one that is closed (the default) and pass one that is open.",
  says: "a filter misbehaves, and nobody has time to mend it now",
});
