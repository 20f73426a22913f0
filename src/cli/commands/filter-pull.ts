import { writeFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { summariseModule } from "../../config/module-summary.ts";
import { pullModule } from "../../config/oci/pull.ts";
import { OCI_LIMITS } from "../../core/limits.ts";
import { type Command, CommandError, EXIT } from "../command.ts";
import { describeSigners } from "../filter/describe.ts";
import { referenceArgument, withRegistry } from "../registry.ts";
import { paintOf, printJson } from "../report.ts";
import { REGISTRY_FLAGS } from "../serve-flags.ts";
import { printable } from "../terminal.ts";

export const command: Command = {
  name: "filter pull",
  summary: "take a module from an OCI registry",
  description:
    "Takes a module from an OCI registry as an apply would, verifies every digest on the way, and writes it to a file: to look at (filter inspect), to sign, to test. Reads Wasm artifacts, those of Istio and Solo, and container images with plugin.wasm in them.",
  arguments: "<registry/repository:tag>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [
    { name: "output", short: "o", type: "text", value: "<file>", defaultText: "<repository>.wasm here", help: "File to write." },
    ...REGISTRY_FLAGS,
  ],
  examples: [
    {
      says: "what somebody else's filter is",
      line: "selvedge filter pull ghcr.io/acme/geo:1.2 && selvedge filter inspect geo.wasm",
    },
    { says: "its digest, for a script", line: "selvedge filter pull ghcr.io/acme/geo:1.2 --json" },
  ],
  async run(context) {
    const { args, flags, terminal } = context;
    const reference = referenceArgument(args[0] ?? "");
    const file = flags.text("output") ?? `${basename(reference.repository)}.wasm`;
    const pulled = await withRegistry(context, { reference, actions: "pull", ms: OCI_LIMITS.pullMs }, (session) =>
      pullModule(session),
    );
    try {
      writeFileSync(resolve(terminal.cwd, file), pulled.bytes);
    } catch (error) {
      throw new CommandError(`cannot write ${file}: ${(error as Error).message}`);
    }
    const summary = summariseModule(pulled.bytes);
    if (flags.on("json")) {
      printJson(context, { ...summary, reference: reference.text, manifestDigest: pulled.manifestDigest, file });
      return EXIT.ok;
    }
    const signed = describeSigners(summary);
    const paint = paintOf(context);
    terminal.out(`${paint.green("✓")} ${printable(file)}, ${summary.sizeBytes} bytes, ${signed}, ${summary.digest}\n`);
    terminal.out(`manifest ${pulled.manifestDigest}\n`);
    return EXIT.ok;
  },
};
