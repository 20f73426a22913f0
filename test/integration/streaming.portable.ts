import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import net from "node:net";
import { SeededRng } from "../../src/core/rng.ts";
import { withUpstream } from "../kit/end-to-end.ts";
import { startRawUpstream } from "../kit/raw.ts";
import { describe, IS_BUN, test } from "../kit/suite.ts";

// Bodies of any size, cut anywhere, in both framings, through slow readers: byte for byte the same on the other side.

const CONNECTIONS = IS_BUN ? 12 : 6;
const EXCHANGES = 6;
const BODY_BYTES_MAX = 3_000_000;

const hashOf = (bytes: Uint8Array): string => createHash("sha1").update(bytes).digest("hex");

/** Mostly small, sometimes large, often at the edges of buffers. */
function drawBody(rng: SeededRng): Buffer {
  const sizes = [0, 1, 4095, 4096, 65_535, 65_537, rng.below(2_000), rng.below(200_000), rng.below(BODY_BYTES_MAX)];
  const body = Buffer.alloc(sizes[rng.below(sizes.length)] as number);
  let state = rng.below(2 ** 31) | 1;
  for (let i = 0; i < body.length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    body[i] = state >> 16;
  }
  return body;
}

/** A message of `head` and `body`, framed by length or by chunks of random sizes. */
function frame(rng: SeededRng, head: string, body: Buffer): Buffer {
  if (rng.below(2) === 0) return Buffer.concat([Buffer.from(`${head}content-length: ${body.length}\r\n\r\n`), body]);
  const parts: Buffer[] = [Buffer.from(`${head}transfer-encoding: chunked\r\n\r\n`)];
  for (let at = 0; at < body.length; ) {
    const size = Math.min(body.length - at, 1 + rng.below(rng.below(3) === 0 ? 20 : 100_000));
    const piece = body.subarray(at, at + size);
    parts.push(Buffer.from(`${size.toString(16)}\r\n`), piece, Buffer.from("\r\n"));
    at += size;
    // Many tiny chunks would only be slow.
    if (size < 20 && body.length - at > 200_000) at = copyRest(parts, body, at);
  }
  parts.push(Buffer.from("0\r\n\r\n"));
  return Buffer.concat(parts);
}

function copyRest(parts: Buffer[], body: Buffer, at: number): number {
  parts.push(Buffer.from(`${(body.length - at).toString(16)}\r\n`), body.subarray(at), Buffer.from("\r\n"));
  return body.length;
}

