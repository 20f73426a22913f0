import type { CommandGroup } from "../commands.ts";

/** `selvedge filter …`: the tools of those who write filters. */
export const FILTER_COMMANDS: CommandGroup = {
  name: "filter",
  summary: "Write, test and distribute WebAssembly filters",
  description: "write, test and distribute WebAssembly filters",
  parts: [
    {
      name: "filter new",
      summary: "Make a folder with a filter that builds and passes its tests",
      load: () => import("../commands/filter-new.ts"),
    },
    {
      name: "filter build",
      summary: "Compile a filter's folder to a module",
      load: () => import("../commands/filter-build.ts"),
    },
    {
      name: "filter test",
      summary: "Run a filter's table of requests and expectations",
      load: () => import("../commands/filter-test.ts"),
    },
    {
      name: "filter run",
      summary: "Serve a gateway with a filter and build it again on every save",
      load: () => import("../commands/filter-run.ts"),
    },
    {
      name: "filter bench",
      summary: "Measure what a filter costs per exchange",
      load: () => import("../commands/filter-bench.ts"),
    },
    {
      name: "filter inspect",
      summary: "Show what a module is, needs and offers",
      load: () => import("../commands/filter-inspect.ts"),
    },
    {
      name: "filter sign",
      summary: "Sign a module with an ed25519 key",
      load: () => import("../commands/filter-sign.ts"),
    },
    {
      name: "filter push",
      summary: "Store a module in the mesh, to be named by its digest, or in an OCI registry",
      load: () => import("../commands/filter-push.ts"),
    },
    {
      name: "filter pull",
      summary: "Take a module from an OCI registry",
      load: () => import("../commands/filter-pull.ts"),
    },
    {
      name: "filter list",
      summary: "List the modules that are stored, the filters, and whether they run",
      load: () => import("../commands/filter-list.ts"),
    },
    {
      name: "filter logs",
      summary: "Show what a filter said, in all proxies or one, and go on as it says more",
      load: () => import("../commands/filter-logs.ts"),
    },
    {
      name: "filter disable",
      summary: "Stop running a filter, without taking it off its routes",
      load: () => import("../commands/filter-disable.ts"),
    },
    {
      name: "filter enable",
      summary: "Run a filter again that was disabled",
      load: () => import("../commands/filter-enable.ts"),
    },
    {
      name: "filter release",
      summary: "Let a filter out of quarantine",
      load: () => import("../commands/filter-release.ts"),
    },
  ],
};
