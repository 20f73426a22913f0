import type { CompressionConfig } from "../config/snapshot.ts";
import type { Bytes } from "../core/bytes.ts";
import type { Failure } from "../core/failure.ts";
import type { RequestHead, ResponseHead } from "../core/head.ts";

export type CompressionAlgorithm = CompressionConfig["algorithms"][number];

/** What this runtime can encode; zstd is not everywhere. */
export function supportsAlgorithm(_algorithm: CompressionAlgorithm): boolean {
  throw new Error("not yet");
}

/**
 * Decides whether the answer's body is compressed, and how. Undefined: sent as it is. Changes `response` in place: always
 * `vary` when the answer would depend on Accept-Encoding, and content-encoding, content-length and etag when it is compressed.
 */
export function negotiateCompression(
  _config: CompressionConfig,
  _request: RequestHead,
  _response: ResponseHead,
): CompressionAlgorithm | undefined {
  throw new Error("not yet");
}

export interface BodyEncoderHandler {
  /** A piece of the encoded body; valid only during the call. */
  onData(bytes: Bytes): void;
  onEnd(): void;
  onFailure(failure: Failure): void;
  /** `pendingBytes` fell below the bound after a `write` that answered false. */
  onWritable(): void;
}

/** Encodes one body. Asynchronous: calls come later, never within `write` or `end`. */
export class BodyEncoder {
  constructor(
    readonly algorithm: CompressionAlgorithm,
    readonly level: number,
    readonly handler: BodyEncoderHandler,
  ) {}

  /** Bytes taken and not encoded yet. */
  get pendingBytes(): number {
    return 0;
  }

  /** Copies `bytes`. False: pause the source until `onWritable`. */
  write(_bytes: Bytes): boolean {
    throw new Error("not yet");
  }

  end(): void {
    throw new Error("not yet");
  }

  /** Stops `onData` while the reader of the encoded body is slow. */
  pause(): void {
    throw new Error("not yet");
  }

  resume(): void {
    throw new Error("not yet");
  }

  /** Gives up; no call follows. Idempotent. */
  destroy(): void {
    throw new Error("not yet");
  }
}
