import type { FilterConfig } from "../../config/snapshot.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { FilterExchange } from "../contract.ts";
import { GuestModule } from "../guest/module.ts";
import type { SharedNamespace } from "../guest/shared.ts";
import { CAS_MISMATCH, OK } from "../proxy-wasm/abi.ts";
import { ComponentContext } from "./context.ts";
import type { ComponentDefinition } from "./definitions.ts";
import { EDITED } from "./edits.ts";
import type { ComponentGuest, EditLike, GuestOwner } from "./guest.ts";
import type { ComponentOptions } from "./host.ts";
import { instantiateGuest } from "./instantiate.ts";
import { GuestMetrics } from "./metrics.ts";

/** Levels as the log gate counts. */
const LEVELS: Readonly<Record<string, number>> = { debug: 1, info: 2, warn: 3, error: 4 };

/** A loaded component with one configuration. */
export class ComponentModule extends GuestModule<ComponentGuest, ComponentContext, ComponentOptions> implements GuestOwner {
  readonly metrics: GuestMetrics;

  constructor(
    config: FilterConfig,
    options: ComponentOptions,
    readonly component: ComponentDefinition,
  ) {
    super(config, options);
    this.metrics = new GuestMetrics(config, options.metrics);
  }

  protected makeGuest(): ComponentGuest {
    return instantiateGuest(this, this.component);
  }

  protected makeContext(): ComponentContext {
    return new ComponentContext();
  }

  log(level: string, message: string, exchange: FilterExchange | undefined): void {
    this.write(LEVELS[level] ?? 2, message.slice(0, PROXY_WASM_LIMITS.logLineBytes), exchange);
  }

  setShared(namespace: SharedNamespace, key: string, value: Uint8Array, version: number | undefined): EditLike {
    if (key.length > PROXY_WASM_LIMITS.nameBytes) return { error: "full" };
    const status = namespace.set(key, value, version ?? 0, this.config.budget);
    if (status === OK) return EDITED;
    if (status === CAS_MISMATCH) return { error: "conflict" };
    this.stats.onFault("budget");
    return { error: "full" };
  }
}
