import type { Bytes } from "../core/bytes.ts";
import { Failure } from "../core/failure.ts";
import type { RequestHead } from "../core/head.ts";
import { ByteWriter } from "../core/writer.ts";
import { HttpOutput } from "./codec/output.ts";
import type { ProxyCore } from "./core.ts";
import { type RenderedFailure, renderFailure } from "./errors.ts";
import type { ExchangeRecord } from "./observe/record.ts";
import type { ConnectionInfo, DownstreamStream } from "./stream.ts";

/** Answers bytes that never became a request (400, 408, 414, 431, 505, …), and lets log and metrics know. */
export function refuseBytes(core: ProxyCore, stream: DownstreamStream, failure: Failure): void {
  refuse(core, stream.connection, failure, ({ head, body }) => {
    stream.sendHead(head, false);
    stream.sendData(body);
    stream.sendEnd(undefined);
  });
}

/** The same for a request that came in plain text where TLS was to begin: the whole answer as bytes, because there is no stream. */
export function refusePlainHttp(core: ProxyCore, connection: ConnectionInfo): Bytes {
  const out = new ByteWriter(PLAIN_ANSWER_BYTES);
  refuse(core, connection, new Failure("plain_http"), ({ head, body }) => {
    const output = new HttpOutput();
    output.last = true;
    output.writeResponse(out, head, false);
    output.writeData(out, body, 0, body.byteLength);
  });
  return out.view();
}

/** Room for such an answer: it has some 400 bytes, and grows when it must. */
const PLAIN_ANSWER_BYTES = 512;

function refuse(core: ProxyCore, connection: ConnectionInfo, failure: Failure, say: (answer: RenderedFailure) => void): void {
  const record = new Refusal(core, connection, failure);
  core.observer.onExchangeStart();
  const answer = renderFailure(failure, undefined, record.requestId);
  core.addDate(answer.head);
  record.responseBytes = answer.body.byteLength;
  try {
    say(answer);
  } finally {
    core.observer.onExchangeEnd(record);
  }
}

/** The record of an exchange that had no request. */
class Refusal implements ExchangeRecord {
  readonly request: RequestHead | undefined = undefined;
  readonly originalPath = "";
  readonly originalAuthority = "";
  readonly clientAddress: string;
  readonly requestId: string;
  readonly traceId = "";
  readonly spanId = "";
  readonly parentSpanId = "";
  readonly routeName = "";
  readonly ruleName = "";
  readonly pathPattern = "";
  readonly serviceName = "";
  readonly subsetName = "";
  readonly endpointKey = "";
  readonly status: number;
  readonly answeredBy = "";
  readonly requestBytes = 0;
  responseBytes = 0;
  readonly startMs: number;
  readonly firstByteMs = 0;
  readonly endMs: number;
  readonly attempts = 0;
  readonly tunnel = false;
  readonly filterNotes = undefined;

  constructor(
    core: ProxyCore,
    readonly connection: ConnectionInfo,
    readonly failure: Failure,
  ) {
    this.clientAddress = connection.remoteAddress;
    this.requestId = core.ids.next();
    this.status = failure.status;
    this.startMs = core.clock.nowMs();
    this.endMs = this.startMs;
  }

  readonly answeringFilter = "";
  readonly answerDetails = "";
  filterRuns(): readonly [] {
    return [];
  }
  responseHeader(): string | undefined {
    return undefined;
  }
}
