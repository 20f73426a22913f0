import type { Bytes } from "../../core/bytes.ts";
import { exportedTypes, refuseWrongTypes } from "../guest/signatures.ts";

/** `3 -> 1`: so many i32 in, one out. All that the ABI passes are of that type. */
const ints = (params: number, results: 0 | 1): readonly string[] => [
  `(${Array.from({ length: params }, () => "i32").join(", ")}) -> ${results === 1 ? "i32" : "()"}`,
];

/** What a host of proxy-wasm calls by these names, also what this one never calls: Envoy refuses another type of any of them. */
const CALLBACKS: Readonly<Record<string, readonly string[]>> = {
  proxy_on_memory_allocate: ints(1, 1),
  proxy_on_context_create: ints(2, 0),
  proxy_on_vm_start: ints(2, 1),
  proxy_validate_configuration: ints(2, 1),
  proxy_on_configure: ints(2, 1),
  proxy_on_tick: ints(1, 0),
  proxy_on_queue_ready: ints(2, 0),
  proxy_on_new_connection: ints(1, 1),
  proxy_on_downstream_data: ints(3, 1),
  proxy_on_upstream_data: ints(3, 1),
  proxy_on_downstream_connection_close: ints(2, 0),
  proxy_on_upstream_connection_close: ints(2, 0),
  proxy_on_request_body: ints(3, 1),
  proxy_on_request_trailers: ints(2, 1),
  proxy_on_request_metadata: ints(2, 1),
  proxy_on_response_body: ints(3, 1),
  proxy_on_response_trailers: ints(2, 1),
  proxy_on_response_metadata: ints(2, 1),
  proxy_on_http_call_response: ints(5, 0),
  proxy_on_grpc_receive_initial_metadata: ints(3, 0),
  proxy_on_grpc_receive: ints(3, 0),
  proxy_on_grpc_receive_trailing_metadata: ints(3, 0),
  proxy_on_grpc_close: ints(3, 0),
  proxy_on_done: ints(1, 1),
  proxy_on_log: ints(1, 0),
  proxy_on_delete: ints(1, 0),
};
/** Version 0.2.0 told them whether the message ends with its head. */
const HEADERS: ReadonlySet<string> = new Set(["proxy_on_request_headers", "proxy_on_response_headers"]);
const MARKER = /^proxy_abi_version_(\d+)_(\d+)_/;

/** Throws an `Error` with every callback that has another type than the ABI says, by the versions that the module says it speaks. */
export function refuseWrongCallbacks(wasm: Bytes): void {
  const types = exportedTypes(wasm, (name) => /^(proxy_|_initialize$|_start$|main$|malloc$)/.test(name));
  const versions = [...types.keys()].flatMap((name) => MARKER.exec(name)?.[2] ?? []);
  const headers = [...(versions.includes("1") ? ints(2, 1) : []), ...(versions.some((each) => each !== "1") ? ints(3, 1) : [])];
  const isReactor = types.has("_initialize");
  refuseWrongTypes(types, (name) => {
    if (HEADERS.has(name)) return headers.length > 0 ? headers : undefined;
    // Those that are called: a module may have others of these names for itself.
    if (name === "malloc") return types.has("proxy_on_memory_allocate") ? undefined : ints(1, 1);
    if (name === "main") return isReactor ? ints(2, 1) : undefined;
    if (name === "_start") return isReactor ? undefined : ints(0, 0);
    return name === "_initialize" ? ints(0, 0) : Object.hasOwn(CALLBACKS, name) ? CALLBACKS[name] : undefined;
  });
}
