import { HeaderBlock } from "../../core/head.ts";
import type { CalloutAnswer } from "../contract.ts";
import { parseStatus } from "../guest/fields.ts";
import { fitsHead, sizeOfFields } from "../guest/head-budget.ts";
import { type GuestHeader, isEditable, isWireText, listHeaders } from "./edits.ts";
import type { ComponentGuest } from "./guest.ts";

export interface CallRequest {
  readonly service: string;
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  readonly headers: readonly GuestHeader[];
  readonly body: Uint8Array;
  readonly "timeout-ms": number;
}

/** Starts a call for an exchange; undefined: refused. */
export function sendCall(guest: ComponentGuest, exchangeId: number, request: CallRequest): number | undefined {
  const context = guest.contexts.get(exchangeId);
  const exchange = context?.exchange;
  if (context === undefined || exchange === undefined) return undefined;
  const { config, grants } = guest.owner;
  if (context.calls.size >= config.budget.callouts) return undefined;
  const service = grants.service(request.service);
  if (service === undefined) return undefined;
  const { method, path, authority } = request;
  const headers = new HeaderBlock();
  for (const [name, value] of [
    [":method", method],
    [":path", path],
    [":authority", authority],
  ] as const) {
    if (!isWireText(value)) return undefined;
    headers.add(name, value);
  }
  for (const { name, value } of request.headers) {
    const key = name.toLowerCase();
    if (!isEditable(key, value)) return undefined;
    headers.add(key, value);
  }
  if (!fitsHead(headers) || sizeOfFields(headers.names, headers.values) + request.body.byteLength > config.budget.outputBytes)
    return undefined;
  const gate = grants.calloutsTo(service);
  if (!gate.begin()) return undefined;
  const call = guest.nextCallId();
  const { epoch } = context;
  const sent = {
    ...{ service, headers, body: request.body, trailers: undefined },
    ...{ timeoutMs: gate.timeoutMs(request["timeout-ms"]), answerBytes: gate.answerBytes(config.budget.bufferBytes) },
  };
  const theirs = exchange.callout(sent, (answer) => {
    if (context.epoch === epoch) context.onCallAnswer(call, answer);
  });
  if (theirs === 0) {
    gate.end();
    return undefined;
  }
  context.calls.set(call, { theirs, gate });
  return call;
}

/** An answer as the guest gets it; undefined: the call failed. */
export function describeAnswer(answer: CalloutAnswer | undefined): object | undefined {
  if (answer === undefined) return undefined;
  const status = parseStatus(answer.headers.get(":status") ?? "");
  if (status === undefined) return undefined;
  const headers = listHeaders(answer.headers).filter(({ name }) => name !== ":status");
  return { status, headers, body: answer.body };
}
