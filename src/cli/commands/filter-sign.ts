import { generateKeyPairSync } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { sha256Digest } from "../../config/canonical.ts";
import { formatTrustedKey, readSigningKey, signModule } from "../../config/module-signature.ts";
import { writeAtomically } from "../../runtime/files.ts";
import { type Command, type CommandContext, CommandError, EXIT } from "../command.ts";
import { readText } from "../files.ts";
import { describeModule } from "../filter/describe.ts";
import { moduleArgument, readModuleFile } from "../filter/module-file.ts";
import { paintOf, printJson } from "../report.ts";

const OWNER_ONLY = 0o600;

export const command: Command = {
  name: "filter sign",
  summary: "sign a module with an ed25519 key",
  description:
    "Puts a signature at the end of a module, in place or into another file, and prints the module's new digest and the key as a Mesh names it: `filters: { requireSignature: true, trustedKeys: [...] }`. With that setting, modules that no trusted key has signed, or that were altered, are refused by the control plane and by every proxy. Without a file and with --new-key it only makes a key.",
  arguments: "[<file.wasm|folder>]",
  argumentsMax: 1,
  flags: [
    { name: "key", type: "text", value: "<file>", help: "Private key, PEM (PKCS #8)." },
    { name: "new-key", type: "switch", help: "Make the key file first; refused when it is there already." },
    { name: "output", short: "o", type: "text", value: "<file>", help: "Write the signed module here. Default: in place." },
  ],
  examples: [
    { says: "a key, once", line: "selvedge filter sign --new-key --key signer.pem" },
    { says: "sign in place", line: "selvedge filter sign geo.wasm --key signer.pem" },
  ],
  async run(context) {
    const { flags, terminal, args } = context;
    const file = args[0] === undefined ? undefined : moduleArgument(context, args[0]);
    const keyFile = flags.text("key");
    if (keyFile === undefined) throw new CommandError("no key named", "--key <file>; with --new-key it is made", EXIT.usage);
    if (file === undefined && !flags.on("new-key"))
      throw new CommandError("no module named", "write filter sign <file.wasm>", EXIT.usage);
    const bytes = file === undefined ? undefined : readModule(context, file);
    if (flags.on("new-key")) makeKey(resolve(terminal.cwd, keyFile), keyFile);
    const pem = readText(resolve(terminal.cwd, keyFile));
    const trustedKey = formatTrustedKey(readKey(keyFile, pem));
    let digest: string | undefined;
    if (file !== undefined && bytes !== undefined) {
      const signed = signModule(bytes, pem);
      digest = sha256Digest(signed);
      writeAtomically(resolve(terminal.cwd, flags.text("output") ?? file), signed, 0o644);
    }
    if (flags.on("json")) printJson(context, { file: file ?? null, digest: digest ?? null, trustedKey });
    else {
      if (digest !== undefined)
        terminal.out(`${paintOf(context).green("✓")} ${flags.text("output") ?? file} is signed, ${digest}\n`);
      terminal.out(`trusted key: ${trustedKey}\n`);
    }
    return EXIT.ok;
  },
};

function readModule(context: CommandContext, file: string): Uint8Array {
  const bytes = readModuleFile(context, file);
  try {
    describeModule(bytes);
  } catch (error) {
    throw new CommandError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return bytes;
}

function makeKey(path: string, shown: string): void {
  if (existsSync(path)) throw new CommandError(`${shown} is there already`, "leave --new-key out to sign with it", EXIT.usage);
  const { privateKey } = generateKeyPairSync("ed25519");
  writeFileSync(path, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: OWNER_ONLY, flag: "wx" });
}

function readKey(file: string, pem: string): Uint8Array {
  try {
    return readSigningKey(pem).publicKey;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new CommandError(`${file}: ${message}`, "openssl genpkey -algorithm ed25519, or --new-key, makes one", EXIT.usage);
  }
}
