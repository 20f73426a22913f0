import { utf8Bytes } from "../../core/bytes.ts";
import type { RequestHead } from "../../core/head.ts";
import type { ConnectionInfo } from "../../proxy/stream.ts";
import type { TlsInfo } from "../../runtime/net.ts";
import { blockOf, wire } from "./messages.ts";
import type { TableRequest } from "./table-schema.ts";

const DEFAULT_HOST = "example.com";

/** The request as the codec would hand it over. What a codec would refuse is not looked for: the table's author means it. */
export function headOf(asked: TableRequest): RequestHead {
  const parts = /^(?:(https?):\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?/.exec(asked.url);
  const [, scheme, host, path = "", query] = parts ?? [];
  const headers = blockOf(asked.headers);
  const named = headers.get("host");
  headers.remove("host");
  return {
    method: asked.method.toUpperCase(),
    scheme: scheme ?? (asked.tls === undefined ? "http" : "https"),
    authority: wire((named ?? host ?? DEFAULT_HOST).toLowerCase()),
    path: path === "" ? "/" : wire(path),
    query: query === undefined ? undefined : wire(query),
    version: 11,
    upgrade: undefined,
    headers,
  };
}

/** The connection that the caller came over. */
export function connectionOf(asked: TableRequest): ConnectionInfo {
  const [address, port] = splitAddress(asked.source);
  return {
    id: 1,
    remoteAddress: address,
    remotePort: port,
    localAddress: "192.0.2.100",
    localPort: asked.tls === undefined ? 80 : 443,
    directAddress: address,
    listener: "default/gateway/http",
    tls: asked.tls === undefined ? undefined : tlsOf(asked.tls),
  };
}

/** `192.0.2.1:80`, `[::1]:80`, or without a port. */
function splitAddress(text: string): [string, number] {
  const bracket = /^\[([^\]]+)\](?::(\d+))?$/.exec(text);
  if (bracket !== null) return [bracket[1] ?? "", Number(bracket[2] ?? 40_000)];
  const colon = text.lastIndexOf(":");
  if (colon < 0 || text.indexOf(":") !== colon) return [text, 40_000];
  return [text.slice(0, colon), Number(text.slice(colon + 1)) || 40_000];
}

function tlsOf({ version, serverName, uris, dnsNames, subject }: NonNullable<TableRequest["tls"]>): TlsInfo {
  const anonymous = uris === undefined && dnsNames === undefined && subject === "";
  const peer = {
    verified: true,
    der: utf8Bytes(""),
    uris: uris ?? [],
    dnsNames: dnsNames ?? [],
    subject,
    fingerprint: "0".repeat(64),
  };
  return { version, cipher: "TLS_AES_128_GCM_SHA256", serverName, alpn: undefined, peer: anonymous ? undefined : peer };
}
