import type { Bytes } from "../core/bytes.ts";
import { EMPTY_BYTES } from "../core/bytes.ts";
import type { Failure } from "../core/failure.ts";
import type { HeaderBlock } from "../core/head.ts";
import type { ChainHost, ChainResult, ChainTools } from "./chain-types.ts";
import type { FilterModule, LocalResponse } from "./contract.ts";

/**
 * Runs the filters of one exchange: in order for the request, in reverse for the response.
 *
 *     const chain = chains.open(modules, this);                  // one ChainPool per worker
 *     switch (chain.requestHead(end)) {
 *       case "forward": return this.#pickUpstream();              // `request` was edited in place
 *       case "held":    return;                                   // onChainForward / onChainRespond / onChainFail follows
 *       case "respond": return this.#answer(chain.localResponse);
 *       case "failed":  return this.#fail(chain.failure);
 *     }
 *     // body: the same four answers; "forward": send chain.data, then the end if it was given
 *     chain.requestData(bytes, false); chain.requestEnd(trailers);
 *     // any answer (upstream's, a filter's, the proxy's own): set host.response, then
 *     chain.responseHead(end); chain.responseData(bytes, false); chain.responseEnd(trailers);
 *     chain.log(); chain.close();                               // back to the pool
 *
 * Local replies run as in Envoy: one made on the request side passes the response side of the filters that had seen the
 * request (the one that answered included); one made on the response side goes out as it is; after the head of an answer
 * was forwarded a filter can no longer answer: `failed`, and the exchange resets. A chain knows by itself which filters to
 * leave out, so the exchange treats every answer alike.
 */
export class FilterChain {
  /** After `forward` of data or end: what goes on. Valid until the next chain call. */
  data: Bytes = EMPTY_BYTES;
  /** After `respond`. */
  localResponse: LocalResponse | undefined;
  /** After `failed`. */
  failure: Failure | undefined;
  /** A filter wrote `:path` or `:authority`: normalise again; the route stays as it was chosen. */
  targetChanged = false;
  /** Trailers as the filters left them. */
  requestTrailers: HeaderBlock | undefined;
  responseTrailers: HeaderBlock | undefined;

  /** A request head arrived. `end`: no body follows. */
  requestHead(_end: boolean): ChainResult {
    return "forward";
  }
  requestData(_bytes: Bytes, _end: boolean): ChainResult {
    return "forward";
  }
  requestEnd(_trailers: HeaderBlock | undefined): ChainResult {
    return "forward";
  }
  responseHead(_end: boolean): ChainResult {
    return "forward";
  }
  responseData(_bytes: Bytes, _end: boolean): ChainResult {
    return "forward";
  }
  responseEnd(_trailers: HeaderBlock | undefined): ChainResult {
    return "forward";
  }
  /** The exchange is over and its facts are final: each filter's last look. */
  log(): void {}
  /** Closes every context; nothing is called afterwards. The object goes back to its pool: forget it. */
  close(): void {}
  /** Names of the filters and what each answered, for the access log; built on demand. */
  verdicts(): readonly { readonly name: string; readonly verdict: string }[] {
    return [];
  }
  /** Texts that filters set as attributes `selvedge.log.NAME`; undefined: none. */
  get notes(): ReadonlyMap<string, string> | undefined {
    return undefined;
  }
}

/** Chains of one worker, reused. */
export class ChainPool {
  constructor(readonly tools: ChainTools) {}

  open(_modules: readonly FilterModule[], _host: ChainHost): FilterChain {
    return new FilterChain();
  }
}
