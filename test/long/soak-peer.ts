import net from "node:net";
import { flushed } from "./soak-upstream.ts";

/** One answer as a downstream of the soak hears it. */
export interface HeardAnswer {
  readonly status: number;
  /** Lower case, with the status line. */
  readonly head: string;
  readonly body: string;
}

/** A downstream connection that can wait: for its whole answers one by one, or for bytes. Rejects when it is closed too early. */
export class SoakPeer {
  #heard = "";
  #closed = false;
  #failure = "";
  #wake: (() => void) | undefined;

  private constructor(readonly socket: net.Socket) {
    socket.on("data", (chunk) => {
      this.#heard += chunk.toString("latin1");
      this.#wake?.();
    });
    socket.on("error", (error) => {
      this.#failure = error.message;
    });
    socket.on("close", () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  static open(port: number): Promise<SoakPeer> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new SoakPeer(socket));
      });
    });
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Waits when the socket does not take more now. */
  async send(bytes: string | Uint8Array): Promise<void> {
    if (!this.#closed && !this.socket.write(bytes)) await flushed(this.socket);
  }

  async #until<T>(take: () => T | undefined): Promise<T> {
    for (;;) {
      const taken = take();
      if (taken !== undefined) return taken;
      if (this.#closed) throw new Error(`closed too early ${this.#failure}, heard ${JSON.stringify(this.#heard.slice(0, 300))}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The next whole answer. */
  answer(): Promise<HeardAnswer> {
    return this.#until(() => this.#takeAnswer());
  }

  /** The next head alone, for an upgrade. */
  head(): Promise<string> {
    return this.#until(() => {
      const end = this.#heard.indexOf("\r\n\r\n");
      if (end < 0) return undefined;
      const head = this.#heard.slice(0, end).toLowerCase();
      this.#heard = this.#heard.slice(end + 4);
      return head;
    });
  }

  /** The next so many bytes, for a tunnel. */
  bytes(count: number): Promise<string> {
    return this.#until(() => {
      if (this.#heard.length < count) return undefined;
      const taken = this.#heard.slice(0, count);
      this.#heard = this.#heard.slice(count);
      return taken;
    });
  }

  #takeAnswer(): HeardAnswer | undefined {
    const end = this.#heard.indexOf("\r\n\r\n");
    if (end < 0) return undefined;
    const head = this.#heard.slice(0, end).toLowerCase();
    const status = Number(head.slice(9, 12));
    const start = end + 4;
    if (head.includes("\r\ntransfer-encoding: chunked")) return this.#takeChunked(status, head, start);
    const length = Number(/\r\ncontent-length: *(\d+)/.exec(head)?.[1] ?? Number.NaN);
    if (!(this.#heard.length >= start + length)) return undefined;
    const body = this.#heard.slice(start, start + length);
    this.#heard = this.#heard.slice(start + length);
    return { status, head, body };
  }

  #takeChunked(status: number, head: string, start: number): HeardAnswer | undefined {
    let body = "";
    for (let at = start; ; ) {
      const lineEnd = this.#heard.indexOf("\r\n", at);
      if (lineEnd < 0) return undefined;
      const size = Number.parseInt(this.#heard.slice(at, lineEnd), 16);
      at = lineEnd + 2;
      if (size === 0) {
        const empty = this.#heard.startsWith("\r\n", at) ? at : this.#heard.indexOf("\r\n\r\n", at) + 2;
        if (empty < at || this.#heard.length < empty + 2) return undefined;
        this.#heard = this.#heard.slice(empty + 2);
        return { status, head, body };
      }
      if (this.#heard.length < at + size + 2) return undefined;
      body += this.#heard.slice(at, at + size);
      at += size + 2;
    }
  }

  destroy(): void {
    this.socket.destroy();
  }
}
