import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256Digest } from "../../config/canonical.ts";
import type { Persistence } from "./memory.ts";

/** Keeps a memory store in a folder: `config.json` and `modules/`. Only the owner may read. */
export function folderPersistence(folder: string): Persistence {
  const modules = join(folder, "modules");
  const modulePath = (digest: string): string => join(modules, `${digest.replace(":", "-")}.wasm`);
  return {
    read: async () => (await readOptional(join(folder, "config.json")))?.toString("utf8"),
    write: (text) => placeFile(folder, "config.json", text),
    readModule: async (digest) => {
      const bytes = await readOptional(modulePath(digest));
      return bytes === undefined || sha256Digest(bytes) !== digest ? undefined : new Uint8Array(bytes);
    },
    listModules: async () => {
      const names = existsSync(modules) ? await readdir(modules) : [];
      return names.flatMap(
        (name) =>
          /^sha256-([0-9a-f]{64})\.wasm$/
            .exec(name)
            ?.slice(1)
            .map((hex) => `sha256:${hex}`) ?? [],
      );
    },
    writeModule: (digest, bytes) => placeFile(modules, `${digest.replace(":", "-")}.wasm`, bytes),
  };
}

async function readOptional(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Written beside, then renamed: a crash leaves the old file or the new one. */
async function placeFile(folder: string, name: string, content: string | Uint8Array): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const temporary = join(folder, `${name}.new`);
  await writeFile(temporary, content, { mode: 0o600, flush: true });
  await rename(temporary, join(folder, name));
}
