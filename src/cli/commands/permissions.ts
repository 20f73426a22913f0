import { natsPermissions, type PermissionOptions } from "../../control/permissions.ts";
import { type Command, CommandError, EXIT } from "../command.ts";
import { readText } from "../files.ts";
import { printJson } from "../report.ts";

const PASSWORDS_HINT = "--passwords names a file with a line `user: password` for each user";

export const command: Command = {
  name: "permissions",
  summary: "print the users and permissions for a nats-server",
  description:
    "Prints the accounts block of a nats-server configuration in which every proxy, publisher and control plane may do what it needs and nothing else. Passwords come from a file with a line `user: password` for each user; a bcrypt hash (`nats server passwd`) does as well.",
  flags: [
    { name: "control", type: "text", value: "<user>", default: "control", help: "User of the control planes." },
    {
      name: "proxies",
      type: "list",
      value: "<id[=group]>",
      help: "A proxy by its --id, and its --group when that is not gateway.",
    },
    { name: "publishers", type: "list", value: "<user>", help: "Who may change configuration, and see nothing." },
    { name: "editors", type: "list", value: "<user>", help: "Who may change configuration, and read all of it." },
    {
      name: "filter-subjects",
      type: "list",
      value: "<subject>",
      help: "What filters may publish (capabilities.nats.publish), with wildcards behind the first token.",
    },
    { name: "account", type: "text", value: "<name>", default: "SELVEDGE", help: "Name of the account." },
    { name: "passwords", type: "text", value: "<file>", help: "File with the passwords (YAML), - for standard input." },
  ],
  examples: [
    {
      says: "a gateway, and a pipeline that deploys",
      line: "selvedge permissions --proxies edge-1 --editors deploy --passwords passwords.yaml > accounts.conf",
    },
  ],
  async run(context) {
    const { flags, terminal } = context;
    const file = flags.text("passwords");
    const text = file === undefined ? "" : file === "-" ? await terminal.readStdin() : readText(file, PASSWORDS_HINT);
    const passwords = await readPasswords(text, file ?? "");
    const control = flags.text("control") ?? "";
    const proxies = flags.list("proxies").map(proxyOf);
    const [publishers, editors] = [flags.list("publishers"), flags.list("editors")];
    const users = [control, ...proxies.map(({ id }) => id), ...publishers, ...editors];
    const missing = users.filter((user) => (passwords.get(user) ?? "") === "");
    if (missing.length > 0)
      throw new CommandError(`no password for ${[...new Set(missing)].join(", ")}`, PASSWORDS_HINT, EXIT.usage);
    const passwordOf = (user: string): { readonly password: string } => ({ password: passwords.get(user) ?? "" });
    const options: PermissionOptions = {
      control: { user: control, ...passwordOf(control) },
      proxies: proxies.map((proxy) => ({ ...proxy, ...passwordOf(proxy.id) })),
      publishers: [
        ...publishers.map((user) => ({ user, ...passwordOf(user) })),
        ...editors.map((user) => ({ user, ...passwordOf(user), read: true })),
      ],
      filterSubjects: flags.list("filter-subjects"),
      account: flags.text("account") ?? "",
    };
    const block = render(options);
    if (flags.on("json")) printJson(context, { accounts: block });
    else terminal.out(block);
    return EXIT.ok;
  },
};

function proxyOf(text: string): { readonly id: string; readonly group?: string } {
  const [id = "", group] = text.split("=");
  return group === undefined ? { id } : { id, group };
}

/** Names that would get the rights of others are refused, and the flags can be corrected. */
function render(options: PermissionOptions): string {
  try {
    return natsPermissions(options);
  } catch (error) {
    throw new CommandError((error as Error).message, "", EXIT.usage);
  }
}

async function readPasswords(text: string, file: string): Promise<ReadonlyMap<string, string>> {
  const { parse } = await import("yaml");
  let content: unknown;
  try {
    content = parse(text) ?? {};
  } catch (error) {
    throw new CommandError(`${file}: ${(error as Error).message.split("\n")[0] ?? "is not YAML"}`);
  }
  const entries =
    typeof content === "object" && content !== null && !Array.isArray(content) ? Object.entries(content) : undefined;
  if (entries === undefined) throw new CommandError(`${file}: a line \`user: password\` for each user is expected`);
  for (const [user, password] of entries)
    if (typeof password !== "string") throw new CommandError(`${file}: the password of ${user} is no text`, "put it in quotes");
  return new Map(entries.map(([user, password]) => [user, String(password)]));
}
