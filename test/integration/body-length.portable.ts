import assert from "node:assert/strict";
import { GET, judge, wholeBody } from "../kit/end-to-end.ts";
import type { TestProxy } from "../kit/proxy.ts";
import type { Command, Puppet, PuppetGuest, Script } from "../kit/puppet.ts";
import { connectRaw, okText, type RawUpstream, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";
import { builtin, puppetFilter, withFilters } from "../kit/with-filters.ts";

// A filter makes a body longer or shorter than its head declared. While the head is here it tells the truth; once it is out the
// exchange ends with a failure that names the filter.

const CONTINUE = 0;
const PAUSE = 1;
const REQUEST = 0;
const RESPONSE = 1;
type Body = typeof REQUEST | typeof RESPONSE;
const CALLBACKS = ["request_body", "response_body"] as const;

const setBody = (guest: PuppetGuest, body: Body, start: number, size: number, text: string) =>
  guest.host("proxy_set_buffer_bytes", body, start, size, guest.put(text), text.length);

/** Holds the body until it is whole, and then is `text`. */
const becomes = (body: Body, text: string): Script =>
  function* (guest, _context, size, end) {
    if (end !== 1) return PAUSE;
    yield setBody(guest, body, 0, size ?? 0, text);
    return CONTINUE;
  };
/** Lets pieces pass, and changes each. */
const pieces = (change: (guest: PuppetGuest, size: number, end: boolean) => Generator<Command, void, number>): Script =>
  function* (guest, _context, size, end) {
    yield* change(guest, size ?? 0, end === 1);
    return CONTINUE;
  };
const unannounced = (map: number): Script =>
  function* (guest) {
    yield guest.host("proxy_remove_header_map_value", map, guest.put("content-length"), 14);
    return CONTINUE;
  };

const echo = (): Promise<RawUpstream> => startUpstream(({ body }) => okText(body));
const post = (body: string, version = "1.1"): string =>
  `POST / HTTP/${version}\r\nhost: a\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
const onlyHead = (wire: string): string => wire.slice(0, wire.indexOf("\r\n\r\n"));

async function withPuppet(upstream: RawUpstream, body: (proxy: TestProxy, puppet: Puppet) => Promise<void>): Promise<void> {
  await withFilters([puppetFilter()], upstream, body);
}

/** What the exchange's record says of why. */
async function failureOf(proxy: TestProxy, count = 1): Promise<string> {
  const seen = (await proxy.seen(count))[count - 1];
  return `${seen?.code} ${seen?.flag} ${seen?.failure}`;
}

describe("a filter changes the length of a body", () => {
  test("it holds the whole: the head has the new length, both ways, whatever connection carries it", async () => {
    for (const text of ["", "x", "longer than it was before"]) {
      const upstream = await echo();
      await withPuppet(upstream, async (proxy, puppet) => {
        puppet.on("request_body", becomes(REQUEST, text));
        // The second one meets a kept connection.
        for (let i = 1; i <= 2; i++) {
          assert.equal(wholeBody(await sayRaw(proxy.port(), post("before"))), text);
          assert.match(upstream.received.join(""), new RegExp(`\\r\\ncontent-length: ${text.length}\\r\\n`));
        }
        assert.equal(upstream.connections, 1);
      });
      await withPuppet(await echo(), async (proxy, puppet) => {
        puppet.on("response_body", becomes(RESPONSE, text));
        for (const version of ["1.1", "1.0"]) {
          const heard = await sayRaw(proxy.port(), post("before", version));
          assert.equal(wholeBody(heard), text);
          assert.match(heard, new RegExp(`\\r\\ncontent-length: ${text.length}\\r\\n`));
        }
      });
    }
  });

  test("it changes the first piece while others are to come: no length is declared, HTTP/1.0 is told by the close", async () => {
    const body = "0123456789".repeat(30_000);
    const grow = (side: Body): Script => {
      let begun = false;
      return pieces(function* (guest) {
        if (!begun) yield setBody(guest, side, 0, 0, "more:");
        begun = true;
      });
    };
    const upstream = await echo();
    await withPuppet(upstream, async (proxy, puppet) => {
      puppet.on("request_body", grow(REQUEST));
      assert.equal(wholeBody(await sayRaw(proxy.port(), post(body))), `more:${body}`);
      assert.match(onlyHead(upstream.received.join("")), /\r\ntransfer-encoding: chunked/);
    });
    for (const version of ["1.1", "1.0"]) {
      await withPuppet(await startUpstream(() => okText(body)), async (proxy, puppet) => {
        puppet.on("response_body", grow(RESPONSE));
        const heard = await sayRaw(proxy.port(), GET.replace("1.1", version));
        assert.equal(/\r\ntransfer-encoding: chunked/.test(onlyHead(heard)), version === "1.1");
        assert.ok(!onlyHead(heard).includes("content-length"));
        const got = version === "1.1" ? wholeBody(heard) : heard.slice(heard.indexOf("\r\n\r\n") + 4);
        assert.ok(got === `more:${body}`);
      });
    }
  });

  test("it took the declared length out, as filters for Envoy do: chunked", async () => {
    const upstream = await echo();
    await withPuppet(upstream, async (proxy, puppet) => {
      puppet.on("request_headers", unannounced(0));
      puppet.on("request_body", becomes(REQUEST, "new text"));
      assert.equal(wholeBody(await sayRaw(proxy.port(), post("old"))), "new text");
      assert.match(onlyHead(upstream.received.join("")), /\r\ntransfer-encoding: chunked/);
    });
    await withPuppet(await echo(), async (proxy, puppet) => {
      puppet.on("response_headers", unannounced(2));
      puppet.on("response_body", becomes(RESPONSE, "new text"));
      const heard = await sayRaw(proxy.port(), post("old"));
      assert.equal(wholeBody(heard), "new text");
      assert.match(onlyHead(heard), /\r\ntransfer-encoding: chunked/);
    });
  });

  /** Says `first`, and the rest once asked. */
  const inTwo = async (first: string, rest: string): Promise<{ upstream: RawUpstream; goOn: () => void }> => {
    let goOn = (): void => {};
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${first.length + rest.length}\r\n\r\n${first}`));
      goOn = () => void socket.write(rest);
    });
    return { upstream, goOn: () => goOn() };
  };
  const later: readonly (readonly [string, (side: Body) => Script])[] = [
    [
      "longer",
      (side) =>
        pieces(function* (guest, size, end) {
          if (end) yield setBody(guest, side, size, 0, "and more");
        }),
    ],
    [
      "shorter",
      (side) =>
        pieces(function* (guest, size, end) {
          if (!end && size === "rest".length) yield setBody(guest, side, 0, 1, "");
        }),
    ],
  ];

  for (const [what, script] of later) {
    test(`a request gets ${what} after its head is out: 500 with a code and the filter's name, the upstream sees it cut`, async () => {
      let cut = 0;
      const upstream = await startRawUpstream((socket) => socket.on("close", () => cut++));
      await withPuppet(upstream, async (proxy, puppet) => {
        puppet.on("request_body", script(REQUEST));
        const client = await connectRaw(proxy.port());
        client.send(post("wholerest").slice(0, -"rest".length));
        await until(() => upstream.received.join("").endsWith("whole"));
        client.send("rest");
        assert.equal(judge(await client.closed()), "500 filter_body_length");
        client.destroy();
        assert.match(await failureOf(proxy), /^filter_body_length FF filter_body_length .* at filter default\/f0, route /);
        assert.deepEqual(
          (await proxy.seen())[0]?.filterRuns.map(({ verdict }) => verdict),
          ["filter_body_length"],
        );
        await until(() => cut === 1);
        assert.ok(!upstream.received.join("").includes("more"));
      });
    });

    test(`an answer gets ${what} after its head is out: it is cut off, and the record says who did it`, async () => {
      for (const version of ["1.1", "1.0"]) {
        const { upstream, goOn } = await inTwo("whole", "rest");
        await withPuppet(upstream, async (proxy, puppet) => {
          puppet.on("response_body", script(RESPONSE));
          const client = await connectRaw(proxy.port());
          client.send(GET.replace("1.1", version));
          await client.until("whole");
          goOn();
          const heard = await client.closed();
          client.destroy();
          assert.match(heard, /\r\ncontent-length: 9\r\n/);
          assert.ok(!heard.includes("more"), heard);
          assert.match(await failureOf(proxy), /^filter_body_length FF filter_body_length .* at filter default\/f0, route /);
        });
      }
    });
  }

  test("of several filters, those that changed the length are named", async () => {
    const { upstream, goOn } = await inTwo("whole", "rest");
    const quiet = builtin("authz", { rules: [{ name: "all", effect: "allow", when: {} }] });
    await withFilters([quiet, puppetFilter(), quiet], upstream, async (proxy, puppet) => {
      puppet.on("response_body", later[0]?.[1](RESPONSE) as Script);
      const client = await connectRaw(proxy.port());
      client.send(GET);
      await client.until("whole");
      goOn();
      await client.closed();
      client.destroy();
      assert.match(await failureOf(proxy), / at filter default\/f1, route /);
    });
  });

  test("answers without a body keep the length that they tell of, also when a filter held their head", async () => {
    const answers = [
      ["HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"],
      ["GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n"],
      ["GET", "HTTP/1.1 204 No Content\r\n\r\n"],
    ] as const;
    for (const [method, answer] of answers) {
      for (const held of [false, true]) {
        const upstream = await startUpstream(() => answer);
        const aside = await startUpstream(() => okText("go on"));
        await withFilters(
          [
            puppetFilter({
              capabilities: { callouts: ["default/aside"], sharedData: undefined, rateLimit: false, clock: false },
            }),
          ],
          upstream,
          async (proxy, puppet) => {
            if (held) holdHead(puppet);
            for (const callback of CALLBACKS) puppet.on(callback, becomes(RESPONSE, "never"));
            const heard = await sayRaw(proxy.port(), GET.replace("GET", method));
            assert.equal(judge(heard), answer.slice(9, 12));
            assert.equal(
              /\r\ncontent-length: (\d+)/.exec(heard)?.[1],
              method === "GET" && answer.includes("204") ? undefined : "100",
            );
            assert.ok(heard.endsWith("\r\n\r\n"));
          },
          { aside },
        );
      }
    }
  });

  test("the head was held: it goes out with the body as it is by then", async () => {
    const upstream = await startUpstream(() => okText("before"));
    const aside = await startUpstream(() => okText("go on"));
    const mayCall = { capabilities: { callouts: ["default/aside"], sharedData: undefined, rateLimit: false, clock: false } };
    await withFilters(
      [puppetFilter(mayCall)],
      upstream,
      async (proxy, puppet) => {
        holdHead(puppet);
        puppet.on("response_body", becomes(RESPONSE, "after all"));
        const heard = await sayRaw(proxy.port(), GET);
        assert.equal(wholeBody(heard), "after all");
        assert.match(heard, /\r\ncontent-length: 9\r\n/);
      },
      { aside },
    );
  });

  test("a declared length that a filter made up", async () => {
    const upstream = await echo();
    await withPuppet(upstream, async (proxy, puppet) => {
      puppet.on("request_headers", function* (guest) {
        yield guest.host("proxy_add_header_map_value", 0, guest.put("content-length"), 14, guest.put("7"), 1);
        return CONTINUE;
      });
      assert.equal(judge(await sayRaw(proxy.port(), GET)), "500 filter_body_length");
      assert.match(await failureOf(proxy), / at filter default\/f0, route /);
    });
  });
});

/** Asks somebody else before the head of an answer goes on. */
function holdHead(puppet: Puppet): void {
  let context = 0;
  puppet.on("response_headers", function* (guest, id) {
    context = id ?? 0;
    const [at, size] = guest.putPairs([
      [":method", "GET"],
      [":path", "/"],
      [":authority", "aside"],
    ]);
    yield guest.host("proxy_http_call", guest.put("default/aside"), 13, at, size, 0, 0, 0, 0, 2_000, 64);
    return PAUSE;
  });
  puppet.on("http_call_response", function* (guest) {
    yield guest.host("proxy_set_effective_context", context);
    yield guest.host("proxy_continue_stream", 1);
    return 0;
  });
}
