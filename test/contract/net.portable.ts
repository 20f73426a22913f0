import assert from "node:assert/strict";
import { MemoryNet } from "../../src/runtime/memory.ts";
import type { Net } from "../../src/runtime/net.ts";
import { nodeNet } from "../../src/runtime/node.ts";
import { describe, IS_BUN, test } from "../kit/suite.ts";
import type { Case } from "./net-kit.ts";
import { LISTEN_CASES } from "./net-listen.ts";
import { PLAIN_CASES } from "./net-plain.ts";
import { TLS_SERVER_CASES } from "./net-tls.ts";
import { TLS_CIPHER_CASES } from "./net-tls-ciphers.ts";
import { TLS_CLIENT_CASES } from "./net-tls-client.ts";
import { TLS_PLAIN_CASES } from "./net-tls-plain.ts";
import { TLS_SESSION_CASES } from "./net-tls-sessions.ts";
import { TOGETHER_CASES } from "./net-together.ts";

/** Why an adapter cannot do a case, by its name. As short as possible. */
type Skips = Readonly<Record<string, string>>;

interface Adapter {
  readonly net: () => Net;
  readonly kernel: boolean;
  readonly cases: readonly Case[];
  readonly skips: Skips;
}

const ALL = [
  ...PLAIN_CASES,
  ...TOGETHER_CASES,
  ...LISTEN_CASES,
  ...TLS_SERVER_CASES,
  ...TLS_CIPHER_CASES,
  ...TLS_PLAIN_CASES,
  ...TLS_CLIENT_CASES,
  ...TLS_SESSION_CASES,
];

const DENO_SKIPS: Skips = {
  "TLS: who pauses can still write": "Deno's TLS streams do not write while nobody reads from them",
};

const ADAPTERS: Readonly<Record<string, Adapter>> = {
  ...(IS_BUN ? { bun: { net: await bunAdapter(), kernel: true, cases: ALL, skips: {} } } : {}),
  node: { net: () => nodeNet, kernel: true, cases: ALL, skips: IS_BUN ? {} : DENO_SKIPS },
  memory: { net: () => new MemoryNet(), kernel: false, cases: [...PLAIN_CASES, ...TOGETHER_CASES, ...LISTEN_CASES], skips: {} },
};

async function bunAdapter(): Promise<() => Net> {
  const { bunNet } = await import("../../src/runtime/bun.ts");
  return () => bunNet;
}

for (const [name, adapter] of Object.entries(ADAPTERS)) {
  describe(`Net contract: ${name}`, () => {
    for (const each of adapter.cases) {
      if (each.name in adapter.skips) continue;
      test(each.name, () => each.run({ net: adapter.net(), kernel: adapter.kernel }), 20_000);
    }
    test("every skipped case exists", () => {
      const names = adapter.cases.map((each) => each.name);
      for (const skipped of Object.keys(adapter.skips)) assert.ok(names.includes(skipped), skipped);
    });
  });
}
