import { type Body, decodeText, defineFilter, PAUSE, type Request, respond, type Verdict } from "@selvedge/filter";
import { type Limits, measure } from "./measure.js";

interface Settings extends Limits {
  readonly maxBytes: number;
}

const DEFAULTS: Settings = { maxDepth: 10, maxFields: 200, maxAliases: 20, maxBytes: 16_384, introspection: false };

export const { configuration, heads, bodies } = defineFilter<Settings>({
  configure(given): Settings {
    const settings = { ...DEFAULTS, ...(given as Partial<Settings>) };
    for (const key of ["maxDepth", "maxFields", "maxAliases", "maxBytes"] as const)
      if (!Number.isInteger(settings[key])) throw `settings /${key}: must be a whole number`;
    if (typeof settings.introspection !== "boolean") throw "settings /introspection: must be true or false";
    return settings;
  },

  onRequestHead(request, _exchange, end): Verdict | undefined {
    const type = request.header("content-type")?.split(";")[0]?.trim().toLowerCase();
    // A query in the URL would pass by what looks at bodies.
    if (request.method() !== "POST") return refuse(405, "GraphQL is asked by POST", { allow: "POST" });
    if (request.header("content-encoding") !== null) return refuse(415, "the request is encoded");
    if (type !== "application/json" || end || hasQuery(request)) return refuse(415, "GraphQL is asked by a body of application/json");
    return undefined;
  },

  onRequestBody(body, exchange, end): Verdict | undefined {
    if (body.length() > exchange.settings.maxBytes) return refuse(413, "the request is too large");
    if (!end) return PAUSE;
    const reason = judge(body, exchange.settings);
    return reason === undefined ? undefined : refuse(400, reason);
  },
});

const hasQuery = (request: Request): boolean => request.path().includes("?");

/** Why a request is refused; undefined: it is not. */
function judge(body: Body, settings: Settings): string | undefined {
  try {
    const text = decodeText(body.read(0, body.length()));
    const asked: unknown = JSON.parse(text);
    if (Array.isArray(asked)) return "batches are not allowed";
    const query = (asked as { readonly query?: unknown } | null)?.query;
    if (typeof query !== "string") return "there is no query";
    // Readers disagree about which of two members counts.
    if (countMembers(text, "query") !== 1) return "there is more than one query";
    return measure(query, settings);
  } catch (error) {
    return error instanceof SyntaxError || error instanceof URIError ? "the request cannot be read" : String(error);
  }
}

/** How often a name stands as member of the outermost object, however it is escaped. */
function countMembers(json: string, name: string): number {
  let depth = 0;
  let count = 0;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"(?:\s*:)?|[[\]{}]/g)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (depth === 1 && token.endsWith(":") && JSON.parse(token.slice(0, token.lastIndexOf('"') + 1)) === name) count++;
  }
  return count;
}

function refuse(status: number, message: string, headers: Record<string, string> = {}): Verdict {
  return respond(status, JSON.stringify({ errors: [{ message }] }), { "content-type": "application/json", ...headers });
}
