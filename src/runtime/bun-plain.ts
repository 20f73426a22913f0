import { dlopen } from "bun:ffi";
import { closeSync } from "node:fs";
import process from "node:process";
import type { Bytes } from "../core/bytes.ts";
import { SystemClock } from "../core/clock.ts";
import { PLAIN_LINGER_MS } from "../core/limits.ts";
import { BunSocket, DEAF, type NativeSocket, STREAM_HANDLERS } from "./bun-socket.ts";

/**
 * Answering in plain text on a connection whose TLS broke. Bun closes such a socket as soon as its handler returns, and a close
 * with bytes unread is a reset, which takes the answer with it: so the connection gets a second descriptor first, which becomes a
 * plain socket, says the answer and reads on for a while. Nothing of this is on the way of connections that do speak TLS.
 */

const CLOCK = new SystemClock();

/** Where `dup` is, by system: Linux with glibc and with musl, macOS. */
const LIBRARIES: readonly string[] =
  process.platform === "darwin"
    ? ["libSystem.B.dylib"]
    : ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];

type Duplicate = (descriptor: number) => number;

function openDuplicate(): Duplicate {
  for (const name of LIBRARIES) {
    try {
      return dlopen(name, { dup: { args: ["i32"], returns: "i32" } }).symbols.dup;
    } catch {
      // Another library, or none that Bun may open.
    }
  }
  return () => -1;
}

let duplicate: Duplicate | undefined;

const LINGER_HANDLERS = {
  ...STREAM_HANDLERS,
  open(native: NativeSocket): void {
    const socket = native.data as BunSocket;
    if (socket.closed) {
      native.terminate();
      return;
    }
    socket.native = native;
    socket.open();
    socket.flush();
  },
  connectError(native: NativeSocket, error: Error): void {
    (native.data as BunSocket).fail(error);
  },
};

const LINGERED = new Error("the peer did not finish");

/**
 * Says `answer` on the connection of `descriptor`, and closes once the peer has finished, or after `PLAIN_LINGER_MS`; `ended` hears that.
 * False: the connection cannot outlive its socket (no descriptor is left, no C library found), and nothing was said.
 */
export function answerAndLinger(descriptor: number, answer: Bytes, ended: () => void): boolean {
  duplicate ??= openDuplicate();
  const own = duplicate(descriptor);
  if (own < 0) return false;
  const late = CLOCK.setTimer(PLAIN_LINGER_MS, () => socket.fail(LINGERED, false));
  const onClose = (): void => {
    late.cancel();
    ended();
  };
  const socket = new BunSocket({ ...DEAF, onEnd: (peer) => peer.destroy(), onClose }, undefined);
  socket.write(answer);
  socket.end();
  const connect = Bun.connect as unknown as (options: object) => Promise<unknown>;
  try {
    connect({ fd: own, allowHalfOpen: true, data: socket, socket: LINGER_HANDLERS }).catch((error: Error) => socket.fail(error));
  } catch (error) {
    closeSync(own);
    socket.fail(error as Error);
  }
  return true;
}
