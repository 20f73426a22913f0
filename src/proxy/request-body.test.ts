import { expect, test } from "bun:test";
import { HeaderBlock, type RequestHead } from "../core/head.ts";
import { RequestBody } from "./request-body.ts";
import type { DownstreamStream, UpstreamStream } from "./stream.ts";

test("what is held until there is an upstream lasts, although the socket's buffer is used again", () => {
  let paused = false;
  const downstream = {
    pause: () => {
      paused = true;
    },
    resume: () => {
      paused = false;
    },
  } as unknown as DownstreamStream;
  const sent: string[] = [];
  const upstream = {
    sendHead: () => sent.push("head"),
    sendData: (bytes: Uint8Array) => sent.push(Buffer.from(bytes).toString()) > 0,
    sendEnd: () => sent.push("end"),
  } as unknown as UpstreamStream;
  const body = new RequestBody(downstream, false, { onBodyBegun() {} });
  // Both runtimes hand over Buffers, whose `slice` is a view.
  const buffer = Buffer.from("first");
  body.send(buffer);
  buffer.write("OTHER");
  expect(paused).toBe(true);
  const head = { headers: new HeaderBlock() } as unknown as RequestHead;
  body.attach(upstream, head, undefined);
  expect(paused).toBe(false);
  body.end(undefined);
  expect(sent).toEqual(["head", "first", "end"]);
});
