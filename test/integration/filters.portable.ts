import assert from "node:assert/strict";
import type { Authenticator } from "../../src/proxy/generation.ts";
import { CLOSE, GET, judge, wholeBody } from "../kit/end-to-end.ts";
import { type Command, OUT_A, OUT_B, type Puppet, type PuppetGuest, type Script } from "../kit/puppet.ts";
import { connectRaw, okText, type RawUpstream, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";
import { builtin, puppetFilter, withFilters } from "../kit/with-filters.ts";

// Filters in a whole proxy, on real sockets: the built-in ones, and a puppet that does whatever a test says.

const echo = (): Promise<RawUpstream> =>
  startUpstream(({ head, body }) => okText(`${head.split("\r\n")[0]}|${body}`, "content-type: text/plain\r\nx-up: 1\r\n"));

const post = (body: string, fields = ""): string =>
  `POST /p HTTP/1.1\r\nhost: a\r\n${CLOSE}${fields}content-length: ${body.length}\r\n\r\n${body}`;

const field = (heard: string, name: string): string | undefined => new RegExp(`\r\n${name}: ([^\r]*)`).exec(heard)?.[1];

describe("built-in filters in a proxy", () => {
  test("transform: headers both ways, path, JSON body, CORS", async () => {
    const settings = {
      request: {
        headers: [{ op: "set", name: "x-in", value: "{request.method}" }],
        path: { replacePrefix: { from: "/p", to: "/q" } },
        json: [
          { op: "remove", pointer: "/secret" },
          { op: "set", pointer: "/n", value: 1 },
        ],
      },
      response: {
        headers: [
          { op: "set", name: "x-out", value: "{response.code}" },
          { op: "remove", name: "x-up" },
        ],
      },
      cors: { origins: ["https://app.test"], methods: ["POST"] },
    };
    const upstream = await echo();
    await withFilters([builtin("transform", settings)], upstream, async (proxy) => {
      const heard = await sayRaw(
        proxy.port(),
        post('{"secret":1,"n":0}', "content-type: application/json\r\norigin: https://app.test\r\n"),
      );
      assert.equal(wholeBody(heard), 'POST /q HTTP/1.1|{"n":1}');
      assert.deepEqual([field(heard, "x-out"), field(heard, "x-up")], ["200", undefined]);
      assert.equal(field(heard, "access-control-allow-origin"), "https://app.test");
      assert.match(upstream.received.join(""), /\r\nx-in: POST\r\n/);
      const preflight = `OPTIONS /p HTTP/1.1\r\nhost: a\r\n${CLOSE}origin: https://app.test\r\naccess-control-request-method: POST\r\n\r\n`;
      const answer = await sayRaw(proxy.port(), preflight);
      assert.match(answer, /^HTTP\/1\.1 20[04] [\s\S]*access-control-allow-methods: POST/);
      assert.equal((await proxy.seen(2))[1]?.answeredBy, "filter");
    });
  });

  test("a body is edited on its way, and it is the upstream that invites it (100-continue)", async () => {
    const upstream = await startRawUpstream((socket) => {
      let heard = "";
      socket.on("data", (chunk) => {
        heard += chunk.toString("latin1");
        if (heard.endsWith("\r\n\r\n") && !heard.includes("{")) socket.write("HTTP/1.1 100 Continue\r\n\r\n");
        if (heard.endsWith("0\r\n\r\n")) socket.write(okText(/\{.*\}/.exec(heard)?.[0] ?? ""));
      });
    });
    const settings = { request: { json: [{ op: "set", pointer: "/a", value: 2 }] } };
    await withFilters([builtin("transform", settings)], upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      const [head] = post('{"a":1}', "content-type: application/json\r\nexpect: 100-continue\r\n").split("{");
      connection.send(head as string);
      await connection.until("HTTP/1.1 100 Continue\r\n\r\n");
      connection.send('{"a":1}');
      assert.match(await connection.closed(), /\r\n\r\n\{"a":2\}$/);
      connection.destroy();
    });
  });

  test("authz: nobody but whom a rule lets in, and why not; every value of a header counts", async () => {
    const rules = [
      { name: "bad", effect: "deny", when: { headers: [{ name: "x-role", exact: "bad" }] } },
      { name: "readers", effect: "allow", when: { methods: ["GET"] } },
    ];
    const upstream = await echo();
    await withFilters([builtin("authz", { rules, explain: true })], upstream, async (proxy) => {
      assert.equal(judge(await sayRaw(proxy.port(), GET)), "200");
      const refused = await sayRaw(proxy.port(), post("x"));
      assert.equal(judge(refused), "403");
      assert.equal(field(refused, "x-selvedge-authz-reason"), "no allow rule matched");
      const twice = GET.replace(CLOSE, `${CLOSE}x-role: good\r\nx-role: bad\r\n`);
      assert.equal(judge(await sayRaw(proxy.port(), twice)), "403");
      assert.ok(!upstream.received.join("").includes("POST"));
      // The access log says why, at whatever level the log is.
      await until(() => proxy.observer.exchanges.length === 3);
      const details = proxy.observer.exchanges.map((each) => each.answerDetails);
      assert.deepEqual(details.sort(), ["", "access_denied", "access_denied:bad"]);
    });
  });

  test("rate limit: 429 with its headers; the limit holds over connections and requests in flight", async () => {
    const limits = [{ name: "all", requests: 5, per: "hour", key: ["constant"] }];
    const upstream = await echo();
    await withFilters([builtin("rate-limit", { limits })], upstream, async (proxy) => {
      const heard = await Promise.all(Array.from({ length: 12 }, () => sayRaw(proxy.port(), GET)));
      const refused = heard.filter((each) => judge(each) === "429");
      assert.equal(refused.length, 7);
      assert.match(refused[0] ?? "", /\r\nretry-after: \d+\r\n/);
      assert.match(heard.find((each) => judge(each) === "200") ?? "", /\r\nratelimit: /);
      assert.equal(upstream.received.join("").split("GET /").length - 1, 5);
    });
  });
});

