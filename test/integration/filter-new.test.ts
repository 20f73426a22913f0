import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, cpSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EXIT } from "../../src/cli/command.ts";
import { abisOf, LANGUAGES } from "../../src/cli/filter/languages.ts";
import { inFolder, type Ran, runInFolder } from "../kit/command-line.ts";
import { TEST_MS } from "../kit/patience.ts";

setDefaultTimeout(TEST_MS);

const PATH = process.env.PATH ?? "";

/** `selvedge filter …` in a folder, with the programs that are on PATH. */
const filter = (cwd: string, ...argv: string[]): Promise<Ran> => runInFolder(cwd, ["filter", ...argv], { PATH });

describe("filter new, build, test: AssemblyScript, whose compiler is always there", () => {
  test("a new filter builds, carries its metadata and passes its tests; a mistake in the source is shown", async () => {
    await inFolder({}, async (folder) => {
      const made = await filter(folder, "new", "geo", "--language", "assemblyscript");
      expect(made).toMatchObject({ exit: EXIT.ok, error: "" });
      expect(made.out).toContain("selvedge filter build geo");
      const early = await filter(folder, "test", "geo");
      expect(early.exit).toBe(EXIT.usage);
      expect(early.error).toContain("selvedge filter build makes it");

      const built = await filter(folder, "build", "geo", "--json");
      expect(built.error).toBe("");
      const { digest, module } = JSON.parse(built.out) as { digest: string; module: string };
      expect([module, digest.slice(0, 7)]).toEqual(["dist/geo.wasm", "sha256:"]);
      const seen = JSON.parse((await filter(folder, "inspect", "geo/dist/geo.wasm", "--json")).out) as Record<string, unknown>;
      expect(seen).toMatchObject({ abi: "proxy-wasm", digest, compiles: true, metadata: { name: "geo", version: "0.1.0" } });
      expect(readdirSync(join(folder, "geo/dist"))).toEqual(["geo.wasm"]);

      // The folder stands for its module, and one that is as new as its sources is pushed without a word.
      const pushOf = (what: string) => filter(folder, "push", what, "--server", "http://127.0.0.1:1");
      expect((await pushOf("geo")).error).toStartWith(
        "error: no control plane answers at http://127.0.0.1:1 (connection refused)\n",
      );
      expect((await filter(folder, "inspect", "geo", "--json")).out).toContain(digest);

      const tested = await filter(folder, "test", "geo");
      expect(tested.out).toEndWith("4 passed\n");
      expect(tested.error).toBe("");
      expect(readFileSync(join(folder, "geo/README.md"), "utf8")).toContain("    selvedge filter test geo ");
      expect(tested.exit).toBe(EXIT.ok);

      utimesSync(join(folder, "geo/assembly/index.ts"), new Date(), new Date(Date.now() + 60_000));
      expect((await filter(folder, "test", "geo")).error).toContain(
        "dist/geo.wasm is older than assembly/index.ts: selvedge filter build geo",
      );

      for (const what of ["geo", "geo/dist/geo.wasm", join(folder, "geo/dist/geo.wasm")]) {
        const shown = what === "geo" ? "geo/dist/geo.wasm" : what;
        expect((await pushOf(what)).error).toStartWith(
          `! ${shown} is older than assembly/index.ts: selvedge filter build geo\nerror: no control plane answers`,
        );
      }

      const measured = await filter(folder, "bench", "geo", "--duration", "50", "--json");
      expect(measured.exit).toBe(EXIT.ok);
      const { tests } = JSON.parse(measured.out) as {
        tests: { name: string; exchanges: number; traps: number; callsPerExchange: number }[];
      };
      expect(tests.map(({ name, traps }) => [name, traps])).toEqual([
        ["an answer is greeted", 0],
        ["without settings there is a default", 0],
        ["a blocked request never reaches the upstream", 0],
      ]);
      expect(tests[0]?.callsPerExchange).toBeGreaterThan(2);
      expect((await filter(folder, "bench", "geo", "--only", "zzz")).error).toContain("no test was measured");

      const gateway = join(folder, "geo/gateway.yaml");
      expect((await runInFolder(folder, ["validate", "-f", gateway])).error).toBe("");
      writeFileSync(gateway, readFileSync(gateway, "utf8").replace("greeting: good morning", "greeting: 5, loud: true"));
      const refused = await runInFolder(folder, ["validate", "-f", gateway]);
      expect(refused.error).toContain(
        "gateway.yaml:13:25 wrong_type Filter default/geo spec.settings.greeting: Expected text, found 5.",
      );
      expect(refused.error).toContain("gateway.yaml:13:34 unknown_key Filter default/geo spec.settings.loud");

      appendFileSync(join(folder, "geo/assembly/index.ts"), "\nconst broken: i32 = nowhere;\n");
      const broken = await filter(folder, "build", "geo");
      expect(broken.exit).toBe(EXIT.failed);
      expect(broken.error).toContain("assembly/index.ts");
      expect(broken.error).toContain("nowhere");
      expect(readdirSync(join(folder, "geo/dist"))).toEqual(["geo.wasm"]);
    });
  });
});

