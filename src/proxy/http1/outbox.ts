import type { Blamed, Bug } from "../../core/containment.ts";
import type { ByteWriter } from "../../core/writer.ts";
import type { Socket } from "../../runtime/net.ts";
import type { Flushable, Turn } from "../turn.ts";

/** Above this a source is told to wait, even before the kernel is asked. */
const HIGH_WATER_BYTES = 256 * 1024;

/** Who owns an outbox. */
export interface OutboxOwner extends Blamed {
  /** The source may go on: everything is with the kernel again. */
  onOutboxWritable(): void;
  /** The kernel does not take all at the moment, or (false) it does again. */
  onOutboxStalled(stalled: boolean): void;
}

/** What one connection has to say in this turn. */
export class Outbox implements Flushable {
  #writer: ByteWriter | undefined;
  #owed = false;
  #ending = false;
  #stalled = false;

  constructor(
    readonly socket: Socket,
    readonly turn: Turn,
    readonly owner: OutboxOwner,
  ) {}

  /** Where the codec writes heads and framing. */
  get writer(): ByteWriter {
    const writer = this.#writer;
    if (writer !== undefined) return writer;
    this.turn.mark(this);
    const fresh = this.turn.borrow();
    this.#writer = fresh;
    return fresh;
  }

  /** After a piece of a body: false when its source should wait for `onOutboxWritable`. */
  ready(): boolean {
    const pending = this.socket.pendingBytes + (this.#writer?.length ?? 0);
    if (this.socket.pendingBytes === 0 && pending < HIGH_WATER_BYTES) return true;
    this.#owed = true;
    return false;
  }

  /** Half-closes once everything is out. */
  end(): void {
    if (this.#ending) return;
    this.#ending = true;
    if (this.#writer === undefined) this.socket.end();
  }

  flush(): void {
    this.#writeOut();
    if (this.#ending) this.socket.end();
    if (this.#owed && this.socket.pendingBytes === 0) this.onDrain();
  }

  /** The socket's `onDrain`. */
  onDrain(): void {
    this.#note(true);
    if (!this.#owed) return;
    this.#owed = false;
    this.owner.onOutboxWritable();
  }

  /** Forgets what was not flushed: the connection is being destroyed. */
  discard(): void {
    const writer = this.#writer;
    this.#writer = undefined;
    if (writer !== undefined) this.turn.release(writer);
  }

  abandon(bug: Bug): void {
    this.owner.abandon(bug);
  }

  #writeOut(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    this.#writer = undefined;
    if (writer.length > 0) this.#note(this.socket.write(writer.buffer, 0, writer.length));
    this.turn.release(writer);
  }

  #note(taken: boolean): void {
    if (taken !== this.#stalled) return;
    this.#stalled = !taken;
    this.owner.onOutboxStalled(this.#stalled);
  }
}
