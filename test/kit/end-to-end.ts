import assert from "node:assert/strict";
import type { Snapshot } from "../../src/config/snapshot.ts";
import { startProxy, type TestProxy, type TestProxyParts } from "./proxy.ts";
import type { RawUpstream } from "./raw.ts";
import { endpointsOf, forwardTo, routeOf, serviceOf, snapshotOf } from "./snapshot.ts";
import { until } from "./until.ts";

export const CLOSE = "connection: close\r\n";
/** A whole request of one line. */
export const GET = `GET / HTTP/1.1\r\nhost: a\r\n${CLOSE}\r\n`;

/** Everything goes to `upstream`, as service `up`. */
export function partsFor(upstream: RawUpstream): Pick<Snapshot, "routes" | "services" | "endpoints"> {
  return {
    routes: [routeOf("all", [forwardTo("up")])],
    services: [serviceOf("up")],
    endpoints: [endpointsOf("up", [upstream.port])],
  };
}

/** A proxy on real sockets for one test; afterwards nothing may be left: no exchange, no connection on either side, no call-out. */
export async function withProxy(
  parts: Partial<Snapshot>,
  body: (proxy: TestProxy) => Promise<void>,
  more: TestProxyParts = {},
): Promise<void> {
  const proxy = await startProxy(snapshotOf(parts), more);
  try {
    await body(proxy);
  } finally {
    await proxy.stop();
  }
  const { observer } = proxy;
  await until(
    () =>
      observer.inFlight === 0 &&
      observer.liveStreams.size === 0 &&
      observer.connections === 0 &&
      observer.upstreamConnections === 0,
  );
  assert.equal(observer.pending, 0);
  assert.equal(proxy.proxy.core.callouts.size, 0);
}

/** The same in front of one upstream, which is stopped at the end. */
export async function withUpstream(
  upstream: RawUpstream,
  body: (proxy: TestProxy) => Promise<void>,
  parts: Partial<Snapshot> = {},
  more: TestProxyParts = {},
): Promise<void> {
  try {
    await withProxy({ ...partsFor(upstream), ...parts }, body, more);
  } finally {
    await upstream.stop();
  }
}

/** `status code` of an answer in raw text, with the failure code of its body where it has one: `502 upstream_reset`. */
export function judge(heard: string): string {
  const status = /^HTTP\/1\.1 (\d{3})/.exec(heard)?.[1] ?? "nothing";
  const code = /\r\nx-selvedge-failure: (\w+)/.exec(heard)?.[1];
  return code === undefined ? status : `${status} ${code}`;
}

/** A body of an answer in raw text: by its length, or its chunks. Undefined: the answer is not whole. */
export function wholeBody(heard: string): string | undefined {
  const headEnd = heard.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const head = heard.slice(0, headEnd);
  const text = heard.slice(headEnd + 4);
  const length = /\r\ncontent-length: (\d+)/.exec(head)?.[1];
  if (length !== undefined) return text.length === Number(length) ? text : undefined;
  if (!/\r\ntransfer-encoding: chunked/.test(head)) return undefined;
  let body = "";
  for (let at = 0; ; ) {
    const line = text.indexOf("\r\n", at);
    const size = line < 0 ? Number.NaN : Number.parseInt(text.slice(at, line), 16);
    if (Number.isNaN(size)) return undefined;
    if (size === 0) return text.endsWith("\r\n\r\n") ? body : undefined;
    body += text.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
  }
}
