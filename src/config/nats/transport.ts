import type { Socket } from "node:net";
import { type ConnectionOptions, type NatsConnection, NatsConnectionImpl, setTransportFactory } from "@nats-io/transport-node";
import { NodeTransport, nodeResolveHost } from "@nats-io/transport-node/lib/node_transport.js";

type HostPort = Parameters<NodeTransport["connect"]>[0];

/**
 * The library's transport takes all listeners off a socket between two phases of connecting and when it closes. A reset that
 * arrives just then is an `error` without a listener, which ends the process: here such a socket always has one.
 *
 * And its reader stops at bytes that are no NATS, says so, and leaves the connection open: nothing is heard any more until the
 * second ping is overdue. Here such a connection is given up at once, and the library makes a new one.
 */
class SafeTransport extends NodeTransport {
  override async connect(host: HostPort, options: ConnectionOptions): Promise<void> {
    await super.connect(host, options as Parameters<NodeTransport["connect"]>[1]);
    // It may have gone while nobody listened: then nobody would notice until a ping is overdue.
    if (this.socket.destroyed) await this.close(new Error("the server closed the connection"));
  }
  override async *iterate(): AsyncIterableIterator<Uint8Array> {
    try {
      for await (const chunk of super.iterate()) {
        // What was discarded must not reach the parser of the connection after it.
        if (this.done) return;
        yield chunk;
      }
    } finally {
      // Who reads has stopped in the middle: it could make nothing of what came.
      if (!this.done) await this.close(new Error("the server sent what is no NATS"));
    }
  }
  override async dial(host: HostPort): Promise<Socket> {
    return keepErrorListener(await super.dial(host));
  }
  override async startTLS(): ReturnType<NodeTransport["startTLS"]> {
    return keepErrorListener(await super.startTLS());
  }
  override async tlsFirst(host: HostPort): ReturnType<NodeTransport["tlsFirst"]> {
    return keepErrorListener(await super.tlsFirst(host));
  }
}

function keepErrorListener<T extends Socket>(socket: T): T {
  const removeAll = socket.removeAllListeners.bind(socket);
  const ignore = (): void => {};
  socket.on("error", ignore);
  socket.removeAllListeners = (...events: []) => {
    removeAll(...events);
    socket.on("error", ignore);
    return socket;
  };
  return socket;
}

/** As the library's `connect`, with the safe transport. */
export function connectSafely(options: ConnectionOptions): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new SafeTransport(), dnsResolveFn: nodeResolveHost });
  return NatsConnectionImpl.connect(options);
}
