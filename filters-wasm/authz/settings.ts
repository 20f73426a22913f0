import { Cidr, parseCidr } from "../sdk/address";
import { claimPath } from "../sdk/attributes";
import { ByteString, lower, utf8 } from "../sdk/memory";
import { hexValue } from "../sdk/json-scan";
import {
  ARRAY, arrayMember, boolMember, BOOL, headerName, headerValue, integerMember, Json, labelMember, member, NUMBER, onlyKeys, problem, STRING,
  stringOf, stringsMember, textMember,
} from "../sdk/settings";
import { PathPattern, parsePattern } from "../sdk/path";

export const ALLOW: i32 = 0;
export const DENY: i32 = 1;
export const AUDIT: i32 = 2;

export const HEADER_EXACT: i32 = 0;
export const HEADER_PREFIX: i32 = 1;
export const HEADER_PRESENT: i32 = 2;
export const HEADER_ABSENT: i32 = 3;

export class HeaderCondition {
  name: ByteString = new StaticArray<u8>(0);
  kind: i32 = 0;
  /** Lower case when `ignoreCase`. */
  value: ByteString = new StaticArray<u8>(0);
  ignoreCase: bool = false;
  /** A value with commas is several. */
  list: bool = true;
}

export class ClaimCondition {
  path: ByteString = new StaticArray<u8>(0);
  /** Encoded as the host hands a claim over: text, a double (8 bytes) or a boolean (1 byte). */
  oneOf: ByteString[] = [];
}

export class ApiKey {
  id: ByteString = new StaticArray<u8>(0);
  /** 32 bytes: SHA-256 of the key, or HMAC-SHA-256 of the key under the salt. */
  hash: ByteString = new StaticArray<u8>(32);
  salt: ByteString | null = null;
}

const DETAILS = utf8("access_denied:");

export class Rule {
  name: ByteString = new StaticArray<u8>(0);
  /** What the access log says of a refusal by this rule. */
  details: ByteString = new StaticArray<u8>(0);
  effect: i32 = ALLOW;
  methods: ByteString[] = [];
  paths: PathPattern[] = [];
  hosts: ByteString[] = [];
  headers: HeaderCondition[] = [];
  sources: Cidr[] = [];
  /** Indexes into the keys. */
  keys: i32[] = [];
  hasKeys: bool = false;
  principals: ByteString[] = [];
  claims: ClaimCondition[] = [];
}

export class Settings {
  rules: Rule[] = [];
  hasAllow: bool = false;
  apiKeys: ApiKey[] = [];
  keyHeader: ByteString = utf8("x-api-key");
  forwardKey: bool = false;
  explain: bool = false;
  status: i32 = 403;
  body: ByteString = new StaticArray<u8>(0);
  needsSource: bool = false;
  needsPrincipal: bool = false;
  /** Every field is read, because a name may stand there more than once; else single pseudo headers at most. */
  needsFields: bool = false;
  needsMethod: bool = false;
  needsPath: bool = false;
  needsHost: bool = false;
}

export function parse(root: Json): Settings {
  const settings = new Settings();
  onlyKeys(root, "rules apiKeys claimsFrom explain status body");
  settings.explain = boolMember(root, "explain", false);
  settings.status = <i32>integerMember(root, "status", 403, 400, 599);
  settings.body = utf8(textMember(root, "body", "Access is denied.\n"));
  const claimsFrom = textMember(root, "claimsFrom", "");
  const keys = member(root, "apiKeys");
  if (keys !== null) parseKeys(keys, settings);
  const rules = arrayMember(root, "rules");
  if (rules.length == 0) problem("/rules", "at least one rule is needed");
  for (let i = 0; i < rules.length; i++) {
    const rule = parseRule(rules[i], settings, claimsFrom);
    settings.rules.push(rule);
    if (rule.effect == ALLOW) settings.hasAllow = true;
    if (rule.sources.length > 0) settings.needsSource = true;
    if (rule.principals.length > 0) settings.needsPrincipal = true;
    if (rule.methods.length > 0) settings.needsMethod = true;
    if (rule.paths.length > 0) settings.needsPath = true;
    if (rule.hosts.length > 0) settings.needsHost = true;
    if (rule.headers.length > 0) settings.needsFields = true;
  }
  if (settings.apiKeys.length > 0) settings.needsFields = true;
  return settings;
}

