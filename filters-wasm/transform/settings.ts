import { ByteString, utf8 } from "../sdk/memory";
import {
  arrayMember, ARRAY, BOOL, boolMember, headerName, integerMember, Json, member, onlyKeys, problem, STRING, stringOf, stringsMember, textMember,
} from "../sdk/settings";
import { parseTemplate, Template } from "./template";

export const SET: i32 = 0;
export const ADD: i32 = 1;
export const REMOVE: i32 = 2;
export const RENAME: i32 = 3;

export class HeaderOp {
  op: i32 = SET;
  name: ByteString = new StaticArray<u8>(0);
  /** New name of a rename. */
  to: ByteString = new StaticArray<u8>(0);
  template: Template = new Template();
}

export class QueryOp {
  op: i32 = SET;
  /** As a decoded name. */
  name: ByteString = new StaticArray<u8>(0);
  to: ByteString = new StaticArray<u8>(0);
  template: Template = new Template();
}

export class JsonOp {
  op: i32 = SET;
  /** Reference tokens of the pointer, unescaped. */
  tokens: ByteString[] = [];
  /** JSON text of the value, or the new name as JSON text. */
  text: ByteString = new StaticArray<u8>(0);
  /** The new name as it is. */
  to: ByteString = new StaticArray<u8>(0);
}

export class Side {
  headers: HeaderOp[] = [];
  json: JsonOp[] = [];
  readsRequest: bool = false;
  readsResponse: bool = false;
}

export class Cors {
  any: bool = false;
  origins: ByteString[] = [];
  /** `https://` in front and `.example.com` behind, in turn. */
  wild: ByteString[] = [];
  methods: ByteString = new StaticArray<u8>(0);
  headers: ByteString = new StaticArray<u8>(0);
  expose: ByteString = new StaticArray<u8>(0);
  credentials: bool = false;
  maxAge: ByteString = new StaticArray<u8>(0);
}

export class Settings {
  request: Side = new Side();
  response: Side = new Side();
  query: QueryOp[] = [];
  hasPath: bool = false;
  /** Whole new path, or "" when a prefix is replaced. */
  pathSet: ByteString = new StaticArray<u8>(0);
  prefixFrom: ByteString = new StaticArray<u8>(0);
  prefixTo: ByteString = new StaticArray<u8>(0);
  queryReadsRequest: bool = false;
  maxBodyBytes: i32 = 1048576;
  refuse: bool = false;
  cors: Cors | null = null;
}

const OPS_MAX: i32 = 64;

export function parse(root: Json): Settings {
  const settings = new Settings();
  onlyKeys(root, "request response maxBodyBytes onBodyError cors claimsFrom");
  const claimsFrom = textMember(root, "claimsFrom", "");
  settings.maxBodyBytes = <i32>integerMember(root, "maxBodyBytes", 1048576, 1, 16777216);
  const onError = textMember(root, "onBodyError", "refuse");
  if (onError != "pass" && onError != "refuse") problem("/onBodyError", "must be pass or refuse");
  settings.refuse = onError == "refuse";
  const request = member(root, "request");
  if (request !== null && onlyKeys(request, "headers path query json")) {
    parseSide(request, settings.request, claimsFrom, false);
    parsePath(request, settings);
    const query = arrayMember(request, "query");
    for (let i = 0; i < query.length; i++) settings.query.push(parseQuery(query[i], settings, claimsFrom));
  }
  const response = member(root, "response");
  if (response !== null && onlyKeys(response, "headers json")) parseSide(response, settings.response, claimsFrom, true);
  const cors = member(root, "cors");
  if (cors !== null) settings.cors = parseCors(cors);
  if (request === null && response === null && cors === null) problem("", "nothing to do: give request, response or cors");
  return settings;
}

function parseSide(json: Json, side: Side, claimsFrom: string, response: bool): void {
  const headers = arrayMember(json, "headers");
  if (headers.length > OPS_MAX) problem(json.path + "/headers", "at most " + OPS_MAX.toString() + " operations");
  for (let i = 0; i < headers.length; i++) {
    const op = parseHeader(headers[i], claimsFrom, response);
    side.headers.push(op);
    if (op.op == RENAME) {
      if (response) side.readsResponse = true;
      else side.readsRequest = true;
    }
    if (op.template.readsRequest) side.readsRequest = true;
    if (op.template.readsResponse) side.readsResponse = true;
  }
  const edits = arrayMember(json, "json");
  if (edits.length > OPS_MAX) problem(json.path + "/json", "at most " + OPS_MAX.toString() + " operations");
  for (let i = 0; i < edits.length; i++) side.json.push(parseJsonOp(edits[i]));
}

