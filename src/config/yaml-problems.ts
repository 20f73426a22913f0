import { type Document, isScalar, visit } from "yaml";

/** What the YAML reader found, in words of ours; `offset` is in the text of the document. */
export interface SyntaxProblem {
  readonly offset: number;
  readonly message: string;
  readonly hint: string;
}

type ParseError = Document.Parsed["errors"][number];

/** Hints by the reader's code, and by what its message holds where the code says too little. */
const HINTS: readonly (readonly [code: string, part: string, hint: string])[] = [
  ["BAD_INDENT", "same column", "this line is indented otherwise than those that it belongs to"],
  ["BAD_INDENT", "end with a ]", "close it with a ]"],
  ["BAD_INDENT", "end with a }", "close it with a }"],
  ["BAD_INDENT", "", "indent what belongs to a key further than the key"],
  ["BLOCK_AS_IMPLICIT_KEY", "", "quote a value that has a colon and a space in it; keys of one mapping stand in one column"],
  ["MULTILINE_IMPLICIT_KEY", "", "a key ends with a colon and a space, and keys of one mapping stand in one column"],
  ["BAD_SCALAR_START", "", "quote it"],
  // `nats pub SUBJECT < shop.yaml`: the tool reads no input unless it is told to.
  ["TAG_RESOLVE_FAILED", "!nil!", '`nats pub` got no text to send: put it behind the subject, "$(cat shop.yaml)"'],
  ["UNEXPECTED_TOKEN", "block-seq-ind", "a list begins on the line below its key"],
  [
    "UNEXPECTED_TOKEN",
    "scalar at node end",
    "quote the whole value; items of a list and keys of a mapping do not mix in one column",
  ],
  ["MISSING_CHAR", "without -", "what belongs to an item of a list stands in the column of its first key"],
  ["MISSING_CHAR", "map values", "a colon and a space end a key; further lines of a text are indented further than its key"],
  ["BLOCK_IN_FLOW", "", "quote a value that has a colon and a space in it; between { } and [ ] commas separate"],
  ["NON_STRING_KEY", "", "is a dash or a quote missing, or a line indented otherwise than it should be?"],
];

/**
 * The first mistake of a document: what the reader makes of the rest follows from how it went on. `tabLines`: of
 * the text that it is in.
 */
export function firstProblemOf(document: Document.Parsed, tabLines: () => number): SyntaxProblem | undefined {
  const error = document.errors[0];
  if (error === undefined) return undefined;
  const [offset] = error.pos;
  if (error.code === "TAB_AS_INDENT") return tabProblem(tabLines(), offset);
  const quote = error.code === "MISSING_CHAR" ? /closing (["'])quote/.exec(error.message)?.[1] : undefined;
  if (quote !== undefined) {
    const message = `The text that begins with ${quote} here has no end.`;
    return { offset: startOfLastQuoted(document) ?? offset, message, hint: `close it with a ${quote}` };
  }
  // The reader speaks of an option of its own.
  const message = error.code === "NON_STRING_KEY" ? "A key is not plain text." : sentence(error.message);
  return { offset, message, hint: hintOf(error) };
}

function hintOf({ code, message }: ParseError): string {
  return HINTS.find(([ofCode, part]) => ofCode === code && message.includes(part))?.[2] ?? "";
}

/** Counts lines that are indented with tabs when it is first asked: a text may have many documents that ask. */
export function tabLinesOf(text: string): () => number {
  let lines: number | undefined;
  return () => {
    lines ??= text.match(/^ *\t[ \t]*[^\s#]/gm)?.length ?? 1;
    return lines;
  };
}

function tabProblem(lines: number, offset: number): SyntaxProblem {
  const which = lines > 1 ? `: ${lines} lines of this document begin with tabs` : "";
  return { offset, message: "A tab is used as indentation.", hint: `YAML wants spaces${which}` };
}

/** The reader says where the text ends: only where it began is of use. */
function startOfLastQuoted(document: Document.Parsed): number | undefined {
  let start: number | undefined;
  visit(document, {
    Scalar: (_, node) => {
      if (isScalar(node) && (node.type === "QUOTE_DOUBLE" || node.type === "QUOTE_SINGLE")) start = node.range?.[0] ?? start;
    },
  });
  return start;
}

/** The first line of a message of the reader, with a full stop. */
export const sentence = (message: string): string => `${message.split("\n", 1)[0]?.replace(/[.:]?$/, "")}.`;
