/** Filters from an OCI registry, end to end: the real control plane and proxy over a real nats-server. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EXIT } from "../../src/cli/command.ts";
import { sha256Digest } from "../../src/config/canonical.ts";
import { type Ran, runInFolder } from "../kit/command-line.ts";
import { type NatsServer, startNats } from "../kit/nats.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort } from "../kit/ports.ts";
import { startRegistry, type TestRegistry } from "../kit/registry.ts";
import { newFolder, type RunningProgram, startSelvedge, until } from "../kit/selvedge.ts";
import { answering } from "../kit/wasm.ts";

setDefaultTimeout(TEST_MS);

const PASSWORD = "much:secret";
const BASIC = Buffer.from(`joe:${PASSWORD}`).toString("base64");

let nats: NatsServer;
let registry: TestRegistry;
let control: RunningProgram;
let proxy: RunningProgram;
let server: string;
let port: number;
const folder = newFolder();
const env = { DOCKER_CONFIG: join(folder.path, "docker") };
const selvedge = (...argv: string[]): Promise<Ran> => runInFolder(folder.path, argv, env);

const filterOf = (module: string): string => `apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: guest }
spec:
  module: ${module}
`;
const rest = (): string => `---
apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: edge }
spec: { listeners: [{ address: 127.0.0.1, port: ${port} }] }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec: { rules: [{ filters: [guest], respond: { status: 200, body: unfiltered } }] }
`;
const apply = (text: string, ...flags: string[]): Promise<Ran> => {
  writeFileSync(join(folder.path, "all.yaml"), text);
  return selvedge("apply", "-f", join(folder.path, "all.yaml"), "--server", server, ...(flags.length > 0 ? flags : ["--wait"]));
};
const served = async (): Promise<number> => (await fetch(`http://127.0.0.1:${port}/`)).status;
const push = async (name: string, wasm: Uint8Array): Promise<{ digest: string; manifestDigest: string }> => {
  writeFileSync(join(folder.path, "guest.wasm"), wasm);
  const ran = await selvedge("filter", "push", "guest.wasm", "--oci", `${registry.host}/${name}`, "--json");
  expect([ran.exit, ran.error]).toEqual([EXIT.ok, ""]);
  return JSON.parse(ran.out) as { digest: string; manifestDigest: string };
};
const shown = async (): Promise<string> => (await selvedge("get", "Filter/guest", "--server", server)).out;

beforeAll(async () => {
  registry = await startRegistry();
  registry.guard = { wanted: `Basic ${BASIC}`, challenge: 'Basic realm="test"' };
  mkdirSync(env.DOCKER_CONFIG);
  writeFileSync(join(env.DOCKER_CONFIG, "config.json"), JSON.stringify({ auths: { [registry.host]: { auth: BASIC } } }));
  nats = await startNats();
  const listen = `127.0.0.1:${await freePort()}`;
  server = `http://${listen}`;
  port = await freePort();
  control = startSelvedge(["control", "--nats", nats.url, "--listen", listen], env);
  await until(async () => (await fetch(`${server}/readyz`).catch(() => undefined))?.status === 200);
  proxy = startSelvedge(["proxy", "--nats", nats.url, "--id", "one", "--mode", "sidecar", "--admin", "off"]);
  await until(async () => (await selvedge("status", "--json", "--server", server)).out.includes('"id": "one"'));
});
afterAll(async () => {
  for (const each of [proxy, control]) each.child.kill("SIGKILL");
  await Promise.all([proxy.finished, control.finished]);
  await nats.stop();
  await registry.stop();
  folder.remove();
});

test("pushed, pulled by an apply, pinned, served; a tag that moves; a registry that is gone; rollback", async () => {
  const [red, blue] = [answering(418), answering(451)];
  const first = await push("acme/guest:1", red);
  expect(first.digest).toBe(sha256Digest(red));
  const byTag = `{ oci: "${registry.host}/acme/guest:1" }`;
  const applied = await apply(filterOf(byTag) + rest());
  expect([applied.exit, applied.error]).toEqual([EXIT.ok, ""]);
  expect(await served()).toBe(418);
  expect(await shown()).toContain(first.digest);

  // Nothing moved, nothing changes; the tag moves, and only the next apply follows it.
  expect((await apply(filterOf(byTag))).out).toContain("nothing changed");
  const second = await push("acme/guest:1", blue);
  expect(await served()).toBe(418);
  const diff = await selvedge("diff", "-f", join(folder.path, "all.yaml"), "--server", server);
  expect(diff.out).toContain(second.digest);
  expect(await served()).toBe(418);
  expect((await apply(filterOf(byTag))).exit).toBe(EXIT.ok);
  expect(await served()).toBe(451);

  // By the digest of its manifest, over NATS.
  const byManifest = `{ oci: "oci://${registry.host}/acme/guest@${first.manifestDigest}" }`;
  writeFileSync(join(folder.path, "all.yaml"), filterOf(byManifest));
  expect((await selvedge("apply", "-f", join(folder.path, "all.yaml"), "--nats", nats.url, "--wait")).error).toBe("");
  expect(await served()).toBe(418);

  // Whose digest is written and stored needs no registry; whose is not cannot be had.
  registry.guard = { wanted: "Basic other", challenge: "Basic" };
  const asked = registry.asked.length;
  const pinned = `{ oci: "${registry.host}/acme/guest:1", digest: "${second.digest}" }`;
  expect((await apply(filterOf(pinned))).error).toBe("");
  expect(await served()).toBe(451);
  expect(registry.asked.length).toBe(asked);
  const refused = await apply(filterOf(byTag));
  expect(refused.exit).toBe(EXIT.failed);
  expect(refused.error).toMatch(
    /all\.yaml:5:18 registry_unauthorized Filter default\/guest spec\.module\.oci: .* wants other credentials/,
  );
  expect(await served()).toBe(451);

  const history = await selvedge("history", "--json", "--server", server);
  const revisions = [...history.out.matchAll(/"revision": (\d+)/g)].map((match) => Number(match[1]));
  expect((await selvedge("rollback", String(Math.min(...revisions)), "--wait", "--server", server)).error).toBe("");
  expect(await served()).toBe(418);

  // Nowhere did anybody say the password.
  const dump = await (await fetch(`${server}/api/v1/backup`)).text();
  for (const text of [control.out(), control.error(), proxy.error(), dump, history.out, refused.error])
    for (const secret of [PASSWORD, BASIC]) expect(text).not.toContain(secret);
});

test("what is wrong is told with all else that is wrong; a module that the mesh wants signed is refused", async () => {
  registry.guard = undefined;
  await push("acme/guest:1", answering(418));
  const module = (name: string): string => `{ oci: "${registry.host}/${name}" }`;
  const both = await apply(
    `${filterOf(module("acme/none:1"))}  isolated: perhaps\n---\n${filterOf(module("acme/none:2")).replace("guest", "other")}`,
  );
  expect(both.error).toContain("wrong_type Filter default/guest spec.isolated");
  expect(both.error).toMatch(/all\.yaml:12:18 artifact_not_found Filter default\/other spec\.module\.oci/);
  const mesh = `---
apiVersion: selvedge.dev/v1
kind: Mesh
metadata: { name: mesh }
spec: { filters: { requireSignature: true, trustedKeys: ["ed25519:${Buffer.alloc(32, 7).toString("base64")}"] } }
`;
  const unsigned = await apply(filterOf(module("acme/guest:1")) + mesh);
  expect(unsigned.error).toContain("unsigned_module Filter default/guest spec.module.oci");
});

test("a proxy with files pulls itself; validate does, too", async () => {
  registry.guard = undefined;
  await push("acme/alone:1", answering(418));
  const own = await freePort();
  const text = (filterOf(`{ oci: "${registry.host}/acme/alone:1" }`) + rest()).replace(`port: ${port}`, `port: ${own}`);
  const path = join(folder.path, "alone.yaml");
  writeFileSync(path, text);
  expect((await selvedge("validate", "-f", path)).out).toContain("3 resources are valid");
  const alone = startSelvedge(["proxy", "-f", path, "--mode", "sidecar", "--admin", "off"]);
  try {
    await until(async () => (await fetch(`http://127.0.0.1:${own}/`).catch(() => undefined))?.status === 418);
    registry.manifests.clear();
    expect((await selvedge("validate", "-f", path)).error).toContain("artifact_not_found");
    // Read again while the registry has it no more: what served goes on.
    writeFileSync(path, text.replace("unfiltered", "other"));
    await alone.saw("artifact_not_found");
    expect((await fetch(`http://127.0.0.1:${own}/`)).status).toBe(418);
  } finally {
    alone.child.kill("SIGKILL");
    await alone.finished;
  }
});
