import type { ActionConfig } from "../config/snapshot.ts";
import { type Bytes, copyBytes, viewOf } from "../core/bytes.ts";
import type { Bug } from "../core/containment.ts";
import { Deadline } from "../core/deadline.ts";
import { Failure } from "../core/failure.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../core/head.ts";
import type { FilterChain } from "../filters/chain.ts";
import type { ChainHost, ChainResult } from "../filters/chain-types.ts";
import type { Direction, LocalResponse } from "../filters/contract.ts";
import type { JwtOutcome } from "../filters/jwt/authenticator.ts";
import { refuseAtDoor, refuseToken, refuseTunnel } from "./admit.ts";
import { Attempt, type AttemptOwner, CONNECT_TRIES_MAX, IDEMPOTENT } from "./attempt.ts";
import { type Endpoint, NO_HINT } from "./balance/picker.ts";
import type { ProxyCore } from "./core.ts";
import { renderFailure } from "./errors.ts";
import { ExchangeState } from "./exchange-state.ts";
import { applyForwarding } from "./forwarding.ts";
import type { Generation, ListenerRuntime, RuleRuntime } from "./generation.ts";
import { answerLocally, finishAnswerHead, fromFilter, limitForwards } from "./local-answer.ts";
import { Reply, type ReplyOwner, sendWhole, WHOLE_BODY } from "./reply.ts";
import { RequestBody, type RequestBodyOwner } from "./request-body.ts";
import { applyHeaderEdits } from "./routing/headers.ts";
import { applyRewrite, renormaliseTarget } from "./routing/rewrite.ts";
import type { RouteMatch } from "./routing/router.ts";
import { chooseBackend } from "./routing/split.ts";
import type { DownstreamHandler, DownstreamStream, UpstreamStream } from "./stream.ts";
import { Tunnel } from "./tunnel.ts";
import type { UpstreamService } from "./upstream/service.ts";

/**
 * The life of a request, in order: admit, route, authenticate, filter, act (redirect, respond, forward), pick, send, answer,
 * finish. Synchronous unless a phase pauses: a filter, a token's verification, a connection being made.
 */
export class Exchange extends ExchangeState implements DownstreamHandler, AttemptOwner, ChainHost, ReplyOwner, RequestBodyOwner {
  readonly reply: Reply;
  #tried: Endpoint[] | undefined;
  #retriedStale = false;
  readonly #body: RequestBody;
  /** What came (in the same read as the head) while the caller is being authenticated: it passes the filters afterwards. */
  #early: Bytes[] | undefined;
  #earlyEnd: { readonly trailers: HeaderBlock | undefined } | undefined;
  #deadline: Deadline | undefined;
  /** Since the 101. */
  #tunnel: Tunnel | undefined;
  #isAbandoned = false;

  constructor(
    readonly core: ProxyCore,
    readonly generation: Generation,
    readonly listener: ListenerRuntime,
    readonly stream: DownstreamStream,
    request: RequestHead,
    end: boolean,
  ) {
    super(core.clock, stream.connection, request);
    this.#body = new RequestBody(stream, end, this);
    this.reply = new Reply(this, stream);
  }

  /** Runs the phases as far as they go without waiting. */
  start(): void {
    if (this.done) return;
    applyForwarding(this.listener.forwarding, this.connection, this.request, this.core, this.forwarding);
    const refused = refuseAtDoor(this.request, this.connection, this.listener);
    if (refused === undefined) this.#route();
    else this.#fail(refused);
  }

  // ---------------------------------------------------------------- route

