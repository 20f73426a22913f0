import net from "node:net";

/** An upstream that keeps nothing: it reads bodies of any size and answers by the path, as soak.test.ts says it should. */
export interface SoakUpstream {
  readonly port: number;
  /** Connections that are open now. */
  readonly open: number;
  /** Requests whose end was seen, aborted ones aside. */
  readonly requests: number;
  stop(): Promise<void>;
}

/** Bytes of the answer to /big: more than socket buffers hold, so that a slow reader is felt up to here. */
export const BIG_BYTES = 4 * 1024 * 1024;
const BIG_PIECE = Buffer.alloc(64 * 1024, "b");
const NOTHING: Buffer = Buffer.alloc(0);
/** An answer to /aborted comes after the caller has left. */
const LATE_MS = 100;

/** Sum of all bytes: cheap, and wrong when one is lost or doubled. */
export function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum = (sum + byte) >>> 0;
  return sum;
}

/** Resolves when a socket takes more. By looking, because Bun's node:net now and then forgets `drain`. */
export async function flushed(socket: net.Socket): Promise<void> {
  while (socket.writableNeedDrain && socket.writableLength > 0 && !socket.destroyed)
    await new Promise((resolve) => setTimeout(resolve, 1));
}

interface Body {
  length: number;
  sum: number;
}

type State =
  | { readonly kind: "head" }
  | { readonly kind: "length"; left: number }
  | { readonly kind: "chunk-size" }
  | { readonly kind: "chunk"; left: number }
  | { readonly kind: "chunk-end" }
  | { readonly kind: "trailers" }
  | { readonly kind: "tunnel" };

class Connection {
  #buffer: Buffer = NOTHING;
  #state: State = { kind: "head" };
  #body: Body = { length: 0, sum: 0 };
  #path = "";

  constructor(
    readonly socket: net.Socket,
    readonly onRequest: () => void,
  ) {
    socket.on("data", (chunk: Buffer) => {
      this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
      while (this.#buffer.length > 0 && this.#step());
    });
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.end());
  }

  /** Takes what can be taken; false: more bytes are needed. */
  #step(): boolean {
    const state = this.#state;
    switch (state.kind) {
      case "head":
        return this.#takeHead();
      case "length":
      case "chunk":
        return this.#takeData(state);
      case "chunk-size": {
        const line = this.#takeLine();
        if (line === undefined) return false;
        const left = Number.parseInt(line, 16);
        this.#state = left === 0 ? { kind: "trailers" } : { kind: "chunk", left };
        return true;
      }
      case "chunk-end":
        if (this.#takeLine() === undefined) return false;
        this.#state = { kind: "chunk-size" };
        return true;
      case "trailers": {
        const line = this.#takeLine();
        if (line === "") this.#finish();
        return line !== undefined;
      }
      case "tunnel":
        this.socket.write(this.#buffer);
        this.#buffer = NOTHING;
        return false;
    }
  }

  #takeLine(): string | undefined {
    const end = this.#buffer.indexOf("\r\n");
    if (end < 0) return undefined;
    const line = this.#buffer.toString("latin1", 0, end);
    this.#buffer = this.#buffer.subarray(end + 2);
    return line;
  }

  #takeData(state: { readonly kind: "length" | "chunk"; left: number }): boolean {
    const taken = this.#buffer.subarray(0, state.left);
    this.#buffer = this.#buffer.subarray(taken.length);
    this.#body.length += taken.length;
    this.#body.sum = (this.#body.sum + sumOf(taken)) >>> 0;
    state.left -= taken.length;
    if (state.left > 0) return false;
    if (state.kind === "length") this.#finish();
    else this.#state = { kind: "chunk-end" };
    return true;
  }

  #takeHead(): boolean {
    const end = this.#buffer.indexOf("\r\n\r\n");
    if (end < 0) return false;
    const head = this.#buffer.toString("latin1", 0, end).toLowerCase();
    this.#buffer = this.#buffer.subarray(end + 4);
    this.#path = head.split(" ")[1] ?? "";
    this.#body = { length: 0, sum: 0 };
    if (head.includes("\r\nupgrade: websocket")) {
      this.onRequest();
      this.#state = { kind: "tunnel" };
      this.socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
      return true;
    }
    const length = Number(/\r\ncontent-length: *(\d+)/.exec(head)?.[1] ?? 0);
    if (head.includes("\r\ntransfer-encoding: chunked")) this.#state = { kind: "chunk-size" };
    else if (length > 0) this.#state = { kind: "length", left: length };
    else this.#finish();
    return true;
  }

  /** The request is whole: answers by its path. */
  #finish(): void {
    this.#state = { kind: "head" };
    if (this.#path.startsWith("/aborted")) {
      setTimeout(() => this.socket.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate"), LATE_MS);
      return;
    }
    this.onRequest();
    if (this.#path === "/big") void this.#answerBig();
    else this.#answer(`${this.#path} ${this.#body.length} ${this.#body.sum}`);
  }

  #answer(text: string): void {
    if (!this.#path.startsWith("/chunked")) {
      this.socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text}`);
      return;
    }
    const pieces = (text.match(/.{1,7}/g) ?? []).map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`);
    this.socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${pieces[0]}`);
    this.socket.write(`${pieces.slice(1).join("")}0\r\nx-end: yes\r\n\r\n`);
  }

  async #answerBig(): Promise<void> {
    this.socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${BIG_BYTES}\r\n\r\n`);
    for (let sent = 0; sent < BIG_BYTES && !this.socket.destroyed; sent += BIG_PIECE.length) {
      if (!this.socket.write(BIG_PIECE)) await flushed(this.socket);
    }
  }
}

export async function startSoakUpstream(): Promise<SoakUpstream> {
  const sockets = new Set<net.Socket>();
  let requests = 0;
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    new Connection(socket, () => {
      requests++;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    get open() {
      return sockets.size;
    },
    get requests() {
      return requests;
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
