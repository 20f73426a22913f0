import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { RegistryCredentials } from "../config/oci/credentials.ts";
import { RegistryError } from "../config/oci/failure.ts";
import type { Environment } from "../config/oci/helper.ts";
import { createPuller, type PullModule } from "../config/oci/pin.ts";
import { RegistryPolicy } from "../config/oci/policy.ts";
import { type OciReference, readOciReference } from "../config/oci/reference.ts";
import type { RegistrySession, RegistrySettings } from "../config/oci/session.ts";
import { Refusal } from "../config/schema/text.ts";
import { formatDuration } from "../config/schema/units.ts";
import { type CommandContext, CommandError, EXIT } from "./command.ts";
import { readText } from "./files.ts";

/** What the flags say. Throws a `CommandError` for what is wrong with them; files are read each time, because tokens in them change. */
export function registrySettings({ flags, terminal }: CommandContext): () => RegistrySettings {
  let policy: RegistryPolicy;
  const named = flags.text("registry-credentials");
  try {
    policy = new RegistryPolicy(flags.list("registries"));
  } catch (error) {
    throw new CommandError(`--registries: ${(error as Error).message}`, "", EXIT.usage);
  }
  try {
    new RegistryCredentials(undefined, named);
  } catch (error) {
    throw new CommandError(`--registry-credentials: ${(error as Error).message}`, "", EXIT.usage);
  }
  const pathOf = (flag: string): string | undefined => {
    const file = flags.text(flag);
    return file === undefined ? undefined : resolve(terminal.cwd, file);
  };
  const [ca, auth] = [pathOf("registry-ca"), pathOf("registry-auth")];
  if (ca !== undefined) readText(ca);
  if (auth !== undefined) readText(auth);
  const dockerConfig = auth ?? join(terminal.env.DOCKER_CONFIG || join(terminal.env.HOME || homedir(), ".docker"), "config.json");
  return () => ({
    policy,
    credentials: readCredentials(dockerConfig, named, terminal.env),
    caPem: ca === undefined ? undefined : readFileSync(ca, "utf8"),
  });
}

function readCredentials(dockerConfig: string, named: string | undefined, env: Environment): RegistryCredentials {
  try {
    return new RegistryCredentials(existsSync(dockerConfig) ? readFileSync(dockerConfig, "utf8") : undefined, named, env);
  } catch (error) {
    // Whose it is need not be told to whoever sent the configuration.
    const why =
      error instanceof SyntaxError || (error as { code?: unknown }).code === undefined ? "is not JSON" : "cannot be read";
    throw new RegistryError(
      "registry_unauthorized",
      `the file with credentials of registries ${why}`,
      "--registry-auth names it",
    );
  }
}

/** Pulls as the flags say. */
export const pullerOf = (context: CommandContext): PullModule => createPuller(registrySettings(context));

/** A reference on the command line. */
export function referenceArgument(text: string): OciReference {
  const reference = readOciReference(text);
  if (reference instanceof Refusal) throw new CommandError(`${text}: ${reference.message}`, reference.hint, EXIT.usage);
  return reference;
}

/** Runs `work` with a registry, in time; what went wrong becomes a `CommandError`. */
export async function withRegistry<T>(
  context: CommandContext,
  { reference, actions, ms }: { readonly reference: OciReference; readonly actions: string; readonly ms: number },
  work: (session: RegistrySession) => Promise<T>,
): Promise<T> {
  const settings = registrySettings(context);
  const { RegistrySession: Session } = await import("../config/oci/session.ts");
  const signal = AbortSignal.timeout(ms);
  try {
    return await work(new Session(reference, settings(), actions, signal));
  } catch (error) {
    if (signal.aborted)
      throw new CommandError(`${reference.text}: it took more than ${formatDuration(ms)}`, "", EXIT.unreachable);
    if (!(error instanceof RegistryError)) throw error;
    const exit =
      error.code === "registry_unreachable"
        ? EXIT.unreachable
        : error.code === "artifact_not_found"
          ? EXIT.notFound
          : EXIT.failed;
    throw new CommandError(`${reference.text}: ${error.message}`, error.hint, exit);
  }
}
