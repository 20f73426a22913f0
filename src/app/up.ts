import { join, resolve } from "node:path";
import process from "node:process";
import { type CommandContext, CommandError, EXIT } from "../cli/command.ts";
import { readFiles } from "../cli/files.ts";
import { natsAddress } from "../cli/nats-address.ts";
import { programOf } from "../cli/program.ts";
import { paintOf, printIssues, printWarnings } from "../cli/report.ts";
import { VERSION } from "../cli/version.ts";
import type { ConfigIssue } from "../config/issue.ts";
import type { NatsAddress } from "../config/nats/connect.ts";
import type { SnapshotSource } from "../config/source.ts";
import type { ControlBackend } from "../control/options.ts";
import { systemRng } from "../core/rng.ts";
import { availableCores, onSignal } from "../runtime/process.ts";
import { createHost } from "./create-host.ts";
import { type DemoServices, demoConfigYaml, demoServiceYaml, moveListeners, startDemoServices } from "./demo.ts";
import { demoCertificate } from "./demo-certificate.ts";
import type { ProxyHost } from "./host.ts";
import type { HttpServer } from "./http-server.ts";
import { findProgram, type OwnNats, startNatsServer } from "./nats-server.ts";
import { type ProcessTools, parseAddress, processTools, serveUntilSignal } from "./serving.ts";
import { startAdmin } from "./start-admin.ts";
import { type ControlServer, startControl } from "./start-control.ts";
import { openStateFolder, type StateFolder } from "./state-folder.ts";

const GATEWAY_ID = "gateway-1";

/** What is running, in the order in which it was started; it is stopped the other way round. */
interface Running {
  state?: StateFolder;
  nats?: OwnNats;
  /** Where NATS is; undefined: an in-process bus takes its place. */
  address?: NatsAddress;
  control?: ControlServer;
  demo?: DemoServices;
  host?: ProxyHost;
  admin?: HttpServer | undefined;
}

/** `selvedge up`. Resolves when it was stopped. */
export async function runUp(context: CommandContext): Promise<number> {
  const tools = processTools(context);
  const running: Running = {};
  const hearAgain = stopWhenInterrupted(running);
  try {
    await start(context, tools, running);
    const { host } = running;
    if (host === undefined) return EXIT.failed;
    const served = serveUntilSignal({
      drain: () => host.drain(),
      stop: () => host.stop(),
      reopenLogs: () => host.reopenLogs(),
      log: tools.log,
      clock: tools.clock,
    });
    // Only now: between the two nobody would hear a signal, and it would kill us.
    hearAgain();
    announce(context, running);
    return await served;
  } finally {
    await stop(running);
  }
}

/** A signal while things are still being started: what runs by then is stopped. The result ends this. */
function stopWhenInterrupted(running: Running): () => void {
  let stopping = false;
  const onStop = (code: number) => (): void => {
    if (stopping) return;
    stopping = true;
    // Whatever goes wrong while stopping half of it: a server that we started ends with this process.
    void stop(running).then(
      () => process.exit(code),
      () => process.exit(code),
    );
  };
  const offs = [onSignal("SIGINT", onStop(130)), onSignal("SIGTERM", onStop(143))];
  return () => {
    // Once it stops, it must not be killed by the same signal passed on again.
    if (!stopping) for (const off of offs) off();
  };
}

async function start(context: CommandContext, tools: ProcessTools, running: Running): Promise<void> {
  const { flags, terminal } = context;
  refusePortsWithoutDemo(context);
  running.state = await openStateFolder(resolve(terminal.cwd, flags.text("state-dir") ?? ".selvedge"), tools.clock);
  const { path: state } = running.state;
  const say = progress(context);
  const backend = await chooseBackend(context, tools, running.state, running, say);
  say("control plane");
  running.control = await startControl(context, backend, { clock: tools.clock, log: tools.log, rng: systemRng() });
  await applyFirst(context, tools, running, state, say);
  say("gateway");
  const { source, sourceState } = await createSource(tools, running);
  running.host = await createHost({
    id: GATEWAY_ID,
    group: "gateway",
    mode: "gateway",
    workers: flags.number("workers") ?? availableCores(),
    source,
    sourceState,
    logPlaces: { kind: "folder", folder: logFolder(state) },
    cacheFolder: join(state, "cache"),
    ...tools,
  });
  running.admin = await startAdmin(context, running.host);
  await running.host.start();
  await refuseBadStart(running.host, running.control);
}

/** Ports of one's own listeners are in the resources of `-f`: there may be many Gateways, and this must not listen where nobody expects it. */
function refusePortsWithoutDemo({ flags }: CommandContext): void {
  if (flags.on("demo")) return;
  // Of the environment and the file of flags other starts have something.
  const named = ["http", "https"].find((name) => flags.originOf(name) === "flag");
  if (named !== undefined)
    throw new CommandError(
      `--${named} is a port of the demo's gateway`,
      "add --demo; ports of your own gateway are in its resource: spec.listeners[].port",
      EXIT.usage,
    );
}

