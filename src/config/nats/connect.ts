import { readFileSync } from "node:fs";
import { credsAuthenticator, type NatsConnection } from "@nats-io/nats-core";
import type { NodeConnectionOptions } from "@nats-io/transport-node";
import { inboxPrefix } from "./names.ts";
import { connectSafely } from "./transport.ts";

/** How to reach NATS. Everything but `servers` is optional. */
export interface NatsAddress {
  /** `nats://host:4222`; several are tried in turn. With one `tls://…` among them none is spoken to without TLS. */
  readonly servers: readonly string[];
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  /** Path of a credentials file (JWT and nkey seed). */
  readonly credentialsFile?: string;
  readonly tls?: {
    readonly caFile?: string;
    readonly certificateFile?: string;
    readonly keyFile?: string;
    /** Handshake before the server speaks. */
    readonly first?: boolean;
  };
}

const RECONNECT_WAIT_MS = 250;
const RECONNECT_JITTER_MS = 250;
const CONNECT_TIMEOUT_MS = 5_000;
/** A dead peer is noticed after two of these. */
const PING_MS = 10_000;

/** Connects once, and from then on reconnects for ever, with jitter. Rejects when no server takes the connection now. */
export function connectNats(address: NatsAddress, id: string): Promise<NatsConnection> {
  const options: NodeConnectionOptions = {
    servers: [...address.servers],
    name: id,
    inboxPrefix: inboxPrefix(id),
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    // A rotated password is fixed by whoever rotates it, not by giving up.
    ignoreAuthErrorAbort: true,
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: PING_MS,
    maxPingOut: 2,
    // A stack per request, in case it fails: 3 % of what a control plane uses for a change.
    noAsyncTraces: true,
  };
  if (address.user !== undefined) options.user = address.user;
  if (address.password !== undefined) options.pass = address.password;
  if (address.token !== undefined) options.token = address.token;
  if (address.credentialsFile !== undefined)
    options.authenticator = credsAuthenticator(new Uint8Array(readFileSync(address.credentialsFile)));
  // Without it the library takes TLS when the server offers it, and the scheme for decoration: who sits between could say there is none.
  const encrypted = address.servers.some((each) => each.startsWith("tls://"));
  if (address.tls !== undefined || encrypted) options.tls = tlsOptions(address.tls ?? {});
  return connectSafely(options);
}

function tlsOptions(tls: NonNullable<NatsAddress["tls"]>): NonNullable<NodeConnectionOptions["tls"]> {
  return {
    ...(tls.caFile === undefined ? {} : { caFile: tls.caFile }),
    ...(tls.certificateFile === undefined ? {} : { certFile: tls.certificateFile }),
    ...(tls.keyFile === undefined ? {} : { keyFile: tls.keyFile }),
    ...(tls.first === undefined ? {} : { handshakeFirst: tls.first }),
  };
}
