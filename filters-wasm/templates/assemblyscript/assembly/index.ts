import { Action, Exchange, Filter, logInfo, register } from "./proxy-wasm/filter";
import { Json } from "./proxy-wasm/json";
// The functions that a proxy calls.
export * from "./proxy-wasm/exports";

/** One for each Filter resource that names this module. */
class Greeter extends Filter {
  greeting: string = "hello";

  /** Reads the settings; what is returned refuses them, "" takes them. */
  configure(settings: string): string {
    const json = Json.parse(settings);
    if (json === null) return "settings are not JSON";
    const greeting = json.get("greeting");
    if (greeting === null) return "";
    if (!greeting.isText) return "settings /greeting: must be text";
    this.greeting = greeting.text;
    return "";
  }

  /** Called for each exchange. */
  open(): Exchange {
    return new Greeting(this);
  }
}

class Greeting extends Exchange {
  constructor(private filter: Greeter) {
    super();
  }

  onRequestHeaders(end: bool): Action {
    if (this.requestHeader("x-block") === null) return Action.Continue;
    logInfo("blocked");
    return this.respond(403, "blocked\n");
  }

  onResponseHeaders(end: bool): Action {
    this.setResponseHeader("x-greeting", this.filter.greeting);
    return Action.Continue;
  }
}

register(() => new Greeter());
