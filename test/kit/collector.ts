import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** What a collector of spans was sent. */
export interface Delivery {
  readonly path: string;
  readonly type: string;
  readonly json: unknown;
}

export interface Collector {
  readonly url: string;
  readonly port: number;
  readonly deliveries: readonly Delivery[];
  /** Connections that are open. */
  readonly open: ReadonlySet<Socket>;
  stop(): Promise<void>;
}

type Answer = (response: ServerResponse, request: IncomingMessage) => void;

/** An HTTP server that keeps what it is sent and answers as told. Default: 200 at once. */
export async function startCollector(answer: Answer = (response) => void response.end("{}")): Promise<Collector> {
  const deliveries: Delivery[] = [];
  const open = new Set<Socket>();
  const server = createServer((request, response) => {
    response.on("error", () => {});
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => void parts.push(part));
    request.on("end", () => {
      const { url = "", headers } = request;
      deliveries.push({
        path: url,
        type: headers["content-type"] ?? "",
        json: JSON.parse(Buffer.concat(parts).toString("utf8")),
      });
      answer(response, request);
    });
  });
  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    ...{ port, url: `http://127.0.0.1:${port}`, deliveries, open },
    async stop() {
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

type Values = Readonly<Record<string, string | number | boolean>>;

/** A span of OTLP with its attributes as a mapping: strings, whole numbers (as text, as they are sent) and booleans. */
export interface SeenSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status?: { readonly code: number; readonly message: string };
  readonly values: Values;
  readonly events: readonly { readonly name: string; readonly timeUnixNano: string; readonly values: Values }[];
  readonly resource: Values;
}

interface Attributed {
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, string | boolean>> }[];
}
interface WireSpan extends Omit<SeenSpan, "values" | "events" | "resource">, Attributed {
  /** The real collector leaves out what is empty. */
  readonly events?: readonly ({ readonly name: string; readonly timeUnixNano: string } & Attributed)[];
}
interface WireBody {
  readonly resourceSpans: readonly {
    readonly resource: Attributed;
    readonly scopeSpans: readonly { readonly spans: readonly WireSpan[] }[];
  }[];
}

const valuesOf = ({ attributes }: Attributed): Values =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0] as string | boolean]));

/** All spans in bodies of OTLP. */
export function otlpSpans(bodies: readonly unknown[]): SeenSpan[] {
  return bodies.flatMap((body) =>
    (body as WireBody).resourceSpans.flatMap(({ resource, scopeSpans }) =>
      scopeSpans.flatMap(({ spans }) =>
        spans.map((span) => ({
          ...span,
          values: valuesOf(span),
          events: (span.events ?? []).map((event) => ({ ...event, values: valuesOf(event) })),
          resource: valuesOf(resource),
        })),
      ),
    ),
  );
}
