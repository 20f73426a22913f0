import assert from "node:assert/strict";
import { crc32c } from "../../src/core/crc32c.ts";
import { Failure } from "../../src/core/failure.ts";
import { PROXY_HEADER_LIMITS } from "../../src/core/limits.ts";
import { SeededRng } from "../../src/core/rng.ts";
import {
  type ProxyHeaderResult,
  type ProxyPeer,
  readProxyHeader,
  writeProxyHeader,
} from "../../src/proxy/listeners/proxy-header.ts";
import { describe, test } from "../kit/suite.ts";

const SIGNATURE = "0d0a0d0a000d0a515549540a";
const text = (line: string): Buffer => Buffer.from(line, "latin1");
const hex = (digits: string): Buffer => Buffer.from(digits.replace(/\s+/g, ""), "hex");

/** In words: `v1 10.0.0.1:1 > 10.0.0.2:2 +25`, `need-more`, `absent`, `bad`. */
function show(result: ProxyHeaderResult): string {
  if (typeof result === "string") return result;
  if (result instanceof Failure) return result.code === "bad_proxy_header" ? "bad" : result.code;
  const peer = (side: ProxyPeer | undefined) => (side === undefined ? "-" : `${side.address}|${side.port}`);
  return `v${result.version} ${peer(result.source)} > ${peer(result.destination)} +${result.consumed}`;
}

const v2 = (command: string, family: string, payload: Buffer): Buffer =>
  Buffer.concat([hex(SIGNATURE), hex(command), hex(family), Buffer.from([payload.length >> 8, payload.length & 255]), payload]);
const IPV4 = hex("0a000001 c0a80102 1f90 01bb");
const tlv = (type: number, value: Buffer, length = value.length): Buffer =>
  Buffer.concat([Buffer.from([type, length >> 8, length & 255]), value]);
const unixField = (path: string): Buffer => Buffer.concat([text(path), Buffer.alloc(108 - path.length)]);

function withChecksum(spoil: boolean): Buffer {
  const header = v2("21", "11", Buffer.concat([IPV4, tlv(0x03, Buffer.alloc(4)), tlv(0x04, text("pad"))]));
  header.writeUInt32BE((crc32c(header) + (spoil ? 1 : 0)) >>> 0, 16 + 12 + 3);
  return header;
}

