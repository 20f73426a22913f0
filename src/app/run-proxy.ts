import { hostname } from "node:os";
import { resolve } from "node:path";
import process from "node:process";
import { type CommandContext, CommandError, EXIT } from "../cli/command.ts";
import { assertExist } from "../cli/files.ts";
import { natsAddress } from "../cli/nats-address.ts";
import { paintOf, printIssues } from "../cli/report.ts";
import { VERSION } from "../cli/version.ts";
import type { SnapshotSource } from "../config/source.ts";
import { systemRng } from "../core/rng.ts";
import { ANY_PLACE, type LogPlaces } from "../proxy/observe/log-place.ts";
import { availableCores } from "../runtime/process.ts";
import { createHost, type HostOptions, moduleFolderOf } from "./create-host.ts";
import type { HeldFolder } from "./held-folder.ts";
import type { ProxyHost } from "./host.ts";
import { refusedText } from "./messages.ts";
import { type ProcessTools, processTools, serveUntilSignal } from "./serving.ts";
import { startAdmin } from "./start-admin.ts";

const DEFAULT_NATS = "nats://127.0.0.1:4222";
/** Below the cache folder. */
const DEFAULT_LOG_FOLDER = "logs";

/** `selvedge proxy`. Resolves when it was stopped. */
export async function runProxy(context: CommandContext): Promise<number> {
  const { flags } = context;
  const tools = processTools(context);
  const id = flags.text("id") ?? hostname().replace(/[^A-Za-z0-9_-]/g, "-");
  // Before a port is asked for: a name with a typing error is not about ports.
  assertExist(flags.list("file"));
  const cache = await holdCache(context, tools);
  try {
    return await runWith(context, tools, id);
  } finally {
    cache?.release();
  }
}

/**
 * Two proxies that keep their last snapshot in one folder take each other's away. Rewritten modules, which is all that one with files
 * keeps there, are named by what they are. A folder that cannot be used ends no proxy: it serves without it.
 */
async function holdCache(context: CommandContext, { log }: ProcessTools): Promise<HeldFolder | undefined> {
  const path = cacheFolderOf(context);
  if (path === undefined || context.flags.list("file").length > 0) return undefined;
  const { tryHoldFolder } = await import("./held-folder.ts");
  const hint = `${path} is of one proxy at a time: stop that one, or give each its own with --cache-dir <folder>`;
  return tryHoldFolder(path, hint, (cause) => log.warn("the cache folder cannot be locked", { folder: path, cause }));
}

async function runWith(context: CommandContext, tools: ProcessTools, id: string): Promise<number> {
  const { flags, terminal } = context;
  const { source, state, fromFiles } = await createSource(context, tools, id);
  const options: HostOptions = {
    id,
    group: groupOf(context),
    mode: flags.text("mode") === "sidecar" ? "sidecar" : "gateway",
    workers: flags.number("workers") ?? availableCores(),
    source,
    sourceState: state,
    logPlaces: logPlacesOf(context, fromFiles),
    cacheFolder: cacheFolderOf(context),
    ...tools,
  };
  const host = await createHost(options);
  const admin = await startAdmin(context, host);
  try {
    await host.start();
    await refuseBadStart(context, host, fromFiles);
    const served = serveUntilSignal({
      drain: () => host.drain(),
      stop: () => host.stop(),
      reopenLogs: () => host.reopenLogs(),
      log: tools.log,
      clock: tools.clock,
    });
    announce(context, host, admin?.url);
    return await served;
  } catch (error) {
    // The issues were printed when the files were read.
    if (fromFiles && error instanceof Error && error.message === "the configuration has issues") {
      terminal.error("nothing was started: correct the files above\n");
      return EXIT.failed;
    }
    throw error;
  } finally {
    await host.stop();
    await admin?.close();
  }
}

function cacheFolderOf({ flags, terminal }: CommandContext): string | undefined {
  const folder = flags.text("cache-dir");
  return folder === undefined ? undefined : resolve(terminal.cwd, folder);
}

/** Who writes the operator's own files may name any file; who publishes over a network may not. */
function logPlacesOf({ flags, terminal }: CommandContext, fromFiles: boolean): LogPlaces {
  const folder = flags.text("log-dir");
  const cacheFolder = flags.text("cache-dir");
  if (folder !== undefined) return { kind: "folder", folder: resolve(terminal.cwd, folder) };
  if (fromFiles) return ANY_PLACE;
  return cacheFolder === undefined
    ? { kind: "streams" }
    : { kind: "folder", folder: resolve(terminal.cwd, cacheFolder, DEFAULT_LOG_FOLDER) };
}

