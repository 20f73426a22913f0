import { basename } from "node:path";
import { summariseModule } from "../../config/module-summary.ts";
import { pushModule } from "../../config/oci/push.ts";
import { OCI_LIMITS } from "../../core/limits.ts";
import { type Command, type CommandContext, CommandError, EXIT, REMOTE_FLAGS } from "../command.ts";
import { describeModule, describeSigners } from "../filter/describe.ts";
import { moduleArgument, readModuleFile } from "../filter/module-file.ts";
import { projectOfModule, warnOfOldModule } from "../filter/old-module.ts";
import { referenceArgument, withRegistry } from "../registry.ts";
import { withRemote } from "../remote.ts";
import { paintOf, printJson } from "../report.ts";
import { REGISTRY_FLAGS } from "../serve-flags.ts";
import { printable } from "../terminal.ts";

export const command: Command = {
  name: "filter push",
  summary: "store a module in the mesh, to be named by its digest, or in an OCI registry",
  description:
    "Stores a module, or that of a filter's folder, in the object store of the mesh, through the control API or straight over NATS, and prints its digest: a Filter resource names it as `module: { digest: sha256:… }`. Proxies fetch it by that digest and refuse anything else. A module that no filter names for a week is deleted. With --oci the module goes to that registry instead, as a Wasm artifact with its metadata and signatures: a Filter resource names it as `module: { oci: registry/repository:tag }`, and an apply pulls it. Pushing the same bytes again does nothing new. A module that is older than the sources beside it is pushed all the same, with a warning.",
  arguments: "<file.wasm|folder>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [
    { name: "oci", type: "text", value: "<registry/repository:tag>", help: "Push to this OCI registry, not to the mesh." },
    ...REGISTRY_FLAGS,
    ...REMOTE_FLAGS,
  ],
  examples: [
    { says: "sign, then push", line: "selvedge filter sign geo.wasm --key signer.pem && selvedge filter push geo.wasm" },
    { says: "to a registry, for other meshes", line: "selvedge filter push geo.wasm --oci ghcr.io/acme/geo:1.2" },
    { says: "the digest alone, for a script", line: "selvedge filter push geo.wasm --json" },
  ],
  async run(context) {
    const file = moduleArgument(context, context.args[0] ?? "");
    const project = projectOfModule(context, file);
    if (project !== undefined) warnOfOldModule(context, project, file);
    const bytes = readModuleFile(context, file);
    const notes = checkModule(file, bytes);
    const summary = summariseModule(bytes);
    const pushed = await push(context, file, bytes);
    if (pushed.digest !== summary.digest)
      throw new CommandError(`the control plane says ${pushed.digest}, but the file is ${summary.digest}`);
    if (context.flags.on("json")) {
      printJson(context, { ...summary, ...pushed });
      return EXIT.ok;
    }
    const paint = paintOf(context);
    for (const note of notes) context.terminal.error(`${paint.yellow("!")} ${printable(note)}\n`);
    const signed = describeSigners(summary);
    context.terminal.out(`${paint.green("✓")} ${printable(file)}, ${summary.sizeBytes} bytes, ${signed}\n`);
    const { reference, digest } = pushed;
    const module = reference === undefined ? `digest: "${digest}"` : `oci: "${reference}", digest: "${digest}"`;
    context.terminal.out(`module: { ${module} }\n`);
    return EXIT.ok;
  },
};

interface Pushed {
  readonly digest: string;
  /** Of a registry. */
  readonly reference?: string;
  readonly manifestDigest?: string;
}

async function push(context: CommandContext, file: string, bytes: Uint8Array): Promise<Pushed> {
  const oci = context.flags.text("oci");
  if (oci === undefined) return { digest: await withRemote(context, (remote) => remote.putModule(bytes)) };
  const reference = referenceArgument(oci);
  const target = { reference, actions: "pull,push", ms: OCI_LIMITS.pushMs };
  const pushed = await withRegistry(context, target, (session) => pushModule(session, bytes, basename(file)));
  return { ...pushed, reference: reference.text };
}

function checkModule(file: string, bytes: Uint8Array): readonly string[] {
  try {
    return describeModule(bytes).notes;
  } catch (error) {
    throw new CommandError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