describe("examples/filters", () => {
  const examples = join(import.meta.dir, "../../examples/filters");

  test("geo-header builds and passes its table", async () => {
    await inFolder({}, async (folder) => {
      cpSync(join(examples, "geo-header"), join(folder, "geo-header"), {
        recursive: true,
        filter: (path) => !path.endsWith("/dist"),
      });
      const built = await filter(folder, "build", "geo-header");
      expect(built.exit).toBe(EXIT.ok);
      expect(built.error).toStartWith("building geo-header (assemblyscript)\n");
      expect((await filter(folder, "test", "geo-header")).out).toEndWith("7 passed\n");
    });
  });

  // Modules of others have no language, and nothing of them is here.
  const manifestOf = (name: string): string => readFileSync(join(examples, name, "selvedge-filter.yaml"), "utf8");
  test.each(readdirSync(examples).filter((name) => !name.includes(".") && manifestOf(name).includes("\nlanguage: ")))(
    "%s has the bindings that filter new makes",
    async (name) => {
      await inFolder({}, async (folder) => {
        const language = /^language: (.*)$/m.exec(manifestOf(name))?.[1] ?? "";
        await filter(folder, "new", name, "--language", language);
        const made = readdirSync(join(folder, name), { recursive: true }).map(String);
        const bindings = made.filter((path) => /proxy.?wasm.*\.|json\.c$|^sdk\/.*\.|\.wit$/.test(path));
        expect(bindings.length > 0 || language === "rust").toBe(true);
        for (const path of bindings)
          expect([path, readFileSync(join(examples, name, path), "utf8")]).toEqual([
            path,
            readFileSync(join(folder, name, path), "utf8"),
          ]);
      });
    },
  );
});

describe("filter new", () => {
  const all = LANGUAGES.flatMap((language) => abisOf(language).map((abi) => [language, abi] as const));
  test.each(all)("%s, %s: every file is filled in, and the manifest is good", async (language, abi) => {
    await inFolder({}, async (folder) => {
      const argv = ["filter", "new", "my-filter", "-l", language, "--abi", abi, "--dir", "filters", "--json"];
      const made = await runInFolder(folder, argv, { PATH, SELVEDGE_PROGRAM: "node ../bin/selvedge.mjs" });
      const { files, abi: said } = JSON.parse(made.out) as { files: string[]; abi: string };
      expect(said).toBe(abi);
      expect(files).toContain("README.md");
      expect(files).toContain("my-filter.test.yaml");
      for (const file of files) {
        const text = readFileSync(join(folder, "filters/my-filter", file), "utf8");
        expect([file, /\{\{\w+\}\}/.test(text)]).toEqual([file, false]);
        // What can be typed, as it was typed.
        expect([file, /\bselvedge filter/.test(text)]).toEqual([file, false]);
      }
      const gateway = readFileSync(join(folder, "filters/my-filter/gateway.yaml"), "utf8");
      const manifest = readFileSync(join(folder, "filters/my-filter/selvedge-filter.yaml"), "utf8");
      // What a language needs beyond the defaults is granted where it runs.
      expect(/^ {2}budget: (.*)$/m.exec(gateway)?.[1]).toBe(/^budget: (.*)$/m.exec(manifest)?.[1]);
      // The table is read before the module is looked for, so this says that both are good.
      expect((await filter(folder, "test", "filters/my-filter")).error).toContain("my-filter.wasm: there is no such file");
    });
  });

  test("what cannot be made is refused with what can", async () => {
    await inFolder({ "taken/x": "" }, async (folder) => {
      const refused = async (...argv: string[]): Promise<string> => {
        const { exit, error } = await filter(folder, "new", ...argv);
        expect(exit).toBe(EXIT.usage);
        return error;
      };
      expect(await refused("a")).toContain("--language assemblyscript|rust|go|javascript|typescript|python|c|zig");
      expect(await refused("a", "--language", "cobol")).toContain("there are assemblyscript, rust, go, javascript,");
      expect(await refused("a", "--language", "js")).toContain("did you mean javascript?");
      expect(await refused("a", "--language", "pyhton")).toContain("did you mean python?");
      expect(await refused("a", "--language", "rust", "--abi", "wasi")).toContain("there are proxy-wasm, component, extism");
      const other = await refused("a", "--language", "python", "--abi", "extism");
      expect(other).toContain("no template for python with extism\npython has component;");
      expect(await refused("../a", "--language", "go")).toContain("is no name for a filter");
      expect(await refused("taken", "--language", "go")).toContain("not empty");
      expect(readdirSync(folder)).toEqual(["taken"]);
    });
  });
});

