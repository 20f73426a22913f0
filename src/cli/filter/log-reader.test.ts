import { expect, test } from "bun:test";
import type { FilterLogQuery } from "../../core/filter-logs.ts";
import { LogReader } from "./log-reader.ts";

test("a proxy that always has more is asked again in the next round only, from where it was", async () => {
  const asked: (string | undefined)[] = [];
  const reader = new LogReader(
    {
      proxies: async () => ["liar"],
      async read(_: string, { after, filter }: FilterLogQuery) {
        asked.push(after);
        const line = { timeMs: 0, filter, level: "info", message: "again" } as const;
        return { ok: true, page: { cursor: `1.1.${asked.length}`, lines: [line], more: asked.length < 1_000, lost: 0 } };
      },
      refuseUnknown: async () => {},
    },
    { filter: "default/a", level: undefined, sinceMs: undefined, tail: undefined },
  );
  expect((await reader.read(["liar"])).lines).toHaveLength(16);
  expect((await reader.read(["liar"])).lines).toHaveLength(16);
  expect(asked).toEqual([undefined, ...Array.from({ length: 31 }, (_, i) => `1.1.${i + 1}`)]);
});
