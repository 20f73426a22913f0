import { expect, test } from "bun:test";
import { redactChange, redactWritten } from "./secrets.ts";

test("a resource as people see it has no inline key; certificates, files and settings stay", () => {
  const certificate = { certificate: { inline: "CERT" }, key: { inline: "PRIVATE" } };
  const written = {
    spec: {
      listeners: [{ tls: { certificates: [certificate, { key: { file: "edge.key" } }] } }],
      jwt: [{ jwks: { inline: "SYMMETRIC" } }, { jwks: { url: "https://issuer.example/keys" } }],
      settings: { limits: [{ key: ["clientIp"] }] },
    },
  };
  const before = JSON.stringify(written);
  const expected = before.replace("PRIVATE", "[redacted]").replace("SYMMETRIC", "[redacted]");
  expect(JSON.stringify(redactWritten(written))).toBe(expected);
  expect(JSON.stringify(written)).toBe(before);
});

test("secrets of filter settings: texts whose name sounds like one; a change of one shows without showing it", () => {
  const resource = (apiKey: string, inline: string) => ({
    spec: {
      settings: { apiKey, users: [{ name: "ann", password: "PW" }], limits: [{ key: ["clientIp"], tokens: 5 }] },
      tls: { key: { inline } },
    },
  });
  expect(redactWritten(resource("K1", "P1"))).toEqual({
    spec: {
      settings: {
        apiKey: "[redacted]",
        users: [{ name: "ann", password: "[redacted]" }],
        limits: [{ key: ["clientIp"], tokens: 5 }],
      },
      tls: { key: { inline: "[redacted]" } },
    },
  });
  const lists = {
    spec: { settings: { apiKeys: ["L1", ["L2"]], tokens: [{ id: "a", token: "L3" }], hashes: [7], key: ["path"] } },
  };
  expect((redactWritten(lists) as typeof lists).spec.settings).toEqual({
    ...{ apiKeys: ["[redacted]", ["[redacted]"]], tokens: [{ id: "a", token: "[redacted]" }] },
    ...{ hashes: [7], key: ["path"] },
  });
  const { before, after } = redactChange({ before: resource("K1", "P1"), after: resource("K2", "P2") });
  expect(JSON.stringify(before)).not.toMatch(/K1|P1|PW|changed/);
  expect(JSON.stringify(after)).not.toMatch(/K2|P2|PW/);
  expect(after?.spec.settings.apiKey).toBe("[redacted, changed]");
  expect(after?.spec.tls.key.inline).toBe("[redacted, changed]");
  expect(after?.spec.settings.users[0]?.password).toBe("[redacted]");
  expect(redactChange({ after: resource("K2", "P2") }).after.spec.settings.apiKey).toBe("[redacted]");
});
