import { Failure } from "../../core/failure.ts";
import { HeaderBlock } from "../../core/head.ts";
import { HTAB, SP } from "./chars.ts";
import { readConnection, trimSpace } from "./connection.ts";
import { parseContentLength } from "./framing.ts";
import { KnownLines } from "./known.ts";
import { KIND, nameReader } from "./names.ts";
import type { LineScanner } from "./scan.ts";

/** How fields of this peer are read. */
export interface FieldRules {
  readonly underscores: "reject" | "drop" | "keep";
  /** A Connection option that names a field which everybody must see: refuse the message, or leave the field in. */
  readonly protectedOption: "reject" | "ignore";
}

/** The fields of one head: the block for those above, and what the codec keeps to itself. */
export class HeadFields {
  block = new HeaderBlock();
  /** -1: none. */
  contentLength = -1;
  hosts = 0;
  host = "";
  codings = 0;
  coding = "";
  upgrades = 0;
  upgrade = "";
  expects = 0;
  expect = "";
  keepAlive = "";
  close = false;
  persist = false;
  upgradeOption = false;
  /** How many fields were the codec's own business. */
  special = 0;
  /** Other names in Connection: fields for us alone. */
  options: string[] | undefined = undefined;

  reset(): void {
    this.block = new HeaderBlock();
    this.contentLength = -1;
    this.hosts = 0;
    this.codings = 0;
    this.upgrades = 0;
    this.expects = 0;
    this.keepAlive = "";
    this.close = false;
    this.persist = false;
    this.upgradeOption = false;
    this.special = 0;
    this.options = undefined;
  }
}

const COLON = 0x3a;

/** Shared by all connections: what one sends, others send too. Credentials are not kept. */
const known = new KnownLines();

/** Reads the scanner's lines from `first` on into `fields`. */
export function readFields(scanner: LineScanner, first: number, rules: FieldRules, fields: HeadFields): Failure | undefined {
  const { view, ends, lines } = scanner;
  for (let line = first; line < lines; line++) {
    const start = line === 0 ? 0 : (ends[line - 1] as number) + 2;
    const end = ends[line] as number;
    const failure = known.find(view, start, end)
      ? takeField(known.kind, known.name, known.value, rules, fields)
      : readLine(scanner, start, end, rules, fields);
    if (failure !== undefined) return failure;
  }
  if (fields.options !== undefined) removeNamed(fields.block, fields.options);
  return undefined;
}

/** A field line is `name ":" OWS value OWS` (RFC 9112 §5); there is no folding, and no space in front of the colon. */
function readLine(
  { bytes, view }: LineScanner,
  start: number,
  end: number,
  rules: FieldRules,
  fields: HeadFields,
): Failure | undefined {
  nameReader.read(bytes, start, end);
  const { end: nameEnd, name, kind, secret } = nameReader;
  if (nameEnd === end || bytes[nameEnd] !== COLON) return new Failure("bad_header", "no colon behind the name");
  if (nameEnd === start) return new Failure("bad_header", "empty field name");
  let from = nameEnd + 1;
  let to = end;
  while (from < to && isSpace(bytes[from])) from++;
  while (to > from && isSpace(bytes[to - 1])) to--;
  const value = bytes.latin1Slice(from, to);
  if (name === undefined) return takeOther(bytes.latin1Slice(start, nameEnd).toLowerCase(), value, rules, fields);
  if (!secret) known.keep(view, start, end, name, value, kind);
  return takeField(kind, name, value, rules, fields);
}

/** A field whose name is none that is known. */
function takeOther(name: string, value: string, rules: FieldRules, fields: HeadFields): Failure | undefined {
  if (rules.underscores !== "keep" && name.includes("_")) {
    return rules.underscores === "reject" ? new Failure("bad_header", "underscore in a field name") : undefined;
  }
  fields.block.add(name, value);
  return undefined;
}

function takeField(kind: number, name: string, value: string, rules: FieldRules, fields: HeadFields): Failure | undefined {
  if (kind !== KIND.plain) return takeSpecial(kind, name, value, rules, fields);
  fields.block.add(name, value);
  return undefined;
}

const isSpace = (byte: number | undefined): boolean => byte === SP || byte === HTAB;

function takeSpecial(kind: number, name: string, value: string, rules: FieldRules, fields: HeadFields): Failure | undefined {
  fields.special++;
  switch (kind) {
    case KIND.host:
      fields.hosts++;
      fields.host = value;
      return undefined;
    case KIND.contentLength: {
      const length = parseContentLength(value);
      if (length < 0) return new Failure("bad_framing", "Content-Length is not a number");
      if (fields.contentLength >= 0) return new Failure("bad_framing", "two Content-Length");
      fields.contentLength = length;
      fields.block.add(name, value);
      return undefined;
    }
    case KIND.transferEncoding:
      fields.codings++;
      fields.coding = value;
      return undefined;
    case KIND.connection:
      return readConnection(value, rules.protectedOption, fields);
    case KIND.upgrade:
      fields.upgrades++;
      fields.upgrade = value;
      return undefined;
    case KIND.te:
      // Hop-by-hop, but whether trailers are welcome concerns everybody on the way (RFC 9110 §10.1.4).
      if (namesTrailers(value) && !fields.block.has(name)) fields.block.add(name, "trailers");
      return undefined;
    case KIND.expect:
      fields.expects++;
      fields.expect = value;
      fields.block.add(name, value);
      return undefined;
    case KIND.keepAlive:
      fields.keepAlive = value;
      return undefined;
    default:
      return undefined;
  }
}

function namesTrailers(value: string): boolean {
  if (value === "trailers") return true;
  return value
    .toLowerCase()
    .split(",")
    .some((each) => trimSpace(each) === "trailers");
}

function removeNamed(block: HeaderBlock, options: readonly string[]): void {
  for (const option of options) block.remove(option);
}
