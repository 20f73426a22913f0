// Running suites and reading what they print: for `npm test` and `npm run long`.

/** Passed and failed of one process with suites of bun:test, or of test/portable.ts. */
export function tallyOf(output, code) {
  const own = /^(\d+) passed, (\d+) failed$/m.exec(output);
  const count = (word) => Number(new RegExp(`^\\s*(\\d+) ${word}$`, "m").exec(output)?.[1] ?? 0);
  const passed = own === null ? count("pass") : Number(own[1]);
  const failed = own === null ? count("fail") : Number(own[2]);
  // A crash or an error outside a test has no count of its own.
  return { passed, failed: code !== 0 && failed === 0 ? 1 : failed };
}

/** Lines of a failure that are shown again: enough for the message and the place. */
const FAILURE_LINES = 60;

/** What belongs to the failures in the output of suites; its end when it says nothing of any (a crash). */
export function failuresOf(output) {
  const lines = output.split("\n");
  const shown = [];
  let from = 0;
  lines.forEach((line, i) => {
    // bun:test says what happened above the line with the name, test/portable.ts below it.
    if (line.startsWith("(fail)")) shown.push(...lines.slice(Math.max(from, i - FAILURE_LINES), i + 1));
    if (line.startsWith("✗ ")) shown.push(...lines.slice(i, i + FAILURE_LINES / 2));
    if (/^\((pass|fail)\)/.test(line)) from = i + 1;
  });
  return (shown.length > 0 ? shown : lines.slice(-FAILURE_LINES)).join("\n");
}

/** Does `work` for each item, in their order, so many at a time; resolves with the results in that order. */
export async function inLanes(lanes, items, work) {
  const results = new Array(items.length);
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const i = next++;
      results[i] = await work(items[i]);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return results;
}
