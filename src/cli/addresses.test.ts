import { expect, test } from "bun:test";
import type { FlagSpec } from "./command.ts";
import { loadAllCommands } from "./commands.ts";
import { decideFlags, environmentName, readCommandLine } from "./flags.ts";

const ADDRESSES: ReadonlySet<string> = new Set([
  "http",
  "https",
  "port",
  "admin",
  "listen",
  "nats",
  "nats-listen",
  "server",
  "admin-url",
]);
const ORIGINS = ["flag", "environment", "file", "default"] as const;
type Origin = (typeof ORIGINS)[number];

/** What an origin says of a flag: a port or an address of its own. */
const saidBy = ({ name, type, default: byDefault }: FlagSpec, origin: Origin): string | undefined => {
  if (origin === "default") return byDefault === undefined ? undefined : String(byDefault);
  const port = 9000 + 10 * [...ADDRESSES].indexOf(name) + ORIGINS.indexOf(origin);
  return type === "number" ? `${port}` : `127.0.0.1:${port}`;
};

/** Every flag is said by all origins from its own on, so that the strongest has to win. */
function decide(specs: readonly FlagSpec[], origins: ReadonlyMap<string, Origin>): Record<string, unknown> {
  const argv: string[] = [];
  const env: Record<string, string | undefined> = {};
  const file = new Map<string, unknown>();
  for (const spec of specs) {
    const strongest = ORIGINS.indexOf(origins.get(spec.name) ?? "default");
    if (strongest <= 0) argv.push(`--${spec.name}`, saidBy(spec, "flag") ?? "");
    if (strongest <= 1) env[environmentName(spec.name)] = saidBy(spec, "environment");
    if (strongest <= 2) file.set(spec.name, saidBy(spec, "file"));
  }
  const flags = decideFlags(specs, readCommandLine(argv, specs, "x"), env, file);
  return Object.fromEntries(specs.map(({ name }) => [name, [flags.originOf(name), flags.text(name)]]));
}

test("a port may be written as in an address", () => {
  const specs: FlagSpec[] = [{ name: "http", type: "number", value: "<port>", max: 65_535, help: "" }];
  const decide = (text: string) =>
    decideFlags(specs, readCommandLine(["--http", text], specs, "up"), {}, new Map()).number("http");
  expect([decide(":9000"), decide("9000")]).toEqual([9000, 9000]);
  for (const bad of [":", "::9000", ":-1", "1.2.3.4:9000", ":65536"]) expect(() => decide(bad)).toThrow("is not a whole number");
});

test("each address of each command is taken from flag, then environment, then file, then default, whatever the others are taken from", async () => {
  let rows = 0;
  for (const { name, flags } of await loadAllCommands()) {
    const specs = flags.filter((each) => ADDRESSES.has(each.name));
    for (const origin of ORIGINS) {
      for (const rest of ORIGINS) {
        for (const spec of specs) {
          const origins = new Map(specs.map((each) => [each.name, each === spec ? origin : rest]));
          const expected = specs.map((each) => {
            const from = origins.get(each.name) ?? "default";
            return [each.name, [from, saidBy(each, from)]];
          });
          expect([name, decide(specs, origins)]).toEqual([name, Object.fromEntries(expected)]);
          rows++;
        }
      }
    }
  }
  expect(rows).toBeGreaterThan(300);
});
