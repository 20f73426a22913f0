export interface DiffLine {
  readonly kind: "+" | "-" | " ";
  readonly line: string;
}

/** Beyond this many pairs of lines the whole text is shown as replaced: the table would be too large. */
const CELLS_MAX = 4_000_000;

/** A shortest edit from one list of lines to another, with unchanged lines in between (longest common subsequence). */
export function diffLines(before: readonly string[], after: readonly string[]): DiffLine[] {
  if (before.length * after.length > CELLS_MAX) {
    return [...before.map((line) => ({ kind: "-" as const, line })), ...after.map((line) => ({ kind: "+" as const, line }))];
  }
  // common[i][j]: length of the longest common subsequence of before[i..] and after[j..].
  const width = after.length + 1;
  const common = new Uint32Array((before.length + 1) * width);
  const at = (i: number, j: number): number => common[i * width + j] as number;
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      common[i * width + j] = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      lines.push({ kind: " ", line: before[i] as string });
      i++;
      j++;
    } else if (j >= after.length || (i < before.length && at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ kind: "-", line: before[i++] as string });
    } else {
      lines.push({ kind: "+", line: after[j++] as string });
    }
  }
  return lines;
}
