import { expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inFolder, runInFolder } from "../kit/command-line.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort } from "../kit/ports.ts";
import { startSelvedge, until } from "../kit/selvedge.ts";

setDefaultTimeout(TEST_MS);

test("filter run serves the filter, takes a saved change, and keeps serving when a build fails", async () => {
  await inFolder({}, async (folder) => {
    await runInFolder(folder, ["filter", "new", "geo", "--language", "assemblyscript"]);
    const port = await freePort();
    const running = startSelvedge(["filter", "run", join(folder, "geo")], { PORT: String(port) });
    try {
      await running.saw("built dist/geo.wasm");
      await running.saw("selvedge proxy");
      // The announcement comes once it listens.
      const greeting = async (): Promise<string | null> => (await fetch(`http://127.0.0.1:${port}/`)).headers.get("x-greeting");
      expect(await greeting()).toBe("good morning");
      const source = join(folder, "geo/assembly/index.ts");
      const text = readFileSync(source, "utf8");
      writeFileSync(source, text.replace("this.filter.greeting);", 'this.filter.greeting + "!");'));
      await until(async () => (await greeting()) === "good morning!");
      writeFileSync(source, `${text}\nconst broken: i32 = nowhere;\n`);
      await running.saw("what served before goes on");
      expect(await greeting()).toBe("good morning!");
    } finally {
      running.child.kill("SIGINT");
      await running.finished;
    }
  });
});
