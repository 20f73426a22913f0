import assert from "node:assert/strict";
import type { ListenerConfig, RouteConfig, Snapshot, TcpConfig } from "../../src/config/snapshot.ts";
import { withProxy } from "./end-to-end.ts";
import type { SeenStream, TestProxy, TestProxyParts } from "./proxy.ts";
import { type RawUpstream, startRawUpstream } from "./raw.ts";
import { endpointsOf, listenerOf, serviceOf } from "./snapshot.ts";
import { until } from "./until.ts";

/** Kit for tests of TCP streams. */

type Peer = Parameters<Parameters<typeof startRawUpstream>[0]>[0];

export const tcpListener = (part: Partial<ListenerConfig> = {}): ListenerConfig =>
  listenerOf({ name: "default/edge/db", protocol: "tcp", ...part });

/** All streams of listener `db` to service `up`. */
export function tcpRoute(part: Partial<TcpConfig> = {}, name = "streams", hosts: readonly string[] = ["*"]): RouteConfig {
  const backends = [{ service: "default/up", subset: undefined, weight: 1 }];
  return {
    ...{ name: `default/${name}`, gateways: [], hosts, rules: [] },
    tcp: { listener: "db", backends, filters: [], idleMs: undefined, ...part },
  };
}

/** A listener and a route in front of `ports`, as service `up`. */
export function tcpParts(ports: readonly number[], part: Partial<Snapshot> = {}): Partial<Snapshot> {
  return {
    listeners: [tcpListener()],
    routes: [tcpRoute()],
    services: [serviceOf("up")],
    endpoints: [endpointsOf("up", ports)],
    ...part,
  };
}

/** Says back what it hears, and ends when its peer does. */
export const startEcho = (): Promise<RawUpstream> =>
  startRawUpstream((socket) => {
    socket.on("data", (chunk) => void socket.write(chunk));
    socket.on("end", () => socket.end());
  });

/** A proxy in front of an upstream that does what `onConnection` says. */
export async function withStreams(
  onConnection: (socket: Peer) => void,
  body: (proxy: TestProxy, upstream: RawUpstream) => Promise<void>,
  part: Partial<Snapshot> = {},
  more: TestProxyParts = {},
): Promise<void> {
  const upstream = await startRawUpstream(onConnection);
  try {
    await withProxy(tcpParts([upstream.port], part), (proxy) => body(proxy, upstream), more);
  } finally {
    await upstream.stop();
  }
}

export const echo = (socket: Peer): void => {
  socket.on("data", (chunk) => void socket.write(chunk));
  socket.on("end", () => socket.end());
};

/** All streams that are over, once there are so many. */
export async function seenStreams(proxy: TestProxy, count = 1): Promise<readonly SeenStream[]> {
  await until(() => proxy.observer.streams.length >= count);
  return proxy.observer.streams;
}

/** The failure codes of the streams that are over, once there are so many; "" for one that ended well. */
export async function codesOf(proxy: TestProxy, count = 1): Promise<readonly string[]> {
  return (await seenStreams(proxy, count)).map(({ code }) => code);
}

/** The only stream so far. */
export async function onlyStream(proxy: TestProxy): Promise<SeenStream> {
  const streams = await seenStreams(proxy);
  assert.equal(streams.length, 1);
  return streams[0] as SeenStream;
}
