import { assert } from "../../core/assert.ts";
import type { Bytes } from "../../core/bytes.ts";
import { Failure, type FailureCode } from "../../core/failure.ts";
import type { HeaderBlock, HttpVersion, RequestHead, ResponseHead } from "../../core/head.ts";
import { CODEC_LIMITS } from "../../core/limits.ts";
import type { ByteWriter } from "../../core/writer.ts";
import { CHUNK, ChunkDecoder } from "./chunks.ts";
import { type FieldRules, HeadFields, readFields } from "./fields.ts";
import type { BodyKind } from "./framing.ts";
import { HttpOutput } from "./output.ts";
import { HostCache, hasBody, makeRequestHead, readRequestLine, requestLineTooLong } from "./request.ts";
import { judgeResponseFraming, keepAliveMs, makeResponseHead, readStatusLine } from "./response.ts";
import { type LineScanner, SCAN, type ScanLimits } from "./scan.ts";
import { SectionReader } from "./section.ts";
import { advance, EVENT, STATE, STATE_NAMES } from "./states.ts";
import { readTrailers } from "./trailers.ts";
import type { Http1Options, Http1State } from "./types.ts";

/** Collected field by field for one head at a time; nothing of it is left when the sink is called. */
const fields = new HeadFields();

/** What a failure is called when an upstream caused it. */
const UPSTREAM_LIMITS: ReadonlySet<FailureCode> = new Set(["uri_too_long", "headers_too_large", "body_too_large"]);
const UPSTREAM_CODES: ReadonlySet<FailureCode> = new Set(["upstream_reset", "upstream_aborted", "upstream_protocol"]);

/**
 * One HTTP/1.1 connection without the network (RFC 9112): bytes in, calls of the sink out; heads and bodies in, bytes out.
 * It never waits, never copies a body, never touches a socket or a clock.
 */
export class Http1Codec {
  readonly #options: Http1Options;
  readonly #rules: FieldRules;
  readonly #headLimits: ScanLimits;
  readonly #trailerLimits: ScanLimits;
  readonly #section = new SectionReader();
  readonly #hosts = new HostCache();
  readonly #output = new HttpOutput();
  #chunks: ChunkDecoder | undefined = undefined;
  #incoming: number = STATE.idle;
  #receiving = false;
  #paused = false;
  #emptyLines = 0;
  #inTrailers = false;
  #bodyKind: BodyKind = "none";
  /** `length`: bytes to come; `close`: bytes that came. */
  #bodyBytes = 0;
  /** While `receive` is under way: bytes behind what the sink is told of. */
  #behind = 0;
  #informational = 0;
  #expectsContinue = false;
  #keepAliveMs = -1;

