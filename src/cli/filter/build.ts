import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { METADATA_SECTION } from "../../config/module-summary.ts";
import { appendCustomSection, removeCustomSections } from "../../config/wasm-sections.ts";
import { utf8Bytes } from "../../core/bytes.ts";
import { SystemClock } from "../../core/clock.ts";
import { type CommandContext, CommandError, EXIT } from "../command.ts";
import { planBuild } from "./build-plan.ts";
import { describeModule, type ModuleDescription } from "./describe.ts";
import { defaultAbi } from "./languages.ts";
import { startProgress } from "./progress.ts";
import type { Project } from "./project.ts";
import { isInterrupted, runStep, type StepResult } from "./toolchain.ts";

/** Builds a project: compiler, metadata, a look at what came out. Throws a `CommandError` with the compiler's own words. */
export async function buildProject(context: CommandContext, project: Project): Promise<ModuleDescription> {
  const { manifest, folder, shown } = project;
  const { language, name, world } = manifest;
  if (language === undefined)
    throw new CommandError(
      `${shown} names no language`,
      "selvedge-filter.yaml: write language, or build it yourself",
      EXIT.usage,
    );
  const out = resolve(folder, manifest.module);
  const raw = `${out}.build`;
  const { env } = context.terminal;
  const plan = planBuild(language, { folder, name, abi: manifest.abi ?? defaultAbi(language), world, out: raw, env });
  if ("missing" in plan) throw new CommandError(plan.missing, plan.hint);
  mkdirSync(dirname(out), { recursive: true });
  const progress = startProgress(context, `building ${name} (${language})`, new SystemClock());
  try {
    for (const step of plan.steps) {
      const ended = await runStep(step, folder, env, (line) => progress.say(line));
      if (ended.code !== 0) throw failureOf(step.tool.command, ended);
    }
    const made = plan.made ?? raw;
    if (!existsSync(made))
      throw new CommandError(`the compiler made no ${made}`, "does the name in selvedge-filter.yaml fit that of the package?");
    const wasm = withMetadata(new Uint8Array(readFileSync(made)), project);
    const description = describeModule(wasm);
    // Beside it and renamed: a gateway that watches the module never reads half of one.
    writeFileSync(`${out}.new`, wasm);
    renameSync(`${out}.new`, out);
    return description;
  } finally {
    progress.end();
    rmSync(raw, { force: true });
  }
}

/** Ctrl-C stopped the compiler: no mistake of the filter. */
export class BuildInterrupted extends CommandError {}

function failureOf(command: string, ended: StepResult): CommandError {
  const { code, output, signal } = ended;
  if (isInterrupted(ended)) return new BuildInterrupted("the build was interrupted");
  const how = signal === undefined ? `ended with ${code}` : `was killed (${signal})`;
  return new CommandError([output.trim(), `${command} ${how}`].filter((part) => part !== "").join("\n"), hintFor(output));
}

/** The manifest as a custom section, so that a module says what it is wherever it goes. */
function withMetadata(wasm: Uint8Array, { manifest, read }: Project): Uint8Array {
  const { name, version, description, settings } = manifest;
  // As they were written: what is a default of this version need not be one of the next.
  const { capabilities, budget } = read.written as Record<string, unknown>;
  const metadata = { name, version, description, settings, capabilities, budget };
  return appendCustomSection(removeCustomSections(wasm, METADATA_SECTION), METADATA_SECTION, utf8Bytes(JSON.stringify(metadata)));
}

/** What people forget. */
function hintFor(output: string): string {
  if (/target may not be installed|can't find crate for `(core|std)`/.test(output))
    return `rustup target add ${/wasm32-[a-z0-9-]+/.exec(output)?.[0] ?? "wasm32-unknown-unknown"}`;
  if (/unsupported GOOS\/GOARCH|buildmode=c-shared not supported/.test(output)) return "Go 1.24 or later is needed";
  if (/only allowed with|requires go1\.24/.test(output)) return "Go 1.24 or later is needed";
  return "";
}
