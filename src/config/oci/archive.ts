import { Readable } from "node:stream";
import zlib from "node:zlib";
import { concatBytes, latin1Text } from "../../core/bytes.ts";
import { CONFIG_LIMITS, OCI_LIMITS } from "../../core/limits.ts";
import { formatSize } from "../schema/units.ts";
import { RegistryError } from "./failure.ts";

/** The file of a container image that is the module. */
const MODULE_FILE = "plugin.wasm";
/** Layers above say that it, or all of its folder, is gone. */
const REMOVED = new Set([".wh.plugin.wasm", ".wh..wh..opq"]);
const BLOCK = 512;
/** So much of an archive is read in one go: some milliseconds at most. */
const PIECE_BYTES = 256 * 1024;

/** How a layer is written. */
export type ArchiveForm = "tar" | "tar+gzip" | "tar+zstd";

/** What a layer says about `plugin.wasm`; undefined: nothing. */
export type Found = Uint8Array | "removed" | undefined;

/** Looks for `plugin.wasm` in a layer, without keeping anything else of it. Rejects with a `RegistryError`. */
export async function findModule(layer: Uint8Array, form: ArchiveForm): Promise<Found> {
  const reader = new TarReader();
  try {
    for await (const chunk of form === "tar" ? inPieces(layer) : unpack(layer, form)) if (reader.push(chunk)) break;
  } catch (error) {
    throw error instanceof RegistryError ? error : bad(`its layer is not ${form.slice("tar+".length)}, or is torn`);
  }
  return reader.end();
}

/** Others have their turn between. */
async function* inPieces(layer: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < layer.byteLength; at += PIECE_BYTES) {
    yield layer.subarray(at, at + PIECE_BYTES);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** Bounded, and not on this thread. */
async function* unpack(layer: Uint8Array, form: ArchiveForm): AsyncGenerator<Uint8Array> {
  const source = Readable.from([Buffer.from(layer.buffer, layer.byteOffset, layer.byteLength)]);
  const unpacked = source.pipe(form === "tar+gzip" ? zlib.createGunzip() : zlib.createZstdDecompress());
  let size = 0;
  try {
    for await (const chunk of unpacked as AsyncIterable<Buffer>) {
      size += chunk.byteLength;
      if (size > OCI_LIMITS.unpackedBytes)
        throw new RegistryError("artifact_too_large", `its layer unpacks to more than ${formatSize(OCI_LIMITS.unpackedBytes)}`);
      yield new Uint8Array(chunk);
    }
  } finally {
    source.destroy();
    unpacked.destroy();
  }
}

/** Reads a tar archive (POSIX.1-1988 ustar) piece by piece. */
class TarReader {
  #head = new Uint8Array(BLOCK);
  #headBytes = 0;
  /** Of the entry that is read: content, then padding, that is still to come. */
  #content = 0;
  #padding = 0;
  #parts: Uint8Array[] | undefined;
  #found: Found;
  #entries = 0;
  /** Blocks of zeros in a row: two are the archive's end, and what follows them no program sees. */
  #zeros = 0;

  /** True: nothing more is needed. */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.byteLength) {
      if (this.#content > 0) {
        const end = Math.min(chunk.byteLength, at + this.#content);
        this.#parts?.push(chunk.slice(at, end));
        this.#content -= end - at;
        at = end;
        if (this.#content === 0) this.#close();
      } else if (this.#padding > 0) {
        const skipped = Math.min(this.#padding, chunk.byteLength - at);
        this.#padding -= skipped;
        at += skipped;
      } else {
        const end = Math.min(chunk.byteLength, at + BLOCK - this.#headBytes);
        this.#head.set(chunk.subarray(at, end), this.#headBytes);
        this.#headBytes += end - at;
        at = end;
        if (this.#headBytes === BLOCK) this.#open();
      }
      if (this.#found instanceof Uint8Array || this.#zeros === 2) return true;
    }
    return false;
  }

  end(): Found {
    if (this.#content > 0) throw bad("its layer ends in the middle of a file");
    if (this.#entries === 0) throw bad("its layer is no tar archive");
    return this.#found;
  }

  #open(): void {
    this.#headBytes = 0;
    this.#entries++;
    const sum = sumOf(this.#head);
    if (sum === 0) {
      this.#zeros++;
      return;
    }
    this.#zeros = 0;
    const text = latin1Text(this.#head);
    if (octalOf(text.slice(148, 156)) !== checksumOf(this.#head, sum)) throw bad("its layer is no tar archive");
    const size = octalOf(text.slice(124, 136));
    if (size === undefined) throw bad("its layer has a file without a size");
    this.#content = size;
    this.#padding = (BLOCK - (size % BLOCK)) % BLOCK;
    const name = nameOf(text);
    if (REMOVED.has(name)) this.#found ??= "removed";
    if (name !== MODULE_FILE) return;
    if (text[156] !== "0" && text[156] !== "\0") throw bad(`${MODULE_FILE} in its layer is no file`);
    if (size > CONFIG_LIMITS.moduleBytes)
      throw new RegistryError(
        "artifact_too_large",
        `${MODULE_FILE} in its layer is larger than ${formatSize(CONFIG_LIMITS.moduleBytes)}`,
      );
    this.#parts = [];
    if (size === 0) this.#close();
  }

  #close(): void {
    if (this.#parts === undefined) return;
    this.#found = this.#parts.length === 0 ? new Uint8Array(0) : concatBytes(this.#parts);
    this.#parts = undefined;
  }
}

const untilNul = (text: string): string => text.split("\0", 1)[0] ?? "";

function nameOf(head: string): string {
  const prefix = head.startsWith("ustar\0", 257) ? untilNul(head.slice(345, 500)) : "";
  return `${prefix === "" ? "" : `${prefix}/`}${untilNul(head.slice(0, 100))}`.replace(/^(?:\.?\/)+/, "");
}

/** A number in octal with blanks and NUL around it; undefined: it is none (or base 256: a file of more than 8 GB). */
function octalOf(text: string): number | undefined {
  const digits = /^ *([0-7]+)[ \0]*$/.exec(text)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

function sumOf(head: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += head[i] as number;
  return sum;
}

/** All bytes of the head, its checksum counted as blanks. */
function checksumOf(head: Uint8Array, sum: number): number {
  let own = 0;
  for (let i = 148; i < 156; i++) own += head[i] as number;
  return sum - own + 8 * 32;
}

const bad = (message: string): RegistryError => new RegistryError("bad_artifact", message);
