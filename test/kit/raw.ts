import net from "node:net";
import { WAIT_MS } from "./patience.ts";

/** Raw bytes over TCP, as strings of one character per byte: what tests of a proxy say and hear. */

export interface RawConnection {
  send(text: string): void;
  /** Half-close. */
  end(): void;
  /** Resolves with everything heard so far once `until` is in it, or at the end of the connection. */
  until(until: string | RegExp): Promise<string>;
  /** The same for any condition. */
  when(test: (heard: string) => boolean): Promise<string>;
  /** Resolves with everything heard when the peer has closed. */
  closed(): Promise<string>;
  readonly heard: string;
  readonly isClosed: boolean;
  destroy(): void;
  /** Closes with a reset: a FIN alone may be a peer that only finished asking. */
  reset(): void;
  pause(): void;
  resume(): void;
}

export function connectRaw(port: number, host = "127.0.0.1"): Promise<RawConnection> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host, allowHalfOpen: true }, () => resolve(wrap(socket)));
    socket.once("error", reject);
  });
}

function wrap(socket: net.Socket): RawConnection {
  let heard = "";
  let closed = false;
  let waiters: (() => void)[] = [];
  const wake = (): void => {
    const woken = waiters;
    waiters = [];
    for (const waiter of woken) waiter();
  };
  socket.on("data", (chunk) => {
    heard += chunk.toString("latin1");
    wake();
  });
  const finish = (): void => {
    closed = true;
    wake();
  };
  socket.on("end", finish);
  socket.on("close", finish);
  socket.on("error", finish);
  const wait = async (test: () => boolean, what: string): Promise<string> => {
    const timer = setTimeout(() => {
      late = true;
      wake();
    }, WAIT_MS);
    let late = false;
    while (!test() && !closed && !late) await new Promise<void>((resolve) => waiters.push(resolve));
    clearTimeout(timer);
    if (late) throw new Error(`waited long for ${what}; heard ${JSON.stringify(heard.slice(0, 2_000))}`);
    return heard;
  };
  return {
    send: (text) => void socket.write(Buffer.from(text, "latin1")),
    end: () => void socket.end(),
    until: (until) => wait(() => (typeof until === "string" ? heard.includes(until) : until.test(heard)), String(until)),
    when: (test) => wait(() => test(heard), String(test)),
    closed: () => wait(() => closed, "the end of the connection"),
    get heard() {
      return heard;
    },
    get isClosed() {
      return closed;
    },
    destroy: () => void socket.destroy(),
    reset: () => void socket.resetAndDestroy(),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
  };
}

/** One connection, one text, everything that comes back until the peer closes. */
export async function sayRaw(port: number, text: string): Promise<string> {
  const connection = await connectRaw(port);
  connection.send(text);
  const heard = await connection.closed();
  connection.destroy();
  return heard;
}

/** What an upstream of a test got: one request, whole. */
export interface UpstreamRequest {
  /** Request line and fields, without the empty line. */
  readonly head: string;
  readonly body: string;
  /** Counts the connection's requests from 1. */
  readonly index: number;
}

export interface RawUpstream {
  readonly port: number;
  /** Everything received, per connection. */
  readonly received: string[];
  /** Connections that are open. */
  readonly open: number;
  /** Connections ever made. */
  readonly connections: number;
  stop(): Promise<void>;
}

/** An upstream in raw bytes: `onConnection` does everything. */
export async function startRawUpstream(onConnection: (socket: net.Socket, index: number) => void): Promise<RawUpstream> {
  const received: string[] = [];
  const sockets = new Set<net.Socket>();
  let connections = 0;
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const index = connections++;
    received.push("");
    sockets.add(socket);
    socket.on("data", (chunk) => {
      received[index] += chunk.toString("latin1");
    });
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    onConnection(socket, index);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    received,
    get open() {
      return sockets.size;
    },
    get connections() {
      return connections;
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** An upstream that answers whole requests with raw text (undefined: says nothing). Reads Content-Length and chunked bodies. */
export function startUpstream(
  answer: (request: UpstreamRequest, socket: net.Socket) => string | undefined,
): Promise<RawUpstream> {
  return startRawUpstream((socket) => {
    let buffered = "";
    let index = 0;
    socket.on("data", (chunk) => {
      buffered += chunk.toString("latin1");
      for (;;) {
        const taken = takeRequest(buffered);
        if (taken === undefined) return;
        buffered = buffered.slice(taken.length);
        index++;
        const text = answer({ head: taken.head, body: taken.body, index }, socket);
        if (text !== undefined) socket.write(Buffer.from(text, "latin1"));
      }
    });
    socket.on("end", () => socket.end());
  });
}

function takeRequest(text: string): { head: string; body: string; length: number } | undefined {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const head = text.slice(0, headEnd);
  const bodyStart = headEnd + 4;
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
    let at = bodyStart;
    let body = "";
    for (;;) {
      const lineEnd = text.indexOf("\r\n", at);
      if (lineEnd < 0) return undefined;
      const size = Number.parseInt(text.slice(at, lineEnd), 16);
      if (size === 0) {
        const end = text.startsWith("\r\n", lineEnd + 2) ? lineEnd + 4 : text.indexOf("\r\n\r\n", lineEnd) + 4;
        if (end < lineEnd + 4 || end > text.length) return undefined;
        return { head, body, length: end };
      }
      if (text.length < lineEnd + 2 + size + 2) return undefined;
      body += text.slice(lineEnd + 2, lineEnd + 2 + size);
      at = lineEnd + 2 + size + 2;
    }
  }
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  if (text.length < bodyStart + length) return undefined;
  return { head, body: text.slice(bodyStart, bodyStart + length), length: bodyStart + length };
}

/** A plain answer with a length. */
export function okText(body: string, headers = ""): string {
  return `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n${headers}\r\n${body}`;
}
