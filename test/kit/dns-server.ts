import dgram from "node:dgram";
import net from "node:net";

/**
 * A real name server on UDP and TCP of one port, with an encoder of its own (it shares nothing with the resolver under test).
 * What it says is set per test; it can be told to misbehave.
 */
export type ZoneRecord =
  | { readonly type: "A"; readonly address: string; readonly ttl?: number }
  | { readonly type: "AAAA"; readonly hex: string; readonly ttl?: number }
  | { readonly type: "CNAME"; readonly target: string; readonly ttl?: number }
  | {
      readonly type: "SRV";
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
      readonly ttl?: number;
    };

/** What to do with one query instead of answering it properly; the forged ones are followed by the right answer. */
export type Misbehaviour = "drop" | "truncate" | "wrong-id" | "wrong-question" | "garbage" | "servfail" | "hang-up";

const CODES = { A: 1, CNAME: 5, AAAA: 28, SRV: 33 } as const;

const wireName = (name: string): Buffer =>
  Buffer.concat([
    ...name
      .split(".")
      .filter((label) => label !== "")
      .map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, "latin1")),
    Buffer.from([0]),
  ]);

const uint16 = (...values: number[]): Buffer => Buffer.from(values.flatMap((value) => [value >> 8, value & 255]));

function wireData(record: ZoneRecord): Buffer {
  if (record.type === "A") return Buffer.from(record.address.split(".").map(Number));
  if (record.type === "AAAA") return Buffer.from(record.hex, "hex");
  if (record.type === "CNAME") return wireName(record.target);
  return Buffer.concat([uint16(record.priority, record.weight, record.port), wireName(record.target)]);
}

/** An answer; the first owner name is a pointer to the question, as real servers write it. */
export function encodeAnswer(
  query: { readonly id: number; readonly name: string; readonly typeCode: number },
  records: readonly (readonly [string, ZoneRecord])[],
  { rcode = 0, truncated = false } = {},
): Buffer {
  const parts = [
    uint16(query.id, 0x8180 | rcode | (truncated ? 0x0200 : 0), 1, truncated ? 0 : records.length, 0, 0),
    wireName(query.name),
    uint16(query.typeCode, 1),
  ];
  for (const [owner, record] of truncated ? [] : records) {
    const data = wireData(record);
    const name = owner === query.name ? Buffer.from([0xc0, 12]) : wireName(owner);
    parts.push(name, uint16(CODES[record.type], 1, 0, record.ttl ?? 60, data.length), data);
  }
  return Buffer.concat(parts);
}

export interface SeenQuery {
  readonly transport: "udp" | "tcp";
  readonly name: string;
  readonly type: string;
  readonly id: number;
  /** The asker's port. */
  readonly port: number;
}

export class DnsTestServer {
  /** By lower-case name. */
  readonly zone = new Map<string, ZoneRecord[]>();
  readonly seen: SeenQuery[] = [];
  /** Taken from the front, one per query by UDP; then it behaves. */
  readonly misbehave: Misbehaviour[] = [];
  /** The same for TCP. */
  readonly misbehaveByTcp: Misbehaviour[] = [];
  #wake: (() => void)[] = [];

  private constructor(
    readonly udp: dgram.Socket,
    readonly tcp: net.Server,
    readonly port: number,
  ) {
    udp.on("message", (bytes, from) => {
      for (const reply of this.#answer(bytes, "udp", from.port, this.misbehave.shift())) udp.send(reply, from.port, from.address);
      this.#notify();
    });
    tcp.on("connection", (socket) => {
      let received = Buffer.alloc(0);
      socket.on("error", () => {});
      socket.on("data", (bytes: Buffer) => {
        received = Buffer.concat([received, bytes]);
        if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
        const [reply] = this.#answer(received.subarray(2), "tcp", socket.remotePort ?? 0, this.misbehaveByTcp.shift());
        // In two pieces: a length of its own and a message of its own is what streams do to you.
        if (reply === undefined) socket.destroy();
        else {
          socket.write(uint16(reply.length));
          socket.write(reply);
        }
        this.#notify();
      });
    });
  }

  /** Both sockets on one port that the system chose. */
  static async start(): Promise<DnsTestServer> {
    for (let attempt = 0; ; attempt++) {
      const tcp = net.createServer();
      await new Promise<void>((resolve, reject) => {
        tcp.once("error", reject);
        tcp.listen(0, "127.0.0.1", () => resolve());
      });
      const { port } = tcp.address() as net.AddressInfo;
      const udp = dgram.createSocket("udp4");
      const bound = await new Promise<boolean>((resolve) => {
        udp.once("error", () => resolve(false));
        udp.bind(port, "127.0.0.1", () => resolve(true));
      });
      if (bound) return new DnsTestServer(udp, tcp, port);
      udp.close();
      await new Promise<void>((resolve) => tcp.close(() => resolve()));
      if (attempt > 20) throw new Error("no port that is free for UDP and TCP");
    }
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.udp.close(() => resolve()));
    await new Promise<void>((resolve) => this.tcp.close(() => resolve()));
  }

  /** Resolves once so many queries have come in all. */
  async untilSeen(count: number): Promise<void> {
    while (this.seen.length < count) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }

  /** The messages to send, in order. */
  #answer(bytes: Buffer, transport: "udp" | "tcp", port: number, misbehaviour: Misbehaviour | undefined): Buffer[] {
    const id = bytes.readUInt16BE(0);
    const labels: string[] = [];
    let at = 12;
    for (; bytes[at] !== 0; at += 1 + (bytes[at] as number))
      labels.push(bytes.subarray(at + 1, at + 1 + (bytes[at] as number)).toString("latin1"));
    const name = labels.join(".");
    const typeCode = bytes.readUInt16BE(at + 1);
    const type = Object.entries(CODES).find(([, code]) => code === typeCode)?.[0] ?? String(typeCode);
    this.seen.push({ transport, name, type, id, port });
    const query = { id, name, typeCode };
    const forged = [[name, { type: "A", address: "6.6.6.6" }]] as const;
    const right = this.#lookUp(query, type);
    if (misbehaviour === "drop" || misbehaviour === "hang-up") return [];
    if (misbehaviour === "garbage") return [Buffer.from("this is no DNS message"), right];
    if (misbehaviour === "wrong-id") return [encodeAnswer({ ...query, id: id ^ 1 }, forged), right];
    if (misbehaviour === "wrong-question") return [encodeAnswer({ ...query, name: `x${name}` }, forged), right];
    if (misbehaviour === "servfail") return [encodeAnswer(query, [], { rcode: 2 })];
    if (misbehaviour === "truncate") return [encodeAnswer(query, [], { truncated: true })];
    return [right];
  }

  #lookUp(query: { id: number; name: string; typeCode: number }, type: string): Buffer {
    const records: [string, ZoneRecord][] = [];
    let owner = query.name.toLowerCase();
    if (!this.zone.has(owner)) return encodeAnswer(query, [], { rcode: 3 });
    for (let hops = 0; hops < 20; hops++) {
      const all = this.zone.get(owner) ?? [];
      const alias = all.find((each) => each.type === "CNAME");
      for (const record of all)
        if (record.type === type || record === alias) records.push([hops === 0 ? query.name : owner, record]);
      if (alias === undefined || alias.type !== "CNAME") break;
      owner = alias.target;
    }
    return encodeAnswer(query, records);
  }
}
