import { defineFilter, respond } from "@selvedge/filter";
import { write } from "selvedge:filter/log@0.1.0";

// The callbacks that are there are called; one that returns nothing lets the message go on.
export const { configuration, heads } = defineFilter({
  /** Reads the settings; a text that is thrown refuses them. */
  configure(settings) {
    const { greeting = "hello" } = settings;
    if (typeof greeting !== "string") throw "settings /greeting: must be text";
    return { greeting };
  },

  onRequestHead(request) {
    if (request.header("x-block") === null) return;
    write("info", "blocked");
    return respond(403, "blocked\n");
  },

  onResponseHead(response, exchange) {
    response.setHeader("x-greeting", exchange.settings.greeting);
  },
});