function parseKeys(json: Json, settings: Settings): void {
  if (!onlyKeys(json, "header keys forward")) return;
  const header = member(json, "header");
  if (header !== null) settings.keyHeader = headerName(header);
  settings.forwardKey = boolMember(json, "forward", false);
  const items = arrayMember(json, "keys");
  const ids: string[] = [];
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    if (!onlyKeys(item, "id sha256 hmacSha256 salt")) continue;
    const key = new ApiKey();
    key.id = labelMember(item, "id");
    const id = textMember(item, "id", "");
    if (ids.includes(id)) problem(item.path + "/id", "another key has this id");
    ids.push(id);
    const plain = member(item, "sha256");
    const salted = member(item, "hmacSha256");
    if ((plain === null) == (salted === null)) problem(item.path, "needs exactly one of sha256 and hmacSha256");
    if (plain !== null) key.hash = hexOf(plain, 32, 32);
    if (salted !== null) {
      key.hash = hexOf(salted, 32, 32);
      const salt = member(item, "salt");
      if (salt === null) problem(item.path + "/salt", "missing");
      else key.salt = hexOf(salt, 8, 64);
    } else if (member(item, "salt") !== null) problem(item.path + "/salt", "goes with hmacSha256 only");
    settings.apiKeys.push(key);
  }
}

function hexOf(json: Json, least: i32, most: i32): ByteString {
  const text = stringOf(json);
  const length = text.length >> 1;
  const bytes = new StaticArray<u8>(length);
  let fine = (text.length & 1) == 0 && length >= least && length <= most;
  for (let i = 0; i < length; i++) {
    const high = hexValue(text[2 * i]);
    const low = hexValue(text[2 * i + 1]);
    if (high < 0 || low < 0) fine = false;
    bytes[i] = <u8>((high << 4) | low);
  }
  const size = least == most ? least.toString() : least.toString() + " to " + most.toString();
  if (!fine) problem(json.path, "must be " + size + " bytes in hexadecimal");
  return fine ? bytes : new StaticArray<u8>(least);
}

function concat(first: ByteString, second: ByteString): ByteString {
  const both = new StaticArray<u8>(first.length + second.length);
  memory.copy(changetype<usize>(both), changetype<usize>(first), first.length);
  memory.copy(changetype<usize>(both) + first.length, changetype<usize>(second), second.length);
  return both;
}

function parseRule(json: Json, settings: Settings, claimsFrom: string): Rule {
  const rule = new Rule();
  if (!onlyKeys(json, "name effect when")) return rule;
  rule.name = labelMember(json, "name");
  rule.details = concat(DETAILS, rule.name);
  const effect = textMember(json, "effect", "");
  if (effect == "allow") rule.effect = ALLOW;
  else if (effect == "deny") rule.effect = DENY;
  else if (effect == "audit") rule.effect = AUDIT;
  else problem(json.path + "/effect", "must be allow, deny or audit");
  const when = member(json, "when");
  if (when === null || !onlyKeys(when, "methods paths hosts headers sourceCidrs apiKeys principals claims")) return rule;
  notEmpty(when);
  rule.methods = stringsMember(when, "methods");
  parsePaths(when, rule);
  parseHosts(when, rule);
  parseHeaders(when, rule);
  const cidrs = arrayMember(when, "sourceCidrs");
  for (let i = 0; i < cidrs.length; i++) {
    const cidr = parseCidr(stringOf(cidrs[i]));
    if (cidr === null) problem(cidrs[i].path, "must be an address range such as 10.0.0.0/8");
    else rule.sources.push(cidr);
  }
  const keys = arrayMember(when, "apiKeys");
  rule.hasKeys = member(when, "apiKeys") !== null;
  for (let i = 0; i < keys.length; i++) parseKeyId(keys[i], rule, settings);
  const principals = arrayMember(when, "principals");
  for (let i = 0; i < principals.length; i++) {
    const bytes = stringOf(principals[i]);
    if (bytes.length == 0 || bytes[0] == 0x2a) problem(principals[i].path, "must be an identity, or a prefix of one ending in *");
    rule.principals.push(bytes);
  }
  parseClaims(when, rule, claimsFrom);
  return rule;
}

/** An empty list would mean «anything» to the code and «nothing» to a reader: refused. */
function notEmpty(when: Json): void {
  for (let i = 0; i < when.items.length; i++) {
    const item = when.items[i];
    if (item.kind != ARRAY) problem(item.path, "must be an array");
    else if (item.items.length == 0) problem(item.path, "must not be empty; leave the key out to match anything");
  }
}

function parsePaths(when: Json, rule: Rule): void {
  const paths = arrayMember(when, "paths");
  for (let i = 0; i < paths.length; i++) rule.paths.push(parsePattern(paths[i]));
}

function parseHosts(when: Json, rule: Rule): void {
  const hosts = arrayMember(when, "hosts");
  for (let i = 0; i < hosts.length; i++) {
    const text = hosts[i].kind == STRING ? hosts[i].text.toLowerCase() : "";
    if (text.length == 0 || text.lastIndexOf("*") > 0 || (text.startsWith("*") && !text.startsWith("*.")) || text.includes(":") || text.endsWith(".")) {
      problem(hosts[i].path, "must be a host name without port, or *.name");
    }
    rule.hosts.push(utf8(text));
  }
}

