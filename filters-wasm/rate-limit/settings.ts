import { claimPath } from "../sdk/attributes";
import { ByteString, utf8 } from "../sdk/memory";
import {
  arrayMember, boolMember, headerName, integerMember, integerOf, Json, labelMember, member, NUMBER, OBJECT, onlyKeys, problem, STRING,
  stringOf, stringsMember, textMember, tokenAt,
} from "../sdk/settings";

/** Time is counted in units of 100 ns. */
export const UNITS_PER_SECOND: i64 = 10_000_000;
export const LIMITS_MAX: i32 = 16;

export const KEY_CLIENT_IP: i32 = 0;
export const KEY_HEADER: i32 = 1;
export const KEY_ROUTE: i32 = 2;
export const KEY_PRINCIPAL: i32 = 3;
export const KEY_PATH: i32 = 4;
export const KEY_CLAIM: i32 = 5;
export const KEY_CONSTANT: i32 = 6;
export const KEY_METHOD: i32 = 7;
export const KEY_HOST: i32 = 8;

export const MISSING_SKIP: i32 = 0;
export const MISSING_EMPTY: i32 = 1;
export const MISSING_REFUSE: i32 = 2;

export class KeyPart {
  kind: i32 = 0;
  /** Header name, claim path or constant. */
  bytes: ByteString = new StaticArray<u8>(0);
}

export class Limit {
  name: ByteString = new StaticArray<u8>(0);
  /** What keeps its counters apart from those of other limits: domain, name and numbers. */
  identity: ByteString = new StaticArray<u8>(0);
  parts: KeyPart[] = [];
  missing: i32 = MISSING_EMPTY;
  shadow: bool = false;
  /** Units between two requests. */
  interval: i64 = 0;
  /** Units that the bucket holds: burst times interval. */
  capacity: i64 = 0;
  cost: i64 = 1;
  costHeader: ByteString | null = null;
  costMax: i64 = 1;
  methods: ByteString[] = [];
  pathPrefix: ByteString = new StaticArray<u8>(0);
  /** `"name";q=100;w=60`. */
  policy: ByteString = new StaticArray<u8>(0);

  /** Is there such a part in the key? */
  has(kind: i32): bool {
    for (let i = 0; i < this.parts.length; i++) if (this.parts[i].kind == kind) return true;
    return false;
  }
}

export class Settings {
  limits: Limit[] = [];
  status: i32 = 429;
  body: ByteString = new StaticArray<u8>(0);
  contentType: ByteString = utf8("text/plain");
  headers: bool = true;
  /** Bits of an IPv6 address that identify a caller. */
  ipv6Bits: i32 = 64;
  /** What of the request is read. Every field, because a name may stand there more than once; or single pseudo headers. */
  needsFields: bool = false;
  needsMethod: bool = false;
  needsPath: bool = false;
  /** The policies of all limits, for requests to which all apply. */
  policies: ByteString = new StaticArray<u8>(0);
}

export function parse(root: Json): Settings {
  const settings = new Settings();
  onlyKeys(root, "limits status body contentType headers ipv6Prefix domain shadow claimsFrom");
  settings.status = <i32>integerMember(root, "status", 429, 200, 599);
  settings.body = utf8(textMember(root, "body", "Too many requests.\n"));
  settings.contentType = utf8(textMember(root, "contentType", "text/plain; charset=utf-8"));
  settings.headers = boolMember(root, "headers", true);
  settings.ipv6Bits = <i32>integerMember(root, "ipv6Prefix", 64, 1, 128);
  const shadow = boolMember(root, "shadow", false);
  const domain = textMember(root, "domain", "default");
  const claimsFrom = textMember(root, "claimsFrom", "");
  const items = arrayMember(root, "limits");
  if (items.length == 0) problem("/limits", "at least one limit is needed");
  if (items.length > LIMITS_MAX) problem("/limits", "at most " + LIMITS_MAX.toString() + " limits");
  const names: string[] = [];
  for (let i = 0; i < items.length; i++) {
    const limit = parseLimit(items[i], domain, claimsFrom);
    limit.shadow = limit.shadow || shadow;
    const name = textMember(items[i], "name", "");
    if (names.includes(name)) problem(items[i].path + "/name", "another limit has this name");
    names.push(name);
    settings.limits.push(limit);
    if (limit.costHeader !== null || limit.has(KEY_HEADER)) settings.needsFields = true;
    if (limit.methods.length > 0) settings.needsMethod = true;
    if (limit.pathPrefix.length > 0 || limit.has(KEY_PATH)) settings.needsPath = true;
  }
  settings.policies = joinPolicies(settings.limits);
  return settings;
}

function joinPolicies(limits: Limit[]): ByteString {
  let length = 0;
  for (let i = 0; i < limits.length; i++) length += limits[i].policy.length + (i > 0 ? 2 : 0);
  const joined = new StaticArray<u8>(length);
  let to = changetype<usize>(joined);
  for (let i = 0; i < limits.length; i++) {
    if (i > 0) {
      // A comma and a blank.
      store<u16>(to, 0x202c);
      to += 2;
    }
    const policy = limits[i].policy;
    memory.copy(to, changetype<usize>(policy), policy.length);
    to += policy.length;
  }
  return joined;
}

