// What people see of a configuration has no secrets, unless they ask: `get`, `diff`, `history`.
import { expect, test } from "bun:test";
import { join } from "node:path";
import { testAuthority } from "../../../test/kit/certs.ts";
import { inFolder, runInFolder } from "../../../test/kit/command-line.ts";
import { serveControlApi } from "../../../test/kit/control-api.ts";
import { METADATA_SECTION } from "../../config/module-summary.ts";
import type { Json } from "../../config/parse.ts";
import { redactSnapshot } from "../../config/sections.ts";
import { appendCustomSection } from "../../config/wasm-sections.ts";
import { answerQuery, readQuery } from "../../control/inbox/query.ts";
import { utf8Bytes } from "../../core/bytes.ts";

test("get, diff and history show no private key, unless --show-secrets; that it changes is shown", async () => {
  const authority = await testAuthority();
  const gateway = async (name: string): Promise<{ text: string; key: string }> => {
    const { certificatePem, keyPem } = await authority.issue({ dns: [name] });
    const tls = { certificates: [{ certificate: { inline: certificatePem }, key: { inline: keyPem } }] };
    const spec = { listeners: [{ port: 443, protocol: "HTTPS", tls }] };
    const text = JSON.stringify({ apiVersion: "selvedge.dev/v1", kind: "Gateway", metadata: { name: "edge" }, spec });
    return { text, key: keyPem.split("\n")[2] ?? "" };
  };
  const [former, next] = [await gateway("a.test"), await gateway("b.test")];
  const { plane, url, stop } = await serveControlApi();
  try {
    expect(await plane.apply({ text: former.text, author: "t", origin: "api" })).toMatchObject({ ok: true });
    await inFolder({ "next.json": next.text }, async (folder) => {
      const file = join(folder, "next.json");
      const run = async (...argv: string[]): Promise<string> => {
        const { exit, out, error } = await runInFolder(folder, [...argv, "--server", url]);
        expect([argv, exit, error]).toEqual([argv, 0, ""]);
        return out;
      };
      const commands = [
        ["get", "Gateway/edge"],
        ["diff", "-f", file],
        ["diff", "-f", file, "--json"],
        ["history", "--json"],
        ["history", "1"],
      ];
      for (const argv of commands) {
        const shown = await run(...argv);
        expect(shown).toContain("[redacted");
        expect(shown).not.toContain(former.key);
        expect(shown).not.toContain(next.key);
        expect(await run(...argv, "--show-secrets")).toContain(former.key);
      }
      expect(await run("diff", "-f", file)).toContain("[redacted, changed]");
      expect(await plane.apply({ text: next.text, author: "t", origin: "api" })).toMatchObject({ ok: true });
      for (const argv of [
        ["diff", "--from", "1"],
        ["diff", "--from", "2", "--to", "1", "--json"],
      ]) {
        const shown = await run(...argv);
        expect(shown).toContain("[redacted, changed]");
        expect(shown).not.toContain(former.key);
        expect(await run(...argv, "--show-secrets")).toContain(former.key);
      }
    });
  } finally {
    await stop();
  }
});

test("what a module's schema calls secret: hidden by the API, over NATS and in dumps, unless asked for; what was hidden is not written back", async () => {
  const { plane, url, stop } = await serveControlApi();
  const schema = { type: "object", properties: { pin: { type: "string", writeOnly: true } } };
  const metadata = utf8Bytes(JSON.stringify({ name: "f", settings: schema }));
  const wasm = appendCustomSection(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0), METADATA_SECTION, metadata);
  const filter = (digest: string, pin: string) =>
    JSON.stringify({
      ...{ apiVersion: "selvedge.dev/v1", kind: "Filter", metadata: { name: "a" } },
      spec: { module: { digest }, settings: { pin, mode: "open", key: [pin, "clientIp"], keys: { k1: pin } } },
    });
  const ask = async (path: string, init: RequestInit = {}): Promise<{ status: number; text: string }> => {
    const response = await fetch(`${url}/api/v1/${path}`, init);
    return { status: response.status, text: await response.text() };
  };
  const hides = (text: string): void => {
    expect(text).toContain("[redacted");
    expect(text).toContain("open");
    expect(text).toContain("clientIp");
    expect(text).not.toMatch(/PIN-[12]/);
  };
  try {
    const digest = await plane.putModule(wasm);
    let dump = "";
    const source = plane.bus?.source("edge-1");
    await source?.start((update) => {
      dump = JSON.stringify(redactSnapshot(update.snapshot));
    });
    expect(await plane.apply({ text: filter(digest, "PIN-1"), author: "t", origin: "api" })).toMatchObject({ ok: true });
    const one = "resources/Filter/default/a";
    const dryRun = { method: "POST", body: filter(digest, "PIN-2") };
    for (const [path, init] of [[one], ["resources"], ["history"], ["apply?dryRun=true", dryRun]] as const) {
      hides((await ask(path, init)).text);
      expect((await ask(`${path}${path.includes("?") ? "&" : "?"}secrets=true`, init)).text).toContain("PIN-1");
    }
    expect((await ask("apply?dryRun=true", dryRun)).text).toContain("[redacted, changed]");
    for (const question of [{ kind: "Filter" }, { query: "history" }]) {
      const answered = (more: object) =>
        answerQuery(plane, readQuery(JSON.stringify({ ...question, ...more })), { name: "", mayRead: () => true });
      hides(await answered({}));
      expect(await answered({ secrets: true })).toContain("PIN-1");
      expect(
        await answerQuery(plane, readQuery(JSON.stringify({ ...question, secrets: true })), { name: "", mayRead: () => false }),
      ).not.toContain("PIN-1");
    }
    hides(dump.replaceAll("\\", ""));
    // Back as it was shown: refused. As it was asked for: nothing changes.
    const written = async (query: string) => JSON.stringify(JSON.parse((await ask(one + query)).text).written);
    const refused = await ask(one, { method: "PUT", body: await written("") });
    const codes = JSON.parse(refused.text).issues.map((each: { code: string }) => each.code);
    expect([refused.status, ...codes]).toEqual([422, ...Array(3).fill("redacted_secret")]);
    const same = await ask(one, { method: "PUT", body: await written("?secrets=true") });
    expect([same.status, JSON.parse(same.text).changes]).toEqual([200, []]);
    // Commands that change one field of it keep the rest.
    await inFolder({}, async (folder) => {
      expect((await runInFolder(folder, ["filter", "disable", "a", "--server", url])).exit).toBe(0);
    });
    expect(await written("?secrets=true")).toContain('"pin":"PIN-1"');
    const backup = (await ask("backup")).text;
    expect(backup).toContain("PIN-1");
    expect((await ask(one, { method: "DELETE" })).status).toBe(200);
    expect((await ask("restore", { method: "POST", body: backup })).status).toBe(200);
    expect(await written("?secrets=true")).toContain('"disabled":true');
    expect(await written("?secrets=true")).toContain('"pin":"PIN-1"');
    // Its module is gone: nobody can say what is secret.
    const [gone] = await plane.redact([{ after: JSON.parse(filter(digest.replace(/.$/, "x"), "PIN-1")) as Json }]);
    expect(gone?.after).toMatchObject({ spec: { settings: "[redacted]" } });
    await source?.stop();
  } finally {
    await stop();
  }
});