const GOLDEN: readonly (readonly [string, Buffer, string])[] = [
  ["v1 TCP4", text("PROXY TCP4 10.0.0.1 192.168.1.2 8080 443\r\nGET"), "v1 10.0.0.1|8080 > 192.168.1.2|443 +42"],
  ["v1 TCP6", text("PROXY TCP6 2001:DB8::1 ::1 65535 0\r\n"), "v1 2001:db8::1|65535 > ::1|0 +36"],
  ["v1 TCP6 mapped is IPv4", text("PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n"), "v1 10.0.0.1|1 > ::1|2 +36"],
  ["v1 UNKNOWN", text("PROXY UNKNOWN\r\n"), "v1 - > - +15"],
  ["v1 UNKNOWN with rubbish", text("PROXY UNKNOWN ff:: 1 x y\r\n"), "v1 - > - +26"],
  ["v1 wrong family", text("PROXY TCP4 ::1 ::1 1 2\r\n"), "bad"],
  ["v1 wrong family 6", text("PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n"), "bad"],
  ["v1 leading zero in address", text("PROXY TCP4 10.0.0.01 10.0.0.2 1 2\r\n"), "bad"],
  ["v1 short address", text("PROXY TCP4 10.0.1 10.0.0.2 1 2\r\n"), "bad"],
  ["v1 port too big", text("PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n"), "bad"],
  ["v1 port with zero in front", text("PROXY TCP4 10.0.0.1 10.0.0.2 080 2\r\n"), "bad"],
  ["v1 negative port", text("PROXY TCP4 10.0.0.1 10.0.0.2 -1 2\r\n"), "bad"],
  ["v1 two spaces", text("PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n"), "bad"],
  ["v1 one port", text("PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n"), "bad"],
  ["v1 a port too many", text("PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n"), "bad"],
  ["v1 zone", text("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), "bad"],
  ["v1 other protocol", text("PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n"), "bad"],
  ["v1 lower case", text("PROXY tcp4 10.0.0.1 10.0.0.2 1 2\r\n"), "bad"],
  ["v1 CR without LF", text("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\rX"), "bad"],
  ["v1 bare LF", text(`PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n${" ".repeat(100)}`), "bad"],
  ["v1 at the limit", text(`PROXY UNKNOWN${"x".repeat(0)} ${"x".repeat(91)}\r\n`), "v1 - > - +107"],
  ["v1 over the limit", text(`PROXY UNKNOWN ${"x".repeat(92)}\r\n`), "bad"],
  ["v1 endless", text(`PROXY UNKNOWN ${"x".repeat(200)}`), "bad"],
  ["a request", text("GET / HTTP/1.1\r\n"), "absent"],
  ["a request that starts alike", text("PROPFIND / HTTP/1.1\r\n"), "absent"],
  ["TLS", hex("160301020001"), "absent"],
  ["nothing yet", text(""), "need-more"],
  ["v2 IPv4", v2("21", "11", IPV4), "v2 10.0.0.1|8080 > 192.168.1.2|443 +28"],
  [
    "v2 IPv6",
    v2("21", "21", hex("20010db8000000000000000000000001 00000000000000000000000000000001 0001 ffff")),
    "v2 2001:db8::1|1 > ::1|65535 +52",
  ],
  ["v2 unix", v2("21", "31", Buffer.concat([unixField("/run/a.sock"), unixField("/b")])), "v2 /run/a.sock|0 > /b|0 +232"],
  [
    "v2 unix, path fills the field",
    v2("21", "31", Buffer.concat([unixField("/".padEnd(108, "p")), unixField("")])),
    `v2 ${"/".padEnd(108, "p")}|0 > |0 +232`,
  ],
  ["v2 LOCAL", v2("20", "00", Buffer.alloc(0)), "v2 - > - +16"],
  ["v2 LOCAL ignores addresses and rubbish", v2("20", "11", hex("ffff")), "v2 - > - +18"],
  ["v2 PROXY with unknown family", v2("21", "00", Buffer.alloc(0)), "v2 - > - +16"],
  ["v2 UDP", v2("21", "12", IPV4), "bad"],
  ["v2 family that does not exist", v2("21", "41", IPV4), "bad"],
  ["v2 version 1", v2("11", "11", IPV4), "bad"],
  ["v2 version 3", v2("31", "11", IPV4), "bad"],
  ["v2 command that does not exist", v2("22", "11", IPV4), "bad"],
  ["v2 shorter than its addresses", v2("21", "11", IPV4.subarray(0, 11)), "bad"],
  [
    "v2 TLVs",
    v2("21", "11", Buffer.concat([IPV4, tlv(0x01, text("h2")), tlv(0xee, text(""))])),
    "v2 10.0.0.1|8080 > 192.168.1.2|443 +36",
  ],
  ["v2 TLV of one byte", v2("21", "11", Buffer.concat([IPV4, hex("01")])), "bad"],
  ["v2 TLV of two bytes", v2("21", "11", Buffer.concat([IPV4, hex("0100")])), "bad"],
  ["v2 TLV longer than the header", v2("21", "11", Buffer.concat([IPV4, tlv(0x01, text("h2"), 3)])), "bad"],
  ["v2 TLV of 65535", v2("21", "11", Buffer.concat([IPV4, tlv(0x01, text("h2"), 0xffff)])), "bad"],
  ["v2 TLV that hides the last one", v2("21", "11", Buffer.concat([IPV4, tlv(0x01, text("h2"), 1)])), "bad"],
  ["v2 checksum", withChecksum(false), "v2 10.0.0.1|8080 > 192.168.1.2|443 +41"],
  ["v2 wrong checksum", withChecksum(true), "bad"],
  ["v2 checksum of three bytes", v2("21", "11", Buffer.concat([IPV4, tlv(0x03, Buffer.alloc(3))])), "bad"],
  [
    "v2 at the limit",
    v2("21", "11", Buffer.concat([IPV4, tlv(0x04, Buffer.alloc(PROXY_HEADER_LIMITS.v2PayloadBytes - 15))])),
    "v2 10.0.0.1|8080 > 192.168.1.2|443 +4112",
  ],
  [
    "v2 over the limit",
    v2("21", "11", Buffer.concat([IPV4, tlv(0x04, Buffer.alloc(PROXY_HEADER_LIMITS.v2PayloadBytes - 14))])),
    "bad",
  ],
];

describe("PROXY header", () => {
  test("CRC-32C of the RFC's example", () => {
    assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
    assert.equal(crc32c(text("123456789")), 0xe3069283);
  });

  for (const [name, bytes, expected] of GOLDEN) {
    test(name, () => {
      assert.equal(show(readProxyHeader(bytes)), expected);
      // Byte by byte: `need-more` until the verdict, then the same verdict; what follows the header changes nothing.
      let verdict = "need-more";
      for (let length = 0; length <= bytes.length && verdict === "need-more"; length++)
        verdict = show(readProxyHeader(bytes.subarray(0, length)));
      assert.equal(verdict, expected);
      if (expected.startsWith("v")) assert.equal(show(readProxyHeader(Buffer.concat([bytes, text("\r\nmore")]))), expected);
    });
  }

  test("what is written is read back", () => {
    const sides: ProxyPeer[] = [
      { address: "10.1.2.3", port: 1 },
      { address: "255.255.255.255", port: 65535 },
      { address: "2001:db8::ff:0", port: 443 },
      { address: "::", port: 0 },
    ];
    for (const version of ["v1", "v2"] as const)
      for (const source of sides)
        for (const destination of sides) {
          const bytes = writeProxyHeader(version, source, destination);
          const read = readProxyHeader(bytes);
          assert.ok(typeof read === "object" && !(read instanceof Failure), show(read));
          assert.deepEqual([read.source, read.destination, read.consumed], [source, destination, bytes.length]);
        }
    const unix = [
      { address: "/run/a", port: 0 },
      { address: "/run/b", port: 0 },
    ] as const;
    assert.equal(show(readProxyHeader(writeProxyHeader("v2", ...unix))), "v2 /run/a|0 > /run/b|0 +232");
    assert.equal(Buffer.from(writeProxyHeader("v1", ...unix)).toString(), "PROXY UNKNOWN\r\n");
    assert.equal(show(readProxyHeader(writeProxyHeader("v2", undefined, undefined))), "v2 - > - +16");
    assert.equal(show(readProxyHeader(writeProxyHeader("v2", { address: "nonsense", port: 5 }, sides[0]))), "v2 - > - +16");
  });

  // Invariant: whatever comes, the reader answers without throwing, never consumes more than is there, and a verdict holds when more comes.
  test("fuzz: damaged headers", () => {
    const rng = new SeededRng(15);
    const seeds = GOLDEN.map(([, bytes]) => bytes);
    for (let round = 0; round < 30_000; round++) {
      const bytes = Buffer.from(seeds[rng.below(seeds.length)] as Buffer);
      for (let i = rng.below(4); i >= 0 && bytes.length > 0; i--) bytes[rng.below(bytes.length)] = rng.below(256);
      const cut = bytes.subarray(0, rng.below(bytes.length + 1));
      const early = readProxyHeader(cut);
      const late = readProxyHeader(bytes);
      if (early !== "need-more") assert.equal(show(early), show(late), bytes.toString("hex"));
      if (typeof late === "object" && !(late instanceof Failure)) {
        assert.ok(late.consumed <= bytes.length);
        assert.ok(late.source === undefined || late.source.port <= 0xffff);
      }
    }
  });
});
