import type { FilterConfig } from "../../src/config/snapshot.ts";
import { type Bytes, latin1Text } from "../../src/core/bytes.ts";
import { VirtualClock } from "../../src/core/clock.ts";
import { DeadlineQueue } from "../../src/core/deadline.ts";
import type { Failure } from "../../src/core/failure.ts";
import { FilterLogs } from "../../src/core/filter-logs.ts";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../../src/core/head.ts";
import { DEFAULT_FILTER_BUDGET, type FilterBudget } from "../../src/core/limits.ts";
import type { Log, LogFields } from "../../src/core/log.ts";
import type { AttemptFacts, ConnectionFacts, ExchangeFacts } from "../../src/filters/attributes.ts";
import { ChainPool, type FilterChain } from "../../src/filters/chain.ts";
import type { ChainHost } from "../../src/filters/chain-types.ts";
import type {
  AttributeValue,
  CalloutAnswer,
  CalloutRequest,
  Direction,
  FilterMetrics,
  FilterModule,
  LocalResponse,
} from "../../src/filters/contract.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../src/filters/proxy-wasm/host.ts";
import { FilterStats } from "../../src/filters/stats.ts";
import { buildPuppet, Puppet, type Script } from "./puppet.ts";
import { ALL_GRANTED, type FilterPart } from "./snapshot.ts";

/** A filter's configuration with everything at its default. */
export function filterConfig(change: Omit<FilterPart, "budget"> & { budget?: Partial<FilterBudget> } = {}): FilterConfig {
  return {
    name: "default/puppet",
    abi: "proxy-wasm",
    digest: "sha256:00",
    origin: "test",
    settings: "{}",
    onFailure: "closed",
    isolated: false,
    ...change,
    capabilities: { ...ALL_GRANTED, ...change.capabilities },
    budget: { ...DEFAULT_FILTER_BUDGET, ...change.budget },
  };
}

/** Counts and keeps what filters report. */
export class RecordingMetrics implements FilterMetrics {
  readonly values = new Map<number, number>();
  readonly names: string[] = [];
  readonly traps: string[] = [];

  define(filter: string, kind: string, name: string): number {
    this.names.push(`${filter} ${kind} ${name}`);
    this.values.set(this.names.length, 0);
    return this.names.length;
  }
  record(id: number, value: number): void {
    this.values.set(id, value);
  }
  increment(id: number, by: number): void {
    this.values.set(id, (this.values.get(id) ?? 0) + by);
  }
  read(id: number): number {
    return this.values.get(id) ?? 0;
  }
  readonly stats = new FilterStats();
  statsOf(): FilterStats {
    return this.stats;
  }
  /** Calls that count: those of exchanges that answer a verdict, and the plugin's own. */
  get calls(): number {
    return [...this.stats.phases.values()].reduce((sum, { calls }) => sum + calls, 0);
  }
  onTrap(_filter: string, reason: string): void {
    this.traps.push(reason);
  }
  /** Denied calls by capability. */
  readonly denied = new Map<string, number>();
  onDenied(_filter: string, capability: string): void {
    this.denied.set(capability, (this.denied.get(capability) ?? 0) + 1);
  }
  readonly quarantined: string[] = [];
  onQuarantine(filter: string, isQuarantined: boolean): void {
    this.quarantined.push(`${filter} ${isQuarantined}`);
  }
  readonly disabled: string[] = [];
  onDisabled(filter: string, isDisabled: boolean, reason?: string): void {
    this.disabled.push(`${filter} ${isDisabled} ${reason}`);
  }
  throttled = 0;
  onThrottle(): void {
    this.throttled++;
  }
  readonly pulls = new Set<() => void>();
  onPull(pull: () => void): () => void {
    this.pulls.add(pull);
    return () => this.pulls.delete(pull);
  }
  /** As when metrics are scraped. */
  pull(): void {
    for (const pull of this.pulls) pull();
  }
}

/** Keeps lines instead of writing them. */
export class RecordingLog implements Log {
  readonly level = "debug";
  readonly lines: string[] = [];
  /** Of errors. */
  readonly fields: LogFields[] = [];
  debug(message: string, _fields?: LogFields): void {
    this.lines.push(`debug ${message}`);
  }
  info(message: string): void {
    this.lines.push(`info ${message}`);
  }
  warn(message: string): void {
    this.lines.push(`warn ${message}`);
  }
  error(message: string, fields: LogFields = {}): void {
    this.fields.push(fields);
    this.lines.push(`error ${message}`);
  }
  for(): Log {
    return this;
  }
}

/** A proxy-wasm host in virtual time, with everything it reports kept. */
export class FilterBench {
  /** What was published, with the filter and the subject. */
  readonly published: string[] = [];

