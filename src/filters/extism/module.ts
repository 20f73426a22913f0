import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { FilterExchange } from "../contract.ts";
import type { CompiledModule } from "../guest/compiler.ts";
import { GuestModule } from "../guest/module.ts";
import { ExtismContext } from "./context.ts";
import type { ExtismGuest, GuestOwner } from "./guest.ts";
import type { ExtismOptions } from "./host.ts";
import { instantiateGuest } from "./instantiate.ts";
import { configOf, type Transforms, transformsOf } from "./settings.ts";

/** Extism's levels, of those that our log can have. */
const LEVELS: Readonly<Record<string, number>> = { debug: 0, info: 2, warn: 3, error: 4 };

/** A loaded plug-in with one configuration. */
export class ExtismModule extends GuestModule<ExtismGuest, ExtismContext, ExtismOptions> implements GuestOwner {
  readonly settings: ReadonlyMap<string, Bytes>;
  readonly transforms: Transforms;

  constructor(
    config: FilterConfig,
    options: ExtismOptions,
    readonly compiled: CompiledModule,
  ) {
    super(config, options);
    this.settings = configOf(config.settings);
    this.transforms = transformsOf(config.settings);
  }

  protected makeGuest(): ExtismGuest {
    return instantiateGuest(this, this.compiled.module);
  }

  protected makeContext(): ExtismContext {
    return new ExtismContext();
  }

  log(level: number, message: string, exchange: FilterExchange | undefined): void {
    this.write(level, message, exchange);
  }

  logLevel(): number {
    return LEVELS[this.options.log.level] ?? LEVELS.info ?? 2;
  }
}
