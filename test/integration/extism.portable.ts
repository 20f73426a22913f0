import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createFilterHost, ownCounters } from "../../src/app/filters.ts";
import type { FilterConfig } from "../../src/config/snapshot.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { CLOSE, GET, judge, wholeBody, withUpstream } from "../kit/end-to-end.ts";
import { answering, buildPlugin, PDK_ACTOR } from "../kit/extism.ts";
import { RecordingMetrics } from "../kit/filters.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { okText, sayRaw, startUpstream } from "../kit/raw.ts";
import { filterOf, forwardTo, routeOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";

// Plug-ins of Extism in a whole proxy, on real sockets, loaded by the host that the product has.

/** A proxy whose only route has this plug-in. */
async function withPlugin(
  wasm: Uint8Array,
  part: Partial<FilterConfig>,
  body: (proxy: TestProxy) => Promise<void>,
): Promise<void> {
  const digest = `sha256:${createHash("sha256").update(wasm).digest("hex")}`;
  const upstream = await startUpstream(({ head, body: sent }) => okText(`${head}|${sent}`, "x-up: 1\r\n"));
  const filterHost = createFilterHost({
    ...{ clock: new SystemClock(), log: SILENT_LOG, metrics: new RecordingMetrics() },
    counters: ownCounters(),
  });
  const filter = filterOf("plugin", digest, { abi: "extism", ...part });
  const parts = { routes: [routeOf("r", [forwardTo("up", { filters: [filter.name] })])], filters: [filter] };
  await withUpstream(upstream, body, parts, { filterHost, modules: new Map([[digest, wasm]]) });
}

const post = (body: string): string => `POST /p HTTP/1.1\r\nhost: a\r\n${CLOSE}content-length: ${body.length}\r\n\r\n${body}`;

describe("extism plug-ins in a proxy", () => {
  test("requests and answers are changed by a plug-in of the Rust PDK; it answers itself", async () => {
    await withPlugin(PDK_ACTOR, { settings: '{"greeting":"hello","deny":"/deny"}' }, async (proxy) => {
      const heard = await sayRaw(proxy.port(), GET);
      assert.equal(judge(heard), "200");
      assert.match(wholeBody(heard) ?? "", /\r\nx-seen: hello none none/);
      assert.match(heard, /\r\nx-seen: 200 [^\r]* mine\r\n/);
      const denied = await sayRaw(proxy.port(), `GET /deny HTTP/1.1\r\nhost: a\r\n${CLOSE}\r\n`);
      assert.equal(judge(denied), "403");
      assert.match(denied, /\r\nx-by: extism\r\n/);
      assert.equal(wholeBody(denied), "denied");
    });
  });

  test("bodies are replaced by longer and shorter ones", async () => {
    const wasm = answering('{"body":"another body"}', "on_request_body", "on_response_body");
    await withPlugin(wasm, {}, async (proxy) => {
      for (const body of ["x", "a body that is longer than the other one"]) {
        const heard = await sayRaw(proxy.port(), post(body));
        assert.equal(judge(heard), "200");
        assert.equal(wholeBody(heard), "another body");
      }
    });
    await withPlugin(answering('{"body":"another body"}', "on_request_body"), {}, async (proxy) => {
      assert.equal(wholeBody(await sayRaw(proxy.port(), post("x")))?.endsWith("another body"), true);
    });
  });

  test("a loop costs its own exchange an error, or nothing when the filter may fail open", async () => {
    const loop = buildPlugin({ exports: { on_request: "loop br 0 end i32.const 0" } });
    await withPlugin(loop, {}, async (proxy) => {
      for (let i = 0; i < 3; i++) assert.equal(judge(await sayRaw(proxy.port(), GET)), "500 filter_failed");
    });
    await withPlugin(loop, { onFailure: "open" }, async (proxy) => {
      assert.equal(judge(await sayRaw(proxy.port(), GET)), "200");
    });
  });
});
