import { type Command, type CommandContext, CommandError, EXIT } from "../command.ts";
import type { FlagValues } from "../flags.ts";
import { printJson } from "../report.ts";
import { printable } from "../terminal.ts";

/** How long one address may take for its answer. */
const ANSWER_MS = 2_000;

/** What one address answered. */
interface Answer {
  readonly name: "proxy" | "control";
  readonly url: string;
  readonly ok: boolean;
  /** False: nobody listens there. */
  readonly reached: boolean;
  readonly text: string;
}

export const command: Command = {
  name: "health",
  summary: "ask the proxy or control plane of this machine whether it is well",
  description:
    "Asks the admin address of a proxy and the control API, whichever is there, as health checks of containers and services do. Exit code 0: all that answered are well; 1: one is not; 3: nobody answers. The variables and flags with which they were started name the addresses; --admin-url names a proxy as in other commands.",
  flags: [
    { name: "ready", type: "switch", help: "Ask whether it can serve now (/readyz), not only whether it lives (/healthz)." },
    {
      name: "admin",
      type: "text",
      value: "<address>",
      default: "127.0.0.1:8081",
      help: "Admin address of the proxy as it was started with. `off`: do not ask.",
    },
    { name: "admin-url", type: "text", value: "<url>", help: "Admin address of the proxy, instead of --admin." },
    {
      name: "listen",
      type: "text",
      value: "<address>",
      default: "127.0.0.1:8088",
      help: "Address of the control API. `off`: do not ask.",
    },
  ],
  examples: [
    { says: "health check of a container", line: "selvedge health" },
    { says: "one proxy of several on a machine", line: "selvedge health --admin-url http://127.0.0.1:9081 --listen off" },
    { says: "wait for a sidecar before the application starts", line: "until selvedge health --ready; do sleep 0.1; done" },
  ],
  async run(context) {
    const path = context.flags.on("ready") ? "/readyz" : "/healthz";
    const asked = [ask("proxy", adminOf(context.flags), path), ask("control", context.flags.text("listen"), path)];
    const answers = (await Promise.all(asked)).filter((each) => each !== undefined);
    report(context, answers);
    const reached = answers.filter((each) => each.reached);
    if (reached.length === 0) return EXIT.unreachable;
    return reached.every((each) => each.ok) ? EXIT.ok : EXIT.failed;
  },
};

/** What is said on the command line comes before what the environment says. */
function adminOf(flags: FlagValues): string | undefined {
  return flags.originOf("admin") === "flag" ? flags.text("admin") : (flags.text("admin-url") ?? flags.text("admin"));
}

async function ask(name: Answer["name"], address: string | undefined, path: string): Promise<Answer | undefined> {
  if (address === undefined || address === "off") return undefined;
  const base = /^https?:\/\//i.test(address) ? address : `http://${reachable(address)}`;
  if (!URL.canParse(path, base)) throw new CommandError(`${printable(address)} is no address`, "host:port, or a URL", EXIT.usage);
  const url = new URL(path, base).href;
  try {
    const response = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(ANSWER_MS) });
    return { name, url, reached: true, ok: response.ok, text: (await response.text()).trim().slice(0, 200) };
  } catch (error) {
    // A refused connection is no proxy; one that does not answer in time is an ill one.
    const reached = error instanceof Error && error.name === "TimeoutError";
    return { name, url, reached, ok: false, text: reached ? "no answer in time" : "nobody listens there" };
  }
}

/** Where to reach what listens on an address: on all addresses means here as well. */
function reachable(address: string): string {
  const any = /^(?:0\.0\.0\.0|\[::\])?:(\d+)$/.exec(address);
  return any === null ? address : `${address.startsWith("[") ? "[::1]" : "127.0.0.1"}:${any[1]}`;
}

function report(context: CommandContext, answers: readonly Answer[]): void {
  if (context.flags.on("json")) {
    printJson(context, { answers });
    return;
  }
  const reached = answers.filter((each) => each.reached);
  for (const { name, url, text } of reached.length === 0 ? answers : reached) {
    context.terminal.out(`${name}: ${text} (${url})\n`);
  }
}
