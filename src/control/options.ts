import type { NatsConnection } from "@nats-io/nats-core";
import type { ServedModule } from "../config/compile.ts";
import type { TryFilter } from "../config/filter-check.ts";
import type { ModuleCatalogue } from "../config/modules.ts";
import type { NatsAddress } from "../config/nats/connect.ts";
import type { PullModule } from "../config/oci/pin.ts";
import type { SnapshotBus } from "../config/source-memory.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Rng } from "../core/rng.ts";
import { ConfigCompiler } from "./compiler.ts";
import type { ControlPlane } from "./control.ts";
import type { PlaneObserver } from "./metrics.ts";
import type { Owners } from "./owners/owners.ts";
import type { Persistence } from "./store/memory.ts";

/** Where configuration is kept and how it travels. */
export type ControlBackend =
  /** One process: proxies take their source from `ControlPlane.bus`. */
  | { readonly kind: "memory"; readonly persistence?: Persistence }
  | {
      readonly kind: "nats";
      readonly address: NatsAddress;
      /** A subject token; also the name of the connection. Default `control`. */
      readonly id?: string;
      /** Copies of streams and buckets in a cluster: 1, 3 or 5. Default 1. */
      readonly replicas?: number;
      /** How long a dead control plane holds up a message that it was processing. Default 5,000. */
      readonly ackWaitMs?: number;
      /** How to connect; for tests. Default: `connectNats`. */
      readonly connect?: (address: NatsAddress, id: string) => Promise<NatsConnection>;
    };

export interface ControlPlaneOptions {
  readonly backend: ControlBackend;
  /** Proxy groups. Default `["gateway"]`. */
  readonly groups?: readonly string[];
  /** The built-in filter modules: `builtinModules()`. */
  readonly modules: ModuleCatalogue;
  /** Loads a filter with its settings before anybody gets it; the app brings it. Undefined: not tried. */
  readonly tryFilter?: TryFilter;
  /** Reads files that resources name. Default: refused, because what comes over a network must not read this machine's files. */
  readonly readFile?: (path: string, from: string) => Uint8Array;
  /** Takes modules from registries. Default: filters that name one are refused. */
  readonly pull?: PullModule | undefined;
  /** Shown for in-process proxies. */
  readonly version: string;
  /** Counts applies and what proxies say: `createControlMetrics()`. */
  readonly observer?: PlaneObserver;
  /** Who may write what over NATS. Default: whoever may publish may write everything. */
  readonly owners?: Owners | undefined;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

/** A control plane and, without NATS, the bus that its proxies listen on. */
export interface CreatedControlPlane extends ControlPlane {
  readonly bus: SnapshotBus | undefined;
}

/** The compiler of a control plane. */
export function createCompiler(
  options: ControlPlaneOptions,
  getModule: (digest: string) => Promise<Uint8Array | undefined>,
  published?: (group: string) => Promise<readonly ServedModule[]>,
): ConfigCompiler {
  const { modules, tryFilter, pull, clock } = options;
  const readFile = options.readFile ?? refuseFile;
  const groups = options.groups ?? ["gateway"];
  return new ConfigCompiler({ groups, modules, readFile, tryFilter, getModule, published, pull, clock });
}

function refuseFile(path: string): Uint8Array {
  const wayOut = path.endsWith(".wasm")
    ? `run \`selvedge filter push ${path}\` and name the digest that it prints`
    : "put the content into the resource";
  throw Object.assign(new Error("a control plane reads no files of its machine"), { hint: wayOut });
}