async function stop({ host, admin, demo, control, nats, state }: Running): Promise<void> {
  await host?.stop();
  await admin?.close();
  await demo?.close();
  await control?.close();
  await nats?.close();
  state?.release();
}

/** One line that changes on a terminal, several lines elsewhere. */
function progress(context: CommandContext): (step: string) => void {
  const paint = paintOf(context);
  return (step) => context.terminal.error(`${paint.dim(`· ${step}`)}\n`);
}

async function chooseBackend(
  context: CommandContext,
  { clock }: ProcessTools,
  { path: state, noteNats }: StateFolder,
  running: Running,
  say: (step: string) => void,
): Promise<ControlBackend> {
  const { flags, terminal } = context;
  const wanted = flags.text("nats");
  if (wanted !== undefined && wanted !== "off") {
    running.address = natsAddress(context, wanted);
    return { kind: "nats", address: running.address };
  }
  const program = wanted === "off" ? undefined : terminal.env.SELVEDGE_NATS_SERVER || findProgram("nats-server", terminal.env);
  if (program === undefined) {
    if (wanted !== "off") say("no nats-server found: the in-process bus takes its place (`npm start` obtains one)");
    const { folderPersistence } = await import("../control/store/persistence.ts");
    return { kind: "memory", persistence: folderPersistence(join(state, "config")) };
  }
  say(`NATS (${program})`);
  const address = parseAddress(flags.text("nats-listen") ?? "", "nats-listen");
  running.nats = await startNatsServer(program, address, join(state, "nats"), clock, noteNats);
  running.address = { servers: [running.nats.url] };
  return { kind: "nats", address: running.address };
}

async function createSource(
  tools: ProcessTools,
  running: Running,
): Promise<{ source: SnapshotSource; sourceState: () => unknown }> {
  const { address = { servers: [] }, control } = running;
  const bus = control?.plane.bus;
  if (bus !== undefined)
    return { source: bus.source(GATEWAY_ID, tools.events, tools.filterLogs), sourceState: () => ({ kind: "in-process" }) };
  const { createNatsSource } = await import("../config/source-nats.ts");
  const source = createNatsSource({
    address,
    id: GATEWAY_ID,
    version: VERSION,
    // No cache: our own control plane has published the newest revision by now. An older one from disk may be what was just corrected.
    clock: tools.clock,
    rng: systemRng(),
    log: tools.log.for("nats"),
    events: tools.events,
    filterLogs: tools.filterLogs,
  });
  const servers = serversOf(running);
  return { source, sourceState: () => ({ ...source.state(), kind: "nats", connection: source.state().kind, servers }) };
}

/** The demo when nothing is configured yet, the demo's services where they listen, and the files of `-f`. */
async function applyFirst(
  context: CommandContext,
  { clock }: ProcessTools,
  running: Running,
  state: string,
  say: (step: string) => void,
): Promise<void> {
  const { flags } = context;
  const nowMs = clock.wallMs();
  const { control } = running;
  if (control === undefined) return;
  if (flags.on("demo")) {
    say("demo services hello and echo");
    running.demo = await startDemoServices(state, say);
    const isNew = control.plane.status().resources === 0;
    const services = demoServiceYaml(running.demo);
    const [http, https] = [flags.number("http") ?? FIRST_PORT, flags.number("https") ?? 8443];
    const demo = demoConfigYaml(http, https, demoCertificate(state, nowMs), accessLogPath(state));
    await apply(context, control, isNew ? `${services}---\n${demo}` : services, "<demo>");
    if (!isNew) await moveGateway(context, control, gatewayOf(demo), state, say);
  }
  if (flags.list("file").length > 0) {
    const joined = await readFiles(context);
    await apply(context, control, joined.text, "<files>", joined.place);
  }
}

/** Of a start that finds a configuration: ports that are asked for count, each by itself; everything else stays as it was left. */
async function moveGateway(
  context: CommandContext,
  control: ControlServer,
  fresh: string,
  state: string,
  say: (step: string) => void,
): Promise<void> {
  const { flags } = context;
  const askedFor = (name: string) => (flags.originOf(name) === "default" ? undefined : flags.number(name));
  const asked = { http: askedFor("http"), https: askedFor("https") };
  if (asked.http === undefined && asked.https === undefined)
    return say(`listeners as they were left in ${state}; --http and --https change them`);
  const [left] = control.plane.get({ kind: "Gateway", namespace: "default", name: "demo" });
  if (left === undefined) return apply(context, control, fresh, "<demo>");
  const { gateway, without } = moveListeners(left.written, asked);
  for (const name of without)
    say(`the gateway demo has no listener for ${name.toUpperCase()} any more: --${name} changes nothing`);
  await apply(context, control, JSON.stringify(gateway), "<demo>");
}

