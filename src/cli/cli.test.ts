import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KINDS as SCHEMA_KINDS } from "../config/schema/index.ts";
import { type CommandContext, EXIT, type FlagSpec, GLOBAL_FLAGS, type Launchers } from "./command.ts";
import { COMMANDS, loadAllCommands, RUNNABLE } from "./commands.ts";
import { diffLines } from "./diff-lines.ts";
import { decideFlags, environmentName, readCommandLine } from "./flags.ts";
import { KINDS, parseReference } from "./reference.ts";
import { runCommandLine } from "./run.ts";
import { choosePaint, formatTable, printable } from "./terminal.ts";

interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly error: string;
}

/** What a launched command was given. */
let launched: CommandContext | undefined;
const launch = async (context: CommandContext): Promise<number> => {
  launched = context;
  return 0;
};
const LAUNCHERS: Launchers = {
  proxy: launch,
  control: launch,
  up: launch,
  createFilterTrial: () => Promise.reject(new Error("no filters here")),
  createFilterHost: () => Promise.reject(new Error("no filters here")),
};

async function run(
  argv: readonly string[],
  parts: { env?: Record<string, string>; cwd?: string; stdin?: string } = {},
): Promise<Ran> {
  let [out, error] = ["", ""];
  const terminal = {
    out: (text: string) => {
      out += text;
    },
    error: (text: string) => {
      error += text;
    },
    env: parts.env ?? {},
    isTty: false,
    cwd: parts.cwd ?? "/nonexistent",
    readStdin: async () => parts.stdin ?? "",
  };
  return { exit: await runCommandLine(argv, terminal, LAUNCHERS), out, error };
}

