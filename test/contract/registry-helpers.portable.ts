/** Credential helpers of Docker: real programs, also ones that fail, say too much, or never end. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { IDENTITY_TOKEN } from "../../src/config/oci/credentials.ts";
import { OCI_LIMITS } from "../../src/core/limits.ts";
import { PASSWORD, pullFrom, refuses, settingsOf, useRegistries, WASM } from "../kit/pulls.ts";
import { digestOf } from "../kit/registry.ts";
import { newFolder } from "../kit/selvedge.ts";
import { afterAll, beforeEach, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const on = useRegistries();
const folder = newFolder();
afterAll(() => folder.remove());

const LOG = join(folder.path, "asked");
const BASIC = `Basic ${Buffer.from(`joe:${PASSWORD}`).toString("base64")}`;
const answerOf = (user: string, secret: string): string => JSON.stringify({ ServerURL: "x", Username: user, Secret: secret });

/** Writes down what it was asked, then does what `script` says. */
function helper(name: string, script: string): void {
  // Standard input has no end of line: then `read` says that it failed.
  const text = `#!/bin/sh\nread -r server\necho "$* $server [$SELVEDGE_SECRET$OTHER]" >>'${LOG}'\n${script}\n`;
  writeFileSync(join(folder.path, `docker-credential-${name}`), text, { mode: 0o755 });
}
const printing = (text: string, exit = 0): string => `printf '%s' '${text}'\nexit ${exit}`;
const asked = (): string[] => (existsSync(LOG) ? readFileSync(LOG, "utf8").trim().split("\n") : []);

const env = { PATH: folder.path, SELVEDGE_SECRET: "ours", OTHER: "theirs" };
const pull = (docker: object, user = false) => on.pull("acme/geo:1", { docker, env, user });

describe("credential helpers", () => {
  beforeEach(() => {
    rmSync(LOG, { force: true });
    on.tagged("acme/geo:1", on.layerOf(WASM));
    on.registry.guard = { wanted: BASIC, challenge: 'Basic realm="registry"' };
  });

  test("are asked for the registry once it wants credentials; settings of ours are not in their environment", async () => {
    const { host } = on.registry;
    helper("one", printing(answerOf("joe", PASSWORD)));
    helper("other", printing(answerOf("joe", "of others")));
    const docker = { credsStore: "other", credHelpers: { [host]: "one" }, auths: { [host]: {} } };
    assert.equal((await pull(docker)).digest, digestOf(WASM));
    assert.deepEqual(asked(), [`get ${host} [theirs]`]);
    assert.equal((await pull({ credsStore: "one" })).digest, digestOf(WASM));
    assert.equal(asked().length, 2);
    // Those that are named count more, and who is not asked for credentials asks no program.
    await pull(docker, true);
    on.registry.guard = undefined;
    await pull(docker);
    assert.equal(asked().length, 2);
  });

  test("that have none leave it to the file; Docker's own registry has its old name there", async () => {
    const auths = { [on.registry.host]: { username: "joe", password: PASSWORD } };
    for (const nothing of [printing("credentials not found in native keychain\n", 1), printing(answerOf("", ""))]) {
      helper("empty", nothing);
      assert.equal((await pull({ credsStore: "empty", auths })).digest, digestOf(WASM));
      await refuses(pull({ credsStore: "empty" }), /^registry_unauthorized: .* wants credentials for acme\/geo$/);
    }
    const { credentials } = settingsOf("", { docker: { credsStore: "empty" }, env });
    assert.equal(await credentials.of("docker.io", new AbortController().signal), undefined);
    assert.equal(asked().at(-1), "get https://index.docker.io/v1/ [theirs]");
  });

  test("that fail refuse the pull, whatever the file has, and nothing that they print is told", async () => {
    const auths = { [on.registry.host]: { username: "joe", password: PASSWORD } };
    const refused = (script: string, pattern: RegExp): Promise<void> => {
      helper("bad", script);
      return refuses(pull({ credsStore: "bad", auths }), pattern);
    };
    await refused(printing(PASSWORD, 1), /^registry_unauthorized: docker-credential-bad ended with 1$/);
    await refused("kill -9 $$", /^registry_unauthorized: docker-credential-bad ended with a signal$/);
    for (const text of [PASSWORD, "", "null", '{"Username":"joe"}', answerOf("joe:x", PASSWORD), `["${PASSWORD}"]`])
      await refused(printing(text), /^registry_unauthorized: docker-credential-bad gave no user and password$/);
    for (const name of ["absent", "../bad", "/bin/sh", "a b", "-x", "bad;id", "x".repeat(65)])
      await refuses(
        pull({ credsStore: name, auths }),
        /^registry_unauthorized: (?:docker-credential-absent cannot be run|.* a name)/,
      );
  });

  test("may print so much, and a byte more is too much", async () => {
    const answer = answerOf("joe", PASSWORD);
    const padded = (bytes: number): string => `printf '%-${bytes}s' '${answer}'`;
    helper("long", padded(OCI_LIMITS.helperBytes));
    assert.equal((await pull({ credsStore: "long" })).digest, digestOf(WASM));
    helper("long", padded(OCI_LIMITS.helperBytes + 1));
    await refuses(pull({ credsStore: "long" }), /^registry_unauthorized: docker-credential-long says too much$/);
  });

  test("that do not end are ended with the pull, and what they started as well", async () => {
    helper("slow", `/bin/sleep 600 &\necho $! >'${LOG}'\nwait`);
    const end = new AbortController();
    const { credentials } = settingsOf("", { docker: { credsStore: "slow" }, env });
    const work = refuses(credentials.of("reg.test", end.signal), /^registry_unauthorized: docker-credential-slow did not answer/);
    const child = (): number => Number(asked().at(-1));
    await until(() => child() > 0);
    end.abort();
    await work;
    await until(() => !isRunning(child()));
    await refuses(credentials.of("reg.test", end.signal), /did not answer in time$/);
  });

  test("an identity token is exchanged at the token service, and never stands in a URL or goes to the registry", async () => {
    helper("identity", printing(answerOf(IDENTITY_TOKEN, PASSWORD)));
    on.registry.guard = { wanted: "Bearer t.2", challenge: `Bearer realm="http://${on.other.host}/token",service="reg"` };
    let form = "";
    on.other.instead.set("/token", (request, response) => {
      request.setEncoding("utf8").on("data", (text: string) => {
        form += text;
      });
      request.on("end", () => response.end('{"access_token":"t.2"}'));
    });
    assert.equal((await pull({ credsStore: "identity" })).digest, digestOf(WASM));
    assert.deepEqual(Object.fromEntries(new URLSearchParams(form)), {
      ...{ grant_type: "refresh_token", client_id: "selvedge", refresh_token: PASSWORD },
      ...{ service: "reg", scope: "repository:acme/geo:pull" },
    });
    assert.deepEqual(
      on.other.asked.map(({ method, authorization }) => `${method} ${authorization}`),
      ["POST undefined"],
    );
    assert.ok(on.registry.asked.every(({ authorization }) => authorization === undefined || authorization === "Bearer t.2"));
    on.registry.guard = { wanted: BASIC, challenge: "Basic" };
    await refuses(pull({ credsStore: "identity" }), /^registry_unauthorized/);
    await refuses(pullFrom(on.registry.host, "acme/geo:1", {}), /^registry_unauthorized/);
  });
});

/** A zombie that nobody collected is none. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
