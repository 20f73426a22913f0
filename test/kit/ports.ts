/**
 * Ports for programs that must be told theirs before they start.
 *
 * A port that the kernel gave us for a moment can be given to the next who asks for any: a program of the same test, or a connection
 * on its way out. So ours come from below the range that the kernel gives from.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

const LOWEST_PORT = 10_000;
/** The kernels of Linux and macOS give from 32768 and 49152 on, unless told otherwise. */
const USUAL_FIRST_EPHEMERAL_PORT = 32_768;
const HIGHEST_PORT = 65_535;
const TRIES = 1_000;

const given = new Set<number>();

/** A port that nobody listens on, on any address, and that nobody gets who does not ask for it by number. */
export async function freePort(): Promise<number> {
  const [low, high] = reservedRange();
  for (let tries = 0; tries < TRIES; tries++) {
    const port = low + Math.floor(Math.random() * (high - low));
    if (given.has(port)) continue;
    given.add(port);
    if (await canListen(port)) return port;
  }
  throw new Error(`no free port from ${low} to ${high}`);
}

/** First and last-plus-one of the ports that the kernel gives to nobody by itself. */
function reservedRange(): readonly [number, number] {
  const [first, last] = ephemeralRange();
  const [below, above] = [first - LOWEST_PORT, HIGHEST_PORT - last];
  if (Math.max(below, above) <= 0) return [LOWEST_PORT, HIGHEST_PORT + 1];
  return below >= above ? [LOWEST_PORT, first] : [last + 1, HIGHEST_PORT + 1];
}

function ephemeralRange(): readonly [number, number] {
  try {
    const [first, last] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").trim().split(/\s+/).map(Number);
    if (first !== undefined && last !== undefined) return [first, last];
  } catch {
    // Not Linux.
  }
  return [USUAL_FIRST_EPHEMERAL_PORT, HIGHEST_PORT];
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}
