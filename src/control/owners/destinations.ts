import type { IssuePath } from "../../config/parse.ts";
import { formatAddress } from "../../config/schema/address.ts";
import type { ServiceSpec } from "../../config/schema/service.ts";
import { CidrSet } from "../../core/cidr.ts";
import { hostOf } from "../../core/head.ts";
import { isAddress } from "../../core/ip.ts";

/** The proxy's own machine and its neighbours' metadata: nobody may lead there unless the operator says so (security class 33). */
const LOCAL = CidrSet.from([
  ...["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"],
  // IPv4 in IPv6: compatible, translated (RFC 2765), NAT64 (RFC 6052), 6to4 (RFC 3056).
  ...["::/96", "::ffff:0:127.0.0.0/104", "::ffff:0:169.254.0.0/112"],
  ...["64:ff9b::127.0.0.0/104", "64:ff9b::169.254.0.0/112", "2002:7f00::/24", "2002:a9fe::/32"],
]);

/**
 * What of a service leads where its publisher may not lead. `allowed`: address blocks and host patterns; undefined: every address but
 * loopback and link-local ones. Names and name servers must be allowed, because what a name resolves to is the resolver's. Unix
 * sockets never are.
 */
export function leadsWhereItMay(
  spec: ServiceSpec,
  allowed: readonly string[] | undefined,
): { readonly shown: string; readonly path: IssuePath }[] {
  const blocks = CidrSet.from((allowed ?? []).filter((each) => each.includes("/")));
  const hosts = (allowed ?? []).filter((each) => !each.includes("/"));
  const may = (host: string): boolean => {
    if (isAddress(host)) return allowed === undefined ? !LOCAL.contains(host) : blocks.contains(host);
    return hosts.some((pattern) => fits(pattern, host));
  };
  const found: { shown: string; path: IssuePath }[] = [];
  for (const [i, { address }] of (spec.endpoints ?? []).entries()) {
    if (address.kind === "unix" || !may(address.host))
      found.push({ shown: formatAddress(address), path: ["spec", "endpoints", i] });
  }
  if (spec.dns !== undefined && !may(spec.dns.host)) found.push({ shown: spec.dns.host, path: ["spec", "dns", "host"] });
  for (const [i, server] of (spec.dns?.servers ?? []).entries()) {
    if (!may(hostOf(server).replace(/^\[|\]$/g, ""))) found.push({ shown: server, path: ["spec", "dns", "servers", i] });
  }
  return found;
}

const fits = (pattern: string, host: string): boolean =>
  pattern === "*" || pattern === host || (pattern.startsWith("*.") && host.endsWith(pattern.slice(1)));