function opOf(json: Json, add: bool): i32 {
  const op = textMember(json, "op", "");
  if (op == "set") return SET;
  if (op == "add" && add) return ADD;
  if (op == "remove") return REMOVE;
  if (op == "rename") return RENAME;
  problem(json.path + "/op", add ? "must be set, add, remove or rename" : "must be set, remove or rename");
  return -1;
}

/** Fields that frame the message or belong to one connection: an edit could make two parsers disagree. */
const FORBIDDEN: string[] = [
  "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "content-encoding",
];

function editable(json: Json): ByteString {
  const name = headerName(json);
  if (json.kind == STRING && FORBIDDEN.includes(json.text.toLowerCase())) problem(json.path, "this field cannot be edited");
  return name;
}

function required(json: Json, key: string): Json {
  const found = member(json, key);
  if (found !== null) return found;
  problem(json.path + "/" + key, "missing");
  const empty = new Json();
  empty.kind = STRING;
  empty.path = json.path + "/" + key;
  return empty;
}

function parseHeader(json: Json, claimsFrom: string, response: bool): HeaderOp {
  const op = new HeaderOp();
  if (json.kind != 5) {
    problem(json.path, "must be an object");
    return op;
  }
  op.op = opOf(json, true);
  if (op.op == RENAME) {
    onlyKeys(json, "op from to");
    op.name = editable(required(json, "from"));
    op.to = editable(required(json, "to"));
    return op;
  }
  onlyKeys(json, op.op == REMOVE ? "op name" : "op name value");
  op.name = editable(required(json, "name"));
  if (op.op != REMOVE) op.template = parseTemplate(required(json, "value"), claimsFrom, response);
  return op;
}

function parsePath(json: Json, settings: Settings): void {
  const path = member(json, "path");
  if (path === null || !onlyKeys(path, "set replacePrefix")) return;
  settings.hasPath = true;
  if (path.keys.length != 1) problem(path.path, "needs exactly one of set and replacePrefix");
  const whole = member(path, "set");
  if (whole !== null) settings.pathSet = safePath(whole);
  const prefix = member(path, "replacePrefix");
  if (prefix === null || !onlyKeys(prefix, "from to")) return;
  settings.prefixFrom = safePath(required(prefix, "from"));
  settings.prefixTo = safePath(required(prefix, "to"));
}

/** A path that is already normal: what is made with it stays so. */
function safePath(json: Json): ByteString {
  const text = json.kind == STRING ? json.text : "";
  let fine = text.startsWith("/") && !text.includes("//") && !text.includes("%") && !text.includes("\\");
  const parts = text.split("/");
  if (parts.includes(".") || parts.includes("..")) fine = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f || code == 0x3f || code == 0x23) fine = false;
  }
  if (!fine) problem(json.path, "must be a plain path: starts with /, no //, no dot segments, no %, ?, #, spaces or control characters");
  return utf8(text);
}

function parseQuery(json: Json, settings: Settings, claimsFrom: string): QueryOp {
  const op = new QueryOp();
  if (json.kind != 5) {
    problem(json.path, "must be an object");
    return op;
  }
  op.op = opOf(json, false);
  if (op.op == RENAME) {
    onlyKeys(json, "op from to");
    op.name = stringOf(required(json, "from"));
    op.to = stringOf(required(json, "to"));
    if (op.to.length == 0) problem(json.path + "/to", "must not be empty");
  } else {
    onlyKeys(json, op.op == REMOVE ? "op name" : "op name value");
    op.name = stringOf(required(json, "name"));
    if (op.op == SET) op.template = parseTemplate(required(json, "value"), claimsFrom, false);
    if (op.template.readsRequest) settings.queryReadsRequest = true;
  }
  if (op.name.length == 0) problem(json.path, "a parameter needs a name");
  return op;
}

