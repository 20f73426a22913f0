/** Modules that are pushed, signed and refused: the real control plane and proxies over a real nats-server. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createProxy } from "../../src/app/create-proxy.ts";
import { ownCounters } from "../../src/app/filters.ts";
import { EXIT } from "../../src/cli/command.ts";
import { sha256Digest } from "../../src/config/canonical.ts";
import { formatTrustedKey, readSigningKey, signModule } from "../../src/config/module-signature.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { appendCustomSection } from "../../src/config/wasm-sections.ts";
import { NatsObjects } from "../../src/control/nats/objects.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { ANY_PLACE } from "../../src/proxy/observe/log-place.ts";
import { inFolder, type Ran, runInFolder } from "../kit/command-line.ts";
import { type NatsServer, startNats } from "../kit/nats.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort } from "../kit/ports.ts";
import { newFolder, type RunningProgram, startSelvedge, until } from "../kit/selvedge.ts";
import { filterOf, listenerOf, routeOf, ruleOf, snapshotOf } from "../kit/snapshot.ts";
import { ModuleBuilder, op } from "../kit/wasm.ts";

setDefaultTimeout(TEST_MS);

/** A filter that lets everything pass. */
function guest(): Uint8Array {
  const builder = new ModuleBuilder().memory(1);
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  builder.func("malloc", ["i32"], ["i32"], op.i32(1024));
  builder.func("proxy_on_request_headers", ["i32", "i32", "i32"], ["i32"], op.i32(0));
  return appendCustomSection(builder.build(), "selvedge.filter", Buffer.from('{"name":"guest","version":"1.2.3"}'));
}
const newPem = (): string => generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();

