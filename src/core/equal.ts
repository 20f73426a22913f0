/** Are two values of plain data (JSON and `undefined`) equal? The order of keys does not count. */
export function isSameData(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false;
  if (Array.isArray(left)) {
    if (!Array.isArray(right) || left.length !== right.length) return false;
    for (let i = 0; i < left.length; i++) if (!isSameData(left[i], right[i])) return false;
    return true;
  }
  if (Array.isArray(right)) return false;
  const [first, second] = [left as Readonly<Record<string, unknown>>, right as Readonly<Record<string, unknown>>];
  // A key that is missing equals one that is undefined: JSON makes no difference.
  for (const key in first) if (!isSameData(first[key], second[key])) return false;
  for (const key in second) if (second[key] !== undefined && first[key] === undefined) return false;
  return true;
}
