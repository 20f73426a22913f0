import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { CLOSE, judge, wholeBody } from "../kit/end-to-end.ts";
import { type Command, OUT_A, type Puppet, type PuppetGuest } from "../kit/puppet.ts";
import { connectRaw, okText, type RawUpstream, startRawUpstream } from "../kit/raw.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";
import { puppetFilter, withFilters } from "../kit/with-filters.ts";

// A filter that answers from the body of a request, whose head its service has already: what the service says by then is nobody's.

const CONTINUE = 0;
const PAUSE = 1;
const HEAD = `POST /p HTTP/1.1\r\nhost: a\r\n${CLOSE}content-length: 10\r\n\r\n`;
const mayCall = { capabilities: { callouts: ["default/aside"], sharedData: undefined, rateLimit: false, clock: false } };

/** Says nothing by itself: `say` does, on every connection that has a request. */
interface Service extends RawUpstream {
  /** `index`: on one connection alone. */
  say(text: string, index?: number): void;
  closedCount(): number;
}

async function slowService(): Promise<Service> {
  const asked = new Set<Socket>();
  let closed = 0;
  const upstream = await startRawUpstream((socket) => {
    socket.once("data", () => asked.add(socket));
    socket.on("close", () => closed++);
    socket.on("end", () => socket.end());
  });
  return Object.assign(upstream, {
    say: (text: string, index?: number) => {
      for (const [i, socket] of [...asked].entries()) if (!socket.destroyed && (index ?? i) === i) socket.write(text);
    },
    closedCount: () => closed,
  });
}

function* ask(guest: PuppetGuest): Generator<Command, void, number> {
  const [at, size] = guest.putPairs([
    [":method", "GET"],
    [":path", "/audit"],
    [":authority", "aside"],
  ]);
  const code = yield guest.host("proxy_http_call", guest.put("default/aside"), 13, at, size, 0, 0, 0, 0, 20_000, OUT_A);
  assert.equal(code, 0);
}

/** Refuses a request at the second piece of its body, and holds the head or the body of that answer until `aside` has said something. */
function refuse(puppet: Puppet, body: string, held: "response_headers" | "response_body"): void {
  let context = 0;
  let pieces = 0;
  puppet.on("request_body", function* (guest) {
    // The head goes on with the first piece.
    if (pieces++ === 0) return CONTINUE;
    yield guest.host("proxy_send_local_response", 403, 0, 0, guest.put(body), body.length, 0, 0, -1);
    return PAUSE;
  });
  puppet.on(held, function* (guest, id) {
    context = id ?? 0;
    yield* ask(guest);
    return PAUSE;
  });
  puppet.on("http_call_response", function* (guest) {
    yield guest.host("proxy_set_effective_context", context);
    yield guest.host("proxy_continue_stream", 1);
    return 0;
  });
}

describe("a filter answers while the service does", () => {
  for (const [held, body] of [
    ["response_body", "refused"],
    ["response_headers", "refused"],
    // Without a body nothing but the filter's own pause stands between the two answers.
    ["response_headers", ""],
  ] as const) {
    test(`${held} of ${body === "" ? "an answer without a body" : "the filter's answer"} waits: the filter's answer is the one that comes`, async () => {
      const upstream = await slowService();
      const aside = await slowService();
      await withFilters(
        [puppetFilter(mayCall)],
        upstream,
        async (proxy, puppet) => {
          refuse(puppet, body, held);
          const connection = await connectRaw(proxy.port());
          connection.send(HEAD);
          connection.send("hello");
          await until(() => upstream.received.join("").includes("hello"));
          connection.send("there");
          await until(() => aside.received.join("").includes("\r\n\r\n"));
          upstream.say(okText("SECRET"));
          // The request goes nowhere any more, and its connection can carry no other.
          await until(() => upstream.closedCount() === 1);
          aside.say(okText("ok"));
          const heard = await connection.closed();
          assert.deepEqual([judge(heard), wholeBody(heard)], ["403", body]);
          assert.deepEqual(
            (await proxy.seen()).map(({ status, answeredBy }) => [status, answeredBy]),
            [[403, "filter"]],
          );
          connection.destroy();
        },
        { aside },
      );
    });
  }

  test("a time-out answers while the head waits for a call, and its answer is held: the call's answer lets nothing go on", async () => {
    const upstream = await slowService();
    const aside = await slowService();
    await withFilters(
      [puppetFilter(mayCall)],
      upstream,
      async (proxy, puppet) => {
        let context = 0;
        let answered = 0;
        puppet.on("request_headers", function* (guest, id) {
          context = id ?? 0;
          yield* ask(guest);
          return PAUSE;
        });
        // The 504 begins, and cannot end: a second call holds its body.
        let pieces = 0;
        puppet.on("response_body", function* (guest) {
          if (pieces++ === 0) yield* ask(guest);
          return PAUSE;
        });
        puppet.on("http_call_response", function* (guest) {
          yield guest.host("proxy_set_effective_context", context);
          yield guest.host("proxy_continue_stream", answered++);
          return 0;
        });
        const connection = await connectRaw(proxy.port());
        connection.send(`GET /p HTTP/1.1\r\nhost: a\r\n${CLOSE}\r\n`);
        await until(() => aside.received.join("").split("/audit").length === 3);
        aside.say(okText("ok"), 0);
        await until(() => answered === 1);
        aside.say(okText("ok"), 1);
        assert.equal(judge(await connection.closed()), "504 exchange_timeout");
        assert.equal(upstream.connections, 0);
        connection.destroy();
      },
      { aside, rule: { timeoutMs: 300 } },
    );
  });
});
