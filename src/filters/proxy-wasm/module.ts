import type { FilterConfig } from "../../config/snapshot.ts";
import { type Bytes, utf8Bytes } from "../../core/bytes.ts";
import type { Timer } from "../../core/clock.ts";
import { PROXY_WASM_LIMITS, QUEUE_LIMITS } from "../../core/limits.ts";
import type { FilterExchange } from "../contract.ts";
import type { CompiledModule } from "../guest/compiler.ts";
import { GuestModule } from "../guest/module.ts";
import type { SharedQueue } from "../guest/shared.ts";
import { StreamContext } from "./context.ts";
import type { ProxyWasmOptions } from "./host.ts";
import type { GuestInstance } from "./instance.ts";
import { instantiateGuest, type StartKeeper } from "./instantiate.ts";
import type { GuestOwner } from "./owner.ts";
import { QueueTurns } from "./queue-turns.ts";

/** A loaded proxy-wasm module with one configuration. */
export class ProxyWasmModule extends GuestModule<GuestInstance, StreamContext, ProxyWasmOptions> implements GuestOwner {
  readonly metrics = new Map<number, "counter" | "gauge" | "histogram">();
  readonly #metricIds = new Map<string, number>();
  readonly #ticks = new Map<GuestInstance, Timer>();
  readonly #queueTurns: QueueTurns;
  #holdsTicks = false;
  #settingsBytes: Bytes | undefined;
  readonly #keeper: StartKeeper = { kept: undefined };

  constructor(
    config: FilterConfig,
    options: ProxyWasmOptions,
    readonly compiled: CompiledModule,
  ) {
    super(config, options);
    this.#queueTurns = new QueueTurns(this, options.clock);
  }

  get settingsBytes(): Bytes {
    this.#settingsBytes ??= utf8Bytes(this.config.settings);
    return this.#settingsBytes;
  }

  protected makeGuest(): GuestInstance {
    const guest = instantiateGuest(this, this.compiled.module, this.#keeper);
    this.#queueTurns.wake();
    return guest;
  }

  protected override get keptBytes(): number {
    return this.#keeper.kept?.memory.keptBytes ?? 0;
  }

  protected makeContext(): StreamContext {
    return new StreamContext();
  }

  log(level: number, message: string, exchange: FilterExchange | undefined): void {
    this.write(level, message, exchange);
  }

  defineMetric(kind: "counter" | "gauge" | "histogram", name: string): number {
    const key = `${kind}:${name}`;
    const known = this.#metricIds.get(key);
    if (known !== undefined) return known;
    if (this.#metricIds.size >= this.config.budget.metrics) return -1;
    const id = this.options.metrics.define(this.config.name, kind, name);
    if (id < 0) return -1;
    this.#metricIds.set(key, id);
    this.metrics.set(id, kind);
    return id;
  }

  setTick(guest: GuestInstance, periodMs: number): void {
    this.#ticks.get(guest)?.cancel();
    this.#ticks.delete(guest);
    if (periodMs === 0 || guest.isRetired) return;
    const delayMs = Math.max(PROXY_WASM_LIMITS.tickMinMs, periodMs);
    const tick = (): void => {
      this.#ticks.set(guest, this.options.clock.setTimer(delayMs, tick));
      if (!this.#holdsTicks && this.hasShare()) this.guard(guest, () => guest.onTick());
    };
    this.#ticks.set(guest, this.options.clock.setTimer(delayMs, tick));
  }

  holdTicks(held: boolean): void {
    this.#holdsTicks = held;
    this.#queueTurns.hold(held);
  }

  putOff(guest: GuestInstance, action: () => void): void {
    this.stats.waits++;
    this.options.clock.setTimer(QUEUE_LIMITS.retryMs, () => this.guard(guest, action));
  }

  onItem(queue: SharedQueue): void {
    this.#queueTurns.add(queue);
  }

  announce(queue: SharedQueue, guest: GuestInstance): void {
    this.#queueTurns.add(queue, guest);
  }

  freeInstance(): GuestInstance | undefined {
    if (!this.config.isolated) return this.pool.current;
    for (const guest of this.pool.instances) if (guest.canHear) return guest;
    return undefined;
  }

  onFree(): void {
    this.#queueTurns.wake();
  }

  override dispose(): void {
    super.dispose();
    this.#queueTurns.end();
  }

  onIdle(guest: GuestInstance): void {
    this.pool.give(guest);
  }
}