  constructor(options: Http1Options) {
    const { limits, role } = options;
    this.#options = options;
    this.#rules = {
      underscores: role === "downstream" ? options.underscores : "keep",
      protectedOption: role === "downstream" ? "reject" : "ignore",
    };
    this.#headLimits = {
      firstLineBytes: limits.requestLineBytes,
      lineBytes: limits.headerFieldBytes,
      sectionBytes: limits.headerSectionBytes,
      lines: limits.headerCount,
    };
    this.#trailerLimits = {
      firstLineBytes: 0,
      lineBytes: limits.headerFieldBytes,
      sectionBytes: limits.trailerSectionBytes,
      lines: limits.headerCount,
    };
  }

  get incoming(): Http1State {
    return STATE_NAMES[this.#incoming] as Http1State;
  }
  get outgoing(): Http1State {
    return STATE_NAMES[this.#output.state] as Http1State;
  }

  /** Both messages of this exchange are complete, and nothing forbids another exchange on the connection. */
  get reusable(): boolean {
    return this.#incoming === STATE.done && this.#output.state === STATE.done && !this.#output.last;
  }

  /** Some bytes of the next head are there, but not all: the header time-out runs. */
  get headStarted(): boolean {
    return this.#incoming === STATE.head;
  }

  /** The current request said `Expect: 100-continue` and nothing of its body has come (role downstream). */
  get expectsContinue(): boolean {
    return this.#expectsContinue;
  }

  /** What the upstream's `Keep-Alive: timeout=N` said, in milliseconds; -1: nothing. */
  get keepAliveTimeoutMs(): number {
    return this.#keepAliveMs;
  }

  /**
   * Reads `bytes` from `start` and calls the sink. Returns how many bytes were consumed: fewer than given when a message is
   * complete (call `nextExchange`, then come again with the rest; with role `upstream` a rest is an attack or a fault, and
   * `reusable` is false), or after `pause`. After a failure the rest is swallowed. An upgrade request is such a complete
   * message: what follows it stays with the caller until the answer says what it is. Not to be called by the sink.
   */
  receive(bytes: Bytes, start = 0): number {
    assert(!this.#receiving, "receive within a call of the sink");
    this.#receiving = true;
    const end = bytes.byteLength;
    let at = start;
    try {
      while (at < end && !this.#paused && this.#incoming !== STATE.done) at = this.#read(bytes, at);
    } finally {
      this.#receiving = false;
    }
    // Not reachable through the codec alone: more bytes for an answer that is complete.
    if (at < end && this.#incoming === STATE.done) this.#judgeRest();
    return at - start;
  }

  #read(bytes: Bytes, at: number): number {
    switch (this.#incoming) {
      case STATE.idle:
      case STATE.head:
        return this.#readHead(bytes, at);
      case STATE.body:
        return this.#readBody(bytes, at);
      case STATE.tunnel:
        this.#options.sink.onData(bytes, at, bytes.byteLength);
        return bytes.byteLength;
      default:
        return bytes.byteLength;
    }
  }

  /** Bytes behind an upstream's answer are nobody's (response splitting): the connection is not used again. */
  #judgeRest(): void {
    if (this.#options.role === "upstream") this.#output.last = true;
  }

  /** Stops `receive` after the current sink call, until `resume`; the caller keeps the rest. */
  pause(): void {
    this.#paused = true;
  }
  resume(): void {
    this.#paused = false;
  }

  /** The peer's FIN. Call it once everything that came before was consumed. */
  receiveEnd(): void {
    const { sink, role } = this.#options;
    const isUpstream = role === "upstream";
    switch (this.#incoming) {
      case STATE.idle:
        if (isUpstream && this.#output.asked) {
          this.#fail(new Failure(this.#informational > 0 ? "upstream_aborted" : "upstream_reset", "FIN before the answer"));
        } else this.#move(EVENT.end);
        return;
      case STATE.head:
        this.#fail(new Failure(isUpstream ? "upstream_aborted" : "downstream_reset", "FIN within a head"));
        return;
      case STATE.body:
        if (this.#bodyKind !== "close") {
          this.#fail(new Failure(isUpstream ? "upstream_aborted" : "downstream_reset", "FIN within a body"));
          return;
        }
        this.#move(EVENT.complete);
        sink.onEnd(undefined);
        return;
      case STATE.done:
        this.#output.last = true;
        this.#move(EVENT.end);
        return;
      case STATE.tunnel:
        this.#move(EVENT.end);
        sink.onEnd(undefined);
        return;
      default:
        return;
    }
  }

  #move(event: number): void {
    this.#incoming = advance(this.#incoming, event);
  }

  #fail(failure: Failure): void {
    if (this.#incoming === STATE.idle || this.#incoming === STATE.head) this.#output.forgetRequest();
    this.#output.last = true;
    this.#section.drop();
    this.#move(EVENT.fail);
    this.#options.sink.onFailure(this.#options.role === "upstream" ? asUpstream(failure) : failure);
  }

  // ---------------------------------------------------------------- heads

  #readHead(bytes: Bytes, at: number): number {
    const isUpstream = this.#options.role === "upstream";
    if (isUpstream && !this.#output.asked)
      return this.#refuse(bytes, new Failure("upstream_protocol", "an answer nobody asked for"));
    const section = this.#section;
    const again = section.partial;
    section.begin(at);
    const { scanner } = section;
    let verdict = section.scan(bytes, this.#headLimits);
    if (verdict === SCAN.line) {
      if (scanner.ends[0] === 0 && !isUpstream) return this.#skipEmptyLine(bytes);
      const failure = this.#readFirstLine();
      if (failure !== undefined) return this.#refuse(bytes, failure);
      verdict = section.scan(bytes, this.#headLimits);
    }
    if (verdict === SCAN.more) {
      section.hold();
      this.#move(EVENT.begin);
      return bytes.byteLength;
    }
    if (verdict !== SCAN.complete) return this.#refuse(bytes, scanFailure(verdict, scanner, scanner.lines === 0));
    // Positions of the first line are kept for all connections together: other heads may have come in between.
    if (again) this.#readFirstLine();
    return this.#takeHead(bytes);
  }

  #readFirstLine(): Failure | undefined {
    const { scanner } = this.#section;
    const end = scanner.ends[0] as number;
    return this.#options.role === "upstream" ? readStatusLine(scanner.bytes, end) : readRequestLine(scanner.bytes, end);
  }

  #skipEmptyLine(bytes: Bytes): number {
    if (++this.#emptyLines > CODEC_LIMITS.emptyLines) return this.#refuse(bytes, new Failure("bad_request_line", "empty lines"));
    this.#move(EVENT.again);
    return this.#section.finish();
  }

  #refuse(bytes: Bytes, failure: Failure): number {
    this.#fail(failure);
    return bytes.byteLength;
  }

  #takeHead(bytes: Bytes): number {
    const { scanner } = this.#section;
    fields.reset();
    const failure = readFields(scanner, 1, this.#rules, fields);
    if (failure !== undefined) return this.#refuse(bytes, failure);
    const rest = this.#section.finish();
    this.#behind = bytes.byteLength - rest;
    this.#emptyLines = 0;
    // What the scanner holds stays until the next section begins.
    const refused =
      this.#options.role === "upstream" ? this.#takeResponse(scanner.bytes, rest < bytes.byteLength) : this.#takeRequest(scanner);
    return refused === undefined ? rest : this.#refuse(bytes, refused);
  }

  #takeRequest(scanner: LineScanner): Failure | undefined {
    const head = makeRequestHead(scanner, fields, this.#options, this.#hosts);
    if (head instanceof Failure) return head;
    const kind: BodyKind = fields.codings > 0 ? "chunked" : fields.contentLength > 0 ? "length" : "none";
    this.#expectsContinue = fields.expects > 0 && head.version === 11 && hasBody(fields);
    this.#output.openRequest(head, fields.close || (head.version === 10 && !fields.persist));
    this.#openBody(kind, fields.contentLength);
    this.#options.sink.onRequest(head, kind === "none");
    return undefined;
  }

  #takeResponse(line: Buffer, hasRest: boolean): Failure | undefined {
    const head = makeResponseHead(line, fields);
    const kind = judgeResponseFraming(head, fields, this.#output.method);
    if (kind instanceof Failure) return kind;
    if (head.status === 101) return this.#takeSwitch(head);
    if (head.status < 200) {
      if (++this.#informational > CODEC_LIMITS.informationalHeads) return new Failure("upstream_protocol", "too many 1xx heads");
      this.#move(EVENT.again);
      this.#options.sink.onResponse(head, false);
      return undefined;
    }
    if (this.#output.method === "CONNECT" && head.status < 300) {
      head.headers.remove("content-length");
      this.#openTunnel(head);
      return undefined;
    }
    if (fields.contentLength > this.#options.limits.bodyBytes) return new Failure("body_too_large", "declared length");
    if (this.#isLastAnswer(head, kind)) this.#output.last = true;
    if (fields.keepAlive !== "") this.#keepAliveMs = keepAliveMs(fields.keepAlive);
    if (kind === "none" && hasRest) this.#judgeRest();
    this.#openBody(kind, fields.contentLength);
    this.#options.sink.onResponse(head, kind === "none");
    return undefined;
  }

  /** The upstream will not, or we should not, use the connection again. */
  #isLastAnswer(head: ResponseHead, kind: BodyKind): boolean {
    if (fields.close || kind === "close") return true;
    if (head.version === 10 && !fields.persist) return true;
    // A refused upgrade: what it makes of bytes sent early is unknown.
    if (this.#output.wantsSwitch) return true;
    // A 204 that declares a body may well send one.
    return head.status === 204 && hasBody(fields);
  }

  #takeSwitch(head: ResponseHead): Failure | undefined {
    if (head.version !== 11 || hasBody(fields)) return new Failure("upstream_protocol", "101 in HTTP/1.0 or with a body");
    if (!fields.upgradeOption || fields.upgrades !== 1) return new Failure("upstream_protocol", "101 without Upgrade");
    const upgrade = fields.upgrade.toLowerCase();
    if (upgrade !== this.#output.upgrade) return new Failure("upstream_protocol", "101 to what was not asked");
    head.upgrade = upgrade;
    this.#openTunnel(head);
    return undefined;
  }

  #openTunnel(head: ResponseHead): void {
    this.#move(EVENT.switch);
    this.#output.openTunnel();
    this.#options.sink.onResponse(head, false);
  }

  // ---------------------------------------------------------------- bodies

  #openBody(kind: BodyKind, length: number): void {
    this.#bodyKind = kind;
    this.#bodyBytes = kind === "length" ? length : 0;
    this.#inTrailers = false;
    if (kind === "chunked") {
      this.#chunks ??= new ChunkDecoder();
      this.#chunks.reset();
    }
    this.#move(kind === "none" ? EVENT.complete : EVENT.body);
  }

  #readBody(bytes: Bytes, at: number): number {
    this.#expectsContinue = false;
    if (this.#bodyKind === "length") return this.#readLength(bytes, at);
    if (this.#bodyKind === "close") return this.#readToClose(bytes, at);
    return this.#inTrailers ? this.#readTrailers(bytes, at) : this.#readChunks(bytes, at);
  }

  #readLength(bytes: Bytes, at: number): number {
    const { sink } = this.#options;
    const to = Math.min(bytes.byteLength, at + this.#bodyBytes);
    this.#bodyBytes -= to - at;
    this.#behind = bytes.byteLength - to;
    const isLast = this.#bodyBytes === 0;
    if (isLast && to < bytes.byteLength) this.#judgeRest();
    sink.onData(bytes, at, to);
    if (isLast && this.#incoming === STATE.body) {
      this.#move(EVENT.complete);
      sink.onEnd(undefined);
    }
    return to;
  }

  #readToClose(bytes: Bytes, at: number): number {
    const room = this.#options.limits.bodyBytes - this.#bodyBytes;
    const to = Math.min(bytes.byteLength, at + room);
    this.#bodyBytes += to - at;
    // What fits is passed on first, so that it does not matter how the bytes were cut.
    if (to > at) this.#options.sink.onData(bytes, at, to);
    if (to < bytes.byteLength) return this.#refuse(bytes, new Failure("body_too_large", "until close"));
    return bytes.byteLength;
  }

  #readChunks(bytes: Bytes, at: number): number {
    const { limits, sink } = this.#options;
    const chunks = this.#chunks as ChunkDecoder;
    switch (chunks.step(bytes, at, limits.bodyBytes, limits.chunkExtensionBytes)) {
      case CHUNK.data:
        sink.onData(bytes, chunks.dataFrom, chunks.dataTo);
        break;
      case CHUNK.last:
        this.#inTrailers = true;
        break;
      case CHUNK.failed:
        return this.#refuse(bytes, chunks.failure as Failure);
      default:
    }
    return chunks.at;
  }

  #readTrailers(bytes: Bytes, at: number): number {
    const section = this.#section;
    section.begin(at);
    const verdict = section.scan(bytes, this.#trailerLimits);
    if (verdict === SCAN.more) {
      section.hold();
      return bytes.byteLength;
    }
    if (verdict !== SCAN.complete) return this.#refuse(bytes, scanFailure(verdict, section.scanner, false));
    const trailers = readTrailers(section.scanner, this.#rules);
    if (trailers instanceof Failure) return this.#refuse(bytes, trailers);
    const rest = section.finish();
    if (rest < bytes.byteLength) this.#judgeRest();
    this.#move(EVENT.complete);
    this.#options.sink.onEnd(trailers);
    return rest;
  }

  // ---------------------------------------------------------------- writing

  /** Role upstream. `end`: no body follows. A Failure: the head cannot be put on the wire, and nothing was written. */
  writeRequest(out: ByteWriter, head: RequestHead, end: boolean): Failure | undefined {
    assert(this.#options.role === "upstream", "a request out of turn");
    // Not reachable through the codec alone: the upstream spoke or left while nobody asked.
    if (this.#incoming !== STATE.idle) return new Failure("upstream_reset", "the connection is of no more use");
    return this.#output.writeRequest(out, head, end);
  }

  /** Role downstream. 1xx may come before; 101 (and 2xx to CONNECT) turns both directions into a tunnel. A Failure: nothing was written. */
  writeResponse(out: ByteWriter, head: ResponseHead, end: boolean): Failure | undefined {
    assert(this.#options.role === "downstream", "a response out of turn");
    if (head.status >= 200) this.#expectsContinue = false;
    if (this.#endsEarly(head.status, end)) this.#output.last = true;
    const isSwitch = this.#output.isSwitch(head.status);
    // Not reachable through the codec alone: whoever wants to switch sends no body.
    if (isSwitch && this.#incoming !== STATE.done) return new Failure("internal", "a switch before the request is complete");
    const failure = this.#output.writeResponse(out, head, end);
    if (failure === undefined && isSwitch) this.#move(EVENT.switch);
    return failure;
  }

  /**
   * An answer to a request that is not complete, after which nobody will want its rest: the head says so (RFC 9112 §9.6). Not an
   * early 200 that goes on while the upload does, and not when the rest of the body is already here.
   */
  #endsEarly(status: number, end: boolean): boolean {
    if (status < 200 || this.#incoming !== STATE.body || (status < 300 && !end)) return false;
    return this.#bodyKind !== "length" || !this.#receiving || this.#behind < this.#bodyBytes;
  }

  /** A piece of the body; adds its framing. In a tunnel: raw. A Failure: more than the declared length; nothing of `bytes` was written. */
  writeData(out: ByteWriter, bytes: Bytes, start = 0, end = bytes.byteLength): Failure | undefined {
    return this.#output.writeData(out, bytes, start, end);
  }

  /** Ends the body (in a tunnel: our FIN may follow). A Failure: the message is cut short; the connection must be closed. */
  writeEnd(out: ByteWriter, trailers: HeaderBlock | undefined): Failure | undefined {
    return this.#output.writeEnd(out, trailers);
  }

  /** `reusable` is true: ready for the next exchange. */
  nextExchange(): void {
    assert(this.reusable, "the connection cannot be used again");
    this.#move(EVENT.next);
    this.#output.nextExchange();
    this.#informational = 0;
    this.#expectsContinue = false;
  }

  /** This exchange is the last one of the connection: a head not yet written says `Connection: close`. */
  closeAfter(): void {
    this.#output.last = true;
  }

  /** Version of the current request (role downstream); 11 when it could not be read. */
  get version(): HttpVersion {
    return this.#output.version;
  }
}

function scanFailure(verdict: number, scanner: LineScanner, isFirstLine: boolean): Failure {
  if (verdict === SCAN.badByte)
    return new Failure(isFirstLine ? "bad_request_line" : "bad_header", "control byte or bare CR or LF");
  if (verdict === SCAN.lineTooLong && isFirstLine) return requestLineTooLong(scanner.bytes, scanner.at);
  return new Failure("headers_too_large", "");
}

function asUpstream(failure: Failure): Failure {
  if (UPSTREAM_CODES.has(failure.code)) return failure;
  return new Failure(
    UPSTREAM_LIMITS.has(failure.code) ? "upstream_too_large" : "upstream_protocol",
    `${failure.code}: ${failure.detail}`,
  );
}