describe("filter build", () => {
  test.each([
    ["javascript", "npm install --prefix made/x"],
    ["typescript", "npm install --prefix made/x"],
    ["c", ""],
  ])("%s: what is to be typed first stands first, in what is printed and in the README", async (language, first) => {
    await inFolder({}, async (folder) => {
      const { out } = await filter(folder, "new", "x", "--language", language, "--dir", "made");
      const readme = readFileSync(join(folder, "made/x/README.md"), "utf8");
      for (const [text, indent] of [[out, "  "] as const, [readme, "    "] as const]) {
        const lines = text.split("\n").filter((line) => /^ +\S/.test(line));
        const build = `${indent}selvedge filter build made/x`;
        const wanted = first === "" ? [build] : [indent + first, build];
        expect(lines.slice(0, wanted.length).map((line, i) => line.slice(0, wanted[i]?.length))).toEqual(wanted);
      }
    });
  });

  test.each([
    ["rust", "https://rustup.rs"],
    ["go", "https://go.dev/dl"],
    ["javascript", "run npm install in"],
    ["typescript", "run npm install in"],
    ["python", "pip install componentize-py"],
    ["c", "pip install ziglang"],
    ["zig", "pip install ziglang"],
  ])("%s: a missing toolchain is named with what to install", async (language, hint) => {
    await inFolder({}, async (folder) => {
      await filter(folder, "new", "x", "--language", language);
      const { exit, error } = await runInFolder(folder, ["filter", "build", "x"], { PATH: "/nonexistent" });
      expect(exit).toBe(EXIT.failed);
      expect(error).toContain("not installed");
      expect(error).toContain(hint);
    });
  });

  test("an ABI that the language has no way to is refused in the manifest", async () => {
    const manifest = "name: x\nversion: 1.0.0\nlanguage: zig\nabi: extism\nmodule: dist/x.wasm\n";
    await inFolder({ "x/selvedge-filter.yaml": manifest }, async (folder) => {
      const { error } = await filter(folder, "build", "x");
      expect(error).toContain("x/selvedge-filter.yaml:4:6 unknown_value");
      expect(error).toContain("makes no extism of zig");
    });
  });

  test("a folder that is none, without a manifest, or with a wrong one", async () => {
    const manifest = "name: X_\nversion: one\nlanguage: basic\nmodul: x\nsettings: { type: nothing }\n";
    await inFolder({ "empty/x": "", "wrong/selvedge-filter.yaml": manifest }, async (folder) => {
      const said = async (name: string): Promise<string> => (await filter(folder, "build", name)).error;
      expect(await said("nowhere")).toContain("nowhere: there is no such folder");
      expect(await said("empty/x")).toContain("empty/x is no folder");
      expect(await said("empty")).toContain("empty has no selvedge-filter.yaml\nselvedge filter new makes");
      const wrong = await said("wrong");
      for (const place of ["1:7", "2:10", "3:11", "4:1", "5:11"]) expect(wrong).toContain(`wrong/selvedge-filter.yaml:${place} `);
      writeFileSync(join(folder, "wrong/selvedge-filter.yaml"), "name: x\nversion: 1.0.0\nmodule: x.wasm\n");
      expect(await said("wrong")).toContain("wrong names no language");
    });
  });
});
