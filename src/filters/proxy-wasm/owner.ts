import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { FilterExchange } from "../contract.ts";
import type { Grants } from "../guest/grants.ts";
import type { QueueListener, SharedNamespace, SharedQueue } from "../guest/shared.ts";
import type { FilterStats } from "../stats.ts";
import type { StreamContext } from "./context.ts";
import type { ProxyWasmOptions } from "./host.ts";
import type { GuestInstance } from "./instance.ts";

/** What an instance needs from its module. */
export interface GuestOwner extends QueueListener {
  readonly config: FilterConfig;
  readonly options: ProxyWasmOptions;
  /** `config.settings`, as guests read them. */
  readonly settingsBytes: Bytes;
  /** The filter's. */
  readonly namespace: SharedNamespace;
  /** What an instance shares data in. */
  newNamespace(): SharedNamespace;
  readonly grants: Grants;
  /** Metrics that this filter defined: id → kind. */
  readonly metrics: Map<number, "counter" | "gauge" | "histogram">;
  readonly stats: FilterStats;
  calls: number;
  callbackFuelMost: number;
  /** All fuel that its instances used so far. */
  fuelUsed: number;
  /** Where the share of this second ends. */
  readonly fuelLimit: number;
  /** Why there is no fuel for an exchange. */
  fuelReason(): string;
  /** An id, or -1 when the budget is used up. */
  defineMetric(kind: "counter" | "gauge" | "histogram", name: string): number;
  log(level: number, message: string, exchange: FilterExchange | undefined): void;
  /** Wall-clock time in ns: whole milliseconds unless the filter may see more. */
  timeNanos(): bigint;
  /** Monotonic time in ns, likewise. */
  monotonicNanos(): bigint;
  onFault(guest: GuestInstance): void;
  /** Runs what no chain stands around. */
  guard(guest: GuestInstance, action: () => void): void;
  onContextEnd(guest: GuestInstance, context: StreamContext): void;
  /** Something ran that belongs to no exchange, and nothing of it is to stay. */
  onIdle(guest: GuestInstance): void;
  setTick(guest: GuestInstance, periodMs: number): void;
  /** An item of a queue that an instance shares with nobody. */
  announce(queue: SharedQueue, guest: GuestInstance): void;
  /** An isolated instance is free: words about items may have waited for one. */
  onFree(): void;
  /** Is something left of this second's share? */
  hasShare(): boolean;
  /** Work of its own for which nothing is left: tried again a little later. */
  putOff(guest: GuestInstance, action: () => void): void;
}
