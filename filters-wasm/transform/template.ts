import { claimPath, principal, routeName } from "../sdk/attributes";
import { nextNamed, out, outLength, property, rewind, value, valueLength } from "../sdk/host";
import { ByteString, indexOf, utf8 } from "../sdk/memory";
import { Json, problem, STRING } from "../sdk/settings";
import * as w from "../sdk/writer";

/**
 * Text with `{attribute}` in it. Names are checked when the filter is configured; what is missing at run time is empty. `{{`
 * is a brace. Control characters of a value become spaces, so that no value can start another header.
 */

const LITERAL: i32 = 0;
const REQUEST_HEADER: i32 = 1;
const RESPONSE_HEADER: i32 = 2;
const TEXT: i32 = 3;
const INTEGER: i32 = 4;
const ROUTE: i32 = 5;
const PRINCIPAL: i32 = 6;
const PATH_ONLY: i32 = 7;
const QUERY: i32 = 8;
const METHOD: i32 = 9;
const HOST: i32 = 10;
const TARGET: i32 = 11;

const NAME_METHOD = utf8(":method");
const NAME_PATH = utf8(":path");
const NAME_AUTHORITY = utf8(":authority");

/** Text attributes with the same name in every host. */
const TEXTS: string[] = [
  "request.id", "request.scheme", "request.protocol", "source.address", "destination.address", "connection.requested_server_name",
  "connection.tls_version", "connection.uri_san_peer_certificate", "connection.subject_peer_certificate",
];
const INTEGERS: string[] = ["source.port", "destination.port", "response.code"];

class Part {
  kind: i32 = LITERAL;
  bytes: ByteString = new StaticArray<u8>(0);
}

export class Template {
  parts: Part[] = [];

  /** The only part is text. */
  get constant(): bool {
    return this.parts.length == 1 && this.parts[0].kind == LITERAL;
  }

  /** Writes the value (behind `writer.begin`). `request` and `response` are serialised maps or 0. */
  write(request: usize, response: usize): void {
    for (let i = 0; i < this.parts.length; i++) writePart(unchecked(this.parts[i]), request, response);
  }

  /** Does it need the fields of the request? */
  get readsRequest(): bool {
    for (let i = 0; i < this.parts.length; i++) {
      const kind = this.parts[i].kind;
      if (kind == REQUEST_HEADER || kind >= PATH_ONLY) return true;
    }
    return false;
  }
  get readsResponse(): bool {
    for (let i = 0; i < this.parts.length; i++) if (this.parts[i].kind == RESPONSE_HEADER) return true;
    return false;
  }
}

function clean(from: usize, length: usize): void {
  for (let i: usize = 0; i < length; i++) {
    const byte = load<u8>(from + i);
    w.byte(byte < 0x20 || byte == 0x7f ? 0x20 : byte);
  }
}

function writePart(part: Part, request: usize, response: usize): void {
  switch (part.kind) {
    case LITERAL:
      w.text(part.bytes);
      return;
    case REQUEST_HEADER:
      writeValues(request, part.bytes);
      return;
    case RESPONSE_HEADER:
      if (response != 0) writeValues(response, part.bytes);
      return;
    case TEXT:
      if (property(part.bytes)) clean(out(), outLength());
      return;
    case INTEGER:
      if (property(part.bytes) && outLength() == 8) w.decimal(load<i64>(out()));
      return;
    case ROUTE:
      if (routeName()) clean(out(), outLength());
      return;
    case PRINCIPAL:
      if (principal()) clean(out(), outLength());
      return;
    case METHOD:
      writeValues(request, NAME_METHOD);
      return;
    case HOST:
      writeValues(request, NAME_AUTHORITY);
      return;
    default:
      writeTarget(part.kind, request);
  }
}

function writeTarget(kind: i32, request: usize): void {
  rewind(request);
  if (!nextNamed(NAME_PATH)) return;
  const question = indexOf(value, valueLength, 0x3f);
  const end = question < 0 ? valueLength : <usize>question;
  if (kind == TARGET) clean(value, valueLength);
  else if (kind == PATH_ONLY) clean(value, end);
  else if (question >= 0) clean(value + end + 1, valueLength - end - 1);
}

/** Every value, joined as RFC 9110 §5.3 joins them. */
function writeValues(pairs: usize, name: ByteString): void {
  rewind(pairs);
  let first = true;
  while (nextNamed(name)) {
    if (!first) {
      w.byte(0x2c);
      w.byte(0x20);
    }
    first = false;
    clean(value, valueLength);
  }
}

export function parseTemplate(json: Json, claimsFrom: string, response: bool): Template {
  const template = new Template();
  if (json.kind != STRING) {
    problem(json.path, "must be a string");
    return template;
  }
  const text = json.text;
  let literal = "";
  let i = 0;
  while (i < text.length) {
    const char = text.charAt(i);
    if (char.charCodeAt(0) < 0x20 || char.charCodeAt(0) == 0x7f) problem(json.path, "must not contain control characters");
    if (char == "{" && text.charAt(i + 1) != "{") {
      const end = text.indexOf("}", i);
      if (end < 0) {
        problem(json.path, "{ without }; write {{ for a brace");
        break;
      }
      if (literal.length > 0) pushLiteral(template, literal);
      literal = "";
      template.parts.push(parsePart(json, text.substring(i + 1, end), claimsFrom, response));
      i = end + 1;
      continue;
    }
    if ((char == "{" || char == "}") && text.charAt(i + 1) == char) i++;
    literal += char;
    i++;
  }
  if (literal.length > 0 || template.parts.length == 0) pushLiteral(template, literal);
  return template;
}

function pushLiteral(template: Template, text: string): void {
  const part = new Part();
  part.bytes = utf8(text);
  template.parts.push(part);
}

function parsePart(json: Json, name: string, claimsFrom: string, response: bool): Part {
  const part = new Part();
  if (name.startsWith("request.header.") && name.length > 15) {
    part.kind = REQUEST_HEADER;
    part.bytes = utf8(name.substring(15).toLowerCase());
  } else if (name.startsWith("response.header.") && name.length > 16) {
    part.kind = RESPONSE_HEADER;
    part.bytes = utf8(name.substring(16).toLowerCase());
    if (!response) problem(json.path, "{" + name + "} is not known before the answer");
  } else if (name.startsWith("claim:") && name.length > 6) {
    part.kind = TEXT;
    part.bytes = claimPath(claimsFrom, name.substring(6));
    if (claimsFrom == "") problem(json.path, "claims need /claimsFrom, the name of the token's provider");
  } else if (name == "route") part.kind = ROUTE;
  else if (name == "principal") part.kind = PRINCIPAL;
  else if (name == "request.path") part.kind = PATH_ONLY;
  else if (name == "request.query") part.kind = QUERY;
  else if (name == "request.target") part.kind = TARGET;
  else if (name == "request.method") part.kind = METHOD;
  else if (name == "request.host") part.kind = HOST;
  else {
    part.kind = INTEGERS.includes(name) ? INTEGER : TEXT;
    part.bytes = utf8(name.split(".").join("\0"));
    if (part.kind == TEXT && !TEXTS.includes(name)) problem(json.path, "unknown attribute {" + name + "}");
    if (name == "response.code" && !response) problem(json.path, "{" + name + "} is not known before the answer");
  }
  return part;
}
