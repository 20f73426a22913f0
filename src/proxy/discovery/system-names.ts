import { readFile } from "node:fs/promises";
import { isAddress } from "../../core/ip.ts";
import type { DnsServer } from "./dns-client.ts";

/** What the machine knows about names: its name servers and its hosts file. */

const DNS_PORT = 53;

/** `10.0.0.1`, `10.0.0.1:5353`, `[::1]:53`, `::1`; undefined: no address of a server. */
export function parseServer(text: string): DnsServer | undefined {
  const match = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text) ?? /^([^:]+)(?::(\d{1,5}))?$/.exec(text) ?? [text, text, undefined];
  const host = match[1] as string;
  const port = match[2] === undefined ? DNS_PORT : Number(match[2]);
  return isAddress(host) && port >= 1 && port <= 0xffff ? { host, port } : undefined;
}

/** `nameserver` lines of resolv.conf(5), at most three as in libc. */
export function parseResolvConf(text: string): DnsServer[] {
  const servers: DnsServer[] = [];
  for (const line of text.split("\n")) {
    const match = /^\s*nameserver\s+(\S+)/.exec(line);
    const server = match === null ? undefined : parseServer(match[1]?.includes(":") ? `[${match[1]}]` : (match[1] as string));
    if (server !== undefined && servers.length < 3) servers.push(server);
  }
  return servers;
}

/** Addresses of a name in hosts(5), in order. */
export function findInHosts(text: string, name: string): string[] {
  const wanted = name.toLowerCase().replace(/\.$/, "");
  const addresses: string[] = [];
  for (const line of text.split("\n")) {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (isAddress(address) && names.some((each) => each.toLowerCase() === wanted)) addresses.push(address);
  }
  return addresses;
}

/** The system's name servers; empty where there is no resolv.conf. */
export async function systemServers(): Promise<DnsServer[]> {
  return parseResolvConf(await readText("/etc/resolv.conf"));
}

/** What the hosts file says; `localhost` is known without it (RFC 6761 §6.3). */
export async function systemHosts(name: string): Promise<string[]> {
  const found = findInHosts(await readText("/etc/hosts"), name);
  return found.length === 0 && /^localhost\.?$/i.test(name) ? ["127.0.0.1", "::1"] : found;
}

const readText = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");
