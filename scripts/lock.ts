/** What a lock file of npm must be: every package by its content, whatever machine asks for it, and from wherever the registry is. */

interface LockEntry {
  readonly link?: boolean;
  readonly resolved?: string;
  readonly integrity?: string;
}

/** What is wrong with a lock file, by package: no `integrity` (then whatever is served under the name would be installed), or an address. */
export function lockProblems(text: string): string[] {
  const { packages } = JSON.parse(text) as { readonly packages: Readonly<Record<string, LockEntry>> };
  return Object.entries(packages).flatMap(([path, { link, resolved, integrity }]) => {
    // The project itself and its workspaces are in the repository.
    if (!path.includes("node_modules/") || link === true) return [];
    const problems: string[] = [];
    if (!/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ""))
      problems.push(`${path} has no integrity: npm view <name>@<version> dist.integrity`);
    if (resolved !== undefined) problems.push(`${path} has an address: npm install --omit-lockfile-registry-resolved`);
    return problems;
  });
}
