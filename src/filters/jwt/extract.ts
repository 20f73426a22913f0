import type { JwtProviderConfig } from "../../config/snapshot.ts";
import { latin1Bytes, utf8Text } from "../../core/bytes.ts";
import type { RequestHead } from "../../core/head.ts";

/** A token found in a request, and where. */
export interface FoundToken {
  readonly token: string;
  /** Indexes of the providers that take tokens from there. */
  readonly providers: number[];
  readonly place:
    | { readonly kind: "header"; readonly name: string; readonly value: string }
    | { readonly kind: "query"; readonly name: string };
}

/** A place where tokens may be, and whose. */
export interface TokenPlace {
  readonly kind: "header" | "query";
  readonly name: string;
  /** Text before the token; of `Bearer ` the case does not matter (RFC 9110 §11.1). */
  readonly prefix: string;
  readonly providers: number[];
}

/** Every place that any provider looks at, each once. */
export function placesOf(providers: readonly JwtProviderConfig[]): TokenPlace[] {
  const places: TokenPlace[] = [];
  const add = (kind: "header" | "query", name: string, prefix: string, provider: number): void => {
    const known = places.find((place) => place.kind === kind && place.name === name && place.prefix === prefix);
    if (known !== undefined) known.providers.push(provider);
    else places.push({ kind, name, prefix, providers: [provider] });
  };
  providers.forEach((provider, i) => {
    for (const { name, prefix } of provider.fromHeaders) add("header", name.toLowerCase(), prefix, i);
    for (const name of provider.fromQuery) add("query", name, "", i);
    if (provider.fromHeaders.length === 0 && provider.fromQuery.length === 0) add("header", "authorization", "Bearer ", i);
  });
  return places;
}

/** Every token of the request, every value of every place: a second one cannot hide behind the first. */
export function findTokens(head: RequestHead, places: readonly TokenPlace[]): FoundToken[] {
  const found: FoundToken[] = [];
  for (const place of places) {
    if (place.kind === "header") findInHeader(head, place, found);
    else if (head.query !== undefined) findInQuery(head.query, place, found);
  }
  return found;
}

function findInHeader(head: RequestHead, place: TokenPlace, found: FoundToken[]): void {
  const { names, values } = head.headers;
  for (let i = 0; i < names.length; i++) {
    const value = values[i] as string;
    if (names[i] !== place.name || !hasPrefix(value, place.prefix)) continue;
    const token = value.slice(place.prefix.length).trim();
    found.push({ token, providers: place.providers, place: { kind: "header", name: place.name, value } });
  }
}

function hasPrefix(value: string, prefix: string): boolean {
  if (prefix === "") return true;
  const start = value.slice(0, prefix.length);
  return prefix.trimEnd().toLowerCase() === "bearer" ? start.toLowerCase() === prefix.toLowerCase() : start === prefix;
}

function findInQuery(query: string, place: TokenPlace, found: FoundToken[]): void {
  for (const pair of query.split("&")) {
    if (parameterName(pair) !== place.name) continue;
    const equals = pair.indexOf("=");
    const token = equals < 0 ? "" : decodePart(pair.slice(equals + 1));
    found.push({ token, providers: place.providers, place: { kind: "query", name: place.name } });
  }
}

function parameterName(pair: string): string {
  const equals = pair.indexOf("=");
  return decodePart(equals < 0 ? pair : pair.slice(0, equals));
}

function decodePart(text: string): string {
  if (!text.includes("%") && !text.includes("+")) return text;
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return utf8Text(latin1Bytes(text));
  }
}

/** Takes a token out of the request, so that the upstream does not see it. */
export function removeToken(head: RequestHead, found: FoundToken): void {
  const { place } = found;
  if (place.kind === "header") {
    for (let i = head.headers.length - 1; i >= 0; i--) {
      if (head.headers.names[i] === place.name && head.headers.values[i] === place.value) head.headers.removeAt(i);
    }
    return;
  }
  const kept = (head.query ?? "").split("&").filter((pair) => parameterName(pair) !== place.name);
  head.query = kept.length === 0 ? undefined : kept.join("&");
}
