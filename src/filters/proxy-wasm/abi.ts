/** Numbers of the proxy-wasm ABI 0.2.1 (github.com/proxy-wasm/spec, abi-versions/v0.2.1, "Types"). */

// proxy_status_t
export const OK = 0;
export const NOT_FOUND = 1;
export const BAD_ARGUMENT = 2;
export const SERIALIZATION_FAILURE = 3;
export const PARSE_FAILURE = 4;
export const INVALID_MEMORY_ACCESS = 6;
export const EMPTY = 7;
export const CAS_MISMATCH = 8;
export const INTERNAL_FAILURE = 10;
export const UNIMPLEMENTED = 12;

// proxy_action_t
export const ACTION_CONTINUE = 0;
export const ACTION_PAUSE = 1;

// proxy_buffer_type_t
export const BUFFER_REQUEST_BODY = 0;
export const BUFFER_RESPONSE_BODY = 1;
export const BUFFER_DOWNSTREAM_DATA = 2;
export const BUFFER_UPSTREAM_DATA = 3;
export const BUFFER_CALL_BODY = 4;
export const BUFFER_VM_CONFIGURATION = 6;
export const BUFFER_PLUGIN_CONFIGURATION = 7;
export const BUFFER_LAST = 8;

// proxy_map_type_t
export const MAP_REQUEST_HEADERS = 0;
export const MAP_REQUEST_TRAILERS = 1;
export const MAP_RESPONSE_HEADERS = 2;
export const MAP_RESPONSE_TRAILERS = 3;
export const MAP_CALL_HEADERS = 6;
export const MAP_CALL_TRAILERS = 7;
export const MAP_LAST = 7;

// proxy_stream_type_t
export const STREAM_REQUEST = 0;
export const STREAM_RESPONSE = 1;
export const STREAM_DOWNSTREAM = 2;
export const STREAM_UPSTREAM = 3;
export const STREAM_LAST = 3;

// proxy_peer_type_t
export const PEER_LOCAL = 1;
export const PEER_REMOTE = 2;

// wasi_errno_t
export const WASI_SUCCESS = 0;
export const WASI_BADF = 8;
export const WASI_FAULT = 21;
export const WASI_INVAL = 28;
export const WASI_NOSYS = 52;
export const WASI_NOTSUP = 58;
/** What the filter was not granted. */
export const WASI_NOTCAPABLE = 76;

/** The plugin context; the contexts of exchanges count on from here. */
export const ROOT_CONTEXT_ID = 1;