function parseHeaders(when: Json, rule: Rule): void {
  const headers = arrayMember(when, "headers");
  for (let i = 0; i < headers.length; i++) {
    const item = headers[i];
    if (!onlyKeys(item, "name exact prefix present absent ignoreCase list")) continue;
    const condition = new HeaderCondition();
    const name = member(item, "name");
    if (name === null) problem(item.path + "/name", "missing");
    else condition.name = headerName(name);
    const ignoreCase = member(item, "ignoreCase");
    const list = member(item, "list");
    condition.ignoreCase = boolMember(item, "ignoreCase", false);
    condition.list = boolMember(item, "list", true);
    if (item.keys.length - <i32>(ignoreCase !== null) - <i32>(list !== null) != 2) problem(item.path, "needs a name and exactly one of exact, prefix, present and absent");
    const exact = member(item, "exact");
    const prefix = member(item, "prefix");
    if (exact !== null) {
      condition.kind = HEADER_EXACT;
      condition.value = condition.ignoreCase ? lowerCase(headerValue(exact)) : headerValue(exact);
    } else if (prefix !== null) {
      condition.kind = HEADER_PREFIX;
      condition.value = condition.ignoreCase ? lowerCase(headerValue(prefix)) : headerValue(prefix);
    } else {
      condition.kind = member(item, "absent") !== null ? HEADER_ABSENT : HEADER_PRESENT;
      if (ignoreCase !== null || list !== null) problem(item.path, "ignoreCase and list need exact or prefix");
      if (!boolMember(item, "absent", true) || !boolMember(item, "present", true)) problem(item.path, "present and absent can only be true");
    }
    rule.headers.push(condition);
  }
}

/** ASCII only, as hosts and tokens are. */
function lowerCase(bytes: ByteString): ByteString {
  for (let i = 0; i < bytes.length; i++) bytes[i] = lower(bytes[i]);
  return bytes;
}

function parseKeyId(json: Json, rule: Rule, settings: Settings): void {
  const id = json.kind == STRING ? json.text : "";
  for (let i = 0; i < settings.apiKeys.length; i++) {
    const own = settings.apiKeys[i].id;
    if (String.UTF8.decodeUnsafe(changetype<usize>(own), own.length) == id) {
      rule.keys.push(i);
      return;
    }
  }
  problem(json.path, "no key in /apiKeys/keys has this id");
}

function parseClaims(when: Json, rule: Rule, claimsFrom: string): void {
  const claims = arrayMember(when, "claims");
  for (let i = 0; i < claims.length; i++) {
    const item = claims[i];
    if (!onlyKeys(item, "path oneOf from")) continue;
    const condition = new ClaimCondition();
    const from = textMember(item, "from", claimsFrom);
    if (from == "") problem(item.path + "/from", "missing: the name of the token's provider (or /claimsFrom for all)");
    const path = member(item, "path");
    if (path === null) problem(item.path + "/path", "missing");
    else if (path.kind == ARRAY) {
      const parts: string[] = [];
      for (let k = 0; k < path.items.length; k++) parts.push(path.items[k].kind == STRING ? path.items[k].text : "");
      if (parts.length == 0 || parts.includes("")) problem(path.path, "must be names");
      condition.path = utf8(claimPrefix(from) + parts.join("\0"));
    } else if (path.kind == STRING && path.text != "") condition.path = claimPath(from, path.text);
    else problem(path.path, "must be a path such as realm_access.roles, or an array of names");
    const values = arrayMember(item, "oneOf");
    if (values.length == 0) problem(item.path + "/oneOf", "at least one value is needed");
    for (let k = 0; k < values.length; k++) condition.oneOf.push(encodeClaim(values[k]));
    rule.claims.push(condition);
  }
}

function claimPrefix(from: string): string {
  const path = claimPath(from, "");
  return String.UTF8.decodeUnsafe(changetype<usize>(path), path.length);
}

function encodeClaim(json: Json): ByteString {
  if (json.kind == STRING) {
    if (json.bytes.length == 0) problem(json.path, "must not be empty");
    return json.bytes;
  }
  if (json.kind == NUMBER) {
    const bytes = new StaticArray<u8>(8);
    store<f64>(changetype<usize>(bytes), json.number);
    return bytes;
  }
  if (json.kind == BOOL) {
    const bytes = new StaticArray<u8>(1);
    bytes[0] = json.flag ? 1 : 0;
    return bytes;
  }
  problem(json.path, "must be a string, a number or a boolean");
  return json.bytes;
}
