/** A real OCI registry (Debian's docker-registry) over TLS: push and pull with Basic and with tokens of a service of its own, altered blobs, and an apply. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createPrivateKey } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { SignJWT } from "jose";
import { EXIT } from "../../src/cli/command.ts";
import { type TestCertificate, testAuthority } from "../kit/certs.ts";
import { type Ran, runInFolder } from "../kit/command-line.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort } from "../kit/ports.ts";
import { newFolder, type RunningProgram, startProgram, until } from "../kit/selvedge.ts";
import { answering } from "../kit/wasm.ts";

setDefaultTimeout(TEST_MS);

const PROGRAM = process.env.SELVEDGE_DOCKER_REGISTRY || "docker-registry";
const folder = newFolder();
const at = (name: string): string => join(folder.path, name);
const closers: (() => Promise<void>)[] = [];
let certificate: TestCertificate;

beforeAll(async () => {
  const authority = await testAuthority("Registry CA");
  certificate = await authority.issue({ ip: ["127.0.0.1"], dns: ["localhost"] });
  writeFileSync(at("ca.pem"), authority.certificatePem);
  writeFileSync(at("tls.pem"), certificate.certificatePem);
  writeFileSync(at("tls.key"), certificate.keyPem);
  writeFileSync(at("guest.wasm"), answering(418));
});
afterAll(async () => {
  for (const close of closers) await close();
  folder.remove();
});

/** Starts one; `auth` is that part of its configuration. Answers its host. */
async function startReal(name: string, auth: object): Promise<string> {
  const host = `127.0.0.1:${await freePort()}`;
  const config = {
    ...{ version: "0.1", log: { level: "warn" }, storage: { filesystem: { rootdirectory: at(name) } } },
    http: { addr: host, tls: { certificate: at("tls.pem"), key: at("tls.key") } },
    auth,
  };
  writeFileSync(at(`${name}.yml`), JSON.stringify(config));
  const running: RunningProgram = startProgram(PROGRAM, ["serve", at(`${name}.yml`)], {
    env: { ...process.env, OTEL_TRACES_EXPORTER: "none" },
  });
  closers.push(async () => {
    running.child.kill("SIGKILL");
    await running.finished;
  });
  const answers = (): Promise<boolean> =>
    fetch(`https://${host}/v2/`, { tls: { rejectUnauthorized: false } } as RequestInit).then(
      () => true,
      () => false,
    );
  await until(answers).catch(() => {
    throw new Error(`${PROGRAM} does not answer:\n${running.error()}`);
  });
  return host;
}

const selvedge = (host: string, user: string, ...argv: string[]): Promise<Ran> =>
  runInFolder(folder.path, argv, {
    HOME: folder.path,
    SELVEDGE_REGISTRY_CA: at("ca.pem"),
    SELVEDGE_REGISTRIES: `https://${host}`,
    ...(user === "" ? {} : { SELVEDGE_REGISTRY_CREDENTIALS: `${host}=${user}` }),
  });

async function pushAndPull(host: string): Promise<void> {
  const push = (user: string): Promise<Ran> =>
    selvedge(host, user, "filter", "push", "guest.wasm", "--oci", `${host}/acme/guest:1`, "--json");
  expect((await push("")).error).toContain("wants credentials for acme/guest");
  expect((await push("joe:wrong")).error).toContain("wants other credentials for acme/guest");
  const pushed = await push("joe:secret");
  expect([pushed.exit, pushed.error]).toEqual([EXIT.ok, ""]);
  expect((await push("joe:secret")).out).toBe(pushed.out);
  const { digest, manifestDigest } = JSON.parse(pushed.out) as { digest: string; manifestDigest: string };
  for (const version of [":1", `@${manifestDigest}`]) {
    const pulled = await selvedge(
      host,
      "joe:secret",
      "filter",
      "pull",
      `${host}/acme/guest${version}`,
      "-o",
      "back.wasm",
      "--json",
    );
    expect([pulled.exit, pulled.error]).toEqual([EXIT.ok, ""]);
    expect(JSON.parse(pulled.out)).toMatchObject({ digest, manifestDigest });
    expect(readFileSync(at("back.wasm"))).toEqual(readFileSync(at("guest.wasm")));
  }
  const absent = await selvedge(host, "joe:secret", "filter", "pull", `${host}/acme/guest:2`);
  expect([absent.exit, absent.error.includes("has no acme/guest 2")]).toEqual([EXIT.notFound, true]);
}

