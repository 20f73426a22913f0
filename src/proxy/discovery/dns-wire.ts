import type { Bytes } from "../../core/bytes.ts";
import { formatAddress } from "../../core/ip.ts";
import { DNS_LIMITS } from "../../core/limits.ts";

/**
 * DNS messages (RFC 1035, SRV: RFC 2782), as much as a stub resolver needs: one question out, one answer in. Sans-IO. What a server
 * sends may be anything: the reader never throws, never loops, never reads outside (CVE-2025-62408).
 */

export type DnsType = "A" | "AAAA" | "CNAME" | "SRV";

export const DNS_TYPE_CODES: Readonly<Record<DnsType, number>> = { A: 1, CNAME: 5, AAAA: 28, SRV: 33 };
const CLASS_IN = 1;

/** Names are lower case without the dot at the end; the root is "". */
export type DnsRecord = { readonly name: string; readonly ttlSeconds: number } & (
  | { readonly type: "A" | "AAAA"; readonly address: string }
  | { readonly type: "CNAME"; readonly target: string }
  | {
      readonly type: "SRV";
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    }
);

export interface DnsMessage {
  readonly id: number;
  /** 0: no error, 2: server failure, 3: no such name, … (RFC 1035 §4.1.1). */
  readonly rcode: number;
  /** The answer did not fit: ask again by TCP. */
  readonly truncated: boolean;
  readonly question: { readonly name: string; readonly typeCode: number };
  /** Of the answer section; records of other types and classes are left out. */
  readonly records: readonly DnsRecord[];
}

const NAME_BYTES = 255;
const LABEL_BYTES = 63;
const HEADER_BYTES = 12;

/** One question with recursion desired. Undefined: the name cannot be asked for (an empty or long label, too long). */
export function encodeQuery(id: number, name: string, type: DnsType): Bytes | undefined {
  const encoded = encodeName(name);
  if (encoded === undefined) return undefined;
  const message = Buffer.alloc(HEADER_BYTES + encoded.length + 4);
  message.writeUInt16BE(id, 0);
  message.writeUInt16BE(0x0100, 2);
  message.writeUInt16BE(1, 4);
  message.set(encoded, HEADER_BYTES);
  message.writeUInt16BE(DNS_TYPE_CODES[type], HEADER_BYTES + encoded.length);
  message.writeUInt16BE(CLASS_IN, HEADER_BYTES + encoded.length + 2);
  return message;
}

/** Labels with their lengths, the root's zero at the end. */
export function encodeName(name: string): Bytes | undefined {
  const bare = name.endsWith(".") ? name.slice(0, -1) : name;
  const labels = bare === "" ? [] : bare.split(".");
  const parts: number[] = [];
  for (const label of labels) {
    if (label.length === 0 || label.length > LABEL_BYTES || !/^[\x21-\x7e]+$/.test(label)) return undefined;
    parts.push(label.length, ...Buffer.from(label, "latin1"));
  }
  parts.push(0);
  return parts.length > NAME_BYTES ? undefined : Uint8Array.from(parts);
}

/** Reads an answer; undefined: it is malformed, or none. */
export function decodeMessage(bytes: Bytes): DnsMessage | undefined {
  const reader = new MessageReader(bytes);
  const id = reader.uint16();
  const flags = reader.uint16();
  const questions = reader.uint16();
  const answers = reader.uint16();
  reader.skip(4);
  // A response to a standard query with our one question.
  if (reader.failed || (flags & 0x8000) === 0 || (flags & 0x7800) !== 0 || questions !== 1) return undefined;
  const question = { name: reader.name(), typeCode: reader.uint16() };
  if (reader.uint16() !== CLASS_IN || reader.failed) return undefined;
  const truncated = (flags & 0x0200) !== 0;
  const records: DnsRecord[] = [];
  // What was cut off is asked for again anyway.
  if (!truncated)
    for (let i = 0; i < Math.min(answers, DNS_LIMITS.answerRecords); i++) {
      const record = reader.record();
      if (reader.failed) return undefined;
      if (record !== undefined) records.push(record);
    }
  return { id, rcode: flags & 0x0f, truncated, question, records };
}

/** A cursor that never leaves the message: once something is wrong, `failed` is set and every read gives nothing. */
class MessageReader {
  failed = false;
  #at = 0;
  readonly #bytes: Bytes;

  constructor(bytes: Bytes) {
    this.#bytes = bytes;
  }

  skip(count: number): void {
    if (this.#at + count > this.#bytes.length) this.failed = true;
    else this.#at += count;
  }

  uint16(): number {
    const at = this.#at;
    this.skip(2);
    return this.failed ? 0 : ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number);
  }

