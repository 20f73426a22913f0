import { join } from "node:path";
import { VERSION } from "../cli/version.ts";
import type { SnapshotSource } from "../config/source.ts";
import type { NodeFacts } from "../filters/attributes.ts";
import type { PublishMessage } from "../filters/guest/grants.ts";
import type { LogPlaces } from "../proxy/observe/log-place.ts";
import type { ProxyHost } from "./host.ts";
import type { ProcessTools } from "./serving.ts";

export interface HostOptions extends ProcessTools {
  readonly id: string;
  /** Its proxy group. */
  readonly group: string;
  readonly mode: "gateway" | "sidecar";
  readonly workers: number;
  readonly source: SnapshotSource;
  readonly sourceState: () => unknown;
  /** Which files the access log may be: any, when the configuration is the operator's own. */
  readonly logPlaces: LogPlaces;
  /** `--cache-dir`: what is worth keeping between starts; undefined: nothing is. */
  readonly cacheFolder?: string | undefined;
}

/** Rewritten filter modules, beside the last good snapshot. */
export function moduleFolderOf(cacheFolder: string | undefined): string | undefined {
  return cacheFolder === undefined ? undefined : join(cacheFolder, "modules");
}

/**
 * A proxy in the shape that was asked for. A gateway on Bun is a supervisor and its workers; a sidecar is this process alone, and
 * so is a gateway on runtimes that cannot share memory between processes (rate limits must be exact).
 */
export async function createHost(options: HostOptions): Promise<ProxyHost> {
  return options.mode === "gateway" && canShareMemory() ? createSupervised(options) : createStandalone(options);
}

function canShareMemory(): boolean {
  return process.versions.bun !== undefined;
}

async function createStandalone(options: HostOptions): Promise<ProxyHost> {
  const { createProxy } = await import("./create-proxy.ts");
  const { ownCounters } = await import("./filters.ts");
  const { Standalone } = await import("./standalone.ts");
  const { clock, log, logPlaces, events, filterLogs } = options;
  const { proxy, observer } = await createProxy({
    ...{ clock, log, logPlaces, events, filterLogs, counters: ownCounters(), reusePort: false },
    ...{ moduleFolder: moduleFolderOf(options.cacheFolder), node: nodeOf(options) },
    ...publishOf(options),
  });
  return new Standalone({ ...options, version: VERSION, dataPlane: proxy, observer });
}

const nodeOf = ({ id, group }: HostOptions): NodeFacts => ({ id, group });

function publishOf({ source }: HostOptions): { readonly publish?: PublishMessage } {
  if (source.publish === undefined) return {};
  return { publish: (_filter, subject, payload) => source.publish?.(subject, payload) === true };
}

async function createSupervised(options: HostOptions): Promise<ProxyHost> {
  const { Supervisor } = await import("./supervisor.ts");
  const { createSharedFolder } = await import("./counters.ts");
  const { createSpawn } = await import("./spawn.ts");
  const { findTakenPorts } = await import("./ports.ts");
  const { selectNet } = await import("../runtime/select.ts");
  const net = await selectNet();
  const folder = createSharedFolder();
  const moduleFolder = moduleFolderOf(options.cacheFolder);
  // Also when the process ends by an error that nobody expected.
  process.once("exit", () => folder.remove());
  return new Supervisor({
    ...options,
    version: VERSION,
    spawn: createSpawn({
      folder: folder.path,
      logLevel: options.logLevel,
      reusePort: true,
      logPlaces: options.logPlaces,
      node: nodeOf(options),
      ...(moduleFolder === undefined ? {} : { moduleFolder }),
      canPublish: options.source.publish !== undefined,
    }),
    storeModule: (digest, bytes) => folder.storeModule(digest, bytes),
    findTakenPorts: (snapshot, held) => findTakenPorts(net, options.workers, snapshot, held),
  });
}