// ---------------------------------------------------------------- the puppet

const setHeader = (guest: PuppetGuest, map: number, name: string, value: string): Command =>
  guest.host("proxy_replace_header_map_value", map, guest.put(name), name.length, guest.put(value), value.length);
const respond = (guest: PuppetGuest, status: number, body: string): Command =>
  guest.host("proxy_send_local_response", status, 0, 0, guest.put(body), body.length, 0, 0, -1);
const CONTINUE = 0;
const PAUSE = 1;
const trap: Script = function* (guest) {
  yield guest.host("trap");
  return CONTINUE;
};

describe("filters that misbehave", () => {
  test("a trap: closed is 500, open goes on without it; on either side, and the next exchange has a new instance", async () => {
    for (const callback of ["request_headers", "response_headers"]) {
      for (const [onFailure, expected] of [
        ["closed", "500 filter_failed"],
        ["open", "200"],
      ] as const) {
        await withFilters([puppetFilter({ onFailure })], await echo(), async (proxy, puppet) => {
          puppet.on(callback, trap);
          assert.equal(judge(await sayRaw(proxy.port(), GET)), expected, `${callback} ${onFailure}`);
          assert.equal((await proxy.seen())[0]?.flag, onFailure === "closed" ? "FF" : "");
          puppet.on(callback, function* () {
            yield* [];
            return CONTINUE;
          });
          await until(async () => judge(await sayRaw(proxy.port(), GET)) === "200");
        });
      }
    }
  });

  test("an endless loop costs its exchange the answer; others, under way and after it, have theirs", async () => {
    await withFilters([puppetFilter()], await echo(), async (proxy, puppet) => {
      for (const callback of ["request_headers", "response_headers", "request_body", "response_body"]) {
        puppet.on(callback, function* (guest) {
          yield guest.host("spin");
          return CONTINUE;
        });
        // Once the head of an answer is out, only the connection can tell.
        const heard = await sayRaw(proxy.port(), post("x"));
        assert.ok(judge(heard) === "500 filter_failed" || wholeBody(heard) === undefined, `${callback}: ${heard}`);
        puppet.on(callback, function* () {
          yield* [];
          return CONTINUE;
        });
        await until(async () => judge(await sayRaw(proxy.port(), post("x"))) === "200");
      }
    });
    const kind = builtin("transform", { response: { headers: [{ op: "set", name: "x-out", value: "1" }] } });
    await withFilters([puppetFilter({ onFailure: "open" }), kind], await echo(), async (proxy, puppet) => {
      puppet.on("request_headers", function* (guest) {
        yield guest.host("spin");
        return CONTINUE;
      });
      const answers = await Promise.all(Array.from({ length: 20 }, () => sayRaw(proxy.port(), GET)));
      for (const heard of answers) assert.deepEqual([judge(heard), field(heard, "x-out")], ["200", "1"]);
    });
  });

  test("a trap within a body: the upstream's exchange is given up, the answer says so or is cut", async () => {
    await withFilters([puppetFilter()], await echo(), async (proxy, puppet) => {
      puppet.on("request_body", trap);
      assert.equal(judge(await sayRaw(proxy.port(), post("x"))), "500 filter_failed");
    });
    await withFilters([puppetFilter()], await echo(), async (proxy, puppet) => {
      puppet.on("response_body", trap);
      const heard = await sayRaw(proxy.port(), GET);
      assert.ok(judge(heard) === "500 filter_failed" || wholeBody(heard) === undefined, heard);
      assert.equal((await proxy.seen())[0]?.code, "filter_failed");
    });
  });

  test("illegal paths and header values never reach the wire", async () => {
    for (const path of ["/a/../../b", "relative", "/a b", "/%00", "/x\r\ny: z", ""]) {
      const upstream = await echo();
      await withFilters([puppetFilter()], upstream, async (proxy, puppet) => {
        puppet.on("request_headers", function* (guest) {
          yield setHeader(guest, 0, ":path", path);
          return CONTINUE;
        });
        const answer = judge(await sayRaw(proxy.port(), GET));
        const line = upstream.received.join("").split("\r\n")[0];
        // What normalises is normalised, what does not is refused (or the host call had no effect).
        if (answer === "200") assert.match(line ?? "", /^GET \/(b)? HTTP\/1\.1$/, JSON.stringify(path));
        else assert.deepEqual([answer, line], ["500 filter_failed", ""], JSON.stringify(path));
      });
    }
    for (const [map, callback] of [
      [0, "request_headers"],
      [2, "response_headers"],
    ] as const) {
      for (const [name, value] of [
        ["x-evil", "a\r\nx-injected: 1"],
        ["x-evil", "a\0b"],
        ["x evil", "a"],
        ["content-length", "5"],
        ["transfer-encoding", "chunked"],
        ["connection", "x-y"],
      ] as const) {
        const upstream = await echo();
        await withFilters([puppetFilter()], upstream, async (proxy, puppet) => {
          puppet.on(callback, function* (guest) {
            yield setHeader(guest, map, name, value);
            return CONTINUE;
          });
          const heard = await sayRaw(proxy.port(), GET);
          const wire = map === 0 ? upstream.received.join("") : heard;
          assert.ok(!/x-injected|\0|x evil|transfer-encoding|x-y/.test(wire), JSON.stringify([name, wire]));
          assert.ok(wholeBody(heard) !== undefined || /^HTTP\/1\.1 200[\s\S]*content-length: 5/.test(heard), heard);
          assert.match(judge(heard), /^(200|500 filter_failed|500 filter_body_length|502 \w+)$/);
        });
      }
    }
  });

  test("a pause without end: 504; more body than it may hold: 413, on the answer's side 500", async () => {
    const pause: Script = function* () {
      yield* [];
      return PAUSE;
    };
    await withFilters([puppetFilter({}, { pauseMs: 150 })], await echo(), async (proxy, puppet) => {
      puppet.on("request_headers", pause);
      assert.equal(judge(await sayRaw(proxy.port(), GET)), "504 filter_timeout");
      assert.equal((await proxy.seen())[0]?.flag, "FT");
    });
    await withFilters([puppetFilter({}, { bufferBytes: 1_000 })], await echo(), async (proxy, puppet) => {
      puppet.on("request_body", function* (_guest, _context, _size, end) {
        yield* [];
        return end === 1 ? CONTINUE : PAUSE;
      });
      assert.equal(judge(await sayRaw(proxy.port(), post("x".repeat(1_000)))), "200");
      assert.equal(judge(await sayRaw(proxy.port(), post("x".repeat(5_000)))), "413 filter_body_too_large");
    });
    const large = await startUpstream(() => okText("x".repeat(5_000)));
    await withFilters([puppetFilter({}, { bufferBytes: 1_000 })], large, async (proxy, puppet) => {
      puppet.on("response_headers", pause);
      puppet.on("response_body", pause);
      assert.equal(judge(await sayRaw(proxy.port(), GET)), "500 filter_reply_too_large");
    });
  });
});

