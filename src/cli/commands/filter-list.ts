import type { ModuleSummary } from "../../config/module-summary.ts";
import { BUILTIN_FILTERS } from "../../config/schema/filter.ts";
import { type Command, type CommandContext, EXIT, REMOTE_FLAGS } from "../command.ts";
import { listFilter } from "../filter/states.ts";
import { ONE_PROXY_FLAGS } from "../filter/switch.ts";
import { asTyped } from "../program.ts";
import { withRemote } from "../remote.ts";
import { getAdmin } from "../remote-admin.ts";
import { paintOf, printJson, shortName } from "../report.ts";
import { formatTable, printable } from "../terminal.ts";

export const command: Command = {
  name: "filter list",
  summary: "list the modules that are stored, the filters, and whether they run",
  description:
    "Lists every module of the object store with its digest, size, ABI, what its metadata says, who signed it, and the Filter resources that name its digest; then every Filter with its state: running, disabled by configuration, disabled by hand or quarantined in a proxy, as the proxies told. The built-in filters are among the modules once a proxy was given one. With --admin-url it lists the filters of one proxy and their state there.",
  flags: [...ONE_PROXY_FLAGS, ...REMOTE_FLAGS],
  examples: [
    { says: "what is stored, and what is used", line: "selvedge filter list" },
    { says: "what one proxy runs", line: "selvedge filter list --admin-url http://127.0.0.1:8081" },
  ],
  async run(context) {
    const url = context.flags.text("admin-url") ?? "";
    if (url !== "") return listProxy(context);
    const { modules, filters, proxies } = await withRemote(context, async (remote) => ({
      modules: await remote.listModules(),
      filters: await remote.get({ kind: "Filter" }),
      proxies: (await remote.status()).proxies,
    }));
    const states = filters.map(({ key, written }) => {
      const { spec } = written as WrittenFilter;
      return listFilter(key.replace(/^Filter\//, ""), spec?.disabled === true, proxies);
    });
    const { builtinModules } = await import("../../config/modules.ts");
    const { builtin: builtinOf } = builtinModules();
    const builtins = new Map(BUILTIN_FILTERS.map((name) => [builtinOf(name)?.digest, name]));
    const rows = modules.map((module) => {
      const builtin = builtins.get(module.digest);
      const namesIt = (written: unknown): boolean =>
        JSON.stringify(written).includes(module.digest) ||
        (builtin !== undefined && (written as WrittenFilter).spec?.module?.builtin === builtin);
      const named = filters.filter(({ written }) => namesIt(written)).map(({ key }) => shortName(key));
      return { ...module, name: builtin ?? module.name, filters: named };
    });
    if (context.flags.on("json")) printJson(context, { modules: rows, filters: states });
    else if (rows.length === 0)
      context.terminal.out(asTyped("no module is stored; selvedge filter push stores one\n", context.terminal));
    else context.terminal.out(formatTable([HEADING, ...rows.map(rowOf)], paintOf(context)));
    if (!context.flags.on("json")) context.terminal.out(`built in, by name: ${BUILTIN_FILTERS.join(", ")}\n`);
    if (!context.flags.on("json") && states.length > 0) {
      const table = [["FILTER", "STATE"], ...states.map(({ name, state }) => [printable(name), printable(state)])];
      context.terminal.out(`\n${formatTable(table, paintOf(context))}`);
    }
    return EXIT.ok;
  },
};

interface WrittenFilter {
  readonly spec?: { readonly disabled?: unknown; readonly module?: { readonly builtin?: unknown } };
}

/** What is shown of /filters. */
interface ProxyFilter {
  readonly name?: unknown;
  readonly state?: unknown;
  readonly instances?: unknown;
  readonly traps?: unknown;
  readonly digest?: unknown;
}

async function listProxy(context: CommandContext): Promise<number> {
  const answer = await getAdmin(context, "/filters", "--admin-url names the admin address of a proxy");
  const { filters } = answer as { readonly filters?: readonly ProxyFilter[] };
  if (context.flags.on("json")) printJson(context, answer);
  else if (filters === undefined || filters.length === 0) context.terminal.out("this proxy has no filters\n");
  else {
    // A proxy of an older version does not say each of them.
    const rows = filters.map((each) =>
      [each.name, each.state, each.instances, each.traps, each.digest].map((cell) => printable(String(cell ?? "-"))),
    );
    const heading = ["FILTER", "STATE", "INSTANCES", "TRAPS", "DIGEST"];
    context.terminal.out(formatTable([heading, ...rows], paintOf(context)));
  }
  return EXIT.ok;
}

const HEADING = ["DIGEST", "BYTES", "ABI", "NAME", "VERSION", "SIGNED BY", "NAMED BY"];

function rowOf(module: ModuleSummary & { readonly filters: readonly string[] }): string[] {
  const { digest, sizeBytes, abi, name, version, signers, badSignatures = [], filters } = module;
  const signed = [...signers, ...badSignatures.map(({ code, key }) => `${key} (${code})`.trim())].join(", ");
  const dash = (text: string): string => (text === "" ? "-" : text);
  return [digest, String(sizeBytes), abi, dash(name), dash(version), dash(signed), dash(filters.join(", "))].map(printable);
}
