// Stands in for your service in these examples: tells what reached it, echoes WebSockets. Plain Node, no packages.
//
//   node examples/service.mjs 9000                       one service, on 127.0.0.1:9000
//   node examples/service.mjs 9000 9001 -- command …     two, beside a command; they end with it
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { createServer } from "node:http";
import process from "node:process";

/** Headers that every caller sends and nobody wants to read about here. */
const DULL = new Set(["host", "user-agent", "accept", "connection", "content-length"]);
/** RFC 6455 §1.3. */
const WEBSOCKET_ID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

function serve(place) {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    if (request.url?.endsWith("/text"))
      return response.setHeader("content-type", "text/plain").end("all work and no play\n".repeat(200));
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !DULL.has(name)));
    const seen = { service: place, request: `${request.method} ${request.url}`, headers, ...(body === "" ? {} : { body }) };
    response.setHeader("content-type", "application/json").setHeader("server", "example");
    response.end(`${JSON.stringify(seen, null, 2)}\n`);
  });
  server.on("upgrade", (request, socket) => {
    const key = createHash("sha1").update(`${request.headers["sec-websocket-key"]}${WEBSOCKET_ID}`).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`,
    );
    socket.on("error", () => socket.destroy());
    let bytes = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      bytes = echoFrames(Buffer.concat([bytes, chunk]), socket);
    });
  });
  server.on("error", (error) => {
    process.stderr.write(`service: ${error.message}\n`);
    process.exit(1);
  });
  return new Promise((resolve) => {
    const ready = () => resolve(process.stderr.write(`service on ${place}\n`));
    if (/^\d+$/.test(place)) return server.listen(Number(place), "127.0.0.1", ready);
    // A socket that a killed one left behind.
    rmSync(place, { force: true });
    server.listen(place, ready);
  });
}

/** Sends whole short frames back, unmasked (RFC 6455 §5.2); returns what is not complete yet. A close ends the connection. */
function echoFrames(bytes, socket) {
  let at = 0;
  while (bytes.length >= at + 6) {
    const length = bytes[at + 1] & 127;
    if (length > 125) {
      socket.destroy();
      break;
    }
    if (bytes.length < at + 6 + length) break;
    const mask = bytes.subarray(at + 2, at + 6);
    const data = bytes.subarray(at + 6, at + 6 + length).map((byte, i) => byte ^ mask[i % 4]);
    const opcode = bytes[at] & 15;
    socket.write(Buffer.concat([Buffer.from([0x80 | opcode, length]), data]));
    if (opcode === 8) socket.end();
    at += 6 + length;
  }
  return bytes.subarray(at);
}

const args = process.argv.slice(2);
const dashes = args.indexOf("--");
const places = dashes < 0 ? args : args.slice(0, dashes);
await Promise.all((places.length === 0 ? ["9000"] : places).map(serve));
if (dashes >= 0) {
  const [command = "", ...rest] = args.slice(dashes + 1);
  const child = spawn(command, rest, { stdio: "inherit" });
  // Ctrl-C reaches both; the services stay until the gateway has finished what is under way.
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });
  child.on("exit", (code) => process.exit(code ?? 1));
}
