/** Where a command writes and reads; a test gives its own. */
export interface Terminal {
  out(text: string): void;
  error(text: string): void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isTty: boolean;
  readonly cwd: string;
  readStdin(): Promise<string>;
  /** Resolves when the reader took what was written; false: nobody reads any more. Absent: it always did. */
  flushed?(): Promise<boolean>;
}

/** Text in colour, or as it is. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

/** `wanted`: of the flag; undefined leaves it to the terminal and NO_COLOR (https://no-color.org). */
export function choosePaint(terminal: Terminal, wanted: boolean | undefined): Paint {
  const allowed = terminal.isTty && (terminal.env.NO_COLOR ?? "") === "" && terminal.env.TERM !== "dumb";
  const on = wanted ?? allowed;
  const code =
    (open: number, close: number) =>
    (text: string): string =>
      on ? `\x1b[${open}m${text}\x1b[${close}m` : text;
  return {
    bold: code(1, 22),
    dim: code(2, 22),
    red: code(31, 39),
    green: code(32, 39),
    yellow: code(33, 39),
    cyan: code(36, 39),
  };
}

/** What came from elsewhere goes to a terminal without its control characters, so that it cannot move the cursor or lie. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this removes
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\uFFFD");
}

/** On one line: also line ends, and what turns the direction of text around, are shown as escapes and not done. */
export function onOneLine(text: string): string {
  return text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this shows
    /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (char) => SHORT_ESCAPES[char] ?? `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
  );
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Rows in columns; the first row is the heading. */
export function formatTable(rows: readonly (readonly string[])[], paint: Paint): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  const lines = rows.map((row, at) => {
    const line = row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  ");
    return at === 0 ? paint.dim(line) : line;
  });
  return `${lines.join("\n")}\n`;
}
