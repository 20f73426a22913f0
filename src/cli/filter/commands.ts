import type { CommandGroup } from "../commands.ts";

/** `selvedge filter …`: the tools of those who write filters. */
export const FILTER_COMMANDS: CommandGroup = {
  name: "filter",
  summary: "Write, test and distribute WebAssembly filters",
  description: "write, test and distribute WebAssembly filters",
  parts: [
    {
      name: "filter inspect",
      summary: "Show what a module is, needs and offers",
      load: () => import("../commands/filter-inspect.ts"),
    },
    {
      name: "filter test",
      summary: "Run a filter's table of requests and expectations",
      load: () => import("../commands/filter-test.ts"),
    },
  ],
};
