import { Failure, type FailureCode } from "../../src/core/failure.ts";
import { HeaderBlock, type RequestHead } from "../../src/core/head.ts";
import type { ExchangeRecord } from "../../src/proxy/observe/record.ts";
import type { ConnectionInfo } from "../../src/proxy/stream.ts";

const CONNECTION: ConnectionInfo = {
  id: 1,
  remoteAddress: "192.0.2.7",
  remotePort: 40_000,
  localAddress: "192.0.2.1",
  localPort: 8080,
  directAddress: "192.0.2.7",
  listener: "default/main/http",
  tls: undefined,
};

export function makeHead(changes: Partial<RequestHead> = {}): RequestHead {
  return {
    method: "GET",
    scheme: "http",
    authority: "shop.example",
    path: "/items",
    query: undefined,
    version: 11,
    upgrade: undefined,
    headers: HeaderBlock.from([["user-agent", "test/1"]]),
    ...changes,
  };
}

type Changes = Partial<Omit<ExchangeRecord, "failure">> & { readonly failure?: FailureCode };

/** A finished exchange as observers get it: 200 through route `default/shop` in 12.5 ms. */
export function makeRecord({ failure, ...changes }: Changes = {}): ExchangeRecord {
  return {
    connection: CONNECTION,
    request: makeHead(),
    originalPath: "/items",
    originalAuthority: "shop.example",
    clientAddress: "192.0.2.7",
    requestId: "0123456789abcdef0123456789abcdef",
    traceId: "fedcba9876543210fedcba9876543210",
    spanId: "",
    parentSpanId: "",
    routeName: "default/shop",
    ruleName: "0",
    pathPattern: "/items",
    serviceName: "default/shop",
    subsetName: "",
    endpointKey: "10.0.0.1:80",
    status: 200,
    failure: failure === undefined ? undefined : new Failure(failure),
    answeredBy: "upstream",
    requestBytes: 10,
    responseBytes: 56,
    startMs: 100,
    firstByteMs: 110,
    endMs: 112.5,
    attempts: 1,
    tunnel: false,
    filterNotes: undefined,
    filterRuns: () => [],
    answeringFilter: "",
    answerDetails: "",
    responseHeader: () => undefined,
    ...changes,
  };
}
