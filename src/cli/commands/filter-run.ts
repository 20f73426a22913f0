import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { SystemClock } from "../../core/clock.ts";
import { type Command, type CommandContext, CommandError, EXIT, GLOBAL_FLAGS } from "../command.ts";
import { BuildInterrupted, buildProject } from "../filter/build.ts";
import { lookAtPorts } from "../filter/look-at-ports.ts";
import { type Project, readProject } from "../filter/project.ts";
import { watchSources } from "../filter/watch-sources.ts";
import { decideFlags, readCommandLine } from "../flags.ts";
import { paintOf } from "../report.ts";
import { LOG_FLAGS } from "../serve-flags.ts";
import { printable } from "../terminal.ts";

export const command: Command = {
  name: "filter run",
  summary: "serve a gateway with a filter and build it again on every save",
  description:
    "Builds the filter, starts a proxy in this process with the folder's gateway.yaml, and builds again whenever a source is saved: the proxy takes the new module between two requests. A build that fails is shown, and what served before goes on. Ctrl-C stops it.",
  arguments: "<folder>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [
    {
      name: "gateway",
      type: "text",
      value: "<file>",
      defaultText: "gateway.yaml of the folder",
      help: "Configuration to serve.",
    },
    {
      name: "port",
      type: "number",
      value: "<port>",
      min: 1,
      max: 65_535,
      defaultText: "8080, or PORT of the environment",
      help: "PORT for a gateway.yaml that reads its port from it, as those of filter new do.",
    },
    {
      name: "admin",
      type: "text",
      value: "<address>",
      default: "off",
      help: "Admin address: /metrics, /status. `off` for none.",
    },
    ...LOG_FLAGS,
  ],
  examples: [{ says: "try a filter with curl while you write it", line: "selvedge filter run geo" }],
  async run(context) {
    const { flags, terminal } = context;
    const project = readProject(context, context.args[0] ?? "");
    const gateway = flags.text("gateway") ?? join(project.folder, "gateway.yaml");
    const path = resolve(terminal.cwd, gateway);
    if (!existsSync(path)) throw new CommandError(`${gateway}: there is no such file`, "name one with --gateway", EXIT.usage);
    await lookAtPorts(path, environment(context));
    // Watched before it is built: what is saved while the compiler reads would else be in no build.
    const stop = watchSources(project.folder, new SystemClock(), () => void rebuild(context, project));
    try {
      const first = build(context, project);
      building = first.catch(() => {});
      await first;
      return await context.launch.proxy(await proxyContext(context, path));
    } finally {
      stop();
    }
  },
};

/** Builds one after the other; a save during a build is served by the next look, which sees it. */
let building: Promise<void> = Promise.resolve();

function rebuild(context: CommandContext, project: Project): Promise<void> {
  building = building.then(async () => {
    try {
      // Its manifest may have changed too.
      await build(context, readProject(context, project.shown));
    } catch (error) {
      // The same Ctrl-C ends what serves.
      if (error instanceof BuildInterrupted) return;
      const message = error instanceof Error ? error.message : String(error);
      context.terminal.error(`${paintOf(context).red("✗")} ${printable(message)}\nwhat served before goes on\n`);
    }
  });
  return building;
}

async function build(context: CommandContext, project: Project): Promise<void> {
  if (project.manifest.language === undefined) return;
  const { digest, sizeBytes } = await buildProject(context, project);
  context.terminal.error(`${paintOf(context).green("✓")} built ${project.manifest.module}, ${sizeBytes} bytes, ${digest}\n`);
}

/** With the port that a gateway file may read. */
function environment({ flags, terminal }: CommandContext): Readonly<Record<string, string | undefined>> {
  const port = flags.number("port");
  return port === undefined ? terminal.env : { ...terminal.env, PORT: String(port) };
}

/** What `selvedge proxy` would be given. One process: it starts at once, and its log is the filter's. */
async function proxyContext(context: CommandContext, gateway: string): Promise<CommandContext> {
  const { flags, terminal, launch } = context;
  const { command: proxy } = await import("./proxy.ts");
  const specs = [...proxy.flags, ...GLOBAL_FLAGS];
  const argv = ["-f", gateway, "--mode", "sidecar", "--id", "filter-run"];
  argv.push("--admin", flags.text("admin") ?? "off", "--log-level", flags.text("log-level") ?? "info");
  const env = environment(context);
  const values = decideFlags(specs, readCommandLine(argv, specs, "proxy"), {}, new Map());
  return { flags: values, args: [], terminal: { ...terminal, env }, launch };
}
