import { z } from "zod";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { headerEdit, headerMap, headerName, headerValue } from "./headers.ts";
import { host, hostPattern, list, partName, plainText, port, reference } from "./names.ts";
import { pathMatch, pathRewrite, regex } from "./paths.ts";
import { Refusal, refuse, textOf } from "./text.ts";
import { duration, sizeOrUnlimited } from "./units.ts";

const CONDITIONS = ["exact", "regex", "present", "absent"] as const;

/** A header or query parameter by name; without a condition it must be present. */
const valueMatch = <T extends z.ZodType<string, string>>(what: string, name: T) =>
  z
    .strictObject({
      name: name.describe(`Name of the ${what}.`),
      exact: headerValue().optional().describe("Its value; any of several."),
      regex: regex().optional().describe("RE2 syntax, anchored at both ends."),
      present: z.literal(true).optional().describe("It is there, whatever its value. The default."),
      absent: z.literal(true).optional().describe("It is not there."),
    })
    .superRefine((value, context) => {
      const given = CONDITIONS.filter((condition) => value[condition] !== undefined);
      if (given.length > 1)
        refuse(context, new Refusal("choose_one", `Give one of ${CONDITIONS.join(", ")}.`), given[1] as string);
    });

const method = () =>
  textOf("method", (text) => {
    if (/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/.test(text)) return text.toUpperCase();
    return new Refusal("unknown_value", `${JSON.stringify(text)} is not a method.`, "like GET or POST");
  });

const queryName = () =>
  textOf("name", (text) =>
    text.length > 0 && text.length <= 256
      ? text
      : new Refusal("out_of_range", "The name of a query parameter has 1 to 256 characters."),
  );

const match = z.strictObject({
  path: pathMatch().prefault({ prefix: "/" }).describe("Default: every path."),
  methods: list(method()).prefault([]).describe("Any of them; default: all."),
  headers: list(valueMatch("header", headerName())).prefault([]).describe("All of them."),
  query: list(valueMatch("query parameter", queryName())).prefault([]).describe("All of them."),
});

const backendFields = {
  service: reference().describe("Name of a Service."),
  subset: partName().optional().describe("Subset of its endpoints."),
  weight: z.int().min(0).max(1_000_000).default(1).describe("Share of the requests or streams: weight / sum of all weights."),
};
const backend = z.union([
  reference().transform((service) => ({ service, subset: undefined, weight: 1 })),
  z.strictObject(backendFields),
]);

const rewrite = z
  .strictObject({
    host: textOf("host[:port]", readAuthority).optional().describe("Host that the upstream is sent. Default: the caller's."),
    path: pathRewrite().optional().describe("Path that the upstream is sent."),
  })
  .meta({ minProperties: 1 });

