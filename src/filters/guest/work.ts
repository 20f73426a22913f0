import { HOST_WORK } from "../../core/limits.ts";
import type { FuelGauge } from "./fuel.ts";

const { movedBytes, keptBytes, textFuel, itemFuel, owedMax } = HOST_WORK;

/** Work of the host cost more than was left of the guest's fuel. Thrown within a host call and caught at its edge: never into a guest. */
export class OutOfFuel extends Error {}

/**
 * What the host does for one instance, paid in the instance's fuel by its size: every way by which bytes go between the two counts here.
 * Nothing depends on what the host happens to remember, so the same calls cost the same on every runtime. What is small is kept until
 * fuel is settled: looking into a counter costs as much as a small call.
 */
export class HostWork {
  /** Not taken out of the tanks yet. */
  owed = 0;
  /** By how much more was taken out of all tanks together than was owed. */
  #surplus = 0;
  /** Of the instance, or of all core instances of a component: each is to bound the host's work besides its own. */
  readonly #tanks: FuelGauge[] = [];

  addTank(tank: FuelGauge): FuelGauge {
    this.#tanks.push(tank);
    return tank;
  }

  /** Bytes that move between memories that are there. */
  moved(bytes: number): void {
    this.pay(Math.floor(bytes / movedBytes));
  }

  /** Bytes that the host makes room for. */
  kept(bytes: number): void {
    this.pay(Math.floor(bytes / keptBytes));
  }

  /** A text that is made of bytes, or the other way. */
  text(length: number): void {
    this.pay(length * textFuel);
  }

  /** Values that are made one by one: fields, items of lists, parts of a path. */
  items(count: number): void {
    this.pay(count * itemFuel);
  }

  /** Call it before the work is done. Throws `OutOfFuel` when there is not enough: then the guest ends at its next step. */
  pay(fuel: number): void {
    this.owed += fuel;
    if (this.owed >= owedMax) this.#collect();
  }

  /** The same for what is done before or after a guest runs: it only counts. */
  owe(fuel: number): void {
    this.owed += fuel;
  }

  #collect(): void {
    const { owed } = this;
    const tanks = this.#tanks;
    this.owed = 0;
    let isEnough = true;
    for (const tank of tanks) isEnough = tank.take(owed) && isEnough;
    this.#surplus += owed * (tanks.length - 1);
    if (isEnough) return;
    for (const tank of tanks) tank.swap(-1);
    throw new OutOfFuel();
  }

  /** What was used besides what is missing in the tanks. Call it whenever those are filled. */
  settle(): number {
    const { owed } = this;
    const surplus = this.#surplus;
    this.owed = 0;
    this.#surplus = 0;
    return owed - surplus;
  }
}
