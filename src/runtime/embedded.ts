/**
 * Files inside a single executable: `filters/rate-limit.wasm`, later the dashboard. Empty in a checkout. They are read like files,
 * but only by the paths that are known here.
 */
const paths = new Map<string, string>();

/** Called by what the executable starts with, before anything looks for a file. */
export function embedFile(name: string, path: string): void {
  paths.set(name, path);
}

/** Path to read an embedded file from; undefined: it is not inside. */
export function embeddedPath(name: string): string | undefined {
  return paths.get(name);
}
