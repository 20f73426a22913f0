import { expect, test } from "bun:test";
import { redactWritten } from "./secrets.ts";

test("a resource as people see it has no inline key; certificates, files and settings stay", () => {
  const certificate = { certificate: { inline: "CERT" }, key: { inline: "PRIVATE" } };
  const written = {
    spec: {
      listeners: [{ tls: { certificates: [certificate, { key: { file: "edge.key" } }] } }],
      jwt: [{ keys: { inline: "SYMMETRIC" } }, { keys: { url: "https://issuer.example/keys" } }],
      settings: { limits: [{ key: ["clientIp"] }] },
    },
  };
  const before = JSON.stringify(written);
  const expected = before.replace("PRIVATE", "[redacted]").replace("SYMMETRIC", "[redacted]");
  expect(JSON.stringify(redactWritten(written))).toBe(expected);
  expect(JSON.stringify(written)).toBe(before);
});