describe("filters that answer and call", () => {
  test("an answer from the request's side, and one that replaces the upstream's", async () => {
    const upstream = await echo();
    await withFilters([puppetFilter()], upstream, async (proxy, puppet) => {
      puppet.on("request_headers", function* (guest) {
        yield respond(guest, 418, "teapot");
        return PAUSE;
      });
      const heard = await sayRaw(proxy.port(), post("never"));
      assert.deepEqual([judge(heard), wholeBody(heard)], ["418", "teapot"]);
      assert.equal(upstream.connections, 0);
    });
    const other = await startUpstream(() => okText("secret".repeat(20_000)));
    await withFilters([puppetFilter()], other, async (proxy, puppet) => {
      puppet.on("response_headers", function* (guest) {
        yield respond(guest, 451, "replaced");
        return PAUSE;
      });
      for (let i = 0; i < 3; i++) {
        const heard = await sayRaw(proxy.port(), GET);
        assert.deepEqual([judge(heard), wholeBody(heard)], ["451", "replaced"]);
      }
    });
  });

  /** Asks the service `aside` about the path, and goes on or answers 403 by what it says. */
  function asking(puppet: Puppet, fields: readonly (readonly [string, string])[] = []): void {
    let context = 0;
    puppet.on("request_headers", function* (guest, id) {
      context = id ?? 0;
      const [at, size] = guest.putPairs([[":method", "GET"], [":path", "/may-i"], [":authority", "aside"], ...fields]);
      const code = yield guest.host("proxy_http_call", guest.put("default/aside"), 13, at, size, 0, 0, 0, 0, 2_000, OUT_A);
      assert.equal(code, 0);
      return PAUSE;
    });
    puppet.on("http_call_response", function* (guest, _root, _call, headers) {
      let status = "";
      if (headers !== 0) {
        yield guest.host("proxy_get_header_map_value", 6, guest.put(":status"), 7, OUT_A, OUT_B);
        status = guest.given(OUT_A, OUT_B);
      }
      yield guest.host("proxy_set_effective_context", context);
      if (status === "200") yield guest.host("proxy_continue_stream", 0);
      else yield respond(guest, 403, status === "" ? "nobody answers" : "no");
      return 0;
    });
  }
  const mayCall = { capabilities: { callouts: ["default/aside"], sharedData: undefined, rateLimit: false, clock: false } };

  test("a call to a service: yes, no, silence, nobody there; a body in flight waits and arrives", async () => {
    for (const [answer, expected] of [
      [() => okText("yes"), "200"],
      [() => "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n", "403"],
      [() => undefined, "403"],
      [undefined, "403"],
    ] as const) {
      const aside = answer === undefined ? undefined : await startUpstream(answer);
      const upstream = await echo();
      await withFilters(
        [puppetFilter(mayCall)],
        upstream,
        async (proxy, puppet) => {
          asking(puppet);
          const heard = await sayRaw(proxy.port(), post("y".repeat(100_000)));
          assert.equal(judge(heard), expected);
          if (expected === "200") assert.equal(wholeBody(heard), `POST /p HTTP/1.1|${"y".repeat(100_000)}`);
          else assert.equal(upstream.connections, 0);
        },
        aside === undefined ? {} : { aside },
      );
    }
  });

  test("a call says nothing that its service believes of the mesh alone, and passes on where the request came from", async () => {
    const aside = await startUpstream(() => okText("yes"));
    const upstream = await echo();
    await withFilters(
      [puppetFilter(mayCall)],
      upstream,
      async (proxy, puppet) => {
        asking(puppet, [
          ["host", "elsewhere"],
          ["content-length", "7"],
          ["x-selvedge-failure", "forged"],
          ["x-forwarded-for", "10.9.9.9"],
          ["x-forwarded-for", "127.0.0.1"],
          ["x-own", "1"],
        ]);
        assert.equal(judge(await sayRaw(proxy.port(), GET)), "200");
        const [request] = aside.received.join("").split("\r\n\r\n");
        const lines = (request ?? "").toLowerCase().split("\r\n").slice(1).sort();
        assert.deepEqual(lines, ["host: aside", "x-forwarded-for: 127.0.0.1", "x-own: 1"]);
      },
      { aside },
    );
  });

  test("while a filter holds the head, the proxy invites the body itself, and Expect goes no further", async () => {
    const answers: (() => void)[] = [];
    const aside = await startUpstream((_request, socket) => {
      answers.push(() => socket.write(okText("yes")));
      return undefined;
    });
    const upstream = await echo();
    await withFilters(
      [puppetFilter(mayCall)],
      upstream,
      async (proxy, puppet) => {
        asking(puppet);
        const connection = await connectRaw(proxy.port());
        connection.send(post("12345", "expect: 100-continue\r\n").replace("12345", ""));
        await connection.until("HTTP/1.1 100 Continue\r\n\r\n");
        assert.equal(upstream.connections, 0);
        connection.send("12345");
        await until(() => answers.length === 1);
        answers[0]?.();
        assert.match(await connection.closed(), /\r\n\r\nPOST \/p HTTP\/1\.1\|12345$/);
        connection.destroy();
        assert.ok(!/expect/i.test(upstream.received.join("")));
      },
      { aside },
    );
  });

  test("the caller goes away during a call: the call is given up", async () => {
    const aside = await startUpstream(() => undefined);
    const upstream = await echo();
    await withFilters(
      [puppetFilter(mayCall)],
      upstream,
      async (proxy, puppet) => {
        asking(puppet);
        const connection = await connectRaw(proxy.port());
        connection.send(GET);
        await until(() => aside.received.join("").includes("/may-i"));
        connection.reset();
        await until(() => proxy.observer.inFlight === 0 && aside.open === 0);
        assert.equal(proxy.proxy.core.callouts.size, 0);
        assert.equal(upstream.connections, 0);
      },
      { aside },
    );
  });

  test("a token that is being verified while a body comes: all of it passes the filter afterwards, or nothing goes on", async () => {
    let settle: (kind: "none" | "denied") => void = () => {};
    const authenticator: Authenticator = {
      verify: () =>
        new Promise((resolve) => {
          settle = (kind) => resolve(kind === "none" ? { kind } : { kind, reason: "bad", status: 401 });
        }),
    };
    const upstream = await echo();
    await withFilters(
      [puppetFilter()],
      upstream,
      async (proxy, puppet) => {
        let seen = 0;
        puppet.on("request_body", function* (_guest, _context, size) {
          yield* [];
          seen += size ?? 0;
          return CONTINUE;
        });
        const body = "z".repeat(300_000);
        for (const [kind, expected] of [
          ["none", "200"],
          ["denied", "401 unauthenticated"],
        ] as const) {
          seen = 0;
          settle = () => {};
          const before = settle;
          const connection = await connectRaw(proxy.port());
          connection.send(post(body));
          await until(() => settle !== before);
          settle(kind);
          const heard = await connection.closed();
          connection.destroy();
          assert.equal(judge(heard), expected);
          assert.equal(seen, kind === "none" ? body.length : 0);
          if (kind === "none") assert.equal(wholeBody(heard), `POST /p HTTP/1.1|${body}`);
        }
        assert.equal(upstream.connections, 1);
      },
      { rule: { authentication: "default/jwt" }, authenticator },
    );
  });
});