/** Credentials of a helper instead of our own setting. */
async function pullWithHelper(host: string): Promise<void> {
  const script = `#!/bin/sh\nread -r server\necho "{\\"Username\\":\\"joe\\",\\"Secret\\":\\"\${server#${host}}secret\\"}"\n`;
  writeFileSync(at("docker-credential-long"), script, { mode: 0o755 });
  mkdirSync(at("docker"));
  writeFileSync(at("docker/config.json"), JSON.stringify({ credHelpers: { [host]: "long" } }));
  const pulled = await runInFolder(folder.path, ["filter", "pull", `${host}/acme/guest:1`, "-o", "helped.wasm"], {
    HOME: folder.path,
    PATH: `${folder.path}:${process.env.PATH}`,
    DOCKER_CONFIG: at("docker"),
    SELVEDGE_REGISTRY_CA: at("ca.pem"),
    SELVEDGE_REGISTRIES: `https://${host}`,
  });
  expect([pulled.exit, pulled.error]).toEqual([EXIT.ok, ""]);
}

const filter = (host: string): string => `apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: guest }
spec: { module: { oci: "${host}/acme/guest:1" } }
`;

test("Basic credentials; a blob that was altered in its store", async () => {
  writeFileSync(at("htpasswd"), `joe:${await Bun.password.hash("secret", { algorithm: "bcrypt", cost: 4 })}\n`);
  const host = await startReal("basic", { htpasswd: { realm: "test", path: at("htpasswd") } });
  await pushAndPull(host);
  await pullWithHelper(host);
  writeFileSync(at("filter.yaml"), filter(host));
  expect((await selvedge(host, "joe:secret", "validate", "-f", at("filter.yaml"))).out).toContain("1 resource is valid");
  expect((await selvedge(host, "", "validate", "-f", at("filter.yaml"))).error).toContain(
    "filter.yaml:4:24 registry_unauthorized",
  );
  const guest = readFileSync(at("guest.wasm"));
  const stored = readdirSync(at("basic"), { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith("/data"));
  const blob = stored.find((path) => readFileSync(join(at("basic"), path)).equals(guest));
  guest[guest.byteLength - 1] = 0;
  writeFileSync(join(at("basic"), blob ?? ""), guest);
  expect((await selvedge(host, "joe:secret", "validate", "-f", at("filter.yaml"))).error).toContain(
    "filter.yaml:4:24 artifact_altered",
  );
});

test("tokens of a service beside it, for what is done and no more", async () => {
  const scopes: string[] = [];
  const key = createPrivateKey(certificate.keyPem);
  const tokens = createServer({ cert: certificate.certificatePem, key: certificate.keyPem }, (request, response) => {
    const { searchParams } = new URL(request.url ?? "", "https://tokens");
    const scope = searchParams.get("scope") ?? "";
    scopes.push(scope);
    if (request.headers.authorization !== `Basic ${Buffer.from("joe:secret").toString("base64")}`) {
      response.writeHead(401).end();
      return;
    }
    const [type = "", name = "", actions = ""] = scope.split(":");
    void new SignJWT({ access: [{ type, name, actions: actions.split(",") }] })
      .setProtectedHeader({ alg: "ES256", typ: "JWT", x5c: [Buffer.from(certificate.der).toString("base64")] })
      .setIssuer("tests")
      .setAudience(searchParams.get("service") ?? "")
      .setSubject("joe")
      .setJti("1")
      .setIssuedAt()
      .setNotBefore("-1 minute")
      .setExpirationTime("5 minutes")
      .sign(key)
      .then((token) => response.end(JSON.stringify({ token })));
  });
  await new Promise<void>((resolve) => tokens.listen(0, "127.0.0.1", resolve));
  closers.push(() => new Promise((resolve) => void tokens.close(() => resolve())));
  const realm = `https://127.0.0.1:${(tokens.address() as AddressInfo).port}/token`;
  const host = await startReal("token", { token: { realm, service: "reg", issuer: "tests", rootcertbundle: at("ca.pem") } });
  await pushAndPull(host);
  expect([...new Set(scopes)].sort()).toEqual(["repository:acme/guest:pull", "repository:acme/guest:pull,push"]);
});
