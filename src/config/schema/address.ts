import { canonicalIp, hasControl, readHost, show } from "./names.ts";
import { Refusal, textOf } from "./text.ts";

export type Address =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** `127.0.0.1:80`, `[::1]:80`, `name:80`, `unix:/path`. Ports are 1 to 65535. */
export function readAddress(text: string): Address | Refusal {
  const bad = (why: string) =>
    new Refusal("bad_address", `${show(text)} is not an address: ${why}.`, "like 127.0.0.1:80, [::1]:80, name:80 or unix:/path");
  if (text.startsWith("unix:")) return readSocketPath(text.slice(5), bad);
  if (text.includes("://")) return bad("it is a URL");
  const match = /^(\[[^\]]+\]|[^:]+)(?::([^:]*))?$/.exec(text);
  if (match === null) return bad("IPv6 needs brackets, the port comes last");
  if (match[2] === undefined) return bad("it has no port");
  const port = /^\d{1,5}$/.test(match[2]) ? Number(match[2]) : 0;
  if (port < 1 || port > 65535) return bad("the port is not 1 to 65535");
  const host = readAddressHost(match[1] as string);
  return host instanceof Refusal ? bad("its host is malformed") : { kind: "tcp", host, port };
}

function readSocketPath(path: string, bad: (why: string) => Refusal): Address | Refusal {
  if (!path.startsWith("/")) return bad("the path of a socket is absolute");
  // sun_path of the kernel has 108 bytes with its terminating NUL (104 on macOS).
  if (Buffer.byteLength(path) > 103) return bad("the path of a socket has at most 103 bytes");
  if (hasControl(path)) return bad("the path has a control character");
  return { kind: "unix", path };
}

/** An IP address (brackets optional) or a name. */
function readAddressHost(text: string): string | Refusal {
  const ip = canonicalIp(text.startsWith("[") ? text.slice(1, -1) : text);
  if (ip !== undefined) return ip;
  // All digits and dots is a mistyped IPv4 address, and resolvers disagree about what it means.
  if (/^[\d.]+$/.test(text)) return new Refusal("bad_address", "not an IPv4 address");
  return readHost(text, false);
}

/** How an address is shown, and its identity: `10.0.0.1:80`, `[::1]:80`, `unix:/run/x.sock`. */
export function formatAddress(address: Address): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

export const address = () => textOf("address", readAddress);

/** An IP address to listen on. */
export const listenAddress = () =>
  textOf("IP address", (text) => {
    const ip = canonicalIp(text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text);
    return ip ?? new Refusal("bad_address", `${show(text)} is not an IP address.`, "like 0.0.0.0, 127.0.0.1 or ::");
  });

/** Path of a Unix socket. */
export const socketPath = () =>
  textOf("path", (text): string | Refusal => {
    const read = readSocketPath(text, (why) => new Refusal("bad_address", `${show(text)}: ${why}.`));
    return read instanceof Refusal ? read : text;
  });
