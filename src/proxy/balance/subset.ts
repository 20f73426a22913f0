import type { EndpointConfig } from "../../config/snapshot.ts";

/** The endpoints that carry all of `labels`; the same array when `labels` is empty. */
export function selectSubset(
  endpoints: readonly EndpointConfig[],
  labels: Readonly<Record<string, string>>,
): readonly EndpointConfig[] {
  const wanted = Object.entries(labels);
  if (wanted.length === 0) return endpoints;
  return endpoints.filter((endpoint) =>
    wanted.every(([name, value]) => Object.hasOwn(endpoint.labels, name) && endpoint.labels[name] === value),
  );
}
