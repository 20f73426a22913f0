import { lookup } from "node:dns/promises";
import type { DnsConfig, EndpointConfig } from "../../config/snapshot.ts";
import { DNS_LIMITS } from "../../core/limits.ts";
import { type DnsClientOptions, type DnsServer, queryServer } from "./dns-client.ts";
import { type DnsMessage, type DnsRecord, followChain, type ResolvedRecords } from "./dns-wire.ts";
import { parseServer, systemHosts, systemServers } from "./system-names.ts";

/** What a name resolved to. No endpoints: the name servers say that there are none. */
export interface Resolution {
  readonly endpoints: readonly EndpointConfig[];
  /** How long it holds, before clamping. */
  readonly ttlMs: number;
}

type Answer<T extends DnsRecord["type"]> = ResolvedRecords<Extract<DnsRecord, { type: T }>>;

const NO_ERROR = 0;
const NO_SUCH_NAME = 3;

/**
 * Resolves a service's name once. With servers in the configuration only they are asked; else the hosts file, the system's
 * servers, and where there are none (or they do not know the name: search domains) the system's resolver, whose answers have no TTL.
 * Rejects with an `Error` when nobody gave a valid answer.
 */
export async function resolveEndpoints(config: DnsConfig, options: DnsClientOptions): Promise<Resolution> {
  const own = config.servers.flatMap((text) => parseServer(text) ?? []);
  if (config.servers.length > 0 && own.length === 0) throw new Error(`no name server address in ${config.servers.join(", ")}`);
  const system = own.length === 0;
  if (config.type === "SRV") return resolveServices(config, system ? await systemServers() : own, options);
  if (!system) return atPort(config.port, await askServers(own, config.host, config.type, options));
  const fromHosts = (await systemHosts(config.host)).filter((each) => each.includes(":") === (config.type === "AAAA"));
  if (fromHosts.length > 0) return makeResolution(fromHosts, config.port, 0);
  const servers = await systemServers();
  if (servers.length > 0) {
    const answer = atPort(config.port, await askServers(servers, config.host, config.type, options));
    if (answer.endpoints.length > 0) return answer;
  }
  return lookUpBySystem(config);
}

async function lookUpBySystem(config: DnsConfig): Promise<Resolution> {
  const family = config.type === "AAAA" ? 6 : 4;
  const found = await lookup(config.host, { all: true, family }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOTFOUND" || error.code === "ENODATA") return [];
    throw error;
  });
  return makeResolution(
    found.map((each) => each.address),
    config.port,
    0,
  );
}

// ---------------------------------------------------------------- asking

/** Each server in turn, some rounds over; the first that answers properly decides. */
async function askServers<T extends "A" | "AAAA" | "SRV">(
  servers: readonly DnsServer[],
  name: string,
  type: T,
  options: DnsClientOptions,
): Promise<Answer<T>> {
  let problem: unknown = new Error("there is no name server");
  for (let round = 0; round < DNS_LIMITS.rounds; round++)
    for (const server of servers) {
      if (options.signal.aborted) throw new Error("given up");
      try {
        return readAnswer(await queryServer(server, name, type, options), name, type);
      } catch (error) {
        problem = error;
      }
    }
  throw problem;
}

function readAnswer<T extends "A" | "AAAA" | "SRV">(message: DnsMessage, name: string, type: T): Answer<T> {
  if (message.rcode === NO_SUCH_NAME) return { records: [], ttlSeconds: 0 };
  if (message.rcode !== NO_ERROR) throw new Error(`the name server answered with code ${message.rcode}`);
  const answer = followChain(message, name, type);
  if (answer === undefined) throw new Error(`the aliases of ${name} lead nowhere`);
  return answer;
}

// ---------------------------------------------------------------- endpoints

const makeEndpoint = (host: string, port: number, weight: number): EndpointConfig => ({
  address: { kind: "tcp", host, port },
  labels: {},
  weight,
});

function makeResolution(addresses: readonly string[], port: number, ttlMs: number): Resolution {
  return { endpoints: sortEndpoints([...new Set(addresses)].map((host) => makeEndpoint(host, port, 1))), ttlMs };
}

function atPort(port: number, { records, ttlSeconds }: Answer<"A" | "AAAA">): Resolution {
  return makeResolution(
    records.map((record) => record.address),
    port,
    ttlSeconds * 1000,
  );
}

/** Servers rotate their answers; the order must not look like a change. */
function sortEndpoints(endpoints: readonly EndpointConfig[]): EndpointConfig[] {
  const key = ({ address }: EndpointConfig): string =>
    address.kind === "tcp" ? `${address.host} ${address.port}` : address.path;
  return endpoints.toSorted((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0)).slice(0, DNS_LIMITS.endpoints);
}

/** RFC 2782: of the records with the lowest priority; each target's addresses share its weight as their own. */
async function resolveServices(config: DnsConfig, servers: readonly DnsServer[], options: DnsClientOptions): Promise<Resolution> {
  const services = await askServers(servers, config.host, "SRV", options);
  const first = Math.min(...services.records.map((record) => record.priority));
  // A target of "." says that the service is decidedly not there.
  const wanted = services.records
    .filter((record) => record.priority === first && record.target !== "")
    .slice(0, DNS_LIMITS.srvTargets);
  let ttlSeconds = services.ttlSeconds;
  const endpoints = new Map<string, EndpointConfig>();
  for (const { target, port, weight } of wanted) {
    const answers = await Promise.all([askServers(servers, target, "A", options), askServers(servers, target, "AAAA", options)]);
    for (const answer of answers)
      for (const { address } of answer.records) {
        ttlSeconds = Math.min(ttlSeconds, answer.ttlSeconds);
        endpoints.set(`${address} ${port}`, makeEndpoint(address, port, Math.max(1, weight)));
      }
  }
  return { endpoints: sortEndpoints([...endpoints.values()]), ttlMs: ttlSeconds * 1000 };
}
