import assert from "node:assert/strict";
import { concatBytes } from "../../src/core/bytes.ts";
import { type Case, dial, serverTls, withListener } from "./net-kit.ts";
import { renewed, settings } from "./net-tls-kit.ts";

/** RFC 8446 §5.1: what a server answers is an alert, or a handshake message. */
const ALERT = 21;
const HANDSHAKE = 22;

/** Suites by number: those that the listener takes with an ECDSA certificate, and those that nobody should. */
const GOOD = [0xc02b, 0xc02c, 0xcca9];
const BAD: Readonly<Record<string, readonly number[]>> = {
  "CBC with SHA-1": [0xc009, 0xc00a, 0xc013, 0xc014],
  "CBC with SHA-2": [0xc023, 0xc024, 0xc027, 0xc028],
  "key exchange by RSA": [0x009c, 0x009d, 0x002f, 0x0035],
  "RC4, 3DES, NULL": [0x0005, 0x000a, 0xc007, 0xc008, 0x0001, 0x003b],
};

const u16 = (value: number): number[] => [value >> 8, value & 255];
const extension = (type: number, body: readonly number[]): number[] => [...u16(type), ...u16(body.length), ...body];

/** A ClientHello of TLS 1.2 (RFC 5246 §7.4.1.2) with these suites; X25519 and P-256, ECDSA and RSA signatures with SHA-256. */
function clientHello(suites: readonly number[]): Uint8Array {
  const groups = extension(10, [...u16(4), ...u16(29), ...u16(23)]);
  const formats = extension(11, [1, 0]);
  const signatures = extension(13, [...u16(6), ...u16(0x0403), ...u16(0x0804), ...u16(0x0401)]);
  const extensions = [...groups, ...formats, ...signatures];
  const random = new Array<number>(32).fill(7);
  const list = suites.flatMap(u16);
  const body = [3, 3, ...random, 0, ...u16(list.length), ...list, 1, 0, ...u16(extensions.length), ...extensions];
  const message = [1, 0, ...u16(body.length), ...body];
  return concatBytes([Uint8Array.from([HANDSHAKE, 3, 1, ...u16(message.length)]), Uint8Array.from(message)]);
}

export const TLS_CIPHER_CASES: readonly Case[] = [
  {
    name: "TLS: only suites with forward secrecy and authenticated encryption, also after a rotation",
    run: (subject) =>
      withListener(subject.net, { tls: settings() }, async (accepting) => {
        const firstByte = async (suites: readonly number[]): Promise<number | undefined> => {
          const near = dial(subject.net, accepting.address);
          await near.untilHeard("open");
          near.open().write(clientHello(suites));
          await near.until(() => near.bytes > 0 || near.heard.includes("close"));
          near.open().destroy();
          return near.all()[0];
        };
        for (const round of ["at first", "after a rotation"]) {
          for (const suite of GOOD) assert.equal(await firstByte([suite]), HANDSHAKE, `${round}: ${suite.toString(16)}`);
          for (const [name, suites] of Object.entries(BAD)) assert.equal(await firstByte(suites), ALERT, `${round}: ${name}`);
          accepting.listener?.updateTls(serverTls({ certificates: [renewed] }));
        }
      }),
  },
];
