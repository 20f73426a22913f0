import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DemoCertificate } from "./demo.ts";

/** Nothing renews it, so it lasts: 10 years. */
const YEARS = 10;

/** A self-signed certificate for `localhost`, kept in the state folder. For the demo only: nobody trusts it. */
export function demoCertificate(folder: string, nowMs: number): DemoCertificate {
  const [certificatePath, keyPath] = [join(folder, "demo.crt"), join(folder, "demo.key")];
  if (!existsSync(certificatePath) || !existsSync(keyPath)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const made = selfSigned("localhost", nowMs);
    writeFileSync(keyPath, made.keyPem, { mode: 0o600 });
    writeFileSync(certificatePath, made.certificatePem, { mode: 0o600 });
  }
  return { certificatePem: readFileSync(certificatePath, "utf8"), keyPem: readFileSync(keyPath, "utf8") };
}

/** RFC 5280, as little of it as a server certificate needs. ECDSA P-256. */
export function selfSigned(host: string, nowMs: number): DemoCertificate {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = sequence(oid("2a8648ce3d040302"));
  const name = sequence(set(sequence(oid("550403"), der(0x0c, Buffer.from(host)))));
  const end = new Date(nowMs);
  end.setUTCFullYear(end.getUTCFullYear() + YEARS);
  const names = sequence(der(0x82, Buffer.from(host)), der(0x87, Buffer.from([127, 0, 0, 1])));
  const extensions = sequence(
    sequence(oid("551d11"), der(0x04, names)),
    // Critical, and not an authority.
    sequence(oid("551d13"), der(0x01, Buffer.from([0xff])), der(0x04, sequence())),
  );
  const serial = randomBytes(16);
  // Positive, and in its shortest form.
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    algorithm,
    name,
    sequence(time(new Date(nowMs - 86_400_000)), time(end)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, extensions),
  );
  const signature = Buffer.concat([Buffer.from([0]), sign("sha256", body, privateKey)]);
  const certificate = sequence(body, algorithm, der(0x03, signature));
  const lines = certificate.toString("base64").replace(/.{64}/g, "$&\n").trimEnd();
  return {
    certificatePem: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

/** One DER value: tag, length, content (X.690 §8.1). */
function der(tag: number, content: Buffer): Buffer {
  const length = content.length;
  const head = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

const sequence = (...parts: Buffer[]): Buffer => der(0x30, Buffer.concat(parts));
const set = (...parts: Buffer[]): Buffer => der(0x31, Buffer.concat(parts));
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"));

/** GeneralizedTime where the year needs it, else UTCTime (RFC 5280 §4.1.2.5). */
function time(date: Date): Buffer {
  const text = `${date.toISOString().replace(/[-:T]/g, "").slice(0, 14)}Z`;
  return date.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(text.slice(2))) : der(0x18, Buffer.from(text));
}
