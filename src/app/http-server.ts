import { CommandError } from "../cli/command.ts";
import { codeOf } from "../runtime/address.ts";
import { type FetchHandler, type ServeAddress, serveFetch } from "../runtime/serve.ts";

/** A running HTTP server of the management side (admin, control API). */
export interface HttpServer {
  /** The port that was really bound. */
  readonly port: number;
  readonly url: string;
  close(): Promise<void>;
}

/** Listens and answers. Rejects with a `CommandError` that names the port in use and the flag that changes it. */
export async function serveHttp(address: ServeAddress, flag: string, fetch: FetchHandler): Promise<HttpServer> {
  const { host } = address;
  const server = await serveFetch({ address, fetch }).catch((error: unknown) => {
    throw listenFailure(error, address, flag);
  });
  const { port } = server.address;
  return { port, url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`, close: () => server.close() };
}

function listenFailure(error: unknown, { host }: { host: string }, flag: string): CommandError {
  const message = error instanceof Error ? error.message : String(error);
  const shown = host.includes(":") ? `[${host}]` : host;
  const hint = `choose another with --${flag} ${shown}:<port>`;
  return new CommandError(message, codeOf(error) === "EADDRINUSE" ? `stop what uses it, or ${hint}` : hint);
}
