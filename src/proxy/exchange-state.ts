import type { CompressionConfig, FilterConfig } from "../config/snapshot.ts";
import type { Clock } from "../core/clock.ts";
import type { Blamed, Bug } from "../core/containment.ts";
import type { Failure } from "../core/failure.ts";
import type { RequestHead, ResponseHead } from "../core/head.ts";
import type { ExchangeFacts } from "../filters/attributes.ts";
import type { FilterChain } from "../filters/chain.ts";
import type { FilterRun } from "../filters/chain-types.ts";
import type { AttributeValue, CalloutAnswer, CalloutRequest } from "../filters/contract.ts";
import { readJwtAttribute } from "../filters/jwt/attribute.ts";
import type { VerifiedToken } from "../filters/jwt/authenticator.ts";
import type { Attempt } from "./attempt.ts";
import { cancelCallout, startCallout } from "./callout.ts";
import type { ProxyCore } from "./core.ts";
import { applyForwarding, ForwardingResult } from "./forwarding.ts";
import type { Generation, ListenerRuntime } from "./generation.ts";
import type { ExchangeRecord } from "./observe/record.ts";
import type { Reply } from "./reply.ts";
import { coveringHost } from "./routing/host.ts";
import { pathPatternOf } from "./routing/path-pattern.ts";
import type { RouteMatch } from "./routing/router.ts";
import type { ConnectionInfo } from "./stream.ts";

/** What is known about an exchange: filters read it as attributes, metrics and the access log as a record. The phases are in exchange.ts. */
export abstract class ExchangeState implements ExchangeFacts, ExchangeRecord, Blamed {
  readonly originalPath: string;
  readonly originalAuthority: string;
  readonly startMs: number;
  firstByteMs = 0;
  endMs = 0;
  routeName = "";
  ruleName = "";
  serviceName = "";
  subsetName = "";
  endpointKey = "";
  failure: Failure | undefined;
  answeredBy = "";
  requestBytes = 0;
  attempts = 0;
  tunnel = false;
  done = false;
  /** Metrics and log have it. */
  isTold = false;
  readonly forwarding = new ForwardingResult();
  claims: readonly VerifiedToken[] | undefined;
  /** What was routed, if a tunnel may come of it: a later generation must find the same again. */
  asked: RequestHead | undefined;
  /** -1: nobody has asked yet. Kept, so that all who ask hear the same. */
  #startWallMs = -1;

  constructor(
    readonly clock: Clock,
    readonly connection: ConnectionInfo,
    readonly request: RequestHead,
  ) {
    this.originalPath = request.path;
    this.originalAuthority = request.authority;
    this.startMs = clock.nowMs();
  }

  abstract readonly core: ProxyCore;
  abstract readonly generation: Generation;
  abstract readonly listener: ListenerRuntime;
  abstract readonly reply: Reply;
  abstract abandon(bug: Bug): void;
  match: RouteMatch | undefined;
  /** The newest try at an upstream. */
  attempt: Attempt | undefined;
  /** Open between the start of the first filter and the end. */
  chain: FilterChain | undefined;

  get facts(): ExchangeFacts {
    return this;
  }
  get compression(): CompressionConfig | undefined {
    return this.listener.config.compression;
  }
  callout(filter: FilterConfig, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number {
    return startCallout(this.core, this.generation, filter, request, done, this.request.headers);
  }
  cancelCallout(id: number): void {
    cancelCallout(this.core, id);
  }

  onBug(error: unknown): void {
    this.core.turn.thrown(error, this);
  }

  /** Filters, metrics and log hear what it was. */
  protected tell(): void {
    if (this.requestId === "") this.#introduce();
    this.chain?.log();
    this.isTold = true;
    this.core.observer.onExchangeEnd(this);
  }

  /** It was over before it started (its peer was gone within the same batch): who asked for what is known all the same. */
  #introduce(): void {
    applyForwarding(this.listener.forwarding, this.connection, this.request, this.core, this.forwarding);
    const match = this.generation.router.match(this.listener.config.name, this.request);
    this.routeName = match?.route.name ?? "";
    this.ruleName = match?.rule.name ?? "";
  }

  get filterNotes(): ReadonlyMap<string, string> | undefined {
    return this.chain?.notes;
  }
  filterRuns(): readonly FilterRun[] {
    return this.chain?.runs() ?? [];
  }
  get answeringFilter(): string {
    return this.answeredBy === "filter" ? (this.chain?.answerer ?? "") : "";
  }
  get answerDetails(): string {
    return this.answeredBy === "filter" ? (this.chain?.localResponse?.details ?? "") : "";
  }

  rememberAsked(): void {
    this.asked = { ...this.request, headers: this.request.headers.copy() };
  }

  /** The answer's head as far as there is one. */
  get response(): ResponseHead | undefined {
    return this.reply.head;
  }
  get status(): number {
    return this.reply.started ? (this.reply.head as ResponseHead).status : 0;
  }
  get responseBytes(): number {
    return this.reply.bytes;
  }
  responseHeader(name: string): string | undefined {
    return this.reply.head?.headers.get(name);
  }
  get requestId(): string {
    return this.forwarding.requestId;
  }
  get clientAddress(): string {
    return this.forwarding.clientAddress;
  }
  get traceId(): string {
    return this.forwarding.traceId;
  }
  get spanId(): string {
    return this.forwarding.spanId;
  }
  get parentSpanId(): string {
    return this.forwarding.parentSpanId;
  }
  get pathPattern(): string {
    return this.match === undefined ? "" : pathPatternOf(this.match.rule.matches);
  }
  get durationMs(): number {
    return (this.done ? this.endMs : this.clock.nowMs()) - this.startMs;
  }
  get startWallMs(): number {
    if (this.#startWallMs < 0) this.#startWallMs = this.clock.wallMs() - (this.clock.nowMs() - this.startMs);
    return this.#startWallMs;
  }
  get virtualHost(): string {
    return this.match === undefined ? "" : coveringHost(this.match.route.hosts, this.originalAuthority);
  }

  dynamicAttribute(path: readonly string[]): AttributeValue | undefined {
    return this.claims === undefined ? undefined : readJwtAttribute(this.claims, path);
  }
}