const groupOf = ({ flags }: CommandContext): string => flags.text("group") ?? "gateway";

interface CreatedSource {
  readonly source: SnapshotSource;
  readonly state: () => unknown;
  readonly fromFiles: boolean;
}

async function createSource(context: CommandContext, tools: ProcessTools, id: string): Promise<CreatedSource> {
  const { flags } = context;
  const files = flags.list("file");
  const nats = flags.text("nats");
  if (files.length > 0 && nats !== undefined)
    throw new CommandError("--file and --nats exclude each other", "a proxy has one source of configuration", EXIT.usage);
  if (files.length === 0) return createNats(context, tools, id, nats ?? DEFAULT_NATS);
  const { FileSource } = await import("../config/source-file.ts");
  const { builtinModules } = await import("../config/modules.ts");
  const { pullerOf } = await import("../cli/registry.ts");
  const { watchFile } = await import("../runtime/files.ts");
  const { createFilterTrial } = await import("./filters.ts");
  const { clock, log } = tools;
  let served = false;
  const source = new FileSource({
    paths: files,
    env: context.terminal.env,
    modules: builtinModules(),
    pull: pullerOf(context),
    clock,
    watch: (paths, onChange) => {
      const watches = paths.map((path) => watchFile(path, clock, onChange));
      return () => {
        for (const watch of watches) watch.close();
      };
    },
    tryFilter: createFilterTrial(clock, log, moduleFolderOf(cacheFolderOf(context))),
    onIssues: (issues) => {
      printIssues(context, issues);
      log.error(refusedText(served), { issues: issues.length });
    },
    onGoodAgain: (revision) => log.info("the configuration files are good again, and what is served", { revision }),
    onWarnings: (warnings) => {
      for (const { message, code, resource, hint } of warnings) log.warn(message, { code, resource, hint });
    },
    onOutcome: (outcome) => {
      if (outcome.kind !== "applied") return;
      served = true;
      log.info("configuration applied", { revision: outcome.revision, applyMs: Math.round(outcome.applyMs) });
    },
  });
  return { source, state: () => ({ kind: "files", paths: files }), fromFiles: true };
}

async function createNats(context: CommandContext, tools: ProcessTools, id: string, urls: string): Promise<CreatedSource> {
  const { flags } = context;
  const { createNatsSource } = await import("../config/source-nats.ts");
  const cacheFolder = flags.text("cache-dir");
  const address = natsAddress(context, urls);
  const source = createNatsSource({
    address,
    id,
    group: groupOf(context),
    version: VERSION,
    ...(cacheFolder === undefined ? {} : { cacheFolder }),
    clock: tools.clock,
    rng: systemRng(),
    log: tools.log.for("nats"),
    events: tools.events,
    filterLogs: tools.filterLogs,
  });
  return {
    source,
    state: () => ({ ...source.state(), kind: "nats", connection: source.state().kind, servers: address.servers.join(",") }),
    fromFiles: false,
  };
}

/** A configuration from files that cannot be served at the start (a port in use) ends the program instead of idling. */
async function refuseBadStart(context: CommandContext, host: ProxyHost, fromFiles: boolean): Promise<void> {
  if (!fromFiles || host.ready) return;
  const { issues } = await host.status();
  const first = issues[0];
  if (first === undefined) return;
  if (context.flags.on("json")) printIssues(context, issues);
  throw new CommandError(first.message, first.hint);
}

function announce(context: CommandContext, host: ProxyHost, adminUrl: string | undefined): void {
  const paint = paintOf(context);
  const lines = [`${paint.bold("selvedge proxy")} ${VERSION}, process ${process.pid}`];
  const snapshot = host.snapshot();
  for (const { name, address, protocol } of snapshot?.listeners ?? []) {
    const where = address.kind === "tcp" ? `${protocol}://${address.host}:${address.port}` : `unix:${address.path}`;
    lines.push(`  ${name}  ${where}`);
  }
  if (snapshot?.listeners.length === 0) lines.push("  no listeners: nothing is served until a Gateway has some");
  if (!host.ready) lines.push(`  not ready: ${host.notReadyReason}`);
  if (adminUrl !== undefined) lines.push(`  admin  ${adminUrl}`);
  context.terminal.error(`${lines.join("\n")}\n`);
}
