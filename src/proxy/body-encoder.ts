import zlib from "node:zlib";
import type { CompressionConfig } from "../config/snapshot.ts";
import type { Bytes } from "../core/bytes.ts";
import { Failure } from "../core/failure.ts";
import { COMPRESSION_LIMITS } from "../core/limits.ts";

export type CompressionAlgorithm = CompressionConfig["algorithms"][number];

/** What this runtime can encode; zstd is not everywhere. */
export function supportsAlgorithm(algorithm: CompressionAlgorithm): boolean {
  return algorithm !== "zstd" || typeof zlib.createZstdCompress === "function";
}

export interface BodyEncoderHandler {
  /** A piece of the encoded body; valid only during the call. */
  onData(bytes: Bytes): void;
  onEnd(): void;
  /** The last call, instead of `onEnd`. */
  onFailure(failure: Failure): void;
  /** Enough was encoded after a `write` that answered false. */
  onWritable(): void;
  /** The encoder could not be given something, or one of these calls threw: a bug. */
  onBug(error: unknown): void;
}

type Encoder = ReturnType<typeof zlib.createGzip> | ReturnType<typeof zlib.createBrotliCompress>;

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, Math.round(value)));

/** `level` is the algorithm's own scale, cut to what it has: gzip 1 to 9, brotli 0 to 11, zstd 1 to 19. */
function createEncoder(algorithm: CompressionAlgorithm, level: number): Encoder {
  const { constants } = zlib;
  if (algorithm === "gzip") return zlib.createGzip({ level: clamp(level, 1, 9) });
  if (algorithm === "zstd")
    return zlib.createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: clamp(level, 1, 19) } });
  return zlib.createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: clamp(level, 0, 11) } });
}

/**
 * Encodes one body, in the runtime's own threads: no call comes within `write` or `end`. Whenever nothing more waits, what the
 * encoder holds back is flushed: an answer that trickles arrives as it trickles.
 */
export class BodyEncoder {
  readonly #encoder: Encoder;
  #pendingBytes = 0;
  #blocked = false;
  #ended = false;
  #done = false;

  /** Throws an `Error` when the runtime lacks the algorithm. */
  constructor(
    readonly algorithm: CompressionAlgorithm,
    readonly level: number,
    readonly handler: BodyEncoderHandler,
  ) {
    const encoder = createEncoder(algorithm, level);
    this.#encoder = encoder;
    encoder.on("data", (bytes: Bytes) => {
      if (!this.#done) this.#contained(() => handler.onData(bytes));
    });
    encoder.on("end", () => {
      if (this.#done) return;
      this.#done = true;
      this.#contained(() => handler.onEnd());
    });
    encoder.on("error", (error: Error) => {
      if (this.#done) return;
      this.#done = true;
      this.#contained(() => handler.onFailure(new Failure("internal", `${algorithm} encoder failed`, error)));
    });
  }

  /** Bytes taken and not encoded yet. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Copies `bytes`. False: pause the source until `onWritable`. After `end` or `destroy` it does nothing and answers true. */
  write(bytes: Bytes): boolean {
    if (this.#ended || this.#done || bytes.byteLength === 0) return true;
    const size = bytes.byteLength;
    this.#pendingBytes += size;
    const copy = Buffer.from(bytes);
    this.#later(() => this.#encoder.write(copy, () => this.#onEncoded(size)));
    this.#blocked = this.#pendingBytes >= COMPRESSION_LIMITS.pendingBytes;
    return !this.#blocked;
  }

  /** No more will be written; `onEnd` follows behind the last data. */
  end(): void {
    if (this.#ended || this.#done) return;
    this.#ended = true;
    this.#later(() => this.#encoder.end());
  }

  /** Deno's encoders may call back at once; who writes must not be called in the middle of it. */
  #later(step: () => void): void {
    queueMicrotask(() => {
      if (!this.#done) this.#contained(step);
    });
  }

  #contained(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.handler.onBug(error);
    }
  }

  /** Holds `onData` back while the reader is slow; what is written meanwhile stays pending. */
  pause(): void {
    this.#encoder.pause();
  }

  resume(): void {
    this.#encoder.resume();
  }

  /** Gives up; no call follows. Idempotent. */
  destroy(): void {
    this.#done = true;
    this.#encoder.destroy();
  }

  #onEncoded(size: number): void {
    this.#pendingBytes -= size;
    if (this.#done) return;
    if (this.#pendingBytes === 0 && !this.#ended) this.#encoder.flush();
    if (!this.#blocked || this.#pendingBytes > COMPRESSION_LIMITS.pendingBytes / 2) return;
    this.#blocked = false;
    this.#contained(() => this.handler.onWritable());
  }
}
