// The completion scripts in the shells that they are for: what a person gets who presses Tab.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { TEST_MS } from "../kit/patience.ts";
import { newFolder, runSelvedge, startProgram } from "../kit/selvedge.ts";

const CAPTURE = fileURLToPath(new URL("../kit/zsh-capture.zsh", import.meta.url));
const folder = newFolder();
afterAll(folder.remove);

type Shell = "bash" | "zsh" | "fish";
const scriptOf = (shell: Shell): string => join(folder.path, `selvedge.${shell}`);

beforeAll(async () => {
  for (const shell of ["bash", "zsh", "fish"] as const)
    writeFileSync(scriptOf(shell), (await runSelvedge(["completion", shell])).out);
}, TEST_MS);

let captures = 0;

/** What the shell offers for a line, sorted, without the explanations. */
async function offered(shell: Shell, line: string): Promise<string[]> {
  const env = { PATH: process.env.PATH ?? "", HOME: folder.path, TERM: "dumb", LC_ALL: "C.UTF-8" };
  const words = line.split(" ");
  const capture = join(folder.path, `capture-${captures++}`);
  const commands: Readonly<Record<Shell, readonly string[]>> = {
    bash: [
      "-c",
      `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _selvedge; printf '%s\\n' "\${COMPREPLY[@]}"`,
      "bash",
      scriptOf(shell),
      ...words,
    ],
    fish: ["--no-config", "-c", 'source $argv[1]; complete -C "$argv[2]"', scriptOf(shell), line],
    zsh: ["-f", CAPTURE, scriptOf(shell), line, capture],
  };
  const { code, out, error } = await startProgram(shell, commands[shell], { cwd: folder.path, env }).finished;
  if (code !== 0 || error !== "") throw new Error(`${shell} (${code}): ${error}`);
  const text = shell === "zsh" ? readFileSync(capture, "utf8").replace(/^END$/m, "") : out;
  const matches = text.split("\n").map((each) => each.split("\t")[0]?.trim() ?? "");
  return [...new Set(matches.filter((each) => each !== ""))].sort();
}

for (const shell of ["bash", "zsh", "fish"] as const) {
  if (Bun.which(shell) === null) {
    process.stderr.write(`\n!!! COMPLETION IS NOT TESTED IN ${shell}: it is not here !!!\n\n`);
    test(`${shell} is there, or this is not CI`, () => expect(process.env.CI ?? "").toBe(""));
    continue;
  }
  describe(`completion in ${shell}`, () => {
    test(
      "commands, parts of commands, flags, and the values of flags that have a fixed set",
      async () => {
        expect(await offered(shell, "selvedge app")).toEqual(["apply"]);
        expect(await offered(shell, "selvedge ro")).toEqual(["rollback", "routes"]);
        expect(await offered(shell, "selvedge filter in")).toEqual(["inspect"]);
        expect(await offered(shell, "selvedge proxy --mo")).toEqual(["--mode"]);
        expect(await offered(shell, "selvedge proxy --mode ")).toEqual(["gateway", "sidecar"]);
        expect(await offered(shell, "selvedge proxy --log-level wa")).toEqual(["warn"]);
        expect(await offered(shell, "selvedge filter new x --language ty")).toEqual(["typescript"]);
        expect(await offered(shell, "selvedge filter new x --abi e")).toEqual(["extism"]);
        expect(await offered(shell, "selvedge completion ")).toEqual(["bash", "fish", "zsh"]);
        expect(await offered(shell, "selvedge get Ro")).toEqual(["Route"]);
        expect(await offered(shell, "selvedge schema Fi")).toEqual(["Filter"]);
        // A command's own flags, not another's.
        expect(await offered(shell, "selvedge rollback --grou")).toEqual([]);
        expect(await offered(shell, "selvedge control --grou")).toEqual(["--groups"]);
      },
      TEST_MS,
    );
  });
}
