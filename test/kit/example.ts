/** Folders of examples/ run as their READMEs say: every fenced block is what a reader would type or see. */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { findNats } from "../../scripts/nats.mjs";
import { WAIT_MS } from "./patience.ts";
import { freePort, newFolder, type RunningProgram, startProgram, until } from "./selvedge.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Ports in READMEs and configurations; each run has its own instead. */
const PORTS = [8080, 8443, 8090, 9000, 9001, 4222, 5353, 8081, 8088] as const;

export type ExamplePort = (typeof PORTS)[number];

/** One command of a README and the output under it. */
export interface Try {
  readonly command: string;
  /** In a line, `…` stands for any text; a line `…` for any lines. */
  readonly expected: string;
}

export interface Readme {
  /** What is started, each in a terminal of its own: the `sh` blocks. */
  readonly starts: readonly string[];
  /** The `console` blocks. */
  readonly tries: readonly Try[];
}

/** Names of the folders of examples/. */
export const exampleNames = (): string[] =>
  readdirSync(join(ROOT, "examples"), { withFileTypes: true })
    // Filters have no gateway to start: test/integration/filter-new.test.ts and test/long/filters.test.ts build and test them.
    .filter((entry) => entry.isDirectory() && entry.name !== "filters")
    .map(({ name }) => name)
    .sort();

export function parseReadme(text: string): Readme {
  const blocks = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language, body]) => ({ language, body: body ?? "" }));
  const starts = blocks.filter(({ language }) => language === "sh").map(({ body }) => body);
  const tries: Try[] = [];
  for (const { language, body } of blocks) {
    if (language !== "console") continue;
    for (const part of body.split(/^\$ /m).slice(1)) {
      const lines = part.split("\n");
      let last = 0;
      while (lines[last]?.endsWith("\\") === true) last++;
      tries.push({
        command: lines.slice(0, last + 1).join("\n"),
        expected: lines
          .slice(last + 1)
          .join("\n")
          .trimEnd(),
      });
    }
  }
  return { starts, tries };
}

/** Whether an output is what a README shows. */
export function isAsShown(output: string, expected: string): boolean {
  const pattern = expected
    .split("\n")
    .map((line) => (line === "…" ? "(?:.*\n)*?" : `${line.split("…").map(RegExp.escape).join(".*")}\n`))
    .join("");
  return new RegExp(`^${pattern}$`).test(`${output.replaceAll("\r", "").trimEnd()}\n`);
}

export interface ExampleRun {
  readonly readme: Readme;
  /** The copy of the repository's examples in which it runs. */
  readonly folder: string;
  port(usual: ExamplePort): number;
  /** Runs a line as in the reader's shell; resolves with both outputs. */
  shell(command: string): Promise<string>;
  /** Changes the configuration while it runs. */
  edit(change: (yaml: string) => string): void;
  /** What the programs have said. */
  said(): string;
  stop(): Promise<void>;
}

/** Starts an example as its README says, on free ports, and waits until it serves. */
export async function startExample(name: string): Promise<ExampleRun> {
  const { path: folder, remove } = newFolder();
  const ports = new Map<string, number>();
  for (const usual of PORTS) ports.set(String(usual), await freePort());
  const localised = (text: string): string =>
    text.replace(/\b\d{4}\b/g, (found) => String(ports.get(found) ?? found)).replaceAll("/tmp/", `${folder}/`);
  copyExamples(folder, localised);
  const env = await readersEnvironment(folder, ports);
  const readme = parseReadme(localised(readFileSync(join(ROOT, "examples", name, "README.md"), "utf8")));
  const programs: RunningProgram[] = [];
  const run: ExampleRun = {
    readme,
    folder,
    port: (usual) => ports.get(String(usual)) ?? 0,
    shell: (command) => runShell(command, folder, env),
    edit(change) {
      const path = join(folder, "examples", name, "config.yaml");
      const before = readFileSync(path, "utf8");
      const after = change(before);
      if (after === before) throw new Error("the edit changed nothing");
      writeFileSync(path, after);
    },
    said: () => programs.map((program) => program.out() + program.error()).join(""),
    async stop() {
      for (const program of programs.reverse()) await stopGroup(program);
      remove();
    },
  };
  try {
    for (const start of readme.starts) {
      const program = startProgram("bash", ["-ec", start], { cwd: folder, env, detached: true });
      programs.push(program);
      await program.saw(readyText(start));
    }
  } catch (error) {
    await run.stop();
    throw error;
  }
  return run;
}

/** What the last program of a block says when it is ready. */
function readyText(start: string): string {
  if (start.includes("selvedge.mjs proxy")) return "admin  http";
  if (start.includes("names.mjs")) return "names on";
  return start.includes("selvedge.mjs control") ? "  API " : "Server is ready";
}

function copyExamples(folder: string, localised: (text: string) => string): void {
  const source = join(ROOT, "examples");
  cpSync(source, join(folder, "examples"), { recursive: true });
  for (const path of readdirSync(source, { recursive: true, encoding: "utf8" })) {
    const copy = join(folder, "examples", path);
    if (path.endsWith(".yaml") && statSync(copy).isFile()) writeFileSync(copy, localised(readFileSync(copy, "utf8")));
  }
}

/** A reader's shell: bin/selvedge.mjs is there, `npx` finds the packages of the checkout, and the tools of NATS are on the PATH. */
async function readersEnvironment(
  folder: string,
  ports: ReadonlyMap<string, number>,
): Promise<Record<string, string | undefined>> {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  const program = `program="$1"; shift; exec "${join(ROOT, "node_modules/.bin")}/$program" "$@"`;
  writeFileSync(
    join(bin, "npx"),
    `#!/bin/sh
${program}
`,
    { mode: 0o755 },
  );
  writeFileSync(
    join(bin, "selvedge.mjs"),
    `import ${JSON.stringify(join(ROOT, "bin/selvedge.mjs"))};
`,
  );
  // Without a terminal curl would show its progress.
  writeFileSync(join(bin, ".curlrc"), "silent\nshow-error\n");
  const { server, cli } = await findNats();
  const tools = [server, cli].flatMap((tool) => (tool === undefined ? [] : [dirname(tool)]));
  return {
    ...process.env,
    NO_COLOR: "1",
    CURL_HOME: bin,
    PATH: [bin, ...tools, process.env.PATH].join(delimiter),
    SELVEDGE_ADMIN: `127.0.0.1:${ports.get("8081")}`,
    SELVEDGE_LISTEN: `127.0.0.1:${ports.get("8088")}`,
    SELVEDGE_SERVER: `http://127.0.0.1:${ports.get("8088")}`,
    SELVEDGE_WORKERS: "2",
    NATS_URL: `nats://127.0.0.1:${ports.get("4222")}`,
  };
}

function runShell(command: string, cwd: string, env: Record<string, string | undefined>): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("bash", ["-c", `exec 2>&1\n${command}`], { cwd, env, stdio: ["ignore", "pipe", "inherit"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), WAIT_MS);
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
    });
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(timer);
      resolve(output);
    });
  });
}

/** Ctrl-C in the terminal of a program, and then nothing of it may be left. */
async function stopGroup({ child, finished }: RunningProgram): Promise<void> {
  const signalAll = (signal: NodeJS.Signals | 0): boolean => {
    try {
      return process.kill(-(child.pid ?? 0), signal);
    } catch {
      return false;
    }
  };
  signalAll("SIGINT");
  const gone = until(() => !signalAll(0));
  await gone.catch(() => signalAll("SIGKILL"));
  await finished;
  await gone;
}
