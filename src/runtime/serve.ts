import { canonicalIp, listenError } from "./address.ts";

/** What a handler is told about who asks. */
export interface ServeInfo {
  /** The peer's IP address. */
  readonly remoteAddress: string;
}

export type FetchHandler = (request: Request, info: ServeInfo) => Response | Promise<Response>;

/** Only TCP: a management API on a socket file would hang on its permissions alone. */
export interface ServeAddress {
  readonly host: string;
  /** 0: the system chooses. */
  readonly port: number;
}

export interface ServeOptions {
  readonly address: ServeAddress;
  readonly fetch: FetchHandler;
  readonly tls?: { readonly certificatePem: string; readonly keyPem: string } | undefined;
}

export interface FetchServer {
  /** With the port that was really bound. */
  readonly address: ServeAddress;
  /** Stops at once: requests under way are cut off. Resolves when the port is free. */
  close(): Promise<void>;
}

/**
 * A small HTTP server for the admin and control APIs on the runtime's own one. Never for traffic of the data plane: those
 * servers lose header order and duplicates. Rejects with an `Error` that names the address when it cannot listen.
 */
export async function serveFetch(options: ServeOptions): Promise<FetchServer> {
  const { address } = options;
  const started = await start(options).catch((error: unknown) => {
    throw listenError({ kind: "tcp", ...address }, error);
  });
  return { address: { ...address, port: started.port }, close: started.close };
}

interface Started {
  readonly port: number;
  close(): Promise<void>;
}

/** Runs the handler; what it throws is a bug of ours and answers 500 without telling why. */
async function answer(options: ServeOptions, request: Request, remoteAddress: string): Promise<Response> {
  try {
    return await options.fetch(request, { remoteAddress });
  } catch {
    return new Response("internal error\n", { status: 500 });
  }
}

/** Only what is asked of other runtimes' globals. */
interface Runtimes {
  readonly Bun?: {
    serve(options: object): { readonly port?: number; stop(now: boolean): Promise<void> };
  };
  readonly Deno?: {
    serve(options: object): { readonly addr: { readonly port?: number }; readonly finished: Promise<void> };
  };
}

async function start(options: ServeOptions): Promise<Started> {
  const { Bun: bun, Deno: deno } = globalThis as unknown as Runtimes;
  if (bun !== undefined) return startBun(bun, options);
  if (deno !== undefined) return startDeno(deno, options);
  return startNode(options);
}

/** The longest that Bun allows: answers that wait (`status --wait`, event streams) are idle. */
const BUN_IDLE_SECONDS = 255;

interface BunServer {
  requestIP(request: Request): { readonly address: string } | null;
}

function startBun(bun: NonNullable<Runtimes["Bun"]>, options: ServeOptions): Started {
  const { address, tls } = options;
  const server = bun.serve({
    ...{ hostname: address.host, port: address.port, idleTimeout: BUN_IDLE_SECONDS },
    ...(tls === undefined ? {} : { tls: { cert: tls.certificatePem, key: tls.keyPem } }),
    fetch: (request: Request, self: BunServer) => answer(options, request, canonicalIp(self.requestIP(request)?.address)),
  });
  return { port: server.port ?? 0, close: () => server.stop(true) };
}

async function startDeno(deno: NonNullable<Runtimes["Deno"]>, options: ServeOptions): Promise<Started> {
  const { address, tls } = options;
  const abort = new AbortController();
  const server = deno.serve({
    ...{ hostname: address.host, port: address.port },
    ...(tls === undefined ? {} : { cert: tls.certificatePem, key: tls.keyPem }),
    signal: abort.signal,
    onListen: () => {},
    handler: (request: Request, info: { readonly remoteAddr: { readonly hostname?: string } }) =>
      answer(options, request, canonicalIp(info.remoteAddr.hostname)),
  });
  return {
    port: server.addr.port ?? 0,
    async close() {
      abort.abort();
      await server.finished;
    },
  };
}

async function startNode(options: ServeOptions): Promise<Started> {
  const { startNodeServer } = await import("./serve-node.ts");
  return startNodeServer(options.address, options.tls, (request, remoteAddress) => answer(options, request, remoteAddress));
}
