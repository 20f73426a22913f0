import { switchCommand } from "../filter/switch.ts";

export const command = switchCommand("release", {
  summary: "let a filter out of quarantine",
  description:
    "A filter that kept breaking is not run any more until its module, settings or budget change, or until this: it starts anew, with no faults counted. A filter that is in quarantine in no proxy, as far as they told, is left as it is: that is an error.",
  says: "what made it break is gone",
});
