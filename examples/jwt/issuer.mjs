// A small issuer of tokens, so that the example runs without one. `keys` makes a key pair, `token alice staff` signs a token
// for alice in the group staff. The private key stays in this folder, is nobody else's, and is not committed.
import { createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";

const file = (name) => new URL(name, import.meta.url);
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const [command, subject = "alice", ...groups] = process.argv.slice(2);

if (command === "keys") {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  writeFileSync(file("private.json"), JSON.stringify(privateKey.export({ format: "jwk" })), { mode: 0o600 });
  const key = { ...publicKey.export({ format: "jwk" }), kid: "example", alg: "ES256", use: "sig" };
  writeFileSync(file("jwks.json"), JSON.stringify({ keys: [key] }));
} else if (command === "token") {
  const key = createPrivateKey({ key: JSON.parse(readFileSync(file("private.json"), "utf8")), format: "jwk" });
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: "https://issuer.example", aud: "shop", sub: subject, groups, iat: now, exp: now + 600 };
  const text = `${encode({ alg: "ES256", kid: "example", typ: "JWT" })}.${encode(claims)}`;
  const signature = sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
  process.stdout.write(`${text}.${signature.toString("base64url")}\n`);
} else {
  process.stderr.write("node examples/jwt/issuer.mjs keys | token <subject> [group …]\n");
  process.exit(2);
}
