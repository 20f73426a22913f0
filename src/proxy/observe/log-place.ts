import { lstatSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, resolve, sep } from "node:path";

/**
 * Where an access log may be written. Configuration may come from somebody who must not choose freely which files of this
 * machine grow: then only a folder of the operator's is open to it.
 */
export type LogPlaces =
  /** The configuration is the operator's own file. */
  | { readonly kind: "any" }
  /** Only `stdout` and `stderr`. */
  | { readonly kind: "streams" }
  /** Besides: files below this folder. Paths that are not absolute begin there. */
  | { readonly kind: "folder"; readonly folder: string };

export const ANY_PLACE: LogPlaces = { kind: "any" };

/** A path that may be opened, or the reason why not. */
export type PlacedLog = { readonly path: string } | { readonly refused: string };

/** Is it one of the streams that a process has anyhow? */
export const isStream = (path: string): boolean => path === "stdout" || path === "stderr";

/**
 * The file that `path` of a configuration stands for. Links are followed before it is judged, so that none leads out of the
 * folder; what is there already must be a plain file (opening a pipe could wait for ever).
 */
export function placeLog(path: string, places: LogPlaces): PlacedLog {
  if (isStream(path) || places.kind === "any") return { path };
  if (places.kind === "streams") return { refused: "this proxy has no folder for log files (--log-dir)" };
  if (path.split(/[/\\]/).includes("..")) return { refused: `${path} has .. in it` };
  const folder = realFolder(resolve(places.folder));
  const real = realTarget(isAbsolute(path) ? path : join(folder, path));
  if (real === undefined) return { refused: `${path} leads over a link to nowhere` };
  if (!real.startsWith(folder.endsWith(sep) ? folder : folder + sep)) return { refused: `${path} is not below ${places.folder}` };
  const stat = statSync(real, { throwIfNoEntry: false });
  return stat === undefined || stat.isFile() ? { path: real } : { refused: `${path} is not a plain file` };
}

/** The folder need not exist yet. */
const realFolder = (folder: string): string => realTarget(folder) ?? folder;

/** Without links, as far as it exists; undefined: a link leads to something that does not exist. */
function realTarget(path: string): string | undefined {
  const rest: string[] = [];
  for (let at = path; ; at = dirname(at)) {
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat !== undefined) {
      try {
        return join(realpathSync(at), ...rest);
      } catch {
        return undefined;
      }
    }
    if (dirname(at) === at) return join(at, ...rest);
    rest.unshift(basename(at));
  }
}
