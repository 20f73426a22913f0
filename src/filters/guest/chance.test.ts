import { expect, test } from "bun:test";
import { filterConfig, RecordingMetrics } from "../../../test/kit/filters.ts";
import { VirtualClock } from "../../core/clock.ts";
import { GuestChance } from "./chance.ts";
import { Grants } from "./grants.ts";

test("the fixed sequence goes on from where it was kept, so it tells nothing of what others drew", () => {
  const config = filterConfig();
  const capabilities = { ...config.capabilities, random: false };
  const chance = new GuestChance(new Grants({ ...config, capabilities }, new VirtualClock(), new RecordingMetrics()));
  const draw = (bytes: number): string => {
    const drawn = new Uint8Array(bytes);
    chance.fillInsecure(drawn);
    return Buffer.from(drawn).toString("hex");
  };
  const start = draw(8);
  chance.keep();
  const first = draw(8);
  draw(3);
  chance.restore();
  expect(draw(8)).toBe(first);
  chance.restore();
  expect(draw(8)).toBe(first);
  expect(first).not.toBe(start);
});
