import assert from "node:assert/strict";
import { DNS_LIMITS } from "../../src/core/limits.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { decodeMessage, encodeName, encodeQuery, followChain } from "../../src/proxy/discovery/dns-wire.ts";
import { findInHosts, parseResolvConf, parseServer } from "../../src/proxy/discovery/system-names.ts";
import { encodeAnswer, type ZoneRecord } from "../kit/dns-server.ts";
import { describe, test } from "../kit/suite.ts";

const QUERY = { id: 0x1234, name: "shop.example", typeCode: 1 };
const hex = (digits: string): Buffer => Buffer.from(digits.replace(/\s+/g, ""), "hex");
/** Header of an answer with one question `a. A` and one record. */
const HEAD = "1234 8180 0001 0001 0000 0000 0161 00 0001 0001";
const A = "0001 0001 0000003c 0004 0a000001";

describe("DNS messages", () => {
  test("a query, to the byte", () => {
    assert.equal(
      Buffer.from(encodeQuery(0xabcd, "Shop.Example.", "SRV") ?? []).toString("hex"),
      "abcd01000001000000000000" + "0453686f70" + "074578616d706c65" + "00" + "0021" + "0001",
    );
  });

  test("names that cannot be asked for", () => {
    for (const name of ["a..b", ".", "..", ".a", `${"x".repeat(64)}.a`, `${"abcdefg.".repeat(32)}a`, "a b", "ä"])
      assert.equal(encodeName(name) === undefined, name !== ".", name);
    assert.equal(encodeName("x".repeat(63))?.length, 65);
    // 255 bytes with lengths and the root: the most there is.
    assert.equal(encodeName(`${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(61)}`)?.length, 255);
    assert.equal(encodeName(`${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(62)}`), undefined);
  });

  test("every type of record", () => {
    const records: (readonly [string, ZoneRecord])[] = [
      ["shop.example", { type: "A", address: "10.0.0.1", ttl: 5 }],
      ["Other.Example", { type: "AAAA", hex: "20010db8000000000000000000000001" }],
      ["shop.example", { type: "CNAME", target: "X.Example" }],
      ["shop.example", { type: "SRV", priority: 1, weight: 2, port: 3, target: "t.example" }],
    ];
    const message = decodeMessage(encodeAnswer(QUERY, records));
    assert.deepEqual(message, {
      id: 0x1234,
      rcode: 0,
      truncated: false,
      question: { name: "shop.example", typeCode: 1 },
      records: [
        { name: "shop.example", ttlSeconds: 5, type: "A", address: "10.0.0.1" },
        { name: "other.example", ttlSeconds: 60, type: "AAAA", address: "2001:db8::1" },
        { name: "shop.example", ttlSeconds: 60, type: "CNAME", target: "x.example" },
        { name: "shop.example", ttlSeconds: 60, type: "SRV", priority: 1, weight: 2, port: 3, target: "t.example" },
      ],
    });
    assert.equal(decodeMessage(encodeAnswer(QUERY, records, { truncated: true }))?.truncated, true);
    assert.equal(decodeMessage(encodeAnswer(QUERY, [], { rcode: 3 }))?.rcode, 3);
  });

  const table: [string, string, string][] = [
    ["a pointer to the question", `${HEAD} c00c ${A}`, "a=10.0.0.1 60"],
    ["a label and a pointer", `${HEAD} 0162 c00c ${A}`, "b.a=10.0.0.1 60"],
    ["an unknown type is skipped", `${HEAD} c00c 0010 0001 0000003c 0003 026869`, ""],
    ["another class is skipped", `${HEAD} c00c 0001 0003 0000003c 0004 0a000001`, ""],
    ["a TTL with the top bit is zero", `${HEAD} c00c 0001 0001 80000001 0004 0a000001`, "a=10.0.0.1 0"],
    ["a pointer to itself", `${HEAD} c013 ${A}`, "malformed"],
    ["a pointer forwards", `${HEAD} c020 ${A}`, "malformed"],
    ["a pointer into its own label", `${HEAD} 0162 c013 ${A}`, "malformed"],
    ["a pointer that is cut off", `${HEAD} c0`, "malformed"],
    ["a label of 64", `${HEAD} 40 ${"61".repeat(64)} 00 ${A}`, "malformed"],
    ["a label that runs out", `${HEAD} 3f 6161`, "malformed"],
    ["an A of 3 bytes", `${HEAD} c00c 0001 0001 0000003c 0003 0a0000`, "malformed"],
    ["an A of 5 bytes", `${HEAD} c00c 0001 0001 0000003c 0005 0a00000101`, "malformed"],
    ["data that runs out", `${HEAD} c00c 0001 0001 0000003c 0004 0a00`, "malformed"],
    ["a CNAME longer than its data", `${HEAD} c00c 0005 0001 0000003c 0001 0162 00`, "malformed"],
    ["a CNAME shorter than its data", `${HEAD} c00c 0005 0001 0000003c 0004 0162 00 00`, "malformed"],
    ["fewer records than said", `1234 8180 0001 0002 0000 0000 0161 00 0001 0001 c00c ${A}`, "malformed"],
    ["no question", "1234 8180 0000 0000 0000 0000", "malformed"],
    ["two questions", "1234 8180 0002 0000 0000 0000 0161 00 0001 0001 0161 00 0001 0001", "malformed"],
    ["a query", "1234 0100 0001 0000 0000 0000 0161 00 0001 0001", "malformed"],
    ["another opcode", "1234 a800 0001 0000 0000 0000 0161 00 0001 0001", "malformed"],
    ["short", "1234 81", "malformed"],
    ["nothing", "", "malformed"],
  ];
  for (const [name, bytes, expected] of table) {
    test(name, () => {
      const message = decodeMessage(hex(bytes));
      const shown = message?.records
        .map((each) => `${each.name}=${"address" in each ? each.address : each.type} ${each.ttlSeconds}`)
        .join();
      assert.equal(shown ?? "malformed", expected);
    });
  }

  test("caps: a name of many pointers, an answer of many records, many endpoints", () => {
    // Names that each point at the one before.
    const names = ["0161 00"];
    const offsets = [12];
    let at = 12 + 3 + 4;
    let body = "";
    const add = (data: string) => {
      body += data;
      at += hex(data).length;
    };
    for (let i = 0; i < DNS_LIMITS.pointers + 1; i++) {
      const pointer = (0xc000 | (offsets.at(-1) as number)).toString(16);
      offsets.push(at);
      add(`0162${pointer}0010000100000000 0000`.replace(/\s/g, ""));
    }
    const message = (records: number) =>
      decodeMessage(hex(`1234 8180 0001 ${records.toString(16).padStart(4, "0")} 0000 0000 ${names[0]} 0001 0001 ${body}`));
    assert.ok(message(DNS_LIMITS.pointers) !== undefined);
    assert.equal(message(DNS_LIMITS.pointers + 1), undefined);

    const many = Array.from(
      { length: DNS_LIMITS.answerRecords + 5 },
      (_, i) => ["shop.example", { type: "A", address: `10.0.${i >> 8}.${i & 255}` }] as const,
    );
    const decoded = decodeMessage(encodeAnswer(QUERY, many));
    assert.equal(decoded?.records.length, DNS_LIMITS.answerRecords);
    assert.equal(decoded && followChain(decoded, "shop.example", "A")?.records.length, DNS_LIMITS.endpoints);
  });

  test("aliases are followed within the answer, with the smallest TTL; loops and long chains are not", () => {
    const chain = (length: number, loop = false): (readonly [string, ZoneRecord])[] => [
      ...Array.from(
        { length },
        (_, i) => [`n${i}`, { type: "CNAME", target: `N${loop && i === length - 1 ? 0 : i + 1}`, ttl: 90 - i }] as const,
      ),
      [`n${length}`, { type: "A", address: "10.0.0.1", ttl: 85 }],
    ];
    const follow = (records: readonly (readonly [string, ZoneRecord])[], name = "n0") => {
      const message = decodeMessage(encodeAnswer({ ...QUERY, name: "n0" }, records));
      assert.ok(message !== undefined);
      return followChain(message, name, "A");
    };
    assert.deepEqual(follow(chain(2)), {
      records: [{ name: "n2", ttlSeconds: 85, type: "A", address: "10.0.0.1" }],
      ttlSeconds: 85,
    });
    assert.equal(follow(chain(DNS_LIMITS.cnameChain))?.ttlSeconds, 90 - DNS_LIMITS.cnameChain + 1);
    assert.equal(follow(chain(DNS_LIMITS.cnameChain + 1)), undefined);
    assert.equal(follow(chain(3, true)), undefined);
    assert.deepEqual(follow(chain(1), "other"), { records: [], ttlSeconds: 0 });
    // An address of a name that nobody asked for is none of ours.
    assert.deepEqual(follow([["evil", { type: "A", address: "6.6.6.6" }]]), { records: [], ttlSeconds: 0 });
  });

  // Invariant (class 54): whatever bytes come, the reader ends, does not throw, and answers with records within the caps or nothing.
  test("fuzz: damaged and random messages", () => {
    const rng = new SeededRng(54);
    const seed = encodeAnswer(QUERY, [
      ["shop.example", { type: "CNAME", target: "x.example" }],
      ["x.example", { type: "A", address: "10.0.0.1" }],
      ["x.example", { type: "SRV", priority: 1, weight: 2, port: 3, target: "t.example" }],
      ["x.example", { type: "AAAA", hex: "20010db8000000000000000000000001" }],
    ]);
    let whole = 0;
    for (let round = 0; round < 40_000; round++) {
      let bytes: Buffer = Buffer.from(seed);
      if (round % 10 === 0) bytes = Buffer.from(Array.from({ length: rng.below(80) }, () => rng.below(256)));
      else for (let i = rng.below(5); i >= 0; i--) bytes[rng.below(bytes.length)] = rng.below(4) === 0 ? 0xc0 : rng.below(256);
      const message = decodeMessage(rng.below(3) === 0 ? bytes.subarray(0, rng.below(bytes.length + 1)) : bytes);
      if (message === undefined) continue;
      whole++;
      assert.ok(message.records.length <= DNS_LIMITS.answerRecords);
      for (const record of message.records) {
        assert.ok(record.name.length <= 255 && record.ttlSeconds <= 0x7fff_ffff);
        if (record.type === "A") assert.match(record.address, /^\d+\.\d+\.\d+\.\d+$/);
      }
      for (const type of ["A", "AAAA", "SRV"] as const) followChain(message, "shop.example", type);
    }
    assert.ok(whole > 1_000, `only ${whole} messages got through`);
  });
});