  /** RFC 1035 §4.1.4. A pointer must lead backwards, and only so many are followed. */
  name(): string {
    const labels: string[] = [];
    let at = this.#at;
    let end = -1;
    let length = 1;
    for (let pointers = 0; !this.failed; ) {
      const size = this.#bytes[at];
      if (size === undefined) break;
      if (size === 0) {
        this.#at = end < 0 ? at + 1 : end;
        return labels.join(".");
      }
      if ((size & 0xc0) === 0xc0) {
        const target = ((size & 0x3f) << 8) | (this.#bytes[at + 1] ?? 0);
        if (at + 1 >= this.#bytes.length || target >= at || ++pointers > DNS_LIMITS.pointers) break;
        if (end < 0) end = at + 2;
        at = target;
        continue;
      }
      length += size + 1;
      if (size > LABEL_BYTES || length > NAME_BYTES || at + 1 + size > this.#bytes.length) break;
      labels.push(
        Buffer.from(this.#bytes.subarray(at + 1, at + 1 + size))
          .latin1Slice(0, size)
          .toLowerCase(),
      );
      at += 1 + size;
    }
    this.failed = true;
    return "";
  }

  /** Undefined: of another type or class, skipped. */
  record(): DnsRecord | undefined {
    const name = this.name();
    const typeCode = this.uint16();
    const recordClass = this.uint16();
    const [high, low] = [this.uint16(), this.uint16()];
    // RFC 2181 §8: with the top bit set it means zero.
    const ttlSeconds = high >= 0x8000 ? 0 : high * 0x1_0000 + low;
    const length = this.uint16();
    const end = this.#at + length;
    if (this.failed || end > this.#bytes.length) {
      this.failed = true;
      return undefined;
    }
    const record = recordClass === CLASS_IN ? this.#data(typeCode, name, ttlSeconds, length) : undefined;
    // A name that ran beyond its record's end, or stopped short of it, is a lie.
    if (record !== undefined && this.#at !== end) this.failed = true;
    this.#at = end;
    return record;
  }

  #data(typeCode: number, name: string, ttlSeconds: number, length: number): DnsRecord | undefined {
    if (typeCode === DNS_TYPE_CODES.CNAME) return { name, ttlSeconds, type: "CNAME", target: this.name() };
    if (typeCode === DNS_TYPE_CODES.SRV) {
      const [priority, weight, port] = [this.uint16(), this.uint16(), this.uint16()];
      return { name, ttlSeconds, type: "SRV", priority, weight, port, target: this.name() };
    }
    if (typeCode !== DNS_TYPE_CODES.A && typeCode !== DNS_TYPE_CODES.AAAA) return undefined;
    const type = typeCode === DNS_TYPE_CODES.A ? "A" : "AAAA";
    if (length !== (type === "A" ? 4 : 16)) {
      this.failed = true;
      return undefined;
    }
    const start = this.#at;
    this.skip(length);
    return { name, ttlSeconds, type, address: formatAddress(this.#bytes.subarray(start, start + length)) };
  }
}

export interface ResolvedRecords<T extends DnsRecord> {
  readonly records: readonly T[];
  /** The smallest TTL on the way, CNAMEs included; 0 when there is no record. */
  readonly ttlSeconds: number;
}

/** The records of `type` that `name` has in an answer, through its CNAMEs; undefined: a loop or too long a chain. */
export function followChain<T extends DnsRecord["type"]>(
  message: DnsMessage,
  name: string,
  type: T,
): ResolvedRecords<Extract<DnsRecord, { type: T }>> | undefined {
  type Wanted = Extract<DnsRecord, { type: T }>;
  let current = name.toLowerCase().replace(/\.$/, "");
  let ttlSeconds = Number.POSITIVE_INFINITY;
  for (let hops = 0; hops <= DNS_LIMITS.cnameChain; hops++) {
    const records = message.records.filter((each): each is Wanted => each.name === current && each.type === type);
    for (const record of records) ttlSeconds = Math.min(ttlSeconds, record.ttlSeconds);
    if (records.length > 0) return { records: records.slice(0, DNS_LIMITS.endpoints), ttlSeconds };
    const alias = message.records.find((each) => each.name === current && each.type === "CNAME");
    if (alias === undefined || alias.type !== "CNAME") return { records: [], ttlSeconds: 0 };
    ttlSeconds = Math.min(ttlSeconds, alias.ttlSeconds);
    current = alias.target;
  }
  return undefined;
}