  #route(): void {
    if (this.request.upgrade !== undefined) this.rememberAsked();
    const match = this.generation.router.match(this.listener.config.name, this.request);
    if (match === undefined) {
      this.#fail(new Failure("no_route"));
      return;
    }
    this.match = match;
    this.routeName = match.route.name;
    this.ruleName = match.rule.name;
    const rule = this.generation.rules.get(match.rule) as RuleRuntime;
    const { timeoutMs } = match.rule;
    if (timeoutMs > 0) {
      this.#deadline = new Deadline(() => this.#onTimeout(), this);
      this.core.deadlines.arm(this.#deadline, timeoutMs);
    }
    if (this.#isBodyTooLarge(Number(this.request.headers.get("content-length") ?? 0))) return;
    if (rule.authenticator === undefined) this.#filter(rule);
    else this.#authenticate(rule, rule.authenticator.verify(this.request));
  }

  #isBodyTooLarge(bytes: number): boolean {
    const maxBodyBytes = this.match?.rule.maxBodyBytes;
    if (maxBodyBytes === undefined || bytes <= maxBodyBytes) return false;
    this.#fail(new Failure("body_too_large", `more than ${maxBodyBytes} bytes`));
    return true;
  }

  // ---------------------------------------------------------------- authenticate

  #authenticate(rule: RuleRuntime, outcome: JwtOutcome | Promise<JwtOutcome>): void {
    if (outcome instanceof Promise) {
      this.#early = [];
      this.stream.pause();
      const resume = (settled: JwtOutcome): void => this.core.turn.run(this, () => this.#resumeAuthenticated(rule, settled));
      outcome.then(resume, (error: unknown) => resume({ kind: "denied", reason: String(error), status: 503 }));
      return;
    }
    if (outcome.kind === "denied") {
      this.#fail(refuseToken(outcome));
      return;
    }
    if (outcome.kind === "ok") this.claims = outcome.payloads;
    this.#filter(rule);
  }

  #resumeAuthenticated(rule: RuleRuntime, outcome: JwtOutcome): void {
    if (this.done) return;
    this.stream.resume();
    const early = this.#early;
    const end = this.#earlyEnd;
    this.#early = undefined;
    if (this.#isAnswered) return;
    this.#authenticate(rule, outcome);
    for (const bytes of early ?? []) this.onData(bytes, 0, bytes.byteLength);
    if (end !== undefined) this.onEnd(end.trailers);
  }

  // ---------------------------------------------------------------- filter

  #filter(rule: RuleRuntime): void {
    if (rule.filters.length === 0) {
      this.#act();
      return;
    }
    const { filters, slowFilterMs } = this.generation.snapshot.mesh.accessLog;
    const isTimed = filters === true || slowFilterMs !== undefined || this.spanId !== "";
    const chain = this.core.chains.open(rule.filters, this, isTimed);
    this.chain = chain;
    const result = chain.requestHead(this.#body.ended);
    if (result === "held") this.#body.invite(this.request);
    else if (this.#passed(result)) this.#headPassed(chain);
  }

  /** True when the filters let it through; else what they want instead is under way. */
  #passed(result: ChainResult): boolean {
    if (result === "respond") this.onReplyReplaced(this.chain?.localResponse as LocalResponse);
    else if (result === "failed") this.#fail(this.chain?.failure as Failure);
    return result === "forward";
  }

  /** Only a body whose beginning the filters have let pass can tell whether its length is still as declared. */
  #headPassed(chain: FilterChain): void {
    const isForwarded = this.match?.rule.action.kind === "forward";
    if (!isForwarded || !this.#body.awaits(this.request, chain)) this.#act();
  }

  onBodyBegun(): void {
    if (!this.done) this.#act();
  }

  // ---------------------------------------------------------------- act

