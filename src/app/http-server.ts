import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { CommandError } from "../cli/command.ts";

/** A running HTTP server of the management side (admin, control API); never of the data plane. */
export interface HttpServer {
  readonly host: string;
  /** The one that was really bound. */
  readonly port: number;
  readonly url: string;
  close(): Promise<void>;
}

export type FetchHandler = (request: Request) => Response | Promise<Response>;

const HEADER_MS = 10_000;

/** Listens and answers. Rejects with a `CommandError` that names the port in use and the flag that changes it. */
export async function serveHttp(
  address: { readonly host: string; readonly port: number },
  flag: string,
  handle: FetchHandler,
): Promise<HttpServer> {
  const server = createServer({ headersTimeout: HEADER_MS }, (incoming, outgoing) => {
    answer(incoming, outgoing, handle).catch(() => outgoing.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(listenFailure(error, address, flag)));
    server.listen(address.port, address.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const shown = address.host.includes(":") ? `[${address.host}]` : address.host;
  return {
    host: address.host,
    port,
    url: `http://${shown}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listenFailure(error: Error & { code?: string }, address: { host: string; port: number }, flag: string): CommandError {
  const where = `port ${address.port} on ${address.host}`;
  if (error.code === "EADDRINUSE") {
    return new CommandError(`${where} is in use`, `stop what uses it, or choose another with --${flag} ${address.host}:<port>`);
  }
  return new CommandError(`cannot listen on ${where}: ${error.message}`, `choose another address with --${flag}`);
}

async function answer(incoming: IncomingMessage, outgoing: ServerResponse, handle: FetchHandler): Promise<void> {
  const response = await handle(toRequest(incoming));
  outgoing.statusCode = response.status;
  for (const [name, value] of response.headers) outgoing.setHeader(name, value);
  if (response.body === null) {
    outgoing.end();
    return;
  }
  for await (const chunk of response.body) {
    if (!outgoing.write(chunk)) await new Promise<void>((resolve) => outgoing.once("drain", resolve));
  }
  outgoing.end();
}

function toRequest(incoming: IncomingMessage): Request {
  const headers = new Headers();
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i] ?? "", incoming.rawHeaders[i + 1] ?? "");
  }
  const method = incoming.method ?? "GET";
  // The Host header may be anything; the handlers judge it, the URL only needs some name.
  const url = new URL(incoming.url ?? "/", "http://localhost");
  if (method === "GET" || method === "HEAD") return new Request(url, { method, headers });
  return new Request(url, {
    method,
    headers,
    body: Readable.toWeb(incoming) as unknown as ReadableStream,
    duplex: "half",
  } as RequestInit);
}
