import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Rng } from "../core/rng.ts";
import type { SnapshotSource } from "./source.ts";

/** How to reach NATS. Everything but `servers` is optional. */
export interface NatsAddress {
  /** `nats://host:4222`, `tls://…`; several are tried in turn. */
  readonly servers: readonly string[];
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  /** Path of a credentials file (JWT and nkey seed). */
  readonly credentialsFile?: string;
  readonly tls?: {
    readonly caFile?: string;
    readonly certificateFile?: string;
    readonly keyFile?: string;
    /** Handshake before the server speaks. */
    readonly first?: boolean;
  };
}

export interface NatsSourceOptions {
  readonly address: NatsAddress;
  /** Name of this proxy: a NATS subject token (letters, digits, `-`, `_`). */
  readonly id: string;
  /** Proxy group; default `gateway`. */
  readonly group: string;
  /** Version of the product, shown in status. */
  readonly version: string;
  /** Folder for the last good snapshot and its modules; undefined: nothing is kept on disk. */
  readonly cacheFolder?: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

export type NatsSourceState =
  | { readonly kind: "connected"; readonly revision: number }
  | { readonly kind: "disconnected"; readonly revision: number; readonly sinceMs: number };

/** Snapshots over NATS. `start` resolves when the first snapshot came (from NATS or disk) or when neither has one yet. */
export interface NatsSource extends SnapshotSource {
  state(): NatsSourceState;
}

/** Makes a source; nothing happens before `start`. */
export function createNatsSource(options: NatsSourceOptions): NatsSource {
  throw new Error(`not written yet: ${options.id}`);
}
