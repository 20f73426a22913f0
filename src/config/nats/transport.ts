import type { Socket } from "node:net";
import type { ConnectionOptions, NatsConnection } from "@nats-io/nats-core";
import { NatsConnectionImpl, Parser, type Server, setTransportFactory, type Transport } from "@nats-io/nats-core/internal";
import { NodeTransport, nodeResolveHost } from "@nats-io/transport-node/lib/node_transport.js";
import type { Net } from "../../runtime/net.ts";
import { selectNet } from "../../runtime/select.ts";
import { SocketTransport } from "./socket-transport.ts";

type HostPort = Parameters<NodeTransport["connect"]>[0];

/**
 * With TLS. The library's transport takes all listeners off a socket between two phases of connecting and when it closes. A reset that
 * arrives just then is an `error` without a listener, which ends the process: here such a socket always has one.
 *
 * And its reader may stop in the middle, and leaves the connection open: nothing is heard any more until the second ping is overdue. Here
 * such a connection is given up at once, and the library makes a new one.
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

/**
 * Plain connections are made on our own sockets, those with TLS by the library's transport: it begins TLS on a socket from which the
 * server's first line was read, which the Net seam has no word for.
 */
class ChosenTransport implements Transport {
  closeError?: Error;
  #chosen: Transport;
  readonly #closed = Promise.withResolvers<Error | undefined>();

  constructor(readonly net: Net) {
    this.#chosen = new SocketTransport(net);
  }

  async connect(server: Server, options: ConnectionOptions): Promise<void> {
    const plain = this.#chosen as SocketTransport;
    const { tls } = options;
    const info = tls ? undefined : await plain.open(server);
    const encrypted = info === undefined || info.tls_required || (info.tls_available && tls !== null);
    if (encrypted) {
      plain.discard();
      this.#chosen = new SafeTransport();
      await this.#chosen.connect(server, options);
    } else plain.begin(info, options);
    void this.#chosen.closed().then((reason) => {
      if (reason instanceof Error) this.closeError = reason;
      this.#closed.resolve(this.closeError);
    });
  }

  get lang(): string {
    return this.#chosen.lang;
  }
  get version(): string {
    return this.#chosen.version;
  }
  get isClosed(): boolean {
    return this.#chosen.isClosed;
  }
  isEncrypted(): boolean {
    return this.#chosen.isEncrypted();
  }
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    return this.#chosen[Symbol.asyncIterator]();
  }
  send(frame: Uint8Array): void {
    this.#chosen.send(frame);
  }
  close(error?: Error): Promise<void> {
    return this.#chosen.close(error);
  }
  closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }
  disconnect(): void {
    this.#chosen.disconnect();
  }
  discard(): void {
    this.#chosen.discard();
  }
}

/** A server sent bytes that are no NATS. They are not in the message. */
export class NotNatsError extends Error {
  /** For logs, as failures have one. */
  readonly code = "nats_protocol";

  constructor(
    readonly server: string,
    where: string,
  ) {
    super(`the server sent what is no NATS (${where})`);
  }
}

/** Code, side and address, for a log. */
export const notNatsFields = ({ code, server, message }: NotNatsError) => ({ code, side: "control", server, cause: message });

/** The library's own connection, to which it gives a parser. */
interface ParsingConnection {
  readonly transport: Transport;
  readonly servers: { getCurrentServer(): { toString(): string } };
  dispatchStatus(status: { readonly type: "error"; readonly error: Error }): void;
}

let parserIsTamed = false;

/**
 * What its parser throws the library prints on the console, with the bytes, and no option prevents it. So nothing is thrown: whoever follows the
 * status of the connection hears of it, and the connection is given up.
 */
function tameParser(): void {
  if (parserIsTamed) return;
  parserIsTamed = true;
  const { parse } = Parser.prototype;
  Parser.prototype.parse = function (this: Parser, bytes: Uint8Array): void {
    try {
      parse.call(this, bytes);
    } catch (cause) {
      const { transport, servers, dispatchStatus } = this.dispatcher as unknown as ParsingConnection;
      const [where = ""] = String((cause as Error).message).split(":");
      const error = new NotNatsError(servers.getCurrentServer().toString(), where);
      dispatchStatus.call(this.dispatcher, { type: "error", error });
      void transport.close(error);
    }
  };
}

/** As the library's `connect`, with our transport. */
export async function connectSafely(options: ConnectionOptions): Promise<NatsConnection> {
  const net = await selectNet();
  tameParser();
  setTransportFactory({ factory: () => new ChosenTransport(net), dnsResolveFn: nodeResolveHost });
  return NatsConnectionImpl.connect(options);
}