function readAuthority(text: string): string | Refusal {
  const match = /^([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$/.exec(text.toLowerCase());
  return match === null ? new Refusal("bad_host", `${JSON.stringify(text)} is not a host.`) : text.toLowerCase();
}

const redirect = z.strictObject({
  status: z.literal([301, 302, 303, 307, 308]).default(302).describe("308 and 307 keep the method."),
  scheme: z.enum(["http", "https"]).optional().describe("Default: as it came."),
  host: host().optional().describe("Default: as it came."),
  port: port().optional().describe("Default: as it came; none when only the scheme or host changes."),
  path: pathRewrite().optional().describe("Default: as it came."),
  stripQuery: z.boolean().default(false).describe("Leave the query away."),
});

const respond = z.strictObject({
  status: z.int().min(200).max(599).default(200).describe("Status of the answer."),
  headers: headerMap().prefault({}).describe("Header fields; content-type is `text/plain; charset=utf-8` unless given."),
  body: plainText(CONFIG_LIMITS.textBytes).default("").describe("Body, sent as UTF-8."),
});

const maintenance = z.strictObject({
  retryAfter: duration(1_000).optional().describe("`Retry-After`, in whole seconds."),
  body: plainText(CONFIG_LIMITS.textBytes).optional().describe("Default: the proxy's own answer (JSON or text by `Accept`)."),
});

export const ACTIONS = ["backends", "redirect", "respond", "maintenance"] as const;

const rule = z
  .strictObject({
    name: partName().optional().describe("Unique in the route; shown in logs and metrics. Default: its position, from 0."),
    matches: list(match).min(1).prefault([{}]).describe("Any of them. Default: every request."),
    backends: list(backend).min(1).optional().describe("Forward to these services. A plain name stands for `{service: name}`."),
    redirect: redirect.optional().describe("Answer with a redirect."),
    respond: respond.optional().describe("Answer directly."),
    maintenance: maintenance.optional().describe("Answer 503; `{}` for the defaults."),
    rewrite: rewrite.optional().describe("Change the host or path on the way to the backends."),
    upgrades: list(z.enum(["websocket"]), 1)
      .optional()
      .describe("HTTP upgrades that are passed through. Default: `[websocket]`; `[]`: the service gets a plain request."),
    upgradeRequired: z
      .boolean()
      .optional()
      .describe("Only upgrades are served: a plain request gets 426 with `Upgrade: websocket`. Default: false."),
    filters: list(reference(), CONFIG_LIMITS.filtersPerRule).prefault([]).describe("Filters in order."),
    authentication: reference().optional().describe("Authentication that runs before the filters."),
    requestHeaders: headerEdit().optional().describe("Changes to the request's header."),
    responseHeaders: headerEdit().optional().describe("Changes to the answer's header."),
    timeout: duration()
      .prefault("0s")
      .describe(
        "End of the request's header to the end of the answer; `0s`: no bound beyond the service's. Upgraded connections are exempt. Beyond: 504.",
      ),
    maxBody: sizeOrUnlimited().optional().describe("Body of a request, at most the listener's `limits.body`. Beyond: 413."),
  })
  .superRefine((value, context) => {
    const given = ACTIONS.filter((action) => value[action] !== undefined);
    if (given.length !== 1) {
      const message = given.length === 0 ? "The rule does nothing." : `The rule has ${given.join(" and ")}.`;
      refuse(context, new Refusal("choose_one", message, `give one of ${ACTIONS.join(", ")}`), ...given.slice(1, 2));
    }
    for (const field of ["rewrite", "upgrades", "upgradeRequired"] as const) {
      if (value[field] === undefined || value.backends !== undefined || given.length === 0) continue;
      refuse(context, new Refusal("conflicting_fields", `${field} needs backends.`), field);
    }
    if (value.upgradeRequired === true && value.upgrades?.length === 0) {
      refuse(
        context,
        new Refusal("conflicting_fields", "upgradeRequired with no upgrade allowed serves nothing."),
        "upgradeRequired",
      );
    }
  });

const tcp = z.strictObject({
  listener: partName().describe("Name of a listener of its gateways whose protocol is `TCP` or `TLS`."),
  backends: list(backend).min(1).describe("Services that take the streams. A plain name stands for `{service: name}`."),
  filters: list(reference(), CONFIG_LIMITS.filtersPerRule)
    .prefault([])
    .describe("Filters in order: proxy-wasm modules that have callbacks for streams."),
  idle: duration(100)
    .optional()
    .describe("A stream in which nothing moves for so long is closed. Default: the listener's `times.tunnelIdle`."),
});

/** Which request, or which stream, goes where. */
export const routeSpec = z
  .strictObject({
    gateways: list(reference()).prefault([]).describe("Gateways it belongs to. Default: all."),
    hosts: list(hostPattern())
      .min(1)
      .prefault(["*"])
      .describe("Hosts it serves: names, `*.example.org`, or `*` for all. For streams of a TLS listener, names of SNI."),
    rules: list(rule)
      .min(1)
      .optional()
      .describe("For requests. The most specific match wins, not the first: see Precedence. Either this or `tcp` is needed."),
    tcp: tcp.optional().describe("For streams of bytes: everything that comes in on one TCP or TLS listener."),
  })
  .superRefine((value, context) => {
    if (value.rules === undefined && value.tcp === undefined)
      refuse(context, new Refusal("missing_field", "rules is missing.", "or tcp, for a TCP or TLS listener"), "rules");
    if (value.rules !== undefined && value.tcp !== undefined)
      refuse(context, new Refusal("choose_one", "A route has either rules or tcp.", "make two routes"), "tcp");
  })
  .describe("Which request or stream goes where, and what happens to it on the way.");

export type RouteSpec = z.output<typeof routeSpec>;
export type RuleSpec = NonNullable<RouteSpec["rules"]>[number];
export type TcpSpec = NonNullable<RouteSpec["tcp"]>;
export type MatchSpec = RuleSpec["matches"][number];
