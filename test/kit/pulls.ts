/** Pulling from two registries of the tests, and what is said when that is refused. */
import assert from "node:assert/strict";
import { RegistryCredentials } from "../../src/config/oci/credentials.ts";
import { RegistryError } from "../../src/config/oci/failure.ts";
import { RegistryPolicy } from "../../src/config/oci/policy.ts";
import { type PulledModule, pullModule } from "../../src/config/oci/pull.ts";
import { type OciReference, readOciReference } from "../../src/config/oci/reference.ts";
import { RegistrySession, type RegistrySettings } from "../../src/config/oci/session.ts";
import { Refusal } from "../../src/config/schema/text.ts";
import { WAIT_MS } from "./patience.ts";
import { manifestOf, startRegistry, type TestRegistry } from "./registry.ts";
import { afterAll, beforeAll, beforeEach } from "./suite.ts";
import { ModuleBuilder } from "./wasm.ts";

export const WASM = new ModuleBuilder().memory(1).build();
export const LAYER = "application/wasm";
export const PASSWORD = "pass:word";

export function referenceOf(text: string): OciReference {
  const reference = readOciReference(text);
  if (reference instanceof Refusal) throw new Error(reference.message);
  return reference;
}

export interface Given {
  readonly named?: readonly string[];
  readonly user?: boolean;
  readonly ca?: string;
  /** Docker's config.json, and what its helpers see. */
  readonly docker?: object;
  readonly env?: Readonly<Record<string, string>>;
}

export const settingsOf = (host: string, { named = [], user = false, ca, docker, env }: Given = {}): RegistrySettings => ({
  policy: new RegistryPolicy(named),
  credentials: new RegistryCredentials(docker && JSON.stringify(docker), user ? `${host}=joe:${PASSWORD}` : undefined, env),
  caPem: ca,
});

export const patience = (): AbortSignal => AbortSignal.timeout(WAIT_MS);

export const pullFrom = async (host: string, name: string, given: Given = {}): Promise<PulledModule> =>
  pullModule(new RegistrySession(referenceOf(`${host}/${name}`), settingsOf(host, given), "pull", patience()));

/** The refusal is this one; what it says holds no password. */
export async function refuses(work: Promise<unknown>, pattern: RegExp): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof RegistryError)) throw new Error(`it was not refused: ${String(error)}`);
  assert.ok(!`${error.message} ${error.hint}`.includes(PASSWORD), error.message);
  assert.match(`${error.code}: ${error.message}`, pattern);
}

/** Two registries for a suite, empty before each test. */
export function useRegistries() {
  let started: { readonly registry: TestRegistry; readonly other: TestRegistry } | undefined;
  const get = (): { readonly registry: TestRegistry; readonly other: TestRegistry } => {
    if (started === undefined) throw new Error("only inside a test");
    return started;
  };
  beforeAll(async () => {
    started = { registry: await startRegistry(), other: await startRegistry() };
  });
  afterAll(async () => {
    await Promise.all(Object.values(get()).map((each) => each.stop()));
  });
  beforeEach(() => {
    for (const each of Object.values(get())) {
      each.asked.length = 0;
      each.blobs.clear();
      each.manifests.clear();
      each.instead.clear();
      each.guard = undefined;
    }
  });
  const layerOf = (bytes: Uint8Array, mediaType = LAYER) => ({ mediaType, ...get().registry.addBlob(bytes) });
  return {
    get registry(): TestRegistry {
      return get().registry;
    },
    get other(): TestRegistry {
      return get().other;
    },
    pull: (name: string, given: Given = {}): Promise<PulledModule> => pullFrom(get().registry.host, name, given),
    layerOf,
    /** Tags a manifest of these layers; the digest is its own. */
    tagged: (name: string, ...layers: Parameters<typeof manifestOf>): string => get().registry.tag(name, manifestOf(...layers)),
  };
}
