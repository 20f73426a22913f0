import type { Bytes } from "../../core/bytes.ts";
import type { Failure } from "../../core/failure.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../../core/head.ts";
import type { ByteWriter } from "../../core/writer.ts";
import type { Http1Options, Http1State } from "./types.ts";

/**
 * One HTTP/1.1 connection without the network (RFC 9112): bytes in, calls of the sink out; heads and bodies in, bytes out.
 * It never waits, never copies a body, never touches a socket or a clock.
 */
export class Http1Codec {
  readonly #options: Http1Options;
  #incoming: Http1State = "idle";
  #outgoing: Http1State = "idle";

  constructor(options: Http1Options) {
    this.#options = options;
  }

  get incoming(): Http1State {
    return this.#incoming;
  }
  get outgoing(): Http1State {
    return this.#outgoing;
  }

  /** This exchange has ended well in both directions so far, and nothing forbids another one on the connection. */
  get reusable(): boolean {
    return false;
  }

  /** Some bytes of the next head are there, but not all: the header time-out runs. */
  get headStarted(): boolean {
    return this.#incoming === "head";
  }

  /** The current request said `Expect: 100-continue` and its body has not begun (role downstream). */
  get expectsContinue(): boolean {
    return false;
  }

  /** What the upstream's `Keep-Alive: timeout=N` said, in milliseconds; -1: nothing yet. */
  get keepAliveTimeoutMs(): number {
    return -1;
  }

  /**
   * Reads `bytes` from `start` and calls the sink. Returns how many bytes were consumed: fewer than given when a message is
   * complete (call `nextExchange` and come again with the rest), after `pause`, before the answer to an upgrade, or after a failure.
   */
  receive(bytes: Bytes, start = 0): number {
    return Math.min(0, bytes.byteLength - start, this.#options.limits.headerCount);
  }

  /** Stops `receive` after the current sink call, until `resume`; the caller keeps the rest. */
  pause(): void {}
  resume(): void {}

  /** The peer's FIN. */
  receiveEnd(): void {
    this.#incoming = "closed";
  }

  /** Role upstream. `end`: no body follows. A Failure means that nothing was written: the head cannot be put on the wire. */
  writeRequest(_out: ByteWriter, _head: RequestHead, _end: boolean): Failure | undefined {
    this.#outgoing = "body";
    return undefined;
  }

  /** Role downstream. 1xx may come before; 101 turns both directions into a tunnel. */
  writeResponse(_out: ByteWriter, _head: ResponseHead, _end: boolean): Failure | undefined {
    this.#outgoing = "body";
    return undefined;
  }

  /** A piece of the body; adds its framing. In a tunnel: raw. A Failure: more than the declared length; nothing of `bytes` was written. */
  writeData(_out: ByteWriter, _bytes: Bytes): Failure | undefined {
    return undefined;
  }

  /** Ends the body (in a tunnel: our FIN may follow). A Failure: less than the declared length was written; the connection must be cut. */
  writeEnd(_out: ByteWriter, _trailers: HeaderBlock | undefined): Failure | undefined {
    return undefined;
  }

  /** Both directions are done and `reusable`: ready for the next exchange. */
  nextExchange(): void {}

  /** This exchange is the last one of the connection: a head not yet written says `Connection: close`. */
  closeAfter(): void {}
}
