// examples/: each folder started as its README says, every command of it run, and what it claims checked with real requests.
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ExampleRun, exampleNames, isAsShown, startExample, type Try } from "../kit/example.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, newFolder, startProgram, startSelvedge, until } from "../kit/selvedge.ts";
import { CHECKS } from "./examples-checks.ts";

const EXAMPLE_MS = TEST_MS;

async function runTry(run: ExampleRun, { command, expected }: Try, previous: string): Promise<void> {
  let output = await run.shell(command);
  // `nats pub` has no answer, nor has a changed file: what they do is seen a moment later.
  const look = async (): Promise<boolean> => {
    if (!isAsShown(output, expected)) output = await run.shell(command);
    return isAsShown(output, expected);
  };
  if (/^(nats pub|echo)\b/.test(previous)) await until(look).catch(() => {});
  if (!isAsShown(output, expected)) expect(`$ ${command}\n${output}`).toBe(`$ ${command}\n${expected}`);
}

test("every folder of examples/ is tested and listed", () => {
  expect(exampleNames()).toEqual(Object.keys(CHECKS).sort());
  const list = readFileSync(join(import.meta.dir, "../../examples/README.md"), "utf8");
  const listed = [...list.matchAll(/^\| \[([\w-]+)\]\(\1\/\) \|/gm)].map(([, name]) => name);
  expect(listed.sort()).toEqual(exampleNames());
});

test("what a README shows is compared whole", () => {
  expect(isAsShown("a\r\nb: 12\n\nc\n", "a\nb: …\n…\nc")).toBe(true);
  expect(isAsShown("a\nb: 12\nc\n", "a\nc")).toBe(false);
  expect(isAsShown("a\nb\n", "a")).toBe(false);
  expect(isAsShown("", "a")).toBe(false);
});

test(
  "the gateway in the README serves",
  async () => {
    const text = readFileSync(join(import.meta.dir, "../../README.md"), "utf8");
    const block = /```yaml\n(# gateway\.yaml\n[\s\S]*?)```/.exec(text)?.[1] ?? "";
    expect([block.split("8080").length, block.split("3000").length]).toEqual([2, 2]);
    const [folder, port, servicePort] = [newFolder(), await freePort(), await freePort()];
    const file = join(folder.path, "gateway.yaml");
    writeFileSync(file, block.replace("8080", String(port)).replace("3000", String(servicePort)));
    const service = startProgram("node", [join(import.meta.dir, "../../examples/service.mjs"), String(servicePort)]);
    const program = startSelvedge(["proxy", "-f", file, "--admin", "127.0.0.1:0", "--workers", "1"]);
    try {
      await Promise.all([service.saw("service on"), program.saw("admin  http")]);
      const seen = (await (await fetch(`http://127.0.0.1:${port}/cart`)).json()) as { request: string };
      expect(seen.request).toBe("GET /cart");
    } finally {
      service.child.kill();
      program.child.kill();
      await Promise.all([service.finished, program.finished]);
      folder.remove();
    }
  },
  EXAMPLE_MS,
);

describe("examples", () => {
  for (const name of exampleNames()) {
    test(
      name,
      async () => {
        const run = await startExample(name);
        try {
          expect(run.readme.tries.length).toBeGreaterThan(0);
          // Names are asked for once the proxy serves, and a request that comes before the answer gets 503: seen a moment later, too.
          let previous = name === "dns-service" ? "echo" : "";
          for (const each of run.readme.tries) {
            await runTry(run, each, previous);
            previous = each.command;
          }
          await CHECKS[name]?.(run);
        } finally {
          await run.stop();
        }
      },
      EXAMPLE_MS,
    );
  }
});
