import { describe, expect, test } from "bun:test";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { EXIT, type Launchers } from "../command.ts";
import { runCommandLine } from "../run.ts";

const refuse = (): Promise<never> => Promise.reject(new Error("not here"));
const LAUNCHERS: Launchers = { proxy: refuse, control: refuse, up: refuse, createFilterTrial: refuse, createFilterHost: refuse };

async function run(args: readonly string[], stdin = ""): Promise<{ exit: number; out: string; error: string }> {
  let [out, error] = ["", ""];
  const terminal = {
    out: (text: string) => {
      out += text;
    },
    error: (text: string) => {
      error += text;
    },
    env: {},
    isTty: false,
    cwd: "/nonexistent",
    readStdin: async () => stdin,
  };
  const exit = await runCommandLine(["routes", ...args], terminal, LAUNCHERS);
  return { exit, out, error };
}

const CONFIG = `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: edge }
spec: { listeners: [{ port: 8080, hosts: [shop.example, "*.shop.example"] }] }
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: shop }
spec: { endpoints: ["127.0.0.1:9"] }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: shop }
spec:
  hosts: [shop.example]
  rules:
    - matches: [{ path: { template: "/users/{id}" }, methods: [GET] }]
      backends: [shop]
    - matches: [{ path: { prefix: /users }, headers: [{ name: x-beta, exact: "1" }] }]
      backends: [shop]
    - matches: [{ path: { regex: "/items/[0-9]+" } }]
      backends: [shop]
`;

describe("routes why", () => {
  test("names the rule, its variables, and what each other rule lacks", async () => {
    const { exit, out, error } = await run(["why", "GET", "http://SHOP.example:8080/a/../users/7?x=1", "-f", "-"], CONFIG);
    expect([error, exit]).toEqual(["", EXIT.ok]);
    expect(out).toBe(
      `Gateway default/edge, host shop.example: Route default/shop rule 0
  {id} = 7
  ✓ Route default/shop rule 0 (shop.example, template /users/{id}, GET)
  ✗ Route default/shop rule 2 (shop.example, regex /items/[0-9]+): path does not match
  ✗ Route default/shop rule 1 (shop.example, prefix /users, header x-beta = 1): header x-beta does not match
`,
    );
    const beta = await run(["why", "GET", "http://shop.example/users/7", "-f", "-", "-H", "X-Beta: 1"], CONFIG);
    expect(beta.out).toContain("- Route default/shop rule 1 (shop.example, prefix /users, header x-beta = 1): one above is more");
    expect((await run(["why", "PUT", "http://shop.example/items/12", "-f", "-"], CONFIG)).out).toContain(
      ": Route default/shop rule 2\n",
    );
  });

  test("404, 405 and hosts that are not served end with 4", async () => {
    const why = (method: string, url: string) => run(["why", method, url, "-f", "-"], CONFIG);
    expect(await why("POST", "http://shop.example/users/7")).toMatchObject({
      exit: EXIT.notFound,
      out: expect.stringMatching(/405, allowed: GET\n/),
    });
    expect(await why("GET", "http://shop.example/else")).toMatchObject({
      exit: EXIT.notFound,
      out: expect.stringMatching(/: 404\n/),
    });
    expect(await why("GET", "http://else.example/")).toMatchObject({
      exit: EXIT.notFound,
      out: expect.stringMatching(/: not served here\n$/),
    });
  });

  test("asks a running proxy for what it serves", async () => {
    const asked: string[] = [];
    const proxy = createServer((request, response) => {
      asked.push(`${request.url} ${request.headers.authorization}`);
      response.end(JSON.stringify({ listeners: [{ name: "a/g/0", gateway: "a/g", hosts: [], paths: {} }], routes: [] }));
    });
    await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
    try {
      const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
      const { exit, out } = await run(["why", "GET", "http://h/", "--admin-url", url, "--admin-token", "t", "--json"]);
      expect(exit).toBe(EXIT.notFound);
      expect(JSON.parse(out)).toEqual({
        matched: false,
        gateways: [{ gateway: "a/g", host: "h", served: true, match: null, allow: [], candidates: [] }],
      });
      expect(asked).toEqual(["/config_dump Bearer t"]);
    } finally {
      await new Promise((done) => proxy.close(done));
    }
    const gone = await run(["why", "GET", "http://h/", "--admin-url", "http://127.0.0.1:1"]);
    expect([gone.exit, gone.error]).toEqual([EXIT.unreachable, expect.stringContaining("no proxy answers")]);
  });

  test("says what is wrong with the question or the files", async () => {
    for (const [args, says] of [
      [["when", "GET", "http://h/"], "routes has no when"],
      [["why", "GET", "h/"], "is no URL"],
      [["why", "GET", "http://shop.example/%zz"], "would refuse this path"],
      [["why", "GET", "http://h/", "-H", "x"], "is no header"],
    ] as const) {
      const { exit, error } = await run([...args, "-f", "-"], CONFIG);
      expect([exit, error]).toEqual([EXIT.usage, expect.stringContaining(says)]);
    }
    const other = await run(["why", "GET", "http://h/", "-f", "-", "--gateway", "a/b"], CONFIG);
    expect([other.exit, other.error]).toEqual([EXIT.notFound, expect.stringContaining("known: default/edge")]);
    const bad = await run(["why", "GET", "http://h/", "-f", "-"], CONFIG.replace("[shop]", "[shap]"));
    expect([bad.exit, bad.error]).toEqual([EXIT.failed, expect.stringContaining("shap")]);
  });
});
