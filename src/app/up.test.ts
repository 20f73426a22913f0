import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../cli/command.ts";
import { runCommandLine } from "../cli/run.ts";
import { LAUNCHERS } from "./launchers.ts";

test("ports of the demo without the demo are refused before anything starts", async () => {
  const cwd = mkdtempSync(join(tmpdir(), "selvedge-up-"));
  try {
    for (const flag of ["--http", "--https"]) {
      let said = "";
      const print = (text: string): void => {
        said += text;
      };
      const terminal = { out: print, error: print, env: {}, isTty: false, cwd, readStdin: async () => "" };
      const exit = await runCommandLine(["up", "-f", "gateway.yaml", flag, "8090"], terminal, LAUNCHERS);
      expect([exit, said.includes(`${flag} is a port of the demo's gateway`), said.includes("add --demo")]).toEqual([
        EXIT.usage,
        true,
        true,
      ]);
    }
    expect(existsSync(join(cwd, ".selvedge"))).toBe(false);
  } finally {
    rmSync(cwd, { recursive: true });
  }
});