describe("the system's names", () => {
  test("servers", () => {
    const table: [string, string][] = [
      ["10.0.0.1", "10.0.0.1 53"],
      ["10.0.0.1:5353", "10.0.0.1 5353"],
      ["[::1]:5353", "::1 5353"],
      ["[::1]", "::1 53"],
      ["::1", "::1 53"],
      ["dns.example", "-"],
      ["10.0.0.1:0", "-"],
      ["10.0.0.1:65536", "-"],
      ["", "-"],
    ];
    for (const [text, expected] of table) {
      const server = parseServer(text);
      assert.equal(server === undefined ? "-" : `${server.host} ${server.port}`, expected, text);
    }
  });

  test("resolv.conf and hosts", () => {
    const servers = parseResolvConf(
      "# x\nsearch a\nnameserver 10.0.0.1\n nameserver\t::1 \nnameserver nonsense\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n",
    );
    assert.deepEqual(servers, [
      { host: "10.0.0.1", port: 53 },
      { host: "::1", port: 53 },
      { host: "10.0.0.2", port: 53 },
    ]);
    const hosts = "127.0.0.1 localhost\n10.0.0.5\tShop shop.local # comment other\n::5 shop\nnonsense shop\n";
    assert.deepEqual(findInHosts(hosts, "SHOP."), ["10.0.0.5", "::5"]);
    assert.deepEqual(findInHosts(hosts, "other"), []);
  });
});
