import type { ServiceConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import { Failure } from "../../core/failure.ts";
import { writeProxyHeader } from "../listeners/proxy-header.ts";
import type { ConnectionInfo } from "../stream.ts";

/** The PROXY header that the service wants, or nothing. */
export function prefaceFor(config: ServiceConfig, connection: ConnectionInfo | undefined): Bytes | undefined {
  if (config.proxyProtocol === undefined) return undefined;
  if (connection === undefined || connection.remoteAddress === "")
    return writeProxyHeader(config.proxyProtocol, undefined, undefined);
  return writeProxyHeader(
    config.proxyProtocol,
    { address: connection.remoteAddress, port: connection.remotePort },
    { address: connection.localAddress, port: connection.localPort },
  );
}

/** What a connect that broke off means. */
export function connectFailure(error: Error | undefined): Failure {
  return new Failure(isTlsError(error) ? "upstream_tls" : "connect_failed", "", error);
}

/** OpenSSL's and BoringSSL's codes, as both runtimes report them. */
function isTlsError(error: Error | undefined): boolean {
  if (error === undefined) return false;
  const code = (error as Error & { code?: string }).code ?? "";
  return (
    /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO|DEPTH_ZERO|SELF_SIGNED|ERR_OSSL)/.test(code) || /certificate|TLS|SSL/i.test(error.message)
  );
}