/** Writes in random pieces, as fast as the peer takes them. */
async function writeInPieces(rng: SeededRng, socket: net.Socket, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const to = Math.min(bytes.length, at + 1 + rng.below(rng.below(4) === 0 ? 50 : 300_000));
    const more = socket.write(bytes.subarray(at, to));
    at = to;
    if (!more) await new Promise<void>((resolve) => socket.once("drain", resolve));
    else if (rng.below(3) === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** Stops reading now and then. */
function readSlowly(rng: SeededRng, socket: net.Socket): void {
  socket.on("data", () => {
    if (rng.below(5) !== 0) return;
    socket.pause();
    setTimeout(() => socket.resume(), rng.below(4));
  });
}

interface Message {
  readonly head: string;
  readonly body: Buffer;
}

/** Reads messages of one direction of one connection. */
class Messages {
  #bytes: Buffer[] = [];
  #size = 0;
  #wanted = 0;

  constructor(readonly onMessage: (message: Message) => void) {}

  push(chunk: Buffer): void {
    this.#bytes.push(chunk);
    this.#size += chunk.length;
    while (this.#size > 0 && this.#size >= this.#wanted) if (!this.#take()) return;
  }

  #take(): boolean {
    const all = this.#bytes.length === 1 ? (this.#bytes[0] as Buffer) : Buffer.concat(this.#bytes);
    this.#bytes = [all];
    const headEnd = all.indexOf("\r\n\r\n");
    if (headEnd < 0) return false;
    const head = all.latin1Slice(0, headEnd);
    const length = /\r\ncontent-length: (\d+)/.exec(head)?.[1];
    const read = length === undefined ? readChunks(all, headEnd + 4) : readLength(all, headEnd + 4, Number(length));
    if (typeof read === "number") {
      this.#wanted = read;
      return false;
    }
    this.#bytes = [all.subarray(read.end)];
    this.#size = all.length - read.end;
    this.#wanted = 0;
    this.onMessage({ head, body: read.body });
    return true;
  }
}

type Read = { readonly body: Buffer; readonly end: number };

function readLength(all: Buffer, from: number, length: number): Read | number {
  return all.length < from + length ? from + length : { body: all.subarray(from, from + length), end: from + length };
}

/** A number: come again when so many bytes are there. */
function readChunks(all: Buffer, from: number): Read | number {
  const parts: Buffer[] = [];
  for (let at = from; ; ) {
    const line = all.indexOf("\r\n", at);
    if (line < 0) return all.length + 1;
    const size = Number.parseInt(all.latin1Slice(at, line), 16);
    if (all.length < line + 2 + size + 2) return line + 2 + size + 2;
    if (size === 0) return { body: Buffer.concat(parts), end: line + 4 };
    parts.push(all.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}

describe("streaming", () => {
  test("bodies come through byte for byte, pipelined, cut anywhere, past slow readers (seeded)", async () => {
    const rng = new SeededRng(12);
    // The upstream answers the hash of what it got, and a body of its own with that body's hash.
    const upstream = await startRawUpstream((socket) => {
      readSlowly(rng, socket);
      let queue = Promise.resolve();
      const messages = new Messages(({ head, body }) => {
        const id = /\r\nx-id: (\S+)/.exec(head)?.[1] ?? "";
        const answer = drawBody(rng);
        const fields = `HTTP/1.1 200 OK\r\nx-id: ${id}\r\nx-got: ${hashOf(body)}\r\nx-sent: ${hashOf(answer)}\r\n`;
        queue = queue.then(() => writeInPieces(rng, socket, frame(rng, fields, answer)));
      });
      socket.on("data", (chunk: Buffer) => messages.push(chunk));
    });
    await withUpstream(upstream, async (proxy) => {
      const run = async (index: number): Promise<void> => {
        const sent = Array.from({ length: EXCHANGES }, () => drawBody(rng));
        const socket = net.connect(proxy.port(), "127.0.0.1");
        const heard: Message[] = [];
        const done = new Promise<void>((resolve, reject) => {
          const messages = new Messages((message) => {
            heard.push({ head: message.head, body: message.body });
            if (heard.length === EXCHANGES) resolve();
          });
          socket.on("data", (chunk: Buffer) => messages.push(chunk));
          socket.on("close", () => reject(new Error(`closed after ${heard.length} answers`)));
          socket.on("error", reject);
        });
        if (index % 2 === 0) readSlowly(rng, socket);
        const requests = sent.map((body, i) => frame(rng, `POST /${i} HTTP/1.1\r\nhost: a\r\nx-id: ${index}-${i}\r\n`, body));
        await Promise.all([writeInPieces(rng, socket, Buffer.concat(requests)), done]);
        socket.destroy();
        heard.forEach(({ head, body }, i) => {
          assert.match(head, /^HTTP\/1\.1 200/);
          assert.equal(/\r\nx-id: (\S+)/.exec(head)?.[1], `${index}-${i}`);
          assert.equal(/\r\nx-got: (\S+)/.exec(head)?.[1], hashOf(sent[i] as Buffer));
          assert.equal(/\r\nx-sent: (\S+)/.exec(head)?.[1], hashOf(body));
        });
      };
      await Promise.all(Array.from({ length: CONNECTIONS }, (_, index) => run(index)));
      const seen = await proxy.seen(CONNECTIONS * EXCHANGES);
      assert.equal(seen.length, CONNECTIONS * EXCHANGES);
      assert.ok(seen.every(({ status, code }) => status === 200 && code === ""));
      // The upstream's connections were kept and used again (a pipelined request begins while the former one's is given back).
      assert.ok(upstream.connections <= 2 * CONNECTIONS, `${upstream.connections} connections`);
    });
  });
});
