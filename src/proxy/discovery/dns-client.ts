import dgram from "node:dgram";
import net from "node:net";
import type { Bytes } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import { addressBytes, formatAddress } from "../../core/ip.ts";
import { DNS_LIMITS } from "../../core/limits.ts";
import type { IdSource } from "../../core/rng.ts";
import { DNS_TYPE_CODES, type DnsMessage, type DnsType, decodeMessage, encodeQuery } from "./dns-wire.ts";

/** A name server: an address, no name. */
export interface DnsServer {
  readonly host: string;
  readonly port: number;
}

export interface DnsClientOptions {
  readonly clock: Clock;
  /** Ids must not be guessed (RFC 5452), so they come from the system's CSPRNG. */
  readonly ids: IdSource;
  /** Gives everything under way up. */
  readonly signal: AbortSignal;
}

/**
 * Asks one server, by UDP from a port of its own, and by TCP when the answer was cut off. Rejects with an `Error` when no valid
 * answer came in time; what is not an answer to this very question is ignored, as if it had not come (it may be forged).
 */
export async function queryServer(
  server: DnsServer,
  name: string,
  type: DnsType,
  options: DnsClientOptions,
): Promise<DnsMessage> {
  const id = Number.parseInt(options.ids.next().slice(0, 4), 16);
  const query = encodeQuery(id, name, type);
  if (query === undefined) throw new Error(`"${name}" is no name that can be resolved`);
  const accept = (bytes: Bytes): DnsMessage | undefined => {
    const message = decodeMessage(bytes);
    if (message === undefined || message.id !== id) return undefined;
    const { question } = message;
    const asked = name.toLowerCase().replace(/\.$/, "");
    return question.name === asked && question.typeCode === DNS_TYPE_CODES[type] ? message : undefined;
  };
  const answer = await exchange(options, server, (done) => sendByUdp(server, query, accept, done));
  if (!answer.truncated) return answer;
  const whole = await exchange(options, server, (done) => sendByTcp(server, query, accept, done));
  if (whole.truncated) throw new Error(`${server.host}: an answer by TCP is cut off`);
  return whole;
}

type Done = (outcome: DnsMessage | Error) => void;

/** Runs one transport under a time-out; `start` answers how to stop it. */
function exchange(options: DnsClientOptions, server: DnsServer, start: (done: Done) => () => void): Promise<DnsMessage> {
  return new Promise((resolve, reject) => {
    let stop = (): void => {};
    let settled = false;
    const finish: Done = (outcome) => {
      if (settled) return;
      settled = true;
      timer.cancel();
      options.signal.removeEventListener("abort", onAbort);
      stop();
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    };
    const onAbort = (): void => finish(new Error("given up"));
    const timer = options.clock.setTimer(DNS_LIMITS.queryMs, () =>
      finish(new Error(`${server.host}:${server.port} did not answer in ${DNS_LIMITS.queryMs} ms`)),
    );
    options.signal.addEventListener("abort", onAbort);
    if (options.signal.aborted) {
      onAbort();
      return;
    }
    stop = start(finish);
    // The transport may have failed within `start`.
    if (settled) stop();
  });
}

type Accept = (bytes: Bytes) => DnsMessage | undefined;

function sendByUdp(server: DnsServer, query: Bytes, accept: Accept, done: Done): () => void {
  const socket = dgram.createSocket(net.isIPv6(server.host) ? "udp6" : "udp4");
  let closed = false;
  socket.on("error", (error) => done(error));
  socket.on("message", (bytes, from) => {
    if (from.port !== server.port || !isSameAddress(from.address, server.host)) return;
    const message = accept(bytes);
    if (message !== undefined) done(message);
  });
  socket.send(query, server.port, server.host, (error) => {
    if (error !== null && error !== undefined) done(error);
  });
  return () => {
    if (closed) return;
    closed = true;
    socket.close();
  };
}

function isSameAddress(left: string, right: string): boolean {
  const [first, second] = [addressBytes(left), addressBytes(right)];
  return first !== undefined && second !== undefined && formatAddress(first) === formatAddress(second);
}

/** Each message has its length in two bytes in front (RFC 1035 §4.2.2). */
function sendByTcp(server: DnsServer, query: Bytes, accept: Accept, done: Done): () => void {
  const socket = net.connect(server.port, server.host);
  let received = Buffer.alloc(0);
  socket.on("connect", () => socket.write(Buffer.concat([Buffer.from([query.length >> 8, query.length & 0xff]), query])));
  socket.on("data", (bytes: Buffer) => {
    received = Buffer.concat([received, bytes]);
    if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
    const message = accept(received.subarray(2, 2 + received.readUInt16BE(0)));
    done(message ?? new Error(`${server.host}: malformed answer by TCP`));
  });
  socket.on("error", (error) => done(error));
  socket.on("close", () => done(new Error(`${server.host}: closed before it answered`)));
  return () => void socket.destroy();
}
