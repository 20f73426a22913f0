import { FRAME_ELSE, FRAME_IF, FRAME_LOOP, type Frames } from "./frames.ts";
import type { Plan } from "./plan.ts";

/** Which of the ways through a block is the dearest, of those that its dominator pays for. */
export class Ways {
  constructor(
    readonly plan: Plan,
    readonly frames: Frames,
  ) {}

  /** A block is opened; an `if` behind the segment that it ends. */
  enter(kind: number, base: number, params: number, results: number): void {
    const { plan, frames } = this;
    frames.push(kind, base, params, results, plan.segment, plan.dominator);
    const { top } = frames;
    frames.current[top] = plan.isCurrent ? 1 : 0;
    frames.calls[top] = plan.calls;
    if (kind === FRAME_IF) frames.paths[top] = this.#path(top);
  }

  /** Control goes from here to the label of frame `target`. The segment that it comes from is closed. */
  arrive(target: number): void {
    const path = this.#path(target);
    const { arrivals } = this.frames;
    if (path > (arrivals[target] as number)) arrivals[target] = path;
  }

  /** Ends an arm of the innermost block; the next one begins where the block did. */
  nextArm(kind: number): void {
    const { plan, frames } = this;
    const { top } = frames;
    frames.kinds[top] = kind;
    const isDead = plan.segment < 0;
    plan.close();
    if (!isDead) this.arrive(top);
    plan.restoreDominator(frames.segments[top] as number, frames.dominators[top] as number);
    // An exception comes from anywhere.
    plan.arrive(kind === FRAME_ELSE ? frames.paths[top] : undefined);
    plan.isCurrent = kind === FRAME_ELSE && frames.current[top] === 1;
  }

  /** Frame `top` has ended: what is behind it is reached by the dearest of all ways; behind a loop by going on alone. */
  leave(top: number, kind: number): void {
    const { plan, frames } = this;
    plan.restoreDominator(frames.segments[top] as number, frames.dominators[top] as number);
    if (kind === FRAME_LOOP) return;
    const path = frames.arrivals[top] as number;
    // Without an else it is also reached from before it.
    if (kind === FRAME_IF) plan.arrive(Math.max(path, frames.paths[top] as number));
    else plan.arrive(frames.caught[top] !== 0 || path < 0 ? undefined : path);
  }

  /** Of what dominates the beginning of a frame: nothing was added to it since something else dominates. */
  #path(frame: number): number {
    const { segments, dominators } = this.frames;
    return this.plan.pathOf(segments[frame] as number, dominators[frame] as number);
  }
}