function parseJsonOp(json: Json): JsonOp {
  const op = new JsonOp();
  if (json.kind != 5) {
    problem(json.path, "must be an object");
    return op;
  }
  op.op = opOf(json, false);
  onlyKeys(json, op.op == SET ? "op pointer value" : op.op == RENAME ? "op pointer to" : "op pointer");
  const pointer = required(json, "pointer");
  parsePointer(pointer, op);
  if (op.tokens.length == 0 && op.op != SET) problem(pointer.path, "the whole document can only be set");
  if (op.op == SET) {
    const value = member(json, "value");
    if (value === null) problem(json.path + "/value", "missing");
    else op.text = value.kind == STRING ? quote(value.bytes) : value.bytes;
  } else if (op.op == RENAME) {
    op.to = stringOf(required(json, "to"));
    op.text = quote(op.to);
  }
  return op;
}

/** RFC 6901. */
function parsePointer(json: Json, op: JsonOp): void {
  const text = json.kind == STRING ? json.text : "?";
  if (text == "") return;
  if (!text.startsWith("/")) {
    problem(json.path, "must be a JSON pointer such as /a/0/b");
    return;
  }
  const parts = text.substring(1).split("/");
  for (let i = 0; i < parts.length; i++) {
    const rest = parts[i].replaceAll("~0", "").replaceAll("~1", "");
    if (rest.includes("~")) problem(json.path, "~ stands only in ~0 and ~1");
    op.tokens.push(utf8(parts[i].replaceAll("~1", "/").replaceAll("~0", "~")));
  }
}

/** A string as JSON text. */
function quote(bytes: ByteString): ByteString {
  const text = String.UTF8.decodeUnsafe(changetype<usize>(bytes), bytes.length);
  let quoted = '"';
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code == 0x22 || code == 0x5c) quoted += "\\" + text.charAt(i);
    else if (code < 0x20) quoted += "\\u00" + (code < 16 ? "0" : "1") + "0123456789abcdef".charAt(code & 15);
    else quoted += text.charAt(i);
  }
  return utf8(quoted + '"');
}

// ---------------------------------------------------------------- CORS

function parseCors(json: Json): Cors {
  const cors = new Cors();
  if (!onlyKeys(json, "origins methods headers exposeHeaders credentials maxAgeSeconds")) return cors;
  cors.credentials = boolMember(json, "credentials", false);
  const origins = arrayMember(json, "origins");
  if (origins.length == 0) problem(json.path + "/origins", "at least one origin is needed");
  for (let i = 0; i < origins.length; i++) parseOrigin(origins[i], cors);
  if (cors.any && cors.credentials) problem(json.path + "/credentials", "any origin with credentials would let every site act as the user");
  cors.methods = list(json, "methods", "GET, HEAD, POST", cors.credentials);
  cors.headers = list(json, "headers", "", cors.credentials);
  cors.expose = list(json, "exposeHeaders", "", cors.credentials);
  const maxAge = integerMember(json, "maxAgeSeconds", 0, 0, 86400);
  if (maxAge > 0) cors.maxAge = utf8((<i32>maxAge).toString());
  return cors;
}

function parseOrigin(json: Json, cors: Cors): void {
  const text = json.kind == STRING ? json.text : "";
  if (text == "*") {
    cors.any = true;
    return;
  }
  const scheme = text.indexOf("://");
  const rest = scheme < 0 ? "" : text.substring(scheme + 3);
  const wild = rest.startsWith("*.");
  const host = wild ? rest.substring(2) : rest;
  if (text != "null" && (host.length == 0 || host.includes("*") || host.includes("/") || text != text.toLowerCase() || (wild && !host.includes(".")))) {
    problem(json.path, "must be *, an origin such as https://app.example.com, or https://*.example.com; lower case, no path");
  }
  if (!wild) cors.origins.push(utf8(text));
  else {
    cors.wild.push(utf8(text.substring(0, scheme + 3)));
    cors.wild.push(utf8("." + host));
  }
}

/** Names joined by commas. With credentials `*` is no wildcard to a browser (Fetch §3.2.4), so it is refused. */
function list(json: Json, key: string, fallback: string, credentials: bool): ByteString {
  if (member(json, key) === null) return utf8(fallback);
  const items = arrayMember(json, key);
  let joined = "";
  for (let i = 0; i < items.length; i++) {
    headerName(items[i]);
    if (items[i].kind == STRING && items[i].text == "*" && credentials) problem(items[i].path, "* means nothing together with credentials");
    joined += (i > 0 ? ", " : "") + (items[i].kind == STRING ? items[i].text : "");
  }
  return utf8(joined);
}
