import type { Snapshot } from "../../config/snapshot.ts";
import { Failure } from "../../core/failure.ts";
import { HeaderBlock, type RequestHead } from "../../core/head.ts";
import type { RouteExplanation } from "../../proxy/routing/router.ts";
import { type Command, type CommandContext, CommandError, EXIT } from "../command.ts";
import { compileNamedFiles } from "../compile-files.ts";
import { fetchConfigDump } from "../remote-admin.ts";
import { paintOf, printIssues, printJson } from "../report.ts";
import { REGISTRY_FLAGS } from "../serve-flags.ts";
import { printable } from "../terminal.ts";

export const command: Command = {
  name: "routes",
  summary: "explain which route a request takes",
  description:
    "Shows for one request which rule it matches, and for every other rule of its host the first thing that does not fit, most specific first. Reads files, or what a running proxy serves. Nothing is sent to a service. Ends with 4 when nothing matches.",
  arguments: "why <method> <url>",
  argumentsMin: 3,
  argumentsMax: 3,
  flags: [
    { name: "file", short: "f", type: "list", value: "<path>", help: "File, folder, or - for standard input." },
    { name: "header", short: "H", type: "list", value: "<name: value>", help: "Header of the request." },
    { name: "gateway", type: "text", value: "<name>", help: "Only this gateway (namespace/name)." },
    {
      name: "admin-url",
      type: "text",
      value: "<url>",
      default: "http://127.0.0.1:8081",
      help: "Admin address of the proxy to ask when no file is named.",
    },
    { name: "admin-token", type: "text", value: "<token>", help: "Bearer token, when the address is not loopback." },
    ...REGISTRY_FLAGS,
  ],
  examples: [
    { says: "before an apply", line: "selvedge routes why GET http://shop.example.org/cart -f config/" },
    { says: "in a running proxy, with a header", line: "selvedge routes why POST http://shop.example.org/cart -H x-beta:1" },
  ],
  async run(context) {
    const { args, flags } = context;
    if (args[0] !== "why") throw new CommandError(`routes has no ${printable(args[0] ?? "")}`, "write routes why", EXIT.usage);
    const files = flags.list("file").length > 0;
    const content = files ? await compileFiles(context) : ((await fetchConfigDump(context, ASK_HINT)) as Content);
    if (content === undefined) return EXIT.failed;
    const explained = await explain(context, content);
    const matched = explained.some(({ why }) => why.match !== undefined);
    if (flags.on("json")) {
      printJson(context, {
        matched,
        gateways: explained.map(({ gateway, why }) => ({
          gateway,
          ...why,
          match: why.match === undefined ? null : { address: why.match.address, variables: why.match.variables },
        })),
      });
    } else for (const each of explained) print(context, each);
    return matched ? EXIT.ok : EXIT.notFound;
  },
};

type Content = Pick<Snapshot, "routes" | "listeners">;

/** Undefined: the files have issues, which were printed. */
async function compileFiles(context: CommandContext): Promise<Content | undefined> {
  const { compiled, issues } = await compileNamedFiles(context);
  if (issues.length === 0) return compiled.snapshot;
  const { orderIssues } = await import("../../config/issue.ts");
  printIssues(context, orderIssues(issues));
  return undefined;
}

const ASK_HINT = "name files with -f, or the admin address of a proxy with --admin-url";

interface Explained {
  readonly gateway: string;
  readonly why: RouteExplanation;
}

async function explain(context: CommandContext, { routes, listeners }: Content): Promise<readonly Explained[]> {
  const { buildRouter } = await import("../../proxy/routing/build.ts");
  const { loadPatternEngine } = await import("../../proxy/routing/pattern.ts");
  await loadPatternEngine();
  const router = buildRouter(routes, listeners);
  const wanted = context.flags.text("gateway");
  const forRequests = listeners.filter(({ protocol }) => protocol !== "tcp" && protocol !== "tls");
  const gateways = new Map(forRequests.map((listener) => [listener.gateway, listener]));
  if (wanted !== undefined && !gateways.has(wanted))
    throw new CommandError(
      `there is no gateway ${printable(wanted)}`,
      `known: ${[...gateways.keys()].join(", ")}`,
      EXIT.notFound,
    );
  const explained: Explained[] = [];
  for (const [gateway, listener] of gateways) {
    if (wanted !== undefined && gateway !== wanted) continue;
    explained.push({ gateway, why: router.explain(gateway, await readRequest(context, listener.paths)) });
  }
  if (explained.length === 0) throw new CommandError("there is no gateway", "a Gateway resource makes one", EXIT.notFound);
  return explained;
}

/** The request as the codec would hand it over. */
async function readRequest(
  { args, flags }: CommandContext,
  policy: Snapshot["listeners"][number]["paths"],
): Promise<RequestHead> {
  const { renormalisePath } = await import("../../proxy/codec/path.ts");
  const [, method = "", text = ""] = args;
  const parts = /^(https?):\/\/([^/?#]+)([^#]*)/.exec(text);
  if (parts === null) throw new CommandError(`${printable(text)} is no URL`, "write http://host/path", EXIT.usage);
  const [, scheme = "", authority = "", target = ""] = parts;
  const normal = renormalisePath(target.startsWith("/") ? target : `/${target}`, policy);
  if (normal instanceof Failure) throw new CommandError(`a gateway would refuse this path: ${normal.detail}`, "", EXIT.usage);
  const headers = HeaderBlock.from(flags.list("header").map(readHeader));
  const { path, query } = normal;
  return { method, scheme, authority: authority.toLowerCase(), path, query, version: 11, upgrade: undefined, headers };
}

function readHeader(text: string): [string, string] {
  const colon = text.indexOf(":");
  if (colon < 1) throw new CommandError(`"${printable(text)}" is no header`, "write -H 'name: value'", EXIT.usage);
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}

function print(context: CommandContext, { gateway, why }: Explained): void {
  const { terminal } = context;
  const paint = paintOf(context);
  terminal.out(`Gateway ${printable(gateway)}, host ${printable(why.host)}: `);
  if (!why.served) terminal.out("not served here\n");
  else if (why.match !== undefined) terminal.out(`${paint.green(printable(why.match.address))}\n`);
  else terminal.out(why.allow.length > 0 ? `${paint.red("405")}, allowed: ${why.allow.join(", ")}\n` : `${paint.red("404")}\n`);
  for (const [name, value] of why.match?.variables ?? []) terminal.out(`  {${printable(name)}} = ${printable(value)}\n`);
  let won = false;
  for (const { address, host, match, mismatch } of why.candidates) {
    const mark = mismatch !== "" ? paint.red("✗") : won ? "-" : paint.green("✓");
    const reason = mismatch !== "" ? `: ${printable(mismatch)} does not match` : won ? ": one above is more specific" : "";
    if (mismatch === "") won = true;
    terminal.out(`  ${mark} ${printable(address)} (${printable(host)}, ${printable(match)})${reason}\n`);
  }
}
