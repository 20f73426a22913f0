import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Folders whose portable suites have a `portable.test.ts`, and so on Bun a process, of their own (scripts/test.mjs). */
const FOLDERS = ["contract", "fuzz", "integration"] as const;

/**
 * Every `*.portable.ts` below test/, as URLs in a fixed order: a suite cannot be forgotten by a list. `part`: those of one of the
 * folders above, or all others.
 */
export function portableSuites(part?: (typeof FOLDERS)[number] | "others"): string[] {
  const folder = fileURLToPath(new URL("..", import.meta.url));
  const partOf = (path: string): string => FOLDERS.find((each) => path.startsWith(join(each, "/"))) ?? "others";
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
    (path) => path.endsWith(".portable.ts") && (part === undefined || partOf(path) === part),
  );
  return paths.sort().map((path) => pathToFileURL(join(folder, path)).href);
}