function parseLimit(json: Json, domain: string, claimsFrom: string): Limit {
  const limit = new Limit();
  if (!onlyKeys(json, "name requests per burst key missing cost match shadow")) return limit;
  limit.name = labelMember(json, "name");
  if (member(json, "requests") === null) problem(json.path + "/requests", "missing");
  const requests = integerMember(json, "requests", 1, 1, 1_000_000_000);
  const seconds = parsePeriod(json);
  const units = seconds * <f64>UNITS_PER_SECOND;
  if (requests > units / 10) problem(json.path + "/requests", "at most one request per microsecond");
  // Rounded up: never more than what was asked for.
  limit.interval = <i64>Math.ceil(units / requests);
  const burst = integerMember(json, "burst", requests, 1, 1_000_000_000);
  limit.capacity = limit.interval * <i64>burst;
  // Levels are kept in 50 bits; a quarter of that is a year.
  if (<f64>limit.interval * burst > 3.0e14) problem(json.path + "/burst", "burst times interval is more than a year");
  limit.shadow = boolMember(json, "shadow", false);
  parseMissing(json, limit);
  parseCost(json, limit, burst);
  const match = member(json, "match");
  if (match !== null && onlyKeys(match, "methods pathPrefix")) {
    limit.methods = stringsMember(match, "methods");
    limit.pathPrefix = utf8(textMember(match, "pathPrefix", ""));
    if (limit.pathPrefix.length > 0 && limit.pathPrefix[0] != 0x2f) problem(match.path + "/pathPrefix", "must start with /");
  }
  const keys = arrayMember(json, "key");
  if (keys.length == 0) problem(json.path + "/key", "missing; use [\"constant\"] for one counter for everybody");
  for (let i = 0; i < keys.length; i++) limit.parts.push(parseKey(keys[i], claimsFrom));
  const name = textMember(json, "name", "");
  limit.policy = utf8('"' + name + '";q=' + (<i64>requests).toString() + ";w=" + (<i64>seconds).toString());
  limit.identity = utf8(domain + "\0" + name + "\0" + limit.interval.toString() + "\0" + limit.capacity.toString() + "\0");
  return limit;
}

function parsePeriod(json: Json): f64 {
  const per = member(json, "per");
  if (per === null) {
    problem(json.path + "/per", "missing");
    return 1;
  }
  if (per.kind == NUMBER) return integerOf(per, 1, 31_536_000);
  if (per.kind == STRING) {
    const text = per.text;
    if (text == "second") return 1;
    if (text == "minute") return 60;
    if (text == "hour") return 3600;
    if (text == "day") return 86400;
  }
  problem(per.path, "must be second, minute, hour, day or a number of seconds");
  return 1;
}

function parseMissing(json: Json, limit: Limit): void {
  const missing = textMember(json, "missing", "empty");
  if (missing == "skip") limit.missing = MISSING_SKIP;
  else if (missing == "empty") limit.missing = MISSING_EMPTY;
  else if (missing == "refuse") limit.missing = MISSING_REFUSE;
  else problem(json.path + "/missing", "must be skip, empty or refuse");
}

function parseCost(json: Json, limit: Limit, burst: f64): void {
  const cost = member(json, "cost");
  if (cost === null) return;
  if (cost.kind != OBJECT) {
    limit.cost = <i64>integerOf(cost, 1, burst);
    return;
  }
  if (!onlyKeys(cost, "header default max")) return;
  const header = member(cost, "header");
  if (header === null) problem(cost.path + "/header", "missing");
  else limit.costHeader = headerName(header);
  limit.cost = <i64>integerMember(cost, "default", 1, 1, burst);
  limit.costMax = <i64>integerMember(cost, "max", burst, 1, burst);
}

function parseKey(json: Json, claimsFrom: string): KeyPart {
  const part = new KeyPart();
  const bytes = stringOf(json);
  const text = json.text;
  if (text == "clientIp") part.kind = KEY_CLIENT_IP;
  else if (text == "route") part.kind = KEY_ROUTE;
  else if (text == "principal") part.kind = KEY_PRINCIPAL;
  else if (text == "path") part.kind = KEY_PATH;
  else if (text == "method") part.kind = KEY_METHOD;
  else if (text == "host") part.kind = KEY_HOST;
  else if (text == "constant") part.kind = KEY_CONSTANT;
  else if (text.startsWith("constant:")) {
    part.kind = KEY_CONSTANT;
    part.bytes = utf8(text.substring(9));
  } else if (text.startsWith("header:")) {
    part.kind = KEY_HEADER;
    part.bytes = tokenAt(bytes, 7, json.path);
  } else if (text.startsWith("claim:") && text.length > 6) {
    part.kind = KEY_CLAIM;
    if (claimsFrom == "") problem(json.path, "claims need /claimsFrom, the name of the token's provider");
    part.bytes = claimPath(claimsFrom, text.substring(6));
  } else problem(json.path, "must be clientIp, header:NAME, route, principal, path, method, host, claim:PATH or constant:TEXT");
  return part;
}
