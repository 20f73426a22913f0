import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createFilterHost, ownCounters } from "../../src/app/filters.ts";
import type { FilterConfig } from "../../src/config/snapshot.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { ACTOR, script } from "../kit/component.ts";
import { CLOSE, GET, judge, wholeBody, withUpstream } from "../kit/end-to-end.ts";
import { RecordingMetrics } from "../kit/filters.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { okText, sayRaw, startUpstream } from "../kit/raw.ts";
import { endpointsOf, filterOf, forwardTo, routeOf, serviceOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";

// Component filters in a whole proxy, on real sockets, loaded by the host that the product has.

const DIGEST = `sha256:${createHash("sha256").update(ACTOR).digest("hex")}`;

/** A proxy whose only route has the actor with these scripts, one after the other; `aside` answers calls. */
async function withActors(
  scripts: readonly Readonly<Record<string, string>>[],
  body: (proxy: TestProxy) => Promise<void>,
  part: Partial<FilterConfig> = {},
): Promise<void> {
  const upstream = await startUpstream(({ head, body: sent }) => okText(`${head}|${sent}`, "x-up: 1\r\n"));
  const aside = await startUpstream(({ head }) => okText(head.includes("/may") ? "yes" : "no"));
  const capabilities = { callouts: ["default/aside"], sharedData: undefined, rateLimit: false, clock: false };
  const filters = scripts.map((lines, i) =>
    filterOf(`f${i}`, DIGEST, { abi: "component", settings: script(lines), capabilities, ...part }),
  );
  const filterHost = createFilterHost({
    ...{ clock: new SystemClock(), log: SILENT_LOG, metrics: new RecordingMetrics() },
    counters: ownCounters(),
  });
  try {
    await withUpstream(
      upstream,
      body,
      {
        routes: [routeOf("r", [forwardTo("up", { filters: filters.map(({ name }) => name) })])],
        services: [serviceOf("up"), serviceOf("aside")],
        endpoints: [endpointsOf("up", [upstream.port]), endpointsOf("aside", [aside.port])],
        filters,
      },
      { filterHost, modules: new Map([[DIGEST, ACTOR]]) },
    );
  } finally {
    await aside.stop();
  }
}

const post = (body: string): string => `POST /p HTTP/1.1\r\nhost: a\r\n${CLOSE}content-length: ${body.length}\r\n\r\n${body}`;

describe("component filters in a proxy", () => {
  test("requests and answers are changed, by one filter after the other", async () => {
    const scripts = [
      { "request-head": "set x-a 1", "response-head": "set x-first 1; remove x-up" },
      { "request-head": "add x-a 2; set-path /other?b", "response-head": "show x-first; set x-second 2" },
    ];
    await withActors(scripts, async (proxy) => {
      const heard = await sayRaw(proxy.port(), GET);
      assert.equal(judge(heard), "200");
      assert.match(wholeBody(heard) ?? "", /^GET \/other\?b HTTP\/1.1\r\n[^|]*x-a: 1\r\n[^|]*x-a: 2\|/);
      assert.match(heard, /\r\nx-second: 2\r\nx-first: 1\r\n/);
      assert.doesNotMatch(heard, /\r\nx-up:/);
    });
  });

  test("a body is collected and replaced", async () => {
    await withActors([{ "request-body": "pause-until-end; replace 0 5 HELLO" }], async (proxy) => {
      const heard = await sayRaw(proxy.port(), post("hello world"));
      assert.equal(wholeBody(heard)?.split("|")[1], "HELLO world");
    });
  });

  test("a request waits for a service, which decides", async () => {
    const scripts = [{ "request-head": "call default/aside /may; pause", "call-answer": "set x-asked yes" }];
    await withActors(scripts, async (proxy) => {
      assert.match(wholeBody(await sayRaw(proxy.port(), GET)) ?? "", /\r\nx-asked: yes\|/);
    });
    const refusing = [{ "request-head": "call default/aside /never; pause", "call-answer": "respond 403 no" }];
    await withActors(refusing, async (proxy) => {
      const heard = await sayRaw(proxy.port(), post("body"));
      assert.equal(judge(heard), "403");
      assert.equal(wholeBody(heard), "no");
    });
  });

  test("a loop costs its own exchange an error; the others go on", async () => {
    await withActors([{ "request-body": "loop" }], async (proxy) => {
      for (let i = 0; i < 3; i++) {
        assert.equal(judge(await sayRaw(proxy.port(), post("x"))), "500 filter_failed");
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    });
    await withActors(
      [{ "request-body": "loop" }],
      async (proxy) => {
        assert.equal(judge(await sayRaw(proxy.port(), post("x"))), "200");
      },
      { onFailure: "open" },
    );
  });
});
