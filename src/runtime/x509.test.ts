import { expect, test } from "bun:test";
import { testAuthority } from "../../test/kit/certs.ts";
import { DerCertificate, namesHost, readAltNames } from "./x509.ts";

test("a name that contains a comma and a prefix stays one name", async () => {
  const ca = await testAuthority();
  const made = await ca.issue({ uri: ["spiffe://a/b, URI:spiffe://evil/admin"], dns: ["x.test"], ip: ["127.0.0.1"] });
  expect(readAltNames(made.der)).toEqual({
    uris: ["spiffe://a/b, URI:spiffe://evil/admin"],
    dnsNames: ["x.test"],
    addresses: ["127.0.0.1"],
  });
});

test("a certificate without alternative names has none", async () => {
  const made = await (await testAuthority()).issue({ commonName: "spiffe://not/a/san" });
  expect(readAltNames(made.der)).toEqual({ uris: [], dnsNames: [], addresses: [] });
});

test("cut or damaged DER never reads beyond its end and never adds a name", async () => {
  const made = await (await testAuthority()).issue({ uri: ["spiffe://a/b"] });
  for (let length = 0; length < made.der.byteLength; length++) {
    expect(() => readAltNames(made.der.subarray(0, length))).toThrow(RangeError);
  }
  for (let at = 0; at < made.der.byteLength; at++) {
    for (const value of [0x00, 0x7f, 0x80, 0xff]) {
      const damaged = made.der.slice();
      damaged[at] = value;
      try {
        const { uris } = readAltNames(damaged);
        expect(uris.length).toBeLessThanOrEqual(1);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }
  }
});

test("the certificate keeps its own copy of the bytes", async () => {
  const made = await (await testAuthority()).issue({ commonName: "copy", dns: ["copy.test"] });
  const borrowed = made.der.slice();
  const certificate = new DerCertificate(borrowed, true);
  borrowed.fill(0);
  expect(certificate.subject).toBe("CN=copy");
  expect(certificate.fingerprint).toMatch(/^[0-9a-f]{64}$/);
});

test("a host is named by its own kind of name only; a wildcard stands for one whole label", async () => {
  const names = {
    uris: ["shop.uri.test"],
    dnsNames: ["Shop.test", "*.wild.test", "a*.part.test", "*.top", "*", "*.*.two.test", "10.0.0.9"],
    addresses: ["10.0.0.1", "2001:db8::1"],
  };
  const yes = ["shop.test", "SHOP.TEST", "shop.test.", "a.wild.test", "10.0.0.1", "2001:DB8:0::1"];
  const no = [
    "shop.uri.test",
    "wild.test",
    "a.b.wild.test",
    ".wild.test",
    "*.wild.test.evil",
    "ab.part.test",
    "x.top",
    "localhost",
    "a.b.two.test",
    "10.0.0.9",
    "10.0.0.2",
    "",
  ];
  for (const host of yes) expect([host, namesHost(names, host)]).toEqual([host, true]);
  for (const host of no) expect([host, namesHost(names, host)]).toEqual([host, false]);
});

test("a certificate that cannot be read is not verified and names nobody", () => {
  const certificate = new DerCertificate(new Uint8Array([0x30, 0x82, 0xff, 0xff]), true);
  expect([certificate.verified, certificate.uris, certificate.dnsNames, certificate.subject]).toEqual([false, [], [], ""]);
});
