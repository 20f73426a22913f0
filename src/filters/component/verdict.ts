import { HeaderBlock } from "../../core/head.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import { CONTINUE, PAUSE, type Verdict } from "../contract.ts";
import { parseStatus } from "../guest/fields.ts";
import { fitsHead } from "../guest/head-budget.ts";
import type { ComponentContext } from "./context.ts";
import { type GuestHeader, isEditable } from "./edits.ts";
import type { TaggedValue } from "./types-cases.ts";

interface GuestResponse {
  readonly status: number;
  readonly headers: readonly GuestHeader[];
  readonly body: Uint8Array;
}

/** A reason that goes to the log: it may be anybody's. */
const REASON_CHARS = 200;

/** What a guest answered, as the chain understands it. A response that may not be sent is a failure. */
export function readVerdict(answer: TaggedValue, context: ComponentContext): Verdict {
  switch (answer.tag) {
    case "continue":
      return CONTINUE;
    case "pause":
      return PAUSE;
    case "fail":
      return { kind: "fail", reason: `the filter failed: ${String(answer.value).slice(0, REASON_CHARS)}`, fault: "failed" };
    default:
      return readResponse(answer.value as GuestResponse, context);
  }
}

function readResponse(response: GuestResponse, context: ComponentContext): Verdict {
  const status = parseStatus(String(response.status));
  if (status === undefined)
    return { kind: "fail", reason: `the filter answered with the status ${response.status}`, fault: "answer" };
  const headers = new HeaderBlock();
  let bytes = response.body.byteLength;
  for (const { name, value } of response.headers) {
    const key = name.toLowerCase();
    bytes += key.length + value.length + PROXY_WASM_LIMITS.headerOverheadBytes;
    if (isEditable(key, value) && key !== "content-length") headers.add(key, value);
  }
  if (context.grants?.may("respond") !== true)
    return { kind: "fail", reason: "the filter may not answer (capabilities.respond)", fault: "answer" };
  context.grants.cutAnswer(headers);
  const reason = "the filter's answer is larger than its budget";
  if (!fitsHead(headers)) return { kind: "fail", reason, fault: "budget" };
  if (!context.spend(bytes)) return { kind: "fail", reason };
  return { kind: "respond", status, headers, body: response.body, grpcStatus: -1, details: "" };
}
