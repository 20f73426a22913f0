import net from "node:net";
import { WAIT_MS } from "./patience.ts";

/** One HTTP/1.1 exchange on a connection of its own, byte for byte: what tests compare. */
export interface OnceAnswer {
  readonly status: number;
  /** Lower-case names, in order of arrival. */
  readonly headers: readonly (readonly [string, string])[];
  /** Decoded from its framing; one character per byte. */
  readonly body: string;
}

export interface OnceRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
  /** One character per byte; "" for none. */
  readonly body: string;
}

/** Sends the request with `Connection: close` and resolves with the final answer; rejects when it is no HTTP. */
export function exchangeOnce(port: number, request: OnceRequest): Promise<OnceAnswer> {
  const fields = request.headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const length = request.body === "" ? "" : `content-length: ${request.body.length}\r\n`;
  const text = `${request.method} ${request.target} HTTP/1.1\r\n${fields}${length}connection: close\r\n\r\n${request.body}`;
  return new Promise((resolve, reject) => {
    let heard = "";
    const socket = net.connect({ port, host: "127.0.0.1" }, () => socket.write(text, "latin1"));
    socket.setTimeout(WAIT_MS, () => socket.destroy(new Error(`no answer to ${request.method} ${request.target}`)));
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
      // Peers take their time to close; the message itself says where it ends.
      if (isComplete(heard)) socket.destroy();
    });
    socket.on("error", reject);
    socket.on("close", () => {
      try {
        resolve(parseAnswer(heard));
      } catch (error) {
        reject(error);
      }
    });
  });
}

function isComplete(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const head = text.slice(0, end).toLowerCase();
  if (/^http\/1\.1 (204|304)/.test(head)) return true;
  const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1];
  if (length !== undefined) return text.length >= end + 4 + Number(length);
  return head.includes("\r\ntransfer-encoding: chunked") && text.endsWith("0\r\n\r\n");
}

function parseAnswer(text: string): OnceAnswer {
  const end = text.indexOf("\r\n\r\n");
  const lines = text.slice(0, end).split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(lines[0] ?? "")?.[1]);
  if (end < 0 || Number.isNaN(status)) throw new Error(`no answer: ${JSON.stringify(text.slice(0, 200))}`);
  const headers = lines.slice(1).map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const rest = text.slice(end + 4);
  const chunked = headers.some(([name, value]) => name === "transfer-encoding" && value === "chunked");
  return { status, headers, body: chunked ? dechunk(rest) : rest };
}

function dechunk(text: string): string {
  let body = "";
  let at = 0;
  for (;;) {
    const line = text.indexOf("\r\n", at);
    const size = Number.parseInt(text.slice(at, line), 16);
    if (line < 0 || Number.isNaN(size)) throw new Error("broken chunk");
    if (size === 0) return body;
    body += text.slice(line + 2, line + 2 + size);
    at = line + 4 + size;
  }
}