  /** While the head waited for something the exchange was answered (a time-out, say), and that answer is under way: nothing goes on. */
  get #isAnswered(): boolean {
    return this.reply.head !== undefined;
  }

  #act(): void {
    if (this.#isAnswered) return;
    const match = this.match as RouteMatch;
    const action = limitForwards(match.rule.action, this.request);
    const illegal = this.chain?.targetChanged === true ? renormaliseTarget(this.request, this.listener.config.paths) : undefined;
    if (illegal !== undefined) {
      this.#fail(new Failure("filter_failed", "a filter wrote an illegal target", illegal));
      return;
    }
    if (action.kind === "forward") {
      this.#forward(match, action);
      return;
    }
    const answer = answerLocally(action, match, this.request, this.connection.localPort, this.requestId);
    this.answeredBy = "route";
    this.failure = answer.failure;
    if (match.rule.responseHeaders !== undefined) applyHeaderEdits(answer.head.headers, match.rule.responseHeaders);
    sendWhole(this.reply, answer.head, answer.body, true);
  }

  // ---------------------------------------------------------------- pick

  #forward(match: RouteMatch, action: Extract<ActionConfig, { kind: "forward" }>): void {
    const { request } = this;
    if (request.upgrade !== undefined && !action.upgrades.includes(request.upgrade)) request.upgrade = undefined;
    if (action.upgradeRequired === true && request.upgrade === undefined) {
      this.#fail(new Failure("upgrade_required"));
      return;
    }
    const backend = chooseBackend(action.backends, this.core.rng);
    const service = backend === undefined ? undefined : this.generation.services.get(backend.service);
    if (backend === undefined || service === undefined) {
      this.#fail(new Failure("no_backend"));
      return;
    }
    this.serviceName = backend.service;
    this.subsetName = backend.subset ?? "";
    if (action.rewrite !== undefined) {
      const failure = applyRewrite(action.rewrite, match, request, this.listener.config.paths);
      if (failure !== undefined) {
        this.#fail(failure);
        return;
      }
    }
    if (match.rule.requestHeaders !== undefined) applyHeaderEdits(request.headers, match.rule.requestHeaders);
    this.#try(service, false);
  }

  #try(service: UpstreamService, fresh: boolean): void {
    const lease = service.pick(this.subsetName, this.#tried === undefined ? NO_HINT : { exclude: this.#tried });
    if (lease === undefined) {
      this.#fail(this.failure ?? new Failure("no_endpoint").addAddress(`service ${service.config.name}`));
      return;
    }
    this.attempts++;
    this.endpointKey = lease.endpoint.key;
    const attempt = new Attempt(this, service, lease, this.connection);
    this.attempt = attempt;
    attempt.start(fresh);
    if (this.#body.upstream === undefined && !this.#body.ended && !this.done) this.stream.pause();
  }

  /** Whether the failed attempt may be made again, and how. */
  #retry(attempt: Attempt, failure: Failure): boolean {
    if (this.reply.head !== undefined) return false;
    if (failure.retry === "safe" && this.attempts < CONNECT_TRIES_MAX) {
      this.#tried ??= [];
      this.#tried.push(attempt.lease.endpoint);
      // Remembered, so that the last reason is told when no endpoint is left.
      this.failure = failure;
      this.#try(attempt.service, false);
      return true;
    }
    const stale = failure.retry === "if-reused" && attempt.stream?.reused === true && !this.#retriedStale;
    if (!stale || !IDEMPOTENT.has(this.request.method) || this.requestBytes > 0 || !this.#body.ended || this.#body.gone)
      return false;
    this.#retriedStale = true;
    this.#try(attempt.service, true);
    return true;
  }

  // ---------------------------------------------------------------- send

  onAttemptReady(stream: UpstreamStream): void {
    if (this.done) return;
    this.failure = undefined;
    if (this.request.authority === "") this.request.authority = (this.attempt as Attempt).authority;
    this.#body.attach(stream, this.request, this.chain);
  }

  onData(bytes: Bytes, start: number, end: number): void {
    if (this.done) return;
    if (this.#early !== undefined) {
      this.#early.push(copyBytes(viewOf(bytes, start, end)));
      return;
    }
    if (this.#tunnel !== undefined) {
      this.#tunnel.fromDownstream(bytes, start, end);
      return;
    }
    this.requestBytes += end - start;
    if (this.#isBodyTooLarge(this.requestBytes)) return;
    const { chain } = this;
    if (chain === undefined || chain.passesData("request")) {
      this.#body.send(bytes, start, end);
      return;
    }
    if (this.#passed(chain.requestData(viewOf(bytes, start, end), false))) this.#body.send(chain.data);
  }

  onEnd(trailers: HeaderBlock | undefined): void {
    if (this.done) return;
    if (this.#early !== undefined) {
      this.#earlyEnd = { trailers };
      return;
    }
    if (this.#tunnel !== undefined) {
      this.#tunnel.endDownstream();
      if (this.#tunnel.ended) this.#finish();
      return;
    }
    const { chain } = this;
    if (chain === undefined) {
      this.#body.end(trailers);
      return;
    }
    if (this.#passed(chain.requestEnd(trailers))) this.#body.end(chain.requestTrailers, chain.data);
  }

  onAttemptWritable(): void {
    this.stream.resume();
  }

  // ---------------------------------------------------------------- answer

  onAttemptHead(head: ResponseHead, end: boolean): void {
    if (this.done) return;
    if (head.status < 200 && head.status !== 101) {
      // 100 and 103 go through as they come; an HTTP/1.0 peer knows none (RFC 9110 §15.2).
      if (this.request.version > 10) this.stream.sendHead(head, false);
      return;
    }
    this.firstByteMs = this.core.clock.nowMs();
    this.answeredBy = "upstream";
    const edits = (this.match as RouteMatch).rule.responseHeaders;
    if (edits !== undefined) applyHeaderEdits(head.headers, edits);
    this.reply.open(head, end, end ? WHOLE_BODY : (this.#body.upstream as UpstreamStream), true);
  }

  onAttemptData(bytes: Bytes, start: number, end: number): void {
    if (this.done) return;
    if (this.#tunnel === undefined) this.reply.data(bytes, start, end);
    else this.#tunnel.fromUpstream(bytes, start, end);
  }

  onAttemptEnd(trailers: HeaderBlock | undefined): void {
    if (this.done) return;
    if (this.#tunnel !== undefined) {
      this.#tunnel.endUpstream();
      if (this.#tunnel.ended) this.#finish();
      return;
    }
    // Its connection may carry another exchange from now on.
    this.#body.upstream = undefined;
    if (this.reply.head?.status === 101) this.#fail(new Failure("upstream_aborted", "while a filter held the 101"));
    else this.reply.end(trailers);
  }

  onAttemptFailure(failure: Failure): void {
    if (this.done) return;
    const attempt = this.attempt as Attempt;
    this.#body.upstream = undefined;
    if (this.#retry(attempt, failure)) return;
    if (failure.code === "filter_body_length") this.chain?.blameLength("request", failure);
    this.#fail(failure);
  }

  onWritable(): void {
    if (this.#tunnel !== undefined) this.#tunnel.downstreamWritable();
    else this.reply.writable();
  }

  onReplyHead(head: ResponseHead): void {
    finishAnswerHead(head, this.listener.config.forwarding, this.requestId, this.core);
    if (head.status === 101) this.#openTunnel();
  }

  onReplyFailed(failure: Failure): void {
    if (failure.code === "filter_body_length") this.chain?.blameLength("response", failure);
    this.#fail(failure);
  }

  /** A filter answers, whatever was there before. */
  onReplyReplaced(response: LocalResponse): void {
    if (this.done) return;
    // The request's head may have gone on already: what its service says must not meet this answer, nor take its place.
    this.attempt?.cancel(new Failure("filter_failed", "a filter answered"));
    this.#body.upstream = undefined;
    this.answeredBy = "filter";
    const { head, body } = fromFilter(response);
    sendWhole(this.reply, head, body, true);
  }

  // ---------------------------------------------------------------- tunnel

  /** Just before the 101 goes out: what waits behind the request follows at once, and is no body. */
  #openTunnel(): void {
    this.tunnel = true;
    this.#tunnel = new Tunnel(this.stream, this.#body.upstream as UpstreamStream);
    this.reply.started = true;
    if (this.#deadline !== undefined) this.core.deadlines.remove(this.#deadline);
  }

  /** A new generation serves: a tunnel, open or asked for, that it would not open is closed; every other one lives on. */
  recheckTunnel(generation: Generation): void {
    if (this.done || (!this.tunnel && this.request.upgrade === undefined)) return;
    const refused = refuseTunnel(this.asked ?? this.request, this.connection, this.listener.config.name, generation);
    if (refused !== undefined) this.#fail(refused);
  }

  // ---------------------------------------------------------------- failure and finish

  /** The downstream is gone, what it sends is wrong, or the answer does not fit what it was told. */
  onReset(failure: Failure): void {
    if (!this.done) this.onReplyFailed(failure);
  }

  #onTimeout(): void {
    if (this.done) return;
    this.core.turn.enter();
    this.#fail(new Failure("exchange_timeout", `${this.match?.rule.timeoutMs} ms`));
    this.core.turn.leave();
  }

  #fail(failure: Failure): void {
    if (this.done) return;
    this.failure = this.routeName === "" ? failure : failure.addAddress(`route ${this.routeName}`);
    this.attempt?.abort(failure);
    this.#body.upstream = undefined;
    if (failure.row.level === "error") this.core.log.error(failure.toString(), { requestId: this.requestId });
    if (failure.code === "downstream_reset" || this.reply.started) {
      this.stream.reset(failure);
      this.#finish();
      return;
    }
    const { head, body } = renderFailure(failure, this.request, this.requestId);
    // What a broken filter would do to the answer is nobody's guess; every other failure passes the filters (CORS, headers).
    sendWhole(this.reply, head, body, failure.side !== "filter" && this.reply.head === undefined);
  }

  onReplied(): void {
    if (!this.done) this.#finish();
  }

  #finish(): void {
    if (this.done) return;
    this.done = true;
    const { turn } = this.core;
    const { depth } = turn;
    try {
      this.#settle();
    } catch (error) {
      // Its connection may have forgotten it, or serve another already: it is for itself to give back what it holds.
      turn.contain(error, this, depth);
    }
  }

  #settle(): void {
    // Else an exchange of one turn would take no time at all beside filters that say how long they took.
    if (this.chain?.clock !== undefined || this.spanId !== "") this.core.turn.renew();
    this.endMs = this.core.clock.nowMs();
    this.reply.abandon();
    if (this.#deadline !== undefined) this.core.deadlines.remove(this.#deadline);
    // An answer may end before its request does: the rest has nowhere to go.
    const attempt = this.attempt;
    if (attempt?.over === false) attempt.cancel(new Failure("downstream_reset", "exchange over"));
    this.tell();
    this.chain?.close();
    this.chain = undefined;
  }

  abandon(bug: Bug): void {
    if (this.#isAbandoned) return;
    this.#isAbandoned = true;
    this.done = true;
    this.endMs ||= this.startMs;
    if (!this.isTold) this.failure = bug.failure;
    bug.failure.addAddress(`request ${this.requestId}`).addAddress(`route ${this.routeName}`);
    bug.step(() => this.attempt?.abandon(bug));
    bug.step(() => this.#deadline !== undefined && this.core.deadlines.remove(this.#deadline));
    bug.step(() => this.reply.abandon());
    bug.step(() => this.isTold || this.tell());
    bug.step(() => this.chain?.close());
    this.chain = undefined;
    bug.step(() => this.stream.abandon(bug));
  }

  // ---------------------------------------------------------------- what filters see and do

  onChainForward(direction: Direction, head: boolean, data: Bytes, end: boolean): void {
    if (!this.done) this.core.turn.run(this, () => this.#release(direction, head, data, end));
  }

  #release(direction: Direction, head: boolean, data: Bytes, end: boolean): void {
    if (direction === "response") {
      this.reply.release(head, data, end);
      return;
    }
    if (end) this.#body.end(this.chain?.requestTrailers, data);
    else this.#body.send(data);
    if (head) this.#headPassed(this.chain as FilterChain);
  }

  onChainRespond(response: LocalResponse): void {
    this.core.turn.run(this, () => this.onReplyReplaced(response));
  }

  onChainFail(failure: Failure): void {
    this.core.turn.run(this, () => this.#fail(failure));
  }

  pauseSource(direction: Direction): void {
    if (direction === "request") this.stream.pause();
    else this.#body.upstream?.pause();
  }

  resumeSource(direction: Direction): void {
    if (direction === "request") this.stream.resume();
    else this.#body.upstream?.resume();
  }
}