describe("over NATS", () => {
  let nats: NatsServer;
  let control: RunningProgram;
  let proxy: RunningProgram;
  let server: string;
  let port: number;
  const folder = newFolder();
  const selvedge = (...argv: string[]): Promise<Ran> => runInFolder(folder.path, argv);
  const push = async (file: string, ...flags: string[]): Promise<string> => {
    const { exit, out, error } = await selvedge(
      "filter",
      "push",
      file,
      "--json",
      ...(flags.length > 0 ? flags : ["--server", server]),
    );
    expect([exit, error]).toEqual([EXIT.ok, ""]);
    return (JSON.parse(out) as { digest: string }).digest;
  };
  const applyText = (text: string): Promise<Ran> => {
    writeFileSync(join(folder.path, "all.yaml"), text);
    return selvedge("apply", "-f", join(folder.path, "all.yaml"), "--wait", "--server", server);
  };
  const meshOf = (trusted: string): string => `apiVersion: selvedge.dev/v1
kind: Mesh
metadata: { name: mesh }
spec: { filters: { requireSignature: true, trustedKeys: ["${trusted}"] } }
---
`;
  const servedBy = (digest: string): string => `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: edge }
spec: { listeners: [{ address: 127.0.0.1, port: ${port} }] }
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: guest }
spec: { module: { digest: "${digest}" } }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec: { rules: [{ filters: [guest], respond: { status: 200, body: served } }] }
`;
  const apply = (digest: string, trusted: string): Promise<Ran> => applyText(meshOf(trusted) + servedBy(digest));

  beforeAll(async () => {
    nats = await startNats();
    const listen = `127.0.0.1:${await freePort()}`;
    server = `http://${listen}`;
    port = await freePort();
    control = startSelvedge(["control", "--nats", nats.url, "--listen", listen]);
    await until(async () => (await fetch(`${server}/readyz`).catch(() => undefined))?.status === 200);
    proxy = startSelvedge(["proxy", "--nats", nats.url, "--id", "one", "--mode", "sidecar", "--admin", "off"]);
    await until(async () => (await selvedge("status", "--json", "--server", server)).out.includes('"id": "one"'));
    writeFileSync(join(folder.path, "plain.wasm"), guest());
  });
  afterAll(async () => {
    for (const each of [proxy, control]) each.child.kill("SIGKILL");
    await Promise.all([proxy.finished, control.finished]);
    await nats.stop();
    folder.remove();
  });

  test("unsigned and strangers' modules are refused, signed ones serve; what was pushed is listed", async () => {
    const made = await selvedge("filter", "sign", "--new-key", "--key", "signer.pem", "--json");
    const { trustedKey } = JSON.parse(made.out) as { trustedKey: string };
    expect((await selvedge("filter", "sign", "--new-key", "--key", "signer.pem")).error).toContain("is there already");

    const plain = await push("plain.wasm");
    // Without the setting it serves; then the setting alone is refused, because of the filter that is there.
    expect((await applyText(servedBy(plain))).error).toBe("");
    const later = await applyText(meshOf(trustedKey));
    expect(later.error).toContain("unsigned_module Filter default/guest");
    const unsigned = await apply(plain, trustedKey);
    expect(unsigned.exit).toBe(EXIT.failed);
    expect(unsigned.error).toContain("unsigned_module Filter default/guest spec.module.digest");
    expect(unsigned.error).toContain("it is not signed");

    writeFileSync(join(folder.path, "stranger.pem"), newPem());
    await selvedge("filter", "sign", "plain.wasm", "--key", "stranger.pem", "-o", "stranger.wasm");
    const strange = await apply(await push("stranger.wasm", "--nats", nats.url), trustedKey);
    expect(strange.error).toContain("which is not trusted");

    const signed = await selvedge("filter", "sign", "plain.wasm", "--key", "signer.pem", "-o", "good.wasm");
    expect(signed.out).toContain(`trusted key: ${trustedKey}`);
    const altered = readFileSync(join(folder.path, "good.wasm"));
    altered[altered.indexOf("1.2.3")] = 0x39;
    writeFileSync(join(folder.path, "altered.wasm"), altered);
    expect((await apply(await push("altered.wasm"), trustedKey)).error).toContain("it was altered after it was signed");
    const mismatch = `carries a signature of ${trustedKey} that does not verify (signature_mismatch)`;
    const said = await selvedge("filter", "push", "altered.wasm", "--server", server);
    expect([said.exit, said.out.includes(mismatch), said.out.includes("not signed")]).toEqual([EXIT.ok, true, false]);
    for (const [file, line] of [
      ["plain.wasm", "not signed"],
      ["good.wasm", `signed by ${trustedKey}`],
      ["altered.wasm", mismatch],
    ] as const)
      expect((await selvedge("filter", "inspect", file)).out).toContain(`signatures  ${line}`);
    expect(JSON.parse((await selvedge("filter", "inspect", "altered.wasm", "--json")).out)).toMatchObject({
      signers: [],
      badSignatures: [{ code: "signature_mismatch", key: trustedKey }],
    });

    const good = await push("good.wasm");
    const served = await apply(good, trustedKey);
    expect([served.exit, served.error]).toEqual([EXIT.ok, ""]);
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("served");
    // The key is taken away: what runs by it is refused from then on.
    writeFileSync(join(folder.path, "other.pem"), newPem());
    const other = formatTrustedKey(readSigningKey(readFileSync(join(folder.path, "other.pem"), "utf8")).publicKey);
    expect((await applyText(meshOf(other))).error).toContain("which is not trusted");

    const overHttp = JSON.parse((await selvedge("filter", "list", "--json", "--server", server)).out) as {
      modules: { digest: string; name: string; version: string; signers: string[]; filters: string[] }[];
    };
    const row = overHttp.modules.find(({ digest }) => digest === good);
    expect(row).toMatchObject({ name: "guest", version: "1.2.3", signers: [trustedKey], filters: ["Filter/guest"] });
    const bad = { code: "signature_mismatch", key: trustedKey };
    expect(overHttp.modules.find(({ version }) => version === "9.2.3")).toMatchObject({ signers: [], badSignatures: [bad] });
    expect((await selvedge("filter", "list", "--server", server)).out).toContain(`${trustedKey} (signature_mismatch)`);
    const overNats = await selvedge("filter", "list", "--json", "--nats", nats.url);
    expect(JSON.parse(overNats.out)).toEqual(overHttp);
  });

  test("an object that was exchanged in the store never runs: the proxy that has to fetch it says why", async () => {
    const { modules } = JSON.parse((await selvedge("filter", "list", "--json", "--server", server)).out) as {
      modules: { digest: string; filters: string[] }[];
    };
    const digest = modules.find(({ filters }) => filters.length > 0)?.digest ?? "";
    const connection = await connectNats({ servers: [nats.url] }, "thief");
    const { jetstreamManager } = await import("@nats-io/jetstream");
    const objects = new NatsObjects(connection, await jetstreamManager(connection), 1);
    await objects.open();
    await objects.putModule(digest, signModule(guest(), newPem()));
    await connection.close();
    const late = startSelvedge(["proxy", "--nats", nats.url, "--id", "late", "--mode", "sidecar", "--admin", "off"]);
    try {
      await late.saw(`module ${digest} was altered`);
      // And the control plane knows: whoever asks it need not read that proxy's log.
      let shown = "";
      await until(async () => {
        shown = (await selvedge("status", "--server", server)).out;
        return shown.includes("snapshot_missing");
      });
      expect(shown).toMatch(new RegExp(`late +snapshot_missing.* +revision \\d+ +.*${digest} was altered`));
      // Who waits is told, instead of waiting for what will not come.
      const waited = await selvedge("status", "--server", server, "--wait", "--timeout", "120");
      expect([waited.exit, waited.error]).toEqual([EXIT.failed, expect.stringMatching(/late refused it\n.*snapshot_missing/)]);
      expect(waited.error).toContain(`${digest} was altered`);
    } finally {
      late.child.kill("SIGKILL");
      await late.finished;
    }
    // Who had it before goes on.
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("served");
  });
});

