import assert from "node:assert/strict";
import type { Bytes } from "../../src/core/bytes.ts";
import { concatBytes } from "../../src/core/bytes.ts";
import type { Listener, ListenOptions, Net, ServerTls, Socket, SocketAddress, SocketHandler } from "../../src/runtime/net.ts";

/** What a case of the contract suite gets. */
export interface Subject {
  readonly net: Net;
  /** Real sockets of a kernel. */
  readonly kernel: boolean;
}

/** One behaviour that every adapter must show. */
export interface Case {
  readonly name: string;
  readonly run: (subject: Subject) => Promise<void>;
}

/** One end of a connection that remembers what it heard. Wait with `until`: it looks again after every call. */
export class End implements SocketHandler {
  socket: Socket | undefined;
  readonly heard: string[] = [];
  readonly #chunks: Bytes[] = [];
  bytes = 0;
  error: Error | undefined;
  /** Called with what came, before anything else. */
  onBytes: ((socket: Socket, bytes: Bytes) => void) | undefined;
  onFin: ((socket: Socket) => void) | undefined;
  onRoom: ((socket: Socket) => void) | undefined;
  /** Set while a method of the socket runs: nothing may be called back then. */
  inCall = false;
  #waiting: { readonly holds: () => boolean; readonly resolve: () => void }[] = [];

  onOpen(socket: Socket): void {
    this.#note("open", socket);
  }
  onData(socket: Socket, bytes: Bytes): void {
    this.bytes += bytes.byteLength;
    this.#chunks.push(new Uint8Array(bytes));
    if (this.heard.at(-1) !== "data") this.heard.push("data");
    assert.equal(socket, this.socket);
    this.onBytes?.(socket, bytes);
    this.#wake();
  }
  onEnd(socket: Socket): void {
    this.#note("end", socket);
    this.onFin?.(socket);
  }
  onDrain(socket: Socket): void {
    this.#note("drain", socket);
    this.onRoom?.(socket);
  }
  onClose(socket: Socket, error: Error | undefined): void {
    this.error = error;
    this.#note("close", socket);
  }

  #note(what: string, socket: Socket): void {
    if (this.inCall) this.heard.push(`${what} within a call`);
    else this.heard.push(what);
    this.socket ??= socket;
    assert.equal(socket, this.socket);
    this.#wake();
  }

  #wake(): void {
    const due = this.#waiting.filter((each) => each.holds());
    this.#waiting = this.#waiting.filter((each) => !due.includes(each));
    for (const each of due) each.resolve();
  }

  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve) => void this.#waiting.push({ holds, resolve }));
  }
  untilHeard(what: string): Promise<void> {
    return this.until(() => this.heard.includes(what));
  }
  untilText(text: string): Promise<void> {
    return this.until(() => this.text() === text);
  }

  /** Runs a method of the socket and notes whatever calls back meanwhile. */
  call<T>(method: (socket: Socket) => T): T {
    this.inCall = true;
    try {
      return method(this.open());
    } finally {
      this.inCall = false;
    }
  }

  open(): Socket {
    assert.ok(this.socket !== undefined, "not connected");
    return this.socket;
  }
  text(): string {
    return new TextDecoder().decode(this.all());
  }
  all(): Bytes {
    return this.#chunks.length === 0 ? new Uint8Array() : concatBytes(this.#chunks);
  }
  count(what: string): number {
    return this.heard.filter((each) => each === what).length;
  }
}

/** A listener whose accepted ends can be waited for. */
export class Accepting {
  readonly ends: End[] = [];
  #waiting: (() => void)[] = [];
  listener: Listener | undefined;

  constructor(readonly prepare: (end: End, socket: Socket) => void = () => {}) {}

  readonly accept = (socket: Socket): SocketHandler => {
    const end = new End();
    end.socket = socket;
    this.prepare(end, socket);
    this.ends.push(end);
    for (const resolve of this.#waiting.splice(0)) resolve();
    return end;
  };

  async at(index: number): Promise<End> {
    for (;;) {
      const end = this.ends[index];
      if (end !== undefined) return end;
      await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    }
  }

  get address(): SocketAddress {
    assert.ok(this.listener !== undefined);
    return this.listener.address;
  }
  get port(): number {
    const { address } = this;
    assert.ok(address.kind === "tcp");
    return address.port;
  }
}

const LOOPBACK: SocketAddress = { kind: "tcp", host: "127.0.0.1", port: 0 };

export const tcp = (host: string, port = 0): SocketAddress => ({ kind: "tcp", host, port });

export const plainListen = (over: Partial<ListenOptions> = {}): ListenOptions => ({
  address: LOOPBACK,
  tls: undefined,
  reusePort: false,
  deferTls: false,
  ...over,
});

/** Listens for the time of `body`; afterwards every connection of it is destroyed. */
export async function withListener(
  net: Net,
  options: Partial<ListenOptions> & { readonly prepare?: (end: End, socket: Socket) => void },
  body: (accepting: Accepting) => Promise<void>,
): Promise<void> {
  const accepting = new Accepting(options.prepare);
  accepting.listener = await net.listen(plainListen(options), accepting.accept);
  try {
    await body(accepting);
  } finally {
    for (const end of accepting.ends) end.socket?.destroy();
    await accepting.listener.close();
  }
}

/** Starts to connect; the end hears what comes. */
export function dial(net: Net, address: SocketAddress, options: Partial<Parameters<Net["connect"]>[0]> = {}): End {
  const end = new End();
  end.socket = net.connect({ address, tls: undefined, ...options }, end);
  return end;
}

/** A connected pair: `[near, far]`, far being the accepted one. */
export async function pair(net: Net, accepting: Accepting): Promise<readonly [End, End]> {
  const index = accepting.ends.length;
  const near = dial(net, accepting.address);
  const far = await accepting.at(index);
  await near.untilHeard("open");
  return [near, far];
}

export const bytesOf = (text: string): Bytes => new TextEncoder().encode(text);

/** Lets everything that is on its way arrive: many turns of the event loop, no clock. */
export async function turns(count = 30): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Bytes that tell their place: for order and content of large transfers. */
export function pattern(length: number, seed = 1): Bytes {
  const bytes = new Uint8Array(length);
  let value = seed;
  for (let i = 0; i < length; i++) {
    value = (value * 1_103_515_245 + 12_345) & 0x7fffffff;
    bytes[i] = value >> 16;
  }
  return bytes;
}

export const sameBytes = (a: Bytes, b: Bytes): boolean => Buffer.compare(a, b) === 0;

/** Server settings with what a case does not care about filled in. */
export const serverTls = (over: Partial<ServerTls> & Pick<ServerTls, "certificates">): ServerTls => ({
  clientAuth: "none",
  clientCaPem: undefined,
  minVersion: "TLSv1.2",
  alpn: [],
  ...over,
});
