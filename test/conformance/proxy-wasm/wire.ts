import { type RawUpstream, sayRaw, startRawUpstream } from "../../kit/raw.ts";
import type { CaseAnswer, CaseRequest, WireMessage } from "./format.ts";

/** Messages of the cases as HTTP/1.1, and back. */

export interface HeardMessage {
  /** `GET /path HTTP/1.1`, `HTTP/1.1 200 OK`; "": nothing was heard. */
  readonly line: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
  readonly trailers: readonly (readonly [string, string])[];
}

const fields = (list: readonly (readonly [string, string])[] = []): string =>
  list.map(([name, value]) => `${name}: ${value}\r\n`).join("");

function payload({ body = "", trailers }: WireMessage): { framing: string; text: string } {
  if (trailers === undefined) return { framing: body === "" ? "" : `content-length: ${body.length}\r\n`, text: body };
  const chunk = body === "" ? "" : `${body.length.toString(16)}\r\n${body}\r\n`;
  return { framing: "transfer-encoding: chunked\r\n", text: `${chunk}0\r\n${fields(trailers)}\r\n` };
}

/** Sends a request on a connection of its own; resolves with the whole answer. */
export async function ask(port: number, request: CaseRequest): Promise<HeardMessage> {
  const { method = "GET", path = "/", headers = [] } = request;
  const { framing, text } = payload(request);
  const te = request.trailers === undefined ? "" : "te: trailers\r\n";
  const head = `${method} ${path} HTTP/1.1\r\nhost: example.test\r\n${fields(headers)}${te}${framing}connection: close\r\n\r\n`;
  return parseMessage(await sayRaw(port, head + text));
}

/** An upstream that keeps the requests that it got; one request on a connection. */
export async function startAnswering(
  answerTo: (request: HeardMessage) => CaseAnswer,
): Promise<{ upstream: RawUpstream; got: HeardMessage[] }> {
  const got: HeardMessage[] = [];
  const upstream = await startRawUpstream((socket) => {
    let heard = "";
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
      if (!isWhole(heard)) return;
      const request = parseMessage(heard);
      got.push(request);
      heard = "";
      socket.end(Buffer.from(answerText(answerTo(request)), "latin1"));
    });
    socket.on("end", () => socket.end());
  });
  return { upstream, got };
}

function answerText(answer: CaseAnswer): string {
  const { status = 200, headers = [], body = "", trailers } = answer;
  const { framing, text } = payload(answer);
  const length = body === "" && trailers === undefined ? "content-length: 0\r\n" : framing;
  return `HTTP/1.1 ${status} Status\r\n${fields(headers)}${length}connection: close\r\n\r\n${text}`;
}

function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const head = text.slice(0, end);
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) return /(^|\r\n)0\r\n([^\r]+\r\n)*\r\n$/.test(text.slice(end + 4));
  return text.length >= end + 4 + Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
}

function parseHead(text: string): Pick<HeardMessage, "line" | "headers"> {
  const [line = "", ...rest] = text.split("\r\n");
  return { line, headers: parseFields(rest) };
}

function parseFields(lines: readonly string[]): [string, string][] {
  return lines
    .filter((line) => line !== "")
    .map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    });
}

/** A whole message in raw text. */
export function parseMessage(text: string): HeardMessage {
  const end = text.indexOf("\r\n\r\n");
  const head = parseHead(end < 0 ? text : text.slice(0, end));
  const rest = end < 0 ? "" : text.slice(end + 4);
  if (!head.headers.some(([name, value]) => name === "transfer-encoding" && value.toLowerCase() === "chunked")) {
    return { ...head, body: rest, trailers: [] };
  }
  let body = "";
  for (let at = 0; ; ) {
    const lineEnd = rest.indexOf("\r\n", at);
    const size = Number.parseInt(rest.slice(at, lineEnd), 16);
    if (lineEnd < 0 || Number.isNaN(size)) return { ...head, body: `${body}(cut)`, trailers: [] };
    if (size === 0) return { ...head, body, trailers: parseFields(rest.slice(lineEnd + 2).split("\r\n")) };
    body += rest.slice(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 4 + size;
  }
}
