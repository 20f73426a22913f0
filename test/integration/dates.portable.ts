import assert from "node:assert/strict";
import { CLOSE, withUpstream } from "../kit/end-to-end.ts";
import { okText, sayRaw, startUpstream } from "../kit/raw.ts";
import { describe, test } from "../kit/suite.ts";

const DATE = /^date: .*$/gim;

describe("dates of answers (RFC 9110 §6.6.1)", () => {
  test("an answer without a date gets one, whoever gives it; one that has a date keeps it", async () => {
    const old = "date: Tue, 15 Nov 1994 08:12:31 GMT";
    const upstream = await startUpstream(({ head }) => okText("x", head.startsWith("GET /dated") ? `${old}\r\n` : ""));
    await withUpstream(upstream, async (proxy) => {
      const datesOf = async (line: string) =>
        (await sayRaw(proxy.port(), `${line}\r\nhost: a\r\n${CLOSE}\r\n`)).match(DATE) ?? [];
      for (const line of ["GET / HTTP/1.1", "TRACE / HTTP/1.1", "GET /%00 HTTP/1.1", "GET / HTTP/9.9"]) {
        const dates = await datesOf(line);
        assert.equal(dates.length, 1, line);
        assert.match(dates[0] as string, /^date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/, line);
      }
      assert.deepEqual(await datesOf("GET /dated HTTP/1.1"), [old]);
    });
  });
});
