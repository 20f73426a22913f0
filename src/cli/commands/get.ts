import { hintFor } from "../../config/suggest.ts";
import type { StoredResource } from "../../control/model/resource.ts";
import { type Command, type CommandContext, CommandError, EXIT, REMOTE_FLAGS, SHOW_SECRETS_HELP } from "../command.ts";
import { joinKind, KINDS, parseKind, parseReference } from "../reference.ts";
import { type ResourceFilter, withRemote } from "../remote.ts";
import { paintOf, printJson, shortName } from "../report.ts";
import { formatTable, printable } from "../terminal.ts";

export const command: Command = {
  name: "get",
  summary: "show resources",
  description:
    "Lists resources, all of a kind, or one. One resource is printed as YAML, several as a table; -o chooses. The YAML can be edited and applied again. Private keys and key sets that stand in it, and filter settings that are secret by their module's schema or whose name sounds like it, are [redacted], unless --show-secrets.",
  arguments: "[<kind> [<name>] | <kind/name>]",
  argumentSuggestions: KINDS,
  argumentsMax: 2,
  flags: [
    { name: "namespace", short: "n", type: "text", value: "<name>", help: "Only this namespace." },
    {
      name: "output",
      short: "o",
      type: "text",
      value: "<form>",
      choices: ["table", "yaml", "json"],
      help: "Form of the output.",
    },
    { name: "show-secrets", type: "switch", help: SHOW_SECRETS_HELP },
    ...REMOTE_FLAGS,
  ],
  examples: [
    { says: "list all routes", line: "selvedge get routes" },
    { says: "save one resource to edit it", line: "selvedge get Route/shop > shop.yaml" },
    { says: "the same of a gateway with a private key in it", line: "selvedge get Gateway/edge --show-secrets > edge.yaml" },
  ],
  async run(context) {
    const { flags, terminal } = context;
    const target = targetOf(context);
    const single = target?.includes("/") === true;
    const resources = await withRemote(context, (remote) => remote.get(filterOf(context, target), flags.on("show-secrets")));
    if (target !== undefined && single && resources.length === 0)
      throw new CommandError(`there is no ${target}`, await hintOfMissing(context, target), EXIT.notFound);
    const form = flags.on("json") ? "json" : (flags.text("output") ?? (single ? "yaml" : "table"));
    if (form === "json") printJson(context, single ? resources[0] : resources);
    else if (form === "yaml") terminal.out(await toYaml(resources));
    else printTable(context, resources);
    return EXIT.ok;
  },
};

/** What is asked for: all, a kind, or `kind/name`. */
function targetOf({ args }: CommandContext): string | undefined {
  const [target, other] = joinKind(args);
  if (other === undefined) return target;
  throw new CommandError("get shows one resource, or all of a kind", "selvedge get Route/shop", EXIT.usage);
}

function filterOf({ flags }: CommandContext, target: string | undefined): ResourceFilter {
  const namespace = flags.text("namespace");
  const inNamespace = namespace === undefined ? {} : { namespace };
  if (target === undefined) return inNamespace;
  if (!target.includes("/")) return { kind: parseKind(target), ...inNamespace };
  const reference = parseReference(target);
  return { kind: reference.kind, namespace: namespace ?? reference.namespace, name: reference.name };
}

/** The nearest of what there is in its kind; that kind, when there is none such. */
async function hintOfMissing(context: CommandContext, target: string): Promise<string> {
  const { name = "", ...rest } = filterOf(context, target);
  const kinds = KINDS.filter((each) => each === rest.kind);
  if (kinds.length === 0) return hintFor(rest.kind ?? "", KINDS);
  const others = await withRemote(context, (remote) => remote.get(rest));
  return hintFor(
    name,
    others.map(({ key }) => key.slice(key.lastIndexOf("/") + 1)),
  );
}

async function toYaml(resources: readonly StoredResource[]): Promise<string> {
  const { stringify } = await import("yaml");
  return resources.map(({ written }) => stringify(written)).join("---\n");
}

function printTable(context: CommandContext, resources: readonly StoredResource[]): void {
  if (resources.length === 0) {
    context.terminal.out("no resources\n");
    return;
  }
  const rows = resources.map(({ key, revision }) => [printable(shortName(key)), String(revision)]);
  context.terminal.out(formatTable([["RESOURCE", "REVISION"], ...rows], paintOf(context)));
}
