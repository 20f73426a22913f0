import assert from "node:assert/strict";
import { withUpstream } from "../kit/end-to-end.ts";
import { connectRaw, okText, startUpstream } from "../kit/raw.ts";
import { forwardTo, routeOf, ruleOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";

// A downstream that was paused for the sake of one exchange is read again for the next one.

const BODY = "b".repeat(1_000);
const BIG = "b".repeat(3_000_000);
const length = (body: string): string => `POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
const chunks = (body: string): string =>
  `POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

describe("the next exchange on a connection", () => {
  for (const [name, request, size] of [
    ["a small body by its length", length(BODY), BODY.length],
    ["a small body in chunks", chunks(BODY), BODY.length],
    ["a body beyond all buffers by its length", length(BIG), BIG.length],
    ["a body beyond all buffers in chunks", chunks(BIG), BIG.length],
  ] as const) {
    test(`${name}, whole at once, while the upstream's connection is being made: all five are answered`, async () => {
      // Each request needs a connection of its own: its body comes before there is anywhere to send it.
      const upstream = await startUpstream(({ body }, socket) => {
        const answer = `${okText(String(body.length), "connection: close\r\n")}`;
        socket.end(answer);
        return undefined;
      });
      await withUpstream(upstream, async (proxy) => {
        const connection = await connectRaw(proxy.port());
        for (let i = 1; i <= 5; i++) {
          connection.send(request);
          const heard = await connection.until(new RegExp(`^(?:[^]*?\\r\\n\\r\\n${size}){${i}}$`));
          assert.equal(heard.split("HTTP/1.1 200 OK").length - 1, i);
        }
        connection.destroy();
      });
    });
  }

  test("who finishes asking behind a request that is answered before its body is read gets the answers up to that one", async () => {
    const upstream = await startUpstream(() => okText("first"));
    const matches = [{ path: { kind: "exact", value: "/x" }, methods: [], headers: [], query: [] }] as const;
    const respond = ruleOf({ matches, action: { kind: "respond", status: 204, headers: [], body: "" } });
    await withUpstream(
      upstream,
      async (proxy) => {
        const connection = await connectRaw(proxy.port());
        connection.send(`GET /first HTTP/1.1\r\nhost: a\r\n\r\n${chunks(BODY)}GET /third HTTP/1.1\r\nhost: a\r\n\r\n`);
        connection.end();
        const heard = await connection.closed();
        assert.deepEqual(heard.match(/HTTP\/1.1 \d+/g), ["HTTP/1.1 200", "HTTP/1.1 204"]);
        connection.destroy();
      },
      { routes: [routeOf("all", [respond, forwardTo("up")])] },
    );
  });
});
