import { defineFilter, respond, type Verdict } from "@selvedge/filter";
import { write } from "selvedge:filter/log@0.1.0";

interface Settings {
  readonly greeting: string;
}

// The callbacks that are there are called; one that returns nothing lets the message go on.
export const { configuration, heads } = defineFilter<Settings>({
  /** Reads the settings; a text that is thrown refuses them. */
  configure(settings): Settings {
    const { greeting = "hello" } = settings as { greeting?: unknown };
    if (typeof greeting !== "string") throw "settings /greeting: must be text";
    return { greeting };
  },

  onRequestHead(request): Verdict | undefined {
    if (request.header("x-block") === null) return undefined;
    write("info", "blocked");
    return respond(403, "blocked\n");
  },

  onResponseHead(response, exchange): undefined {
    response.setHeader("x-greeting", exchange.settings.greeting);
  },
});
