const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or folder",
  EACCES: "this process may not read it",
  EISDIR: "it is a folder",
};

/** Why a file could not be read, for people: without the name of the system's call. */
export function whyUnreadable(error: unknown): string {
  const known = REASONS[(error as { code?: string } | undefined)?.code ?? ""];
  return known ?? (error instanceof Error ? error.message : String(error));
}
