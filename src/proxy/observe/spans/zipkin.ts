import { isAddress } from "../../../core/ip.ts";
import type { SpanEncoding } from "./encoding.ts";
import type { SpanFilter } from "./span.ts";

/** Zipkin's v2 JSON (https://zipkin.io/zipkin-api/): times in microseconds as numbers, tags as texts. */
export const ZIPKIN: SpanEncoding = {
  encode(span, { serviceName, instance }) {
    const { traceId, spanId, parentId, name, startMs, endMs, error, peerAddress, peerPort } = span;
    const endUs = Math.floor(endMs * 1000);
    const startUs = Math.floor(startMs * 1000);
    const tags: Record<string, string> = {};
    for (const [key, value] of span.attributes) tags[key] = String(value);
    if (instance !== "") tags["service.instance.id"] = instance;
    // That it is there is what makes a span one that failed.
    if (error !== undefined) tags.error = error;
    return JSON.stringify({
      traceId,
      id: spanId,
      ...(parentId === "" ? {} : { parentId }),
      name,
      kind: "SERVER",
      timestamp: startUs,
      // Less than one is no duration.
      duration: Math.max(1, endUs - startUs),
      localEndpoint: { serviceName },
      ...(!isAddress(peerAddress) ? {} : { remoteEndpoint: endpointOf(peerAddress, peerPort) }),
      annotations: span.filters.map((filter) => ({ timestamp: endUs, value: sentenceOf(filter) })),
      tags,
    });
  },

  join: (spans) => `[${spans.join(",")}]`,
};

function endpointOf(address: string, port: number): object {
  return { [address.includes(":") ? "ipv6" : "ipv4"]: address, ...(port > 0 ? { port } : {}) };
}

/** Annotations are texts: `filter default/authz continue us=120 fuel=800`. */
function sentenceOf({ name, verdict, us, waitedUs, fuel, slow }: SpanFilter): string {
  const waited = waitedUs > 0 ? ` waited_us=${waitedUs}` : "";
  return `filter ${name} ${verdict} us=${us}${waited} fuel=${fuel}${slow ? " slow" : ""}`;
}
