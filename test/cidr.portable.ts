import assert from "node:assert/strict";
import { CidrSet } from "../src/core/cidr.ts";
import { addressBytes, formatAddress, isAddress } from "../src/core/ip.ts";
import { SeededRng } from "../src/core/rng.ts";
import { describe, test } from "./kit/suite.ts";

describe("IP addresses", () => {
  test("what is one and what is not", () => {
    const good = [
      "0.0.0.0",
      "255.255.255.255",
      "::",
      "::1",
      "1::",
      "1:2:3:4:5:6:7:8",
      "1:2:3:4:5:6:7::",
      "::2:3:4:5:6:7:8",
      "::ffff:1.2.3.4",
      "1:2:3:4:5:6:1.2.3.4",
      "FE80::1%eth0",
    ];
    const bad = [
      "",
      "1.2.3",
      "1.2.3.4.5",
      "1.2.3.256",
      "1.2.3.04",
      "1.2.3.",
      ".1.2.3",
      "1..2.3",
      " 1.2.3.4",
      "1.2.3.4 ",
      "0x1.2.3.4",
      "1.2.3.4:80",
      ":",
      ":::",
      "1::2::3",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7:8::",
      "::1:2:3:4:5:6:7:8",
      "12345::",
      "g::",
      "1:",
      ":1",
      "1:2:3:4:5:6:7:1.2.3.4",
      "::1.2.3.4:5",
      "::1.2.3",
      "[::1]",
      "::1/64",
      "localhost",
    ];
    for (const text of good) assert.ok(isAddress(text), text);
    for (const text of bad) assert.ok(!isAddress(text), text);
  });

  test("text and bytes, there and back, in the form of RFC 5952", () => {
    const table: [string, string][] = [
      ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["0:0:0:0:0:0:0:0", "::"],
      ["0:0:0:0:0:0:0:1", "::1"],
      ["1:0:0:0:0:0:0:0", "1::"],
      ["::ffff:a00:1", "10.0.0.1"],
      ["10.0.0.1", "10.0.0.1"],
    ];
    for (const [text, expected] of table) assert.equal(formatAddress(addressBytes(text) ?? new Uint8Array(4)), expected);
    const rng = new SeededRng(2);
    for (let i = 0; i < 2_000; i++) {
      const bytes = new Uint8Array(rng.below(2) === 0 ? 4 : 16).map(() => (rng.below(3) === 0 ? rng.below(256) : 0));
      assert.deepEqual(addressBytes(formatAddress(bytes)), bytes);
    }
  });
});

describe("CidrSet", () => {
  const contains = (cidrs: string[], address: string) => CidrSet.from(cidrs).contains(address);

  test("edges of ranges", () => {
    const table: [string, string, boolean][] = [
      ["10.0.0.0/8", "10.0.0.0", true],
      ["10.0.0.0/8", "10.255.255.255", true],
      ["10.0.0.0/8", "11.0.0.0", false],
      ["10.0.0.0/8", "9.255.255.255", false],
      ["10.1.2.3/8", "10.9.9.9", true],
      ["192.168.1.128/25", "192.168.1.127", false],
      ["192.168.1.128/25", "192.168.1.128", true],
      ["1.2.3.4", "1.2.3.4", true],
      ["1.2.3.4", "1.2.3.5", false],
      ["1.2.3.4/31", "1.2.3.5", true],
      ["0.0.0.0/0", "255.1.2.3", true],
      ["0.0.0.0/0", "::1", false],
      ["::/0", "1.2.3.4", false],
      ["::/0", "fe80::1", true],
      ["2001:db8::/33", "2001:db8:7fff::1", true],
      ["2001:db8::/33", "2001:db8:8000::1", false],
      ["2001:db8::/127", "2001:db8::1", true],
      ["2001:db8::/127", "2001:db8::2", false],
      ["10.0.0.0/8", "::ffff:10.1.1.1", true],
      ["::ffff:10.0.0.0/104", "10.1.1.1", true],
      ["::ffff:10.0.0.0/104", "11.1.1.1", false],
      ["fe80::/10", "fe80::1%eth0", true],
      ["10.0.0.0/8", "10.0.0.1:80", false],
      ["10.0.0.0/8", "", false],
      ["10.0.0.0/8", "unknown", false],
    ];
    for (const [cidr, address, expected] of table) assert.equal(contains([cidr], address), expected, `${cidr} ${address}`);
    assert.equal(contains([], "1.2.3.4"), false);
  });

  test("what is no range is named", () => {
    for (const text of [
      "",
      "10.0.0.0/33",
      "10.0.0.0/-1",
      "10.0.0.0/08",
      "10.0.0.0/",
      "10.0.0/8",
      "::/129",
      "::ffff:1.2.3.4/95",
      "fe80::1%eth0/64",
      "any",
    ])
      assert.deepEqual(CidrSet.parse(["1.2.3.4", text]), { ok: false, error: text });
  });

  test("agrees with bit strings on random ranges", () => {
    const rng = new SeededRng(30);
    const bits = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
    for (let round = 0; round < 5_000; round++) {
      const width = rng.below(2) === 0 ? 4 : 16;
      // A first group that is not zero keeps IPv6 away from mapped addresses.
      const random = () => new Uint8Array(width).map((_, i) => (i === 0 ? 32 + rng.below(2) : rng.below(2) * rng.below(256)));
      const range = random();
      const address = random();
      const length = rng.below(width * 8 + 1);
      const expected = bits(range).slice(0, length) === bits(address).slice(0, length);
      const cidr = `${formatAddress(range)}/${length}`;
      assert.equal(
        contains(["192.0.2.1", "2001:db8::1", cidr], formatAddress(address)),
        expected,
        `${cidr} ${formatAddress(address)}`,
      );
    }
  });
});
