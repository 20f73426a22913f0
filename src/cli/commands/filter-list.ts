import type { ModuleSummary } from "../../config/module-summary.ts";
import { type Command, EXIT, REMOTE_FLAGS } from "../command.ts";
import { withRemote } from "../remote.ts";
import { paintOf, printJson, shortName } from "../report.ts";
import { formatTable, printable } from "../terminal.ts";

export const command: Command = {
  name: "filter list",
  summary: "list the modules that are stored, and the filters that name them",
  description:
    "Lists every module of the object store with its digest, size, ABI, what its metadata says, who signed it, and the Filter resources that name its digest. The built-in filters are among them once a proxy was given one.",
  flags: REMOTE_FLAGS,
  examples: [{ says: "what is stored, and what is used", line: "selvedge filter list" }],
  async run(context) {
    const { modules, filters } = await withRemote(context, async (remote) => ({
      modules: await remote.listModules(),
      filters: await remote.get({ kind: "Filter" }),
    }));
    const rows = modules.map((module) => ({
      ...module,
      filters: filters.filter(({ written }) => JSON.stringify(written).includes(module.digest)).map(({ key }) => shortName(key)),
    }));
    if (context.flags.on("json")) printJson(context, { modules: rows });
    else if (rows.length === 0) context.terminal.out("no module is stored; selvedge filter push stores one\n");
    else context.terminal.out(printable(formatTable([HEADING, ...rows.map(rowOf)], paintOf(context))));
    return EXIT.ok;
  },
};

const HEADING = ["DIGEST", "BYTES", "ABI", "NAME", "VERSION", "SIGNED BY", "NAMED BY"];

function rowOf(module: ModuleSummary & { readonly filters: readonly string[] }): string[] {
  const { digest, sizeBytes, abi, name, version, signers, filters } = module;
  const dash = (text: string): string => (text === "" ? "-" : text);
  return [digest, String(sizeBytes), abi, dash(name), dash(version), dash(signers.join(", ")), dash(filters.join(", "))];
}
