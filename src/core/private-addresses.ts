import { CidrSet } from "./cidr.ts";

/** Addresses that are not on the public Internet: a URL that leads there could reach metadata services and neighbours. */
const PRIVATE = CidrSet.from([
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"],
  ...["192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"],
  // NAT64, 6to4 and Teredo carry IPv4 addresses inside.
  ...["::/127", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"],
]);

const LOOPBACK = CidrSet.from(["127.0.0.0/8", "::1/128"]);

/** Is this address outside the public Internet? Loopback is. */
export const isPrivateAddress = (address: string): boolean => PRIVATE.contains(address);

export const isLoopbackAddress = (address: string): boolean => LOOPBACK.contains(address);
