import { RunningProxy } from "../../src/app/proxy.ts";
import type { Snapshot } from "../../src/config/snapshot.ts";
import { type Clock, SystemClock } from "../../src/core/clock.ts";
import type { Failure } from "../../src/core/failure.ts";
import { type Log, SILENT_LOG } from "../../src/core/log.ts";
import { SeededRng } from "../../src/core/rng.ts";
import type { FilterRun } from "../../src/filters/chain-types.ts";
import type { FilterHost } from "../../src/filters/contract.ts";
import { FilterRegistry } from "../../src/filters/store.ts";
import type { Authenticator } from "../../src/proxy/generation.ts";
import type { ExchangeRecord, Observer, StreamRecord } from "../../src/proxy/observe/record.ts";
import { selectNet } from "../../src/runtime/select.ts";
import { until } from "./until.ts";

/** What a test wants to know of an exchange that is over. */
export interface SeenExchange {
  readonly path: string;
  readonly route: string;
  readonly status: number;
  readonly code: string;
  /** With all addresses. */
  readonly failure: string;
  readonly endpoint: string;
  readonly attempts: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly clientAddress: string;
  readonly requestId: string;
  readonly flag: string;
  readonly answeredBy: string;
  readonly answeringFilter: string;
  readonly answerDetails: string;
  readonly filterRuns: readonly FilterRun[];
  readonly durationMs: number;
}

/** The same of a stream of bytes. */
export interface SeenStream {
  readonly route: string;
  readonly service: string;
  readonly endpoint: string;
  readonly attempts: number;
  readonly code: string;
  /** With all addresses. */
  readonly failure: string;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly notes: readonly (readonly [string, string])[];
}

/** Remembers every exchange; counts what is open, so that a test can see leaks. */
export class SeeingObserver implements Observer {
  readonly exchanges: SeenExchange[] = [];
  readonly streams: SeenStream[] = [];
  /** Those that are open. */
  readonly liveStreams = new Set<StreamRecord>();
  readonly connectionFailures: string[] = [];
  inFlight = 0;
  connections = 0;
  handshakes = 0;
  upstreamConnections = 0;
  upstreamConnects = 0;
  pending = 0;
  contained = 0;

  onExchangeStart(): void {
    this.inFlight++;
  }
  onExchangeEnd(record: ExchangeRecord): void {
    this.inFlight--;
    this.exchanges.push({
      path: record.originalPath,
      status: record.status,
      code: record.failure?.code ?? "",
      failure: record.failure?.toString() ?? "",
      endpoint: record.endpointKey,
      attempts: record.attempts,
      requestBytes: record.requestBytes,
      responseBytes: record.responseBytes,
      route: record.routeName,
      clientAddress: record.clientAddress,
      requestId: record.requestId,
      flag: record.failure?.row.flag ?? "",
      answeredBy: record.answeredBy,
      answeringFilter: record.answeringFilter,
      answerDetails: record.answerDetails,
      filterRuns: record.filterRuns(),
      durationMs: record.endMs - record.startMs,
    });
  }
  onStreamStart(record: StreamRecord): void {
    this.liveStreams.add(record);
  }
  onStreamEnd(record: StreamRecord): void {
    this.liveStreams.delete(record);
    const { receivedBytes, sentBytes, attempts, failure } = record;
    this.streams.push({
      ...{ route: record.routeName, service: record.serviceName, endpoint: record.endpointKey },
      ...{ code: failure?.code ?? "", failure: failure?.toString() ?? "", receivedBytes, sentBytes, attempts },
      notes: [...(record.filterNotes ?? [])],
    });
  }
  onConnectionOpen(): void {
    this.connections++;
  }
  onConnectionClose(): void {
    this.connections--;
  }
  onHandshake(_listener: string, change: 1 | -1): void {
    this.handshakes += change;
  }
  onConnectionFailure(_listener: string, failure: Failure): void {
    this.connectionFailures.push(failure.code);
  }
  onUpstreamConnect(_service: string, ok: boolean): void {
    this.upstreamConnects++;
    if (ok) this.upstreamConnections++;
  }
  onUpstreamClose(): void {
    this.upstreamConnections--;
  }
  onContained(): void {
    this.contained++;
  }
  onPoolPending(_service: string, change: 1 | -1): void {
    this.pending += change;
  }
}

export interface TestProxy {
  readonly proxy: RunningProxy;
  readonly observer: SeeingObserver;
  /** Port of the first listener, or of a named one. */
  port(listener?: string): number;
  /** All exchanges that are over, once there are so many: a caller may hear the end of an answer before the proxy has looked back at it. */
  seen(count?: number): Promise<readonly SeenExchange[]>;
  apply(snapshot: Snapshot, modules?: ReadonlyMap<string, Uint8Array>): Promise<void>;
  stop(): Promise<void>;
}

const NO_FILTERS: FilterHost = { load: () => Promise.reject(new Error("this test has no filter host")) };

export interface TestProxyParts {
  readonly filterHost?: FilterHost;
  readonly modules?: ReadonlyMap<string, Uint8Array>;
  readonly authenticator?: Authenticator;
  /** File descriptors that the proxy believes it may have. */
  readonly descriptors?: number;
  /** For tests of what goes wrong in the proxy itself. */
  readonly observer?: SeeingObserver;
  readonly clock?: Clock;
  readonly log?: Log;
}

/** A whole data plane in this process, on real sockets. */
export async function startProxy(snapshot: Snapshot, parts: TestProxyParts = {}): Promise<TestProxy> {
  const observer = parts.observer ?? new SeeingObserver();
  const proxy = new RunningProxy({
    net: await selectNet(),
    clock: parts.clock ?? new SystemClock(),
    rng: new SeededRng(1),
    log: parts.log ?? SILENT_LOG,
    observer,
    filters: new FilterRegistry(parts.filterHost ?? NO_FILTERS),
    createAuthenticator: async () => {
      if (parts.authenticator === undefined) throw new Error("this test has no authenticator");
      return parts.authenticator;
    },
    reusePort: false,
    descriptors: parts.descriptors,
  });
  const apply = async (next: Snapshot, modules: ReadonlyMap<string, Uint8Array> = new Map()): Promise<void> => {
    const issues = await proxy.apply({ snapshot: next, modules, publishedAtMs: undefined });
    if (issues.length > 0) throw new Error(issues.map((issue) => `${issue.code}: ${issue.message}`).join("\n"));
  };
  await apply(snapshot, parts.modules);
  return {
    proxy,
    observer,
    port(listener) {
      for (const [name, address] of proxy.addresses) {
        if ((listener === undefined || name === listener) && address.kind === "tcp") return address.port;
      }
      throw new Error(`no listener ${listener ?? ""}`);
    },
    async seen(count = 1) {
      await until(() => observer.exchanges.length >= count);
      return observer.exchanges;
    },
    apply,
    stop: () => proxy.stop(),
  };
}
