import type { Clock } from "../../core/clock.ts";
import { OCI_LIMITS } from "../../core/limits.ts";
import { formatDuration } from "../schema/units.ts";
import { RegistryError } from "./failure.ts";

/**
 * Registries that took all the time there is. Applies that are published to NATS wait for each other: without this a registry that is gone,
 * and a pipeline that tries again, would hold up everybody's for good.
 */
export class SilentRegistries {
  /** Until when each is not asked. The one that was noted last stands last. */
  readonly #untilMs = new Map<string, number>();

  constructor(readonly clock: Clock) {}

  /** The time was over while it was asked. One that had little of it, because others used it up, is not to blame. */
  note(registry: string, startMs: number): void {
    const nowMs = this.clock.nowMs();
    if (nowMs - startMs < OCI_LIMITS.pullMs / 2) return;
    this.#untilMs.delete(registry);
    this.#untilMs.set(registry, nowMs + OCI_LIMITS.silentMs);
    const [oldest] = this.#untilMs.keys();
    if (this.#untilMs.size > OCI_LIMITS.silentRegistries && oldest !== undefined) this.#untilMs.delete(oldest);
  }

  /** Why it is not asked now; undefined: it is. */
  refuse(registry: string): RegistryError | undefined {
    const untilMs = this.#untilMs.get(registry);
    if (untilMs === undefined) return undefined;
    if (this.clock.nowMs() < untilMs) return silent();
    this.#untilMs.delete(registry);
    return undefined;
  }
}

const silent = (): RegistryError =>
  new RegistryError(
    "registry_unreachable",
    `it was not there in time a moment ago, and applies over NATS ask it again ${formatDuration(OCI_LIMITS.silentMs)} after that`,
    "name the digest of a module that is stored, or apply with --server http://…, which holds up nobody",
  );