async function inFolder<T>(files: Record<string, string>, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-cli-"));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Compares with a golden file; `UPDATE_GOLDEN=1` writes it. */
function expectGolden(name: string, text: string): void {
  const path = join(import.meta.dir, "../../test/golden/cli", `${name}.txt`);
  if (process.env.UPDATE_GOLDEN === "1" || !existsSync(path)) {
    if (process.env.UPDATE_GOLDEN !== "1") throw new Error(`no golden file ${path}: run with UPDATE_GOLDEN=1`);
    writeFileSync(path, text);
  }
  expect(text).toBe(readFileSync(path, "utf8"));
}

describe("help", () => {
  test("of selvedge itself", async () => {
    const { exit, out } = await run(["--help"]);
    expect(exit).toBe(EXIT.ok);
    expectGolden("selvedge", out);
    expect((await run(["help"])).out).toBe(out);
    expect((await run([])).exit).toBe(EXIT.usage);
  });

  test.each([...new Set([...COMMANDS, ...RUNNABLE].map(({ name }) => name))])("of %s", async (name) => {
    const words = name.split(" ");
    const { exit, out, error } = await run([...words, "--help"]);
    expect([exit, error]).toEqual([EXIT.ok, ""]);
    expectGolden(words.join("-"), out);
    expect((await run(["help", ...words])).out).toBe(out);
  });

  test("every command has an example, and every example is a command line that its command takes", async () => {
    for (const command of await loadAllCommands()) {
      expect(command.examples.length).toBeGreaterThan(0);
      for (const { line } of command.examples) {
        for (const part of line.split(/[|;&]+|\$\(/)) {
          const words = /selvedge (.*?)(?:"|\)|>|$)/.exec(part.trim())?.[1]?.trim().split(/\s+/);
          if (words === undefined || !part.trim().startsWith("selvedge")) continue;
          const owner = (await loadAllCommands()).find(({ name }) => `${words.join(" ")} `.startsWith(`${name} `));
          if (owner === undefined) throw new Error(`${line}: no such command`);
          const flags = [...owner.flags, ...GLOBAL_FLAGS];
          readCommandLine(words.slice(owner.name.split(" ").length), flags, owner.name);
        }
      }
    }
  });

  test("flags are spelled alike, and every flag explains itself", async () => {
    for (const { name, flags } of await loadAllCommands()) {
      const names = flags.map((flag) => flag.name);
      expect(new Set(names).size).toBe(names.length);
      for (const flag of flags) {
        expect(`${name} ${flag.name}`).toMatch(/^[a-z-]+( [a-z]+)? [a-z][a-z-]*$/);
        expect(flag.help).toMatch(/[.)]$/);
      }
    }
  });
});

describe("mistakes", () => {
  test("an unknown command or flag is named with what was meant", async () => {
    expect(await run(["aply"])).toMatchObject({
      exit: EXIT.usage,
      error: 'error: there is no command "aply"\ndid you mean selvedge apply?\n',
    });
    expect((await run(["proxy", "--wrokers", "3"])).error).toContain("did you mean --workers?");
    expect((await run(["proxy", "--log-level", "debgu"])).error).toContain("did you mean debug?");
    expect((await run(["get", "rout"])).error).toContain("did you mean route?");
    expect((await run(["filter", "inspct"])).error).toContain("did you mean selvedge filter inspect?");
    expect((await run(["filter", "zzzzzz"])).error).toContain("there are new, build, test,");
    expect((await run(["filter"])).exit).toBe(EXIT.usage);
    expect(await run(["zzzzzz", "--json"])).toMatchObject({
      error: '{"error":"there is no command \\"zzzzzz\\"","hint":"selvedge --help lists the commands"}\n',
    });
  });

  test("what to delete is named once", async () => {
    const hint = "selvedge delete Route/shop, or selvedge delete -f shop.yaml\n";
    expect((await run(["delete"])).error).toBe(`error: no resource named\n${hint}`);
    expect((await run(["delete", "Route/a", "-f", "-"])).error).toBe(`error: resources are named, and a file with -f\n${hint}`);
  });

  test("a file that cannot be written is named as it was named, with what may be wrong", async () => {
    const { exit, error } = await run(["filter", "sign", "--new-key", "--key", "/nonexistent/signer.pem"]);
    expect([exit, error]).toEqual([
      EXIT.failed,
      expect.stringMatching(/^error: ENOENT: .*'\/nonexistent\/signer\.pem'\nis the folder there\?\n$/),
    ]);
  });

  test("a file without its flag is told the flag", async () => {
    for (const command of ["apply", "validate", "diff"]) {
      const { exit, error } = await run([command, "shop.yaml"]);
      expect([exit, error]).toEqual([
        EXIT.usage,
        `error: ${command}: unexpected argument "shop.yaml"\nfiles are named with -f: selvedge ${command} -f shop.yaml\n`,
      ]);
    }
    expect((await run(["diff", "1"])).error).toEndWith("\nusage: selvedge diff\n");
    expect((await run(["rollback", "1", "2.yaml"])).error).toEndWith("\nusage: selvedge rollback <revision>\n");
  });

  test("values are checked", async () => {
    for (const argv of [
      ["proxy", "--workers", "0"],
      ["proxy", "--workers", "1.5"],
      ["proxy", "--workers", "many"],
      ["proxy", "--workers"],
      ["proxy", "--mode", "other"],
      ["up", "--demo=perhaps"],
      ["rollback"],
      ["rollback", "x"],
      ["rollback", "1", "2"],
      ["version", "extra"],
      ["apply"],
      ["delete"],
      ["apply", "-f", "/nonexistent/x.yaml"],
    ]) {
      const { exit, error } = await run(argv);
      expect(`${argv.join(" ")}: ${exit}`).toBe(`${argv.join(" ")}: ${EXIT.usage}`);
      expect(error).toStartWith("error: ");
    }
  });

  test("nobody at the other end says what to start", async () => {
    const { exit, error } = await run(["status", "--server", "http://127.0.0.1:1"]);
    expect(exit).toBe(EXIT.unreachable);
    expect(error).toContain("selvedge up");
    expect((await run(["status", "--server", "ftp://x"])).exit).toBe(EXIT.usage);
  });
});

describe("flags", () => {
  const specs: FlagSpec[] = [
    { name: "level", type: "text", default: "info", help: "" },
    { name: "count", type: "number", default: 1, help: "" },
    { name: "on", type: "switch", help: "" },
    { name: "file", short: "f", type: "list", help: "" },
  ];
  const decide = (argv: string[], env: Record<string, string> = {}, file: Record<string, unknown> = {}) =>
    decideFlags(specs, readCommandLine(argv, specs, "x"), env, new Map(Object.entries(file)));

  test("the command line wins over the environment, that over the file, that over the default", () => {
    const env = { SELVEDGE_LEVEL: "env", SELVEDGE_COUNT: "5", SELVEDGE_FILE: "c, d", SELVEDGE_ON: "false" };
    const file = { level: "file", count: 7, on: true, file: ["e"] };
    const all = decide(["--level", "flag", "-f", "a", "-f", "b", "--on"], env, file);
    expect([all.text("level"), all.originOf("level"), all.list("file"), all.on("on")]).toEqual([
      "flag",
      "flag",
      ["a", "b"],
      true,
    ]);
    const some = decide([], env, file);
    expect([some.text("level"), some.number("count"), some.list("file"), some.on("on")]).toEqual(["env", 5, ["c", "d"], false]);
    const fewer = decide([], {}, file);
    expect([fewer.text("level"), fewer.number("count"), fewer.list("file"), fewer.on("on")]).toEqual(["file", 7, ["e"], true]);
    const none = decide([]);
    expect([none.text("level"), none.number("count"), none.list("file"), none.choice("on")]).toEqual(["info", 1, [], undefined]);
    expect(decide(["--no-on"], {}, file).choice("on")).toBe(false);
    expect(environmentName("log-level")).toBe("SELVEDGE_LOG_LEVEL");
  });

  test("a file gives values for all commands and for one, and unknown keys are refused", async () => {
    await inFolder({ "selvedge.yaml": "log-level: warn\nproxy: { workers: 3 }\nup: { http: 9999 }\n" }, async (cwd) => {
      await run(["proxy"], { cwd });
      expect([launched?.flags.text("log-level"), launched?.flags.number("workers")]).toEqual(["warn", 3]);
      await run(["proxy", "--log-level", "error"], { cwd, env: { SELVEDGE_WORKERS: "2" } });
      expect([launched?.flags.text("log-level"), launched?.flags.number("workers")]).toEqual(["error", 2]);
      await run(["up"], { cwd });
      expect(launched?.flags.number("http")).toBe(9999);
    });
    // Also flags of another command by the name of this one.
    await inFolder({ "selvedge.yaml": "control: { listen: 127.0.0.1:1 }\n" }, async (cwd) => {
      await run(["control"], { cwd });
      expect(launched?.flags.text("listen")).toBe("127.0.0.1:1");
    });
    for (const text of ["log-lvel: warn", "proxy: { wrokers: 3 }", "nothing: 1", "[]", "a: [", "proxy: 3", "workers: {}"]) {
      await inFolder({ "my.yaml": text }, async (cwd) => {
        const { exit, error } = await run(["proxy", "--config", join(cwd, "my.yaml")]);
        expect(`${text}: ${exit}`).toBe(`${text}: ${EXIT.usage}`);
        expect(error).not.toBe("");
      });
    }
    expect((await run(["proxy", "--config", "/nonexistent"])).exit).toBe(EXIT.usage);
    // A file of resources that happens to have the name is left alone.
    await inFolder({ "selvedge.yaml": "apiVersion: selvedge.dev/v1\nkind: Mesh\n" }, async (cwd) => {
      expect((await run(["proxy"], { cwd })).exit).toBe(EXIT.ok);
    });
  });
});

describe("commands without a control plane", () => {
  test("version says what runs", async () => {
    expect((await run(["version"])).out).toMatch(/^selvedge \d+\.\d+\.\d+ \(bun /);
    expect(JSON.parse((await run(["version", "--json"])).out)).toHaveProperty("version");
  });

  test("schema prints JSON Schema", async () => {
    expect(JSON.parse((await run(["schema"])).out)).toBeObject();
    expect(JSON.parse((await run(["schema", "route"])).out)).toBeObject();
    expect((await run(["schema", "nothing"])).exit).toBe(EXIT.usage);
    // It looks like a kind of another dialect.
    const { exit, error, out } = await run(["schema", "Rout"]);
    expect([exit, error, out]).toEqual([EXIT.usage, 'error: there is no schema of "Rout"\ndid you mean Route?\n', ""]);
  });

  test("completion scripts are made for three shells, and bash accepts its own", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      const { out, exit } = await run(["completion", shell]);
      expect(exit).toBe(EXIT.ok);
      for (const { name } of COMMANDS) expect(out).toContain(name);
    }
    const script = (await run(["completion", "bash"])).out;
    const ask = `${script}\nCOMP_WORDS=(selvedge proxy --wor) COMP_CWORD=2; _selvedge; echo "\${COMPREPLY[@]}"`;
    expect(Bun.spawnSync(["bash", "-c", ask]).stdout.toString()).toBe("--workers\n");
    const second = `${script}\nCOMP_WORDS=(selvedge filter insp) COMP_CWORD=2; _selvedge; echo "\${COMPREPLY[@]}"`;
    expect(Bun.spawnSync(["bash", "-c", second]).stdout.toString()).toBe("inspect\n");
    const third = `${script}\nCOMP_WORDS=(selvedge filter inspect --js) COMP_CWORD=3; _selvedge; echo "\${COMPREPLY[@]}"`;
    expect(Bun.spawnSync(["bash", "-c", third]).stdout.toString()).toBe("--json\n");
    expect((await run(["completion", "csh"])).exit).toBe(EXIT.usage);
  });

  test("validate names file, line and column of every issue, over several files and standard input", async () => {
    const good = "apiVersion: selvedge.dev/v1\nkind: Service\nmetadata: { name: shop }\nspec: { endpoints: ['127.0.0.1:1'] }\n";
    const bad = "apiVersion: selvedge.dev/v1\nkind: Service\nmetadata: { name: other }\nspec:\n  endpoint: x\n";
    await inFolder({ "a.yaml": good, "b.yaml": bad }, async (folder) => {
      expect((await run(["validate", "-f", join(folder, "a.yaml")])).exit).toBe(EXIT.ok);
      const refused = await run(["validate", "-f", folder, "--json"]);
      expect(refused.exit).toBe(EXIT.failed);
      const { issues } = JSON.parse(refused.out);
      expect(issues.length).toBeGreaterThan(0);
      expect(issues[0].file).toEndWith("b.yaml");
      expect(issues[0].line).toBeGreaterThan(3);
    });
    expect((await run(["validate", "-f", "-"], { stdin: good })).exit).toBe(EXIT.ok);
  });
});

describe("parts", () => {
  test("kinds are those of the schema", () => {
    expect([...KINDS].sort()).toEqual([...SCHEMA_KINDS].sort());
    expect(parseReference("routes/shop").key).toBe("Route/default/shop");
    expect(parseReference("service/prod/shop").key).toBe("Service/prod/shop");
    for (const wrong of ["", "Route", "Route/", "/x", "a/b/c/d"]) expect(() => parseReference(wrong)).toThrow();
  });

  test("a diff turns one text into the other", () => {
    const before = ["a", "b", "c", "d"];
    const after = ["a", "x", "c", "d", "e"];
    const lines = diffLines(before, after);
    expect(lines.filter(({ kind }) => kind !== "+").map(({ line }) => line)).toEqual(before);
    expect(lines.filter(({ kind }) => kind !== "-").map(({ line }) => line)).toEqual(after);
    expect(lines.filter(({ kind }) => kind === " ")).toHaveLength(3);
  });

  test("colour only on a terminal without NO_COLOR, unless asked for", () => {
    const terminal = (isTty: boolean, env: Record<string, string> = {}) => ({
      ...{ isTty, env, out() {}, error() {}, cwd: "/", readStdin: async () => "" },
    });
    expect(choosePaint(terminal(true), undefined).red("x")).not.toBe("x");
    expect(choosePaint(terminal(false), undefined).red("x")).toBe("x");
    expect(choosePaint(terminal(true, { NO_COLOR: "1" }), undefined).red("x")).toBe("x");
    expect(choosePaint(terminal(false), true).red("x")).not.toBe("x");
    expect(choosePaint(terminal(true), false).red("x")).toBe("x");
  });

  test("nor as JSON, on either stream", async () => {
    const text = "\u009b2J\u0085\u202e";
    const stdin = JSON.stringify({ apiVersion: "selvedge.dev/v1", kind: "Route", metadata: { name: text }, spec: { [text]: 1 } });
    const { out } = await run(["validate", "-f", "-", "--json"], { stdin });
    const { error } = await run([text, "--json"]);
    for (const each of [out, error]) {
      expect(each).toContain("\\u009b2J\\u0085\\u202e");
      expect(each).not.toMatch(/[\u007f-\u009f\u202e]/);
      expect(JSON.parse(each)).toBeObject();
    }
  });

  test("text from elsewhere cannot command the terminal", () => {
    expect(printable("a\x1b[2Jb\r\x07c\n\t\x9b1m")).toBe("a\uFFFD[2Jb\uFFFD\uFFFDc\n\t\uFFFD1m");
    const plain = choosePaint({ isTty: false, env: {}, out() {}, error() {}, cwd: "/", readStdin: async () => "" }, undefined);
    expect(
      formatTable(
        [
          ["A", "B"],
          ["long", "x"],
        ],
        plain,
      ),
    ).toBe("A     B\nlong  x\n");
  });
});

test("a hint has the program as the user can type it; a word that is near nothing gets the list", async () => {
  const env = { SELVEDGE_PROGRAM: "node ../bin/selvedge.mjs" };
  expect((await run(["filter", "buidl"], { env })).error).toEndWith("did you mean node ../bin/selvedge.mjs filter build?\n");
  expect((await run(["filter", "buidl"])).error).toEndWith("did you mean selvedge filter build?\n");
  const spec = { module: { digest: `sha256:${"0".repeat(64)}` }, settings: { a: "[redacted]" } };
  const stdin = JSON.stringify({ apiVersion: "selvedge.dev/v1", kind: "Filter", metadata: { name: "a" }, spec });
  expect((await run(["validate", "-f", "-"], { env, stdin })).error).toContain("node ../bin/selvedge.mjs get …");
  expect((await run(["zzzz"], { env })).error).toEndWith("node ../bin/selvedge.mjs --help lists the commands\n");
  for (const argv of [["--help"], ["filter", "--help"], ["up", "--help"]])
    expect((await run(argv, { env })).out).not.toMatch(/(?<!node \.\.\/bin\/)\bselvedge (?!\.mjs)[a-z<-]/);
  expect((await run(["filter", "zzzz"])).error).toMatch(/there are new, build, .*enable, release\n$/);
});
