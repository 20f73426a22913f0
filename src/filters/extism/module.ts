import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import { EXTISM_LIMITS } from "../../core/limits.ts";
import type { FilterContext, FilterExchange } from "../contract.ts";
import type { CompiledModule } from "../guest/compiler.ts";
import { GuestModule } from "../guest/module.ts";
import { ExtismContext } from "./context.ts";
import { type ExtismGuest, type GuestCallbacks, type GuestOwner, NO_CALLBACKS } from "./guest.ts";
import type { ExtismOptions } from "./host.ts";
import { EXTISM_MODULE } from "./imports.ts";
import { instantiateGuest } from "./instantiate.ts";
import { configOf, type Transforms, transformsOf } from "./settings.ts";
import { suspension } from "./suspension.ts";
import { type LeasingOwner, WaitingContext } from "./waiting.ts";

/** Extism's levels, of those that our log can have. */
const LEVELS: Readonly<Record<string, number>> = { debug: 0, info: 2, warn: 3, error: 4 };

/** Whether its callbacks may wait: it imports what they wait for, may call a service, and the engine can do it. */
function mayWait({ module }: CompiledModule, { capabilities }: FilterConfig): boolean {
  if (suspension === undefined || (capabilities?.callouts ?? []).length === 0) return false;
  return WebAssembly.Module.imports(module).some((each) => each.module === EXTISM_MODULE && each.name === "http_request");
}

/** A loaded plug-in with one configuration. */
export class ExtismModule extends GuestModule<ExtismGuest, ExtismContext, ExtismOptions> implements GuestOwner, LeasingOwner {
  readonly settings: ReadonlyMap<string, Bytes>;
  readonly transforms: Transforms;
  readonly waits: boolean;
  /** Of the first instance: which there are. Undefined: there was none yet. */
  #callbacks: GuestCallbacks | undefined;

  constructor(
    config: FilterConfig,
    options: ExtismOptions,
    readonly compiled: CompiledModule,
  ) {
    const waits = mayWait(compiled, config);
    super(config, options, waits && !config.isolated ? EXTISM_LIMITS.instances : undefined);
    this.waits = waits;
    this.settings = configOf(config.settings);
    this.transforms = transformsOf(config.settings);
    if (!config.isolated) this.pool.onRoom = () => this.room.serve();
  }

  protected makeGuest(): ExtismGuest {
    const guest = instantiateGuest(this, this.compiled.module);
    this.#callbacks = guest.callbacks;
    return guest;
  }

  protected makeContext(): ExtismContext {
    return this.waits ? new WaitingContext() : new ExtismContext();
  }

  override open(exchange: FilterExchange): FilterContext {
    if (!this.waits || this.config.isolated) return super.open(exchange);
    const refusal = this.hasShare() ? this.pool.refusal() : this.fuelReason();
    if (refusal !== undefined) return this.refuse(refusal, exchange);
    const context = this.beginContext() as WaitingContext;
    context.openLeasing(this, this.#callbacks ?? NO_CALLBACKS, exchange);
    return context;
  }

  // ------------------------------------------------------------ instances for one callback each (LeasingOwner)

  lease(context: WaitingContext, start: (leased: ExtismGuest | string) => void): ExtismGuest | string | undefined {
    const begin = (leased: ExtismGuest | string): ExtismGuest | string => {
      if (typeof leased !== "string") leased.contexts.add(context);
      return leased;
    };
    const leased = this.room.now();
    return leased === undefined ? this.room.wait(context, (later) => start(begin(later))) : begin(leased);
  }

  giveBack(guest: ExtismGuest, context: WaitingContext): void {
    guest.contexts.delete(context);
    this.pool.give(guest);
    this.room.serve();
  }

  onLost(guest: ExtismGuest): void {
    this.pool.lose(guest);
    this.room.serve();
  }

  onAbandonedEnd(guest: ExtismGuest): void {
    this.pool.give(guest);
    this.room.serve();
  }

  forget(context: WaitingContext): void {
    this.room.forget(context);
  }

  log(level: number, message: string, exchange: FilterExchange | undefined): void {
    this.write(level, message, exchange);
  }

  logLevel(): number {
    return LEVELS[this.options.log.level] ?? LEVELS.info ?? 2;
  }
}