  /** `connected`: whether messages can be published now; undefined: there is no NATS at all. */
  constructor(connected?: () => boolean) {
    const publish = (filter: string, subject: string, payload: Bytes): boolean => {
      if (connected?.() !== true) return false;
      this.published.push(`${filter} ${subject} ${latin1Text(payload)}`);
      return true;
    };
    this.host = new ProxyWasmHost({
      clock: this.clock,
      log: this.log,
      metrics: this.metrics,
      shared: this.shared,
      filterLogs: this.filterLogs,
      foreign: this.foreign,
      ...(connected === undefined ? {} : { publish }),
      callout: (_filter, request, done) => this.rootCallouts.push({ request, done }),
    });
  }
  readonly clock = new VirtualClock();
  readonly deadlines = new DeadlineQueue(this.clock, 50);
  readonly chains = new ChainPool(this.deadlines, this.clock);
  readonly metrics = new RecordingMetrics();
  readonly log = new RecordingLog();
  readonly shared = new SharedState();
  readonly filterLogs = new FilterLogs(this.clock);
  readonly foreign = new ForeignFunctions();
  readonly puppet = new Puppet().register(this.foreign);
  /** Calls of the plugin itself. */
  readonly rootCallouts: { request: CalloutRequest; done: (answer: CalloutAnswer | undefined) => void }[] = [];
  readonly host: ProxyWasmHost;

  load(config: FilterConfig = filterConfig(), wasm: Bytes = PUPPET): Promise<FilterModule> {
    return this.host.load(wasm, config);
  }

  /** One exchange through a chain of modules. */
  exchange(modules: readonly FilterModule[], change: Partial<RequestHead> = {}, isTimed = false): TestExchange {
    return new TestExchange(this.chains, modules, change, isTimed);
  }
}

const PUPPET = buildPuppet();

/** The exchange's side of a chain, with what it was told in `events`. */
export class TestExchange implements ChainHost, ExchangeFacts {
  readonly request: RequestHead;
  response: ResponseHead | undefined;
  readonly chain: FilterChain;
  readonly events: string[] = [];
  readonly callouts: {
    id: number;
    request: CalloutRequest;
    done: (answer: CalloutAnswer | undefined) => void;
    cancelled: boolean;
  }[] = [];
  localResponse: LocalResponse | undefined;
  failure: Failure | undefined;
  readonly facts = this;
  readonly connection: ConnectionFacts = {
    id: 7,
    remoteAddress: "192.0.2.1",
    remotePort: 4711,
    localAddress: "192.0.2.2",
    localPort: 8080,
    listener: "default/edge/http",
    tls: undefined,
  };
  clientAddress = "192.0.2.1";
  requestId = "id-1";
  routeName = "default/shop";
  serviceName = "default/shop";
  endpointKey = "10.0.0.1:80";
  attempts = 1;
  attempt: AttemptFacts | undefined;
  virtualHost = "*";
  answeredBy = "upstream";
  answerDetails = "";
  requestBytes = 0;
  responseBytes = 0;
  startWallMs = 1_700_000_000_123;
  durationMs = 12.5;

  constructor(chains: ChainPool, modules: readonly FilterModule[], change: Partial<RequestHead>, isTimed = false) {
    this.request = {
      method: "GET",
      scheme: "https",
      authority: "shop.example",
      path: "/cart",
      query: "a=1",
      version: 11,
      upgrade: undefined,
      headers: HeaderBlock.from([
        ["user-agent", "test"],
        ["x-many", "1"],
        ["x-many", "2"],
      ]),
      ...change,
    };
    this.chain = chains.open(modules, this, isTimed);
  }

  /** A response of the upstream: sets it and runs its head through the chain. */
  respond(status: number, headers: readonly (readonly [string, string])[], end: boolean): string {
    this.response = { status, reason: "", version: 11, upgrade: undefined, headers: HeaderBlock.from(headers) };
    return this.chain.responseHead(end);
  }

  dynamicAttribute(path: readonly string[]): AttributeValue | undefined {
    return path.join("/") === "metadata/filter_metadata/ns/key" ? "dynamic" : undefined;
  }
  callout(_filter: FilterConfig, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number {
    return this.callouts.push({ id: this.callouts.length + 1, request, done, cancelled: false });
  }
  cancelCallout(id: number): void {
    const callout = this.callouts[id - 1];
    if (callout !== undefined) callout.cancelled = true;
  }
  onChainForward(direction: Direction, head: boolean, data: Bytes, end: boolean): void {
    this.events.push(`${direction}${head ? " head" : ""} "${latin1Text(data)}"${end ? " end" : ""}`);
  }
  onChainRespond(response: LocalResponse): void {
    this.localResponse = response;
    this.events.push(`respond ${response.status}`);
  }
  onBug(error: unknown): void {
    throw error;
  }
  onChainFail(failure: Failure): void {
    this.failure = failure;
    this.events.push(`fail ${failure.code}`);
  }
  pauseSource(direction: Direction): void {
    this.events.push(`pause ${direction}`);
  }
  resumeSource(direction: Direction): void {
    this.events.push(`resume ${direction}`);
  }
}

/** Runs a script in `on_request_headers` of a fresh filter; throws what its assertions throw, and when it did not run. */
export async function playInRequest(
  script: Script,
  change: Parameters<typeof filterConfig>[0] = {},
): Promise<[FilterBench, TestExchange]> {
  const bench = new FilterBench();
  bench.puppet.on("request_headers", script);
  const module = await bench.load(filterConfig(change));
  const exchange = bench.exchange([module]);
  exchange.chain.requestHead(false);
  for (const error of bench.puppet.errors) throw error;
  if (!bench.puppet.entered.includes("request_headers")) throw new Error("the script did not run");
  return [bench, exchange];
}

/** Lets everything that was put off to the end of the turn happen. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
  await new Promise<void>((resolve) => setImmediate(resolve));
}
