/** The nearest of `known`, when it is near enough to be a typing error; undefined when none is. Ignores case. */
export function nearest(text: string, known: readonly string[]): string | undefined {
  const wanted = text.toLowerCase();
  if (wanted.length > 64) return undefined;
  let best: string | undefined;
  // A third of the letters may be wrong, and one swap in a short word.
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const each of known) {
    const distance = editDistance(wanted, each.toLowerCase());
    if (distance < bestDistance && distance < each.length) {
      best = each;
      bestDistance = distance;
    }
  }
  return best;
}

/** `did you mean X?`, or the list when it is short, or "". */
export function hintFor(text: string, known: readonly string[]): string {
  const near = nearest(text, known);
  if (near !== undefined) return `did you mean ${near}?`;
  return known.length > 0 && known.length <= 16 ? `known: ${known.join(", ")}` : "";
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min((last[j] as number) + 1, (row[j - 1] as number) + 1, (last[j - 1] as number) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, (beforeLast[j - 2] as number) + 1);
      row.push(least);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] as number;
}
