import http from "node:http";
import https from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import { canonicalIp } from "./address.ts";
import type { ServeAddress } from "./serve.ts";

/** The server of `serveFetch` where the runtime has none that speaks `Request` and `Response`. */
export async function startNodeServer(
  address: ServeAddress,
  tls: { readonly certificatePem: string; readonly keyPem: string } | undefined,
  answer: (request: Request, remoteAddress: string) => Promise<Response>,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const handle = (incoming: http.IncomingMessage, outgoing: http.ServerResponse): void => {
    respond(incoming, outgoing, answer).catch(() => outgoing.destroy());
  };
  const server =
    tls === undefined ? http.createServer(handle) : https.createServer({ cert: tls.certificatePem, key: tls.keyPem }, handle);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: address.host, port: address.port }, resolve);
  });
  const bound = server.address();
  return {
    port: typeof bound === "object" && bound !== null ? bound.port : 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function respond(
  incoming: http.IncomingMessage,
  outgoing: http.ServerResponse,
  answer: (request: Request, remoteAddress: string) => Promise<Response>,
): Promise<void> {
  const response = await answer(toRequest(incoming), canonicalIp(incoming.socket.remoteAddress));
  // Set-Cookie is the one field that may not be joined (RFC 9110 section 5.3).
  const headers = new Map<string, string | string[]>(response.headers);
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 0) headers.set("set-cookie", cookies);
  outgoing.writeHead(response.status, Object.fromEntries(headers));
  if (response.body === null) outgoing.end();
  else await pipeline(Readable.fromWeb(response.body as unknown as NodeReadableStream), outgoing);
}

function toRequest(incoming: http.IncomingMessage): Request {
  const method = incoming.method ?? "GET";
  const headers = new Headers();
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    headers.append(incoming.rawHeaders[i] as string, incoming.rawHeaders[i + 1] as string);
  }
  const scheme = "encrypted" in incoming.socket ? "https" : "http";
  const url = new URL(incoming.url ?? "/", `${scheme}://${incoming.headers.host ?? "localhost"}`);
  const hasBody = method !== "GET" && method !== "HEAD";
  // `duplex` is not in every type library; a streamed body needs it.
  const init = { method, headers, ...(hasBody ? { body: Readable.toWeb(incoming), duplex: "half" } : {}) };
  return new Request(url, init as unknown as RequestInit);
}
