import { SystemClock } from "../../core/clock.ts";
import { FAILURES } from "../../core/failure.ts";
import { type Command, type CommandContext, CommandError, EXIT, type FlagSpec, REMOTE_FLAGS } from "../command.ts";
import { parseReference, type Reference } from "../reference.ts";
import { withRemote } from "../remote.ts";
import { postAdmin } from "../remote-admin.ts";
import { paintOf, printJson, reportOutcome } from "../report.ts";
import { printable } from "../terminal.ts";
import { listFilter } from "./states.ts";

export type FilterSwitch = "disable" | "enable" | "release";

interface SwitchTexts {
  readonly summary: string;
  readonly description: string;
  readonly says: string;
}

const WHERE =
  " Without --admin-url that is a change of the Filter resource, which goes to all proxies and stays: it is in the history, and whoever may not apply the resource may not do this. With --admin-url it is a word to one proxy, which works without a control plane and is forgotten when that proxy restarts.";

/** For commands that speak to the mesh, or to one proxy. */
export const ONE_PROXY_FLAGS: readonly FlagSpec[] = [
  { name: "admin-url", type: "text", value: "<url>", help: "Admin address of one proxy, instead of the whole mesh." },
  { name: "admin-token", type: "text", value: "<token>", help: "Bearer token of that address, when it is not loopback." },
];

/** `filter disable`, `enable` and `release`: one way for all of a mesh, and one for a single proxy. */
export function switchCommand(action: FilterSwitch, { summary, description, says }: SwitchTexts): Command {
  return {
    ...{ name: `filter ${action}`, summary, description: description + WHERE },
    ...{ arguments: "<name>", argumentsMin: 1, argumentsMax: 1 },
    flags: [...ONE_PROXY_FLAGS, ...REMOTE_FLAGS],
    examples: [
      { says, line: `selvedge filter ${action} geo` },
      { says: "one proxy alone", line: `selvedge filter ${action} prod/geo --admin-url http://127.0.0.1:8081` },
    ],
    run: (context) => {
      const reference = parseReference(`Filter/${(context.args[0] ?? "").replace(/^filters?\//i, "")}`);
      const url = context.flags.text("admin-url");
      return url === undefined || url === "" ? switchMesh(context, action, reference) : switchProxy(context, action, reference);
    },
  };
}

function switchMesh(context: CommandContext, action: FilterSwitch, { kind, namespace, name }: Reference): Promise<number> {
  return withRemote(context, async (remote) => {
    const [found] = await remote.get({ kind, namespace, name }, true);
    if (found === undefined)
      throw new CommandError(`there is no filter ${namespace}/${name}`, "selvedge get filters lists them", EXIT.notFound);
    const written = found.written as { readonly spec?: Readonly<Record<string, unknown>> };
    const { disabled: _disabled, ...spec } = written.spec ?? {};
    const shown = printable(`${namespace}/${name}`);
    if (action === "enable" && written.spec?.disabled !== true && !context.flags.on("json")) {
      context.terminal.out(`${shown} is not disabled in the mesh; nothing changed\n`);
      context.terminal.out(
        `a proxy may have it disabled by hand: selvedge filter enable ${shown} --admin-url <its admin address>\n`,
      );
      return EXIT.ok;
    }
    if (action === "disable") Object.assign(spec, { disabled: true });
    if (action === "release") {
      const { proxies } = await remote.status();
      if (listFilter(`${namespace}/${name}`, false, proxies).quarantinedIn.length === 0)
        throw new CommandError(
          `${shown} is not in quarantine in any proxy, as far as they told; nothing changed`,
          `one proxy by itself: selvedge filter release ${shown} --admin-url <its admin address>`,
        );
    }
    if (action === "release") Object.assign(spec, written.spec, { release: new Date(new SystemClock().wallMs()).toISOString() });
    const outcome = await remote.apply(JSON.stringify({ ...written, spec }), false);
    const exit = reportOutcome(context, outcome);
    if (outcome.ok && action === "disable") sayMeaning(context, written.spec?.onFailure);
    return exit;
  });
}

async function switchProxy(context: CommandContext, action: FilterSwitch, reference: Reference): Promise<number> {
  const path = `/filters/${encodeURIComponent(reference.namespace)}/${encodeURIComponent(reference.name)}/${action}`;
  const answer = await postAdmin(context, path, "--admin-url names the admin address of a proxy");
  if (context.flags.on("json")) printJson(context, answer);
  else {
    const { workers, onFailure } = answer as { readonly workers?: number; readonly onFailure?: unknown };
    // A proxy of an older version does not say.
    const where = workers === undefined ? "this proxy" : `${workers} ${workers === 1 ? "worker" : "workers"} of this proxy`;
    const name = printable(`${reference.namespace}/${reference.name}`);
    context.terminal.out(`${paintOf(context).green("✓")} ${name}: ${action}d in ${where}\n`);
    if (action === "disable") sayMeaning(context, onFailure);
  }
  return EXIT.ok;
}

/** What a disabled filter means for its routes. `onFailure`: as its resource has it; undefined: the default. */
function sayMeaning({ flags, terminal }: CommandContext, onFailure: unknown): void {
  if (flags.on("json")) return;
  const { status } = FAILURES.filter_disabled;
  terminal.out(
    onFailure === "open"
      ? "onFailure open: routes that name it go on without it until it is enabled\n"
      : `onFailure closed: routes that name it answer ${status} until it is enabled\n`,
  );
}
