/** What a caller, a proxy in front or an upstream writes into a message must not reach where it would be believed. */
import assert from "node:assert/strict";
import type { ListenerConfig, Snapshot } from "../../src/config/snapshot.ts";
import { CLOSE, judge, partsFor, withProxy, withUpstream } from "../kit/end-to-end.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { okText, type RawUpstream, sayRaw, startUpstream } from "../kit/raw.ts";
import { forwardTo, listenerOf, routeOf, ruleOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";

const base = listenerOf();
const listening = (part: Partial<ListenerConfig>): Partial<Snapshot> => ({ listeners: [listenerOf(part)] });
const forwarding = (part: Partial<ListenerConfig["forwarding"]>) => listening({ forwarding: { ...base.forwarding, ...part } });
const ok = (): Promise<RawUpstream> => startUpstream(() => okText("fine"));
const ask = (proxy: TestProxy, head: string): Promise<string> => sayRaw(proxy.port(), `${head}${CLOSE}\r\n`);

describe("headers of a trusted proxy that it does not set itself", () => {
  const lines = [
    "forwarded: for=6.6.6.6;proto=https",
    "x-real-ip: 6.6.6.6",
    "true-client-ip: 6.6.6.6",
    "x-forwarded-port: 70xyz",
    "x-forwarded-prefix: /spoof",
    "x-forwarded-user: spoof",
    "x-original-url: /spoof",
    "x-envoy-internal: true",
    "x-selvedge-identity: spoof",
    "x-auth-user: spoof",
    "x.auth.user: spoof",
  ];
  const request = `GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.1.1.1\r\nx-forwarded-proto: https\r\n${lines.join("\r\n")}\r\n`;

  test("only the kind that is read, and what configuration names, comes through", async () => {
    const upstream = await ok();
    await withUpstream(
      upstream,
      async (proxy) => {
        await ask(proxy, request);
        const [heard = ""] = upstream.received;
        for (const name of ["forwarded", "true-client", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-user"])
          assert.ok(!heard.includes(`\r\n${name}`), name);
        for (const text of ["70xyz", "/spoof", "x-envoy", "x-selvedge", "x.auth"]) assert.ok(!heard.includes(text), text);
        assert.match(heard, /\r\nx-forwarded-for: 1\.1\.1\.1, 127\.0\.0\.1\r\n/);
        assert.match(heard, /\r\nx-forwarded-proto: https\r\n/);
        assert.match(heard, /\r\nx-real-ip: 6\.6\.6\.6[\s\S]*\r\nx-auth-user: spoof\r\n/);
        assert.equal(proxy.observer.exchanges[0]?.clientAddress, "1.1.1.1");
      },
      forwarding({ trustedHops: 1, trustedHeaders: ["x-auth-user", "x-real-ip"] }),
    );
  });

  test("of a stranger not even those", async () => {
    const upstream = await ok();
    await withUpstream(
      upstream,
      async (proxy) => {
        await ask(proxy, request);
        const [heard = ""] = upstream.received;
        for (const text of ["6.6.6.6", "spoof", "1.1.1.1", "https"]) assert.ok(!heard.includes(text), text);
      },
      forwarding({ trustedHeaders: ["x-auth-user", "x-real-ip"] }),
    );
  });
});

describe("Forwarded against X-Forwarded-For", () => {
  const request =
    "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.1.1.1\r\nx-forwarded-host: x.example\r\nforwarded: for=2.2.2.2;host=F.example;proto=https\r\n";
  const told = async (part: Partial<ListenerConfig["forwarding"]>): Promise<readonly [string, string]> => {
    const upstream = await ok();
    let client = "";
    await withUpstream(
      upstream,
      async (proxy) => {
        await ask(proxy, request);
        client = proxy.observer.exchanges[0]?.clientAddress ?? "";
      },
      forwarding({ trustedHops: 1, ...part }),
    );
    const fields = [...(upstream.received[0] ?? "").matchAll(/\r\n((?:x-)?forwarded[^\r]*)/g)].map((match) => match[1]);
    return [client, fields.sort().join(" | ")];
  };

  test("one kind is believed; the other is dropped, or written anew from what is believed", async () => {
    const x = "x-forwarded-for: 1.1.1.1, 127.0.0.1 | x-forwarded-host: x.example | x-forwarded-proto: http";
    assert.deepEqual(await told({}), ["1.1.1.1", x]);
    assert.deepEqual(await told({ forwarded: true }), [
      "1.1.1.1",
      `forwarded: for=1.1.1.1, for=127.0.0.1;host=a;proto=http | ${x}`,
    ]);
    const forwarded = "forwarded: for=2.2.2.2;host=F.example;proto=https, for=127.0.0.1;host=a;proto=https";
    assert.deepEqual(await told({ xForwarded: false, forwarded: true, read: "forwarded" }), ["2.2.2.2", forwarded]);
    assert.deepEqual(await told({ forwarded: true, read: "forwarded" }), [
      "2.2.2.2",
      `${forwarded} | x-forwarded-for: 2.2.2.2, 127.0.0.1 | x-forwarded-host: f.example | x-forwarded-proto: https`,
    ]);
    // Read for logs and limits, told to nobody.
    assert.deepEqual(await told({ xForwarded: false }), ["1.1.1.1", ""]);
  });

  test("a host that is none, or is there twice, is not passed on as one", async () => {
    const upstream = await ok();
    await withUpstream(
      upstream,
      async (proxy) => {
        for (const hosts of [["b c"], ["x.example, y.example"], ["x.example", "y.example"], ["u@x"]]) {
          const fields = hosts.map((host) => `x-forwarded-host: ${host}\r\n`).join("");
          await ask(proxy, `GET / HTTP/1.1\r\nhost: a\r\n${fields}`);
        }
        assert.equal(upstream.received.join("").match(/\r\nx-forwarded-host: a\r\n/g)?.length, 4);
        assert.ok(!/x\.example|u@x|b c/.test(upstream.received.join("")));
      },
      forwarding({ trustedHops: 1 }),
    );
  });
});

describe("trailers of a request", () => {
  const send = (proxy: TestProxy, trailers: readonly string[]): Promise<string> =>
    sayRaw(
      proxy.port(),
      `POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n${CLOSE}\r\n1\r\nx\r\n0\r\n${trailers.map((each) => `${each}\r\n`).join("")}\r\n`,
    );

  test("only fields made for it pass: neither credentials nor what an application might merge into the head", async () => {
    const upstream = await ok();
    await withUpstream(upstream, async (proxy) => {
      const evil = [
        ...["authorization: Bearer spoof", "x-user: spoof", "cookie: spoof", "x-api-key: spoof", "x-http-method-override: spoof"],
        ...["content-type: spoof", "x-forwarded-for: spoof", "x-real-ip: spoof", "x-selvedge-identity: spoof", "if-match: spoof"],
        ...["x-request-id: spoof", "access-control-allow-origin: spoof", "origin: spoof", "expect: spoof"].slice(0, 3),
      ];
      assert.equal(judge(await send(proxy, [...evil, "Content-Digest: sha-256=:x:", "x-amz-trailer-signature: y"])), "200");
      const [heard = ""] = upstream.received;
      assert.ok(!heard.includes("spoof"), heard);
      assert.match(heard, /0\r\ncontent-digest: sha-256=:x:\r\nx-amz-trailer-signature: y\r\n\r\n$/);
    });
  });

  test("framing and routing are an attack: the request does not come to its end", async () => {
    for (const line of ["content-length: 5", "transfer-encoding: chunked", "host: b", "connection: close"]) {
      const upstream = await ok();
      await withUpstream(upstream, async (proxy) => {
        assert.equal(judge(await send(proxy, [line])), "400 bad_header", line);
        assert.ok(!upstream.received.join("").includes("0\r\n\r\n"));
      });
    }
  });

  test("a field that configuration names passes, others do not; a filterless answer keeps what gRPC needs", async () => {
    const upstream = await startUpstream(
      () =>
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\ngrpc-status: 0\r\nx-any: 1\r\nset-cookie: spoof\r\nx-selvedge-failure: spoof\r\nlocation: spoof\r\n\r\n",
    );
    await withUpstream(
      upstream,
      async (proxy) => {
        const answer = await send(proxy, ["x-mine: 1", "content-digest: 2"]);
        assert.match(answer, /0\r\ngrpc-status: 0\r\nx-any: 1\r\n\r\n$/);
        assert.match(upstream.received[0] ?? "", /0\r\nx-mine: 1\r\n\r\n$/);
      },
      listening({ requestTrailers: ["x-mine"] }),
    );
  });
});

describe("Trailer tells what will come", () => {
  const request = (framing: string, ...said: string[]): string =>
    `POST / HTTP/1.1\r\nhost: a\r\n${CLOSE}${said.map((each) => `Trailer: ${each}\r\n`).join("")}${framing}`;
  const chunkedBody = "transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-mine: 1\r\nx-other: 2\r\n\r\n";
  const announced = (wire: string): string[] => [...wire.matchAll(/\r\ntrailer: ([^\r]*)/g)].map(([, value]) => value ?? "");

  test("a request's names only those that its listener lets pass, and is not there when none is left", async () => {
    for (const [said, expected, framing] of [
      [["x-mine"], ["x-mine"], chunkedBody],
      [["X-Mine"], ["X-Mine"], chunkedBody],
      [["x-other , X-Mine,authorization", "x-other"], ["X-Mine"], chunkedBody],
      [["x-other"], [], chunkedBody],
      [["", ",", "x mine", "x-mine;q=1"], [], chunkedBody],
      [["x-mine"], [], "content-length: 1\r\n\r\nx"],
      [["x-mine"], [], "\r\n"],
    ] as const) {
      const upstream = await ok();
      await withUpstream(
        upstream,
        async (proxy) => {
          assert.equal(judge(await sayRaw(proxy.port(), request(framing, ...said))), "200");
          assert.deepEqual(announced(upstream.received.join("")), expected, JSON.stringify(said));
        },
        listening({ requestTrailers: ["x-mine"] }),
      );
    }
  });

  test("an answer's names what may stand in trailers", async () => {
    const upstream = await startUpstream(
      () =>
        "HTTP/1.1 200 OK\r\nTrailer: x-any, Set-Cookie, X-Forwarded-For\r\nTrailer: location\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-any: 1\r\nset-cookie: a\r\n\r\n",
    );
    await withUpstream(upstream, async (proxy) => {
      const heard = await sayRaw(proxy.port(), request(chunkedBody));
      assert.deepEqual(announced(heard), ["x-any"]);
      assert.match(heard, /0\r\nx-any: 1\r\n\r\n$/);
      assert.deepEqual(
        announced(await sayRaw(proxy.port(), request(chunkedBody).replace("HTTP/1.1", "HTTP/1.0").replace(chunkedBody, "\r\n"))),
        [],
      );
    });
  });
});

describe("methods that echo or tunnel", () => {
  test("TRACE, TRACK and CONNECT are refused, other spellings are no methods, and none reaches an upstream", async () => {
    const upstream = await ok();
    await withUpstream(upstream, async (proxy) => {
      for (const method of ["TRACE", "TRACK"]) {
        const answer = await ask(proxy, `${method} / HTTP/1.1\r\nhost: a\r\ncookie: secret\r\n`);
        assert.equal(judge(answer), "405 method_not_allowed", method);
        assert.match(answer, /\r\nallow: [A-Z, ]+\r\n/);
        assert.ok(!answer.includes("secret"));
      }
      assert.equal(judge(await ask(proxy, "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n")), "405 connect_refused");
      for (const method of ["trace", "Track", "connect"])
        assert.equal(judge(await ask(proxy, `${method} / HTTP/1.1\r\nhost: a\r\n`)), "400 bad_request_line", method);
      // Names that only begin so are names like others.
      for (const method of ["TRACES", "T", "COPY"])
        assert.equal(judge(await ask(proxy, `${method} / HTTP/1.1\r\nhost: a\r\n`)), "200");
      assert.deepEqual(upstream.received.join("").match(/^[A-Z]+ \/ /gm), ["TRACES / ", "T / ", "COPY / "]);
    });
  });

  test("Max-Forwards of OPTIONS and TRACE: one less, and at 0 nobody behind is asked; of others it says nothing", async () => {
    for (const [method, given, expected, sent] of [
      ["OPTIONS", "0", "204", undefined],
      ["OPTIONS", "00", "204", undefined],
      ["OPTIONS", "1", "200", "0"],
      ["OPTIONS", "10", "200", "9"],
      ["OPTIONS", "99999999999999999999", "200", "999999"],
      ["OPTIONS", "-1", "200", "-1"],
      ["OPTIONS", "5\r\nmax-forwards: 3", "200", "2"],
      ["OPTIONS", "5\r\nmax-forwards: 0", "204", undefined],
      ["TRACE", "0", "405", undefined],
      ["TRACE", "2", "200", "1"],
      ["GET", "0", "200", "0"],
    ] as const) {
      const upstream = await ok();
      await withUpstream(
        upstream,
        async (proxy) => {
          const answer = await ask(proxy, `${method} /x HTTP/1.1\r\nhost: a\r\nmax-forwards: ${given}\r\n`);
          assert.equal(judge(answer), expected, `${method} ${given}`);
          const wire = upstream.received.join("");
          assert.deepEqual(
            [...wire.matchAll(/\r\nmax-forwards: ([^\r]*)/g)].map(([, value]) => value),
            sent === undefined ? [] : [sent],
          );
          assert.equal(wire === "", sent === undefined);
          if (sent === undefined) assert.match(answer, /\r\nallow: GET, /);
        },
        listening({ allowTrace: true }),
      );
    }
  });

  test("a listener may let TRACE pass", async () => {
    const upstream = await ok();
    await withUpstream(
      upstream,
      async (proxy) => {
        assert.equal(judge(await ask(proxy, "TRACE /x HTTP/1.1\r\nhost: a\r\n")), "200");
        assert.match(upstream.received[0] ?? "", /^TRACE \/x HTTP/);
        assert.equal(judge(await ask(proxy, "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n")), "405 connect_refused");
      },
      listening({ allowTrace: true }),
    );
  });
});

describe("an upstream that speaks for the proxy", () => {
  test("what only the proxy says of itself is taken out of answers, 1xx and failures alike", async () => {
    const forged =
      "x-selvedge-failure: no_route\r\nX-Selvedge-Authz-Reason: spoof\r\nx_selvedge_failure: spoof\r\nx-selvedges: kept\r\n";
    const upstream = await startUpstream(
      () => `HTTP/1.1 103 Early Hints\r\n${forged}\r\nHTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n${forged}\r\n`,
    );
    await withUpstream(upstream, async (proxy) => {
      const answer = await ask(proxy, "GET / HTTP/1.1\r\nhost: a\r\n");
      assert.ok(!/selvedge[-_]/i.test(answer), answer);
      assert.equal(answer.match(/x-selvedges: kept/g)?.length, 2);
      assert.match(answer, /^HTTP\/1\.1 103 [\s\S]*HTTP\/1\.1 503 /);
    });
  });

  test("the proxy's own failures say it", async () => {
    await withProxy({}, async (proxy) => assert.equal(judge(await ask(proxy, "GET / HTTP/1.1\r\nhost: a\r\n")), "404 no_route"));
  });
});

describe("hosts", () => {
  const respond = (body: string) => ruleOf({ action: { kind: "respond", status: 200, headers: [], body } });

  test("whatever the spelling, one host has one route (class 25)", async () => {
    const routes = [
      routeOf("any", [respond("any")]),
      routeOf("name", [respond("name")], ["shop.example"]),
      routeOf("loopback6", [respond("six")], ["[::1]"]),
      routeOf("loopback4", [respond("four")], ["127.0.0.1"]),
    ];
    await withProxy({ routes }, async (proxy) => {
      const cases: readonly (readonly [string, string])[] = [
        ...["shop.example", "SHOP.Example", "shop.example.", "shop.example:80", "SHOP.example.:8080"].map(
          (h) => [h, "name"] as const,
        ),
        ...["[::1]", "[0:0:0:0:0:0:0:1]", "[::0:1]:80", "[0000::0001]:8080"].map((host) => [host, "six"] as const),
        ...["127.0.0.1", "127.0.0.1:99", "[::ffff:127.0.0.1]", "[::FFFF:7F00:1]:80"].map((host) => [host, "four"] as const),
      ];
      for (const [host, expected] of cases) {
        const answer = await ask(proxy, `GET / HTTP/1.1\r\nhost: ${host}\r\n`);
        assert.equal(answer.slice(answer.indexOf("\r\n\r\n") + 4), expected, host);
      }
      for (const host of ["[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1", "[1.2.3.4]", "[v1.x]", "shop.example..", ""])
        assert.equal(judge(await ask(proxy, `GET / HTTP/1.1\r\nhost: ${host}\r\n`)), "400 bad_host", host);
    });
  });

  test("HTTP/1.0 without Host: only routes for every host, and the upstream gets its own name, never an empty one", async () => {
    const upstream = await ok();
    const routes = [routeOf("named", [respond("named")], ["shop.example"]), routeOf("all", [forwardTo("up")])];
    await withProxy({ ...partsFor(upstream), routes }, async (proxy) => {
      assert.match(await sayRaw(proxy.port(), "GET / HTTP/1.0\r\n\r\n"), /fine$/);
      assert.match(await sayRaw(proxy.port(), "GET http://other.example/ HTTP/1.0\r\n\r\n"), /fine$/);
      assert.match(await sayRaw(proxy.port(), "GET / HTTP/1.0\r\nhost: shop.example\r\n\r\n"), /named$/);
      const heard = upstream.received.join("");
      assert.match(heard, new RegExp(`^GET / HTTP/1\\.1\r\nhost: 127\\.0\\.0\\.1:${upstream.port}\r\n`));
      assert.match(heard, /\r\nhost: other\.example\r\n/);
      assert.equal(heard.match(/\r\nhost: /g)?.length, 2);
      assert.ok(!/\r\nx-forwarded-host: (127|\r)/.test(heard));
    });
    await upstream.stop();
  });
});
