import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Every `*.portable.ts` below test/, as URLs in a fixed order: a suite cannot be forgotten by a list. */
export function portableSuites(): string[] {
  const folder = fileURLToPath(new URL("..", import.meta.url));
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".portable.ts"));
  return paths.sort().map((path) => pathToFileURL(join(folder, path)).href);
}
