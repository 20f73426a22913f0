import { CREDENTIAL_FIELDS } from "./credentials.ts";

/** Names that no wildcard of a grant stands for: a filter gets them only when they are named. */

/** Fields that prove who somebody is. */
export const isCredential = (name: string): boolean => CREDENTIAL_FIELDS.has(name);

/** Where a request goes, and whom it came from: upstreams and policies believe these. */
const TRUSTED_FIELDS: ReadonlySet<string> = new Set([
  ...[":method", ":path", ":authority", ":scheme", "host", "forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip"],
  ...["x-request-id", "x-original-url", "x-rewrite-url", "x-original-uri", "x-http-method-override"],
]);

/** Fields of a request that a filter does not write unless they are named. */
export const isTrusted = (name: string): boolean =>
  TRUSTED_FIELDS.has(name) || CREDENTIAL_FIELDS.has(name) || name.startsWith("x-forwarded-");

/** Attributes of the proxy: filters, policies and logs believe that it set them. */
const OWN_ROOTS: ReadonlySet<string> = new Set([
  ...["request", "response", "source", "destination", "connection", "upstream", "xds", "metadata", "cluster_name", "route_name"],
  ...["connection_id", "listener_metadata", "cluster_metadata", "route_metadata", "node", "selvedge"],
  ...["plugin_name", "plugin_root_id", "plugin_vm_id"],
]);
const NOTE_PREFIX = "selvedge.log.";
/** What a filter sets is found in the filter state as well: the same attribute by another name. */
const STATE_PREFIX = "filter_state.wasm.";

/** Attributes that a filter does not set unless they are named. */
export const isProxysAttribute = (path: string): boolean => {
  const name = path.startsWith(STATE_PREFIX) ? path.slice(STATE_PREFIX.length) : path;
  if (name.startsWith(NOTE_PREFIX)) return false;
  const dot = name.indexOf(".");
  return OWN_ROOTS.has(dot < 0 ? name : name.slice(0, dot));
};
