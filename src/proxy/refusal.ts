import type { Failure } from "../core/failure.ts";
import type { RequestHead } from "../core/head.ts";
import type { ProxyCore } from "./core.ts";
import { renderFailure } from "./errors.ts";
import type { ExchangeRecord } from "./observe/record.ts";
import type { ConnectionInfo, DownstreamStream } from "./stream.ts";

/** Answers bytes that never became a request (400, 408, 414, 431, 505, …), and lets log and metrics know. */
export function refuseBytes(core: ProxyCore, stream: DownstreamStream, failure: Failure): void {
  const record = new Refusal(core, stream.connection, failure);
  core.observer.onExchangeStart();
  const { head, body } = renderFailure(failure, undefined, record.requestId);
  head.headers.add("date", core.httpDate.text());
  stream.sendHead(head, false);
  stream.sendData(body);
  stream.sendEnd(undefined);
  core.observer.onExchangeEnd(record);
}

/** The record of an exchange that had no request. */
class Refusal implements ExchangeRecord {
  readonly request: RequestHead | undefined = undefined;
  readonly originalPath = "";
  readonly originalAuthority = "";
  readonly clientAddress: string;
  readonly requestId: string;
  readonly traceId = "";
  readonly routeName = "";
  readonly ruleName = "";
  readonly serviceName = "";
  readonly subsetName = "";
  readonly endpointKey = "";
  readonly status: number;
  readonly answeredBy = "";
  readonly requestBytes = 0;
  readonly responseBytes = 0;
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
