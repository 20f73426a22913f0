import { expect, test } from "bun:test";
import { buildPlugin, ExtismBench } from "../../../test/kit/extism.ts";
import { filterConfig } from "../../../test/kit/filters.ts";
import type { FilterAbi } from "../../config/snapshot.ts";
import type { FilterHost } from "../contract.ts";
import { FilterHosts } from "../hosts.ts";
import { guestWords } from "./words.ts";

const SECRET = "correct-horse-battery";
const configOf = (settings: object, secrets: readonly string[] = []) =>
  filterConfig({ abi: "extism", settings: JSON.stringify(settings), secrets });

test("secrets of its settings in what a filter says: whole ones, the longest first, and one that was cut at the end", () => {
  const config = configOf({ keys: { a: SECRET, b: `${SECRET}-two` }, pin: 471_147, mode: "verify" }, ["/pin"]);
  expect(guestWords(config, `bad key ${SECRET}-two, ${SECRET} and 471147 for verify`)).toBe(
    "bad key [redacted], [redacted] and [redacted] for verify",
  );
  expect(guestWords(config, "bad key correct-hor")).toBe("bad key [redacted]");
  expect(guestWords(config, "bad key correct")).toBe("bad key correct");
  expect(guestWords(configOf({ mode: SECRET }), SECRET)).toBe(SECRET);
  // A host may be given a text that is no JSON.
  expect(guestWords(filterConfig({ settings: "plain words" }), "refused: plain words")).toBe("refused: plain words");
});

test("why it is refused, what it logs, why an exchange fails and its last error quote no secret", async () => {
  const bench = new ExtismBench();
  const config = configOf({ apiKey: SECRET });
  const host = { load: (wasm: Uint8Array<ArrayBuffer>) => bench.host.load(wasm, config) } as FilterHost;
  const hosts = new FilterHosts({ extism: host } as Readonly<Record<FilterAbi, FilterHost>>);
  const say = "$text $log_error $text $error_set";
  const text = `no good: ${SECRET}`;
  const refusing = buildPlugin({ text, exports: { on_request: "i32.const 0", on_configure: `${say} i32.const 1` } });
  const error = await hosts.load(refusing, config).catch((cause: unknown) => cause);
  expect(String(error)).toContain("no good: [redacted]");
  const failing = buildPlugin({ text, exports: { on_request: `${say} i32.const 1`, on_response: `${say} unreachable` } });
  const module = await hosts.load(failing, config);
  const { chain } = bench.exchange([module]);
  expect(chain.requestHead(true)).toBe("failed");
  expect(String(chain.failure)).toContain("[redacted]");
  const kept = bench.filterLogs.page({ filter: config.name }).lines.map(({ message }) => message);
  expect(kept.at(-1)).toContain("no good: [redacted]");
  for (const said of [String(error), String(chain.failure), ...kept, ...bench.log.lines, module.status().lastError ?? ""])
    expect(said).not.toContain(SECRET);
});