test("a proxy looks itself: a snapshot with an unsigned module is refused, what served goes on, built-ins need no signature", async () => {
  const pem = newPem();
  const filterKeys = [formatTrustedKey(readSigningKey(pem).publicKey)];
  const tools = { clock: new SystemClock(), log: SILENT_LOG, counters: ownCounters(), reusePort: false, logPlaces: ANY_PLACE };
  const { proxy } = await createProxy(tools);
  const rule = ruleOf({ action: { kind: "respond", status: 200, headers: [], body: "" }, filters: ["default/guest"] });
  const apply = (wasm: Uint8Array, origin = "guest.wasm") => {
    const digest = sha256Digest(wasm);
    const { mesh, ...rest } = snapshotOf({
      listeners: [listenerOf()],
      routes: [routeOf("all", [rule])],
      filters: [filterOf("guest", digest, { origin, settings: "{}" })],
    });
    const snapshot = { ...rest, mesh: { ...mesh, filterKeys } };
    return proxy.apply({ snapshot, modules: new Map([[digest, wasm]]), publishedAtMs: undefined });
  };
  try {
    expect(await apply(signModule(guest(), pem))).toEqual([]);
    const refused = await apply(guest());
    expect(refused.map(({ code, resource }) => [code, resource])).toEqual([["unsigned_module", "Filter default/guest"]]);
    expect(refused[0]?.message).toContain("it is not signed");
    const strange = await apply(signModule(guest(), newPem()));
    expect(strange[0]?.message).toContain("which is not trusted");
    const address = [...proxy.addresses.values()][0];
    expect((await fetch(`http://127.0.0.1:${address?.kind === "tcp" ? address.port : 0}/`)).status).toBe(200);
    expect(await apply(guest(), "builtin:guest")).toEqual([]);
  } finally {
    await proxy.stop();
  }
});

test("wrong keys, files and settings", async () => {
  await inFolder({ "a.wasm": guest(), "text.wasm": "hello", "bad.pem": "nonsense" }, async (folder) => {
    const said = async (...argv: string[]): Promise<string> => (await runInFolder(folder, argv)).error;
    expect(await said("filter", "sign", "a.wasm")).toContain("no key named");
    expect(await said("filter", "sign", "--key", "x.pem")).toContain("no module named");
    expect(await said("filter", "sign", "a.wasm", "--key", "none.pem")).toContain("there is no such file");
    expect(await said("filter", "sign", "a.wasm", "--key", "bad.pem")).toContain("--new-key, makes one");
    expect(await said("filter", "sign", "text.wasm", "--key", "bad.pem")).toContain("text.wasm: it is no WebAssembly");
    expect(await said("filter", "push", "text.wasm")).toContain("text.wasm: it is no WebAssembly");
    expect(await said("filter", "push", "none.wasm")).toContain("none.wasm: there is no such file");
    expect(await said("filter", "push", "a.wasm", "--server", "http://127.0.0.1:1")).toContain("no control plane answers");
    writeFileSync(
      join(folder, "m.yaml"),
      "apiVersion: selvedge.dev/v1\nkind: Mesh\nmetadata: { name: m }\nspec: { filters: { requireSignature: true } }\n",
    );
    expect(await said("validate", "-f", join(folder, "m.yaml"))).toContain("No key is trusted");
    writeFileSync(
      join(folder, "m.yaml"),
      "apiVersion: selvedge.dev/v1\nkind: Mesh\nmetadata: { name: m }\nspec: { filters: { trustedKeys: [abc] } }\n",
    );
    expect(await said("validate", "-f", join(folder, "m.yaml"))).toContain("bad_key");
  });
});