/** Whoever publishes may name files here, and nowhere else in the state folder. */
const logFolder = (state: string): string => join(state, "logs");
const accessLogPath = (state: string): string => join(logFolder(state), "access.log");

/** The first document of the demo's configuration: where it listens. */
const gatewayOf = (yaml: string): string => yaml.slice(0, yaml.indexOf("\n---\n") + 1);

async function apply(
  context: CommandContext,
  { plane }: ControlServer,
  text: string,
  file: string,
  place: (issue: ConfigIssue) => ConfigIssue = (issue) => issue,
): Promise<void> {
  const outcome = await plane.apply({ text, author: "up", origin: "file", file });
  if (outcome.ok) return printWarnings(context, (outcome.warnings ?? []).map(place));
  printIssues(context, outcome.issues.map(place));
  throw new CommandError("the configuration was refused", "correct the issues above; `selvedge validate -f` checks files");
}

/** A gateway that cannot listen at the start (a port in use) is told at once, with the way out. */
async function refuseBadStart(host: ProxyHost, control: ControlServer): Promise<void> {
  if (host.ready || control.plane.status().resources === 0) return;
  const first = (await host.status()).issues[0];
  if (first !== undefined) throw new CommandError(first.message, first.hint);
}

/** Without user and password. */
const serversOf = ({ address }: Running): string | undefined => address?.servers.join(",");

function announce(context: CommandContext, running: Running): void {
  const { host, admin, control, demo } = running;
  const paint = paintOf(context);
  const listeners = host?.snapshot()?.listeners ?? [];
  const urls = listeners.flatMap(({ address, protocol }) =>
    address.kind === "tcp" ? [`${protocol}://${shownHost(address.host)}:${address.port}`] : [`unix:${address.path}`],
  );
  const rows: [string, string][] = [
    ["gateway", urls.length === 0 ? "nothing configured yet" : urls.join("  ")],
    ["admin", admin === undefined ? "off" : `${admin.url}  (/status /metrics /readyz /config_dump)`],
    ["control", `${control?.url ?? ""}  (API, /openapi.json)`],
    ["NATS", serversOf(running) ?? "in-process bus"],
  ];
  const logPath = host?.snapshot()?.mesh.accessLog.path;
  if (logPath !== undefined && logPath !== "stdout") rows.push(["log", logPath]);
  if (demo !== undefined) rows.push(["demo", `hello on port ${demo.helloPort}, echo on port ${demo.echoPort}`]);
  const lines = [
    `${paint.green("✓")} ${paint.bold("selvedge")} ${VERSION} is up`,
    ...rows.map(([name, text]) => `  ${name.padEnd(9)}${text}`),
  ];
  const base = urls.find((url) => url.startsWith("http:"));
  lines.push("", paint.bold("Try"));
  if (base !== undefined) lines.push(`  curl -i '${base}${demo === undefined ? "/" : "/echo?say=hi"}'`);
  lines.push(
    ...triesOf(context, running, base ?? urls.find((url) => url.startsWith("https:"))).map((line) => `  ${line}`),
    "",
    "Ctrl-C stops everything.",
  );
  context.terminal.out(`${lines.join("\n")}\n`);
}

const FIRST_PORT = 8080;
/** Without a listener a route is served nowhere. */
const FIRST_GATEWAY = `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: news }
spec: { listeners: [{ port: ${FIRST_PORT} }] }
---
`;
const NEWS = `apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: news }
spec: { rules: [{ matches: [{ path: { exact: /news } }], respond: { body: "fresh news" } }] }`;

/** A command that makes a route, over NATS when its tool is there, and asks for it, and one that shows who serves what. `base`: what listens. */
function triesOf({ flags, terminal }: CommandContext, running: Running, base: string | undefined): string[] {
  const { control } = running;
  const natsUrl = serversOf(running);
  const program = programOf(terminal);
  const server = flags.originOf("listen") === "default" ? "" : ` --server ${control?.url ?? ""}`;
  const nats = natsUrl === undefined ? undefined : findProgram("nats", terminal.env);
  const text = base === undefined ? FIRST_GATEWAY + NEWS : NEWS;
  const change =
    nats === undefined
      ? `echo '${text}' | ${program} apply${server} -f - --wait`
      : `${nats} pub -s ${natsUrl} selvedge.config.apply '${text}' && sleep 1`;
  return [
    `${change} && curl ${base?.startsWith("https:") ? "-ik" : "-i"} ${base ?? `http://127.0.0.1:${FIRST_PORT}`}/news`,
    `${program} status${server}`,
  ];
}

const shownHost = (host: string): string =>
  host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
