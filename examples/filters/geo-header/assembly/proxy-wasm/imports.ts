/** Functions of the host (proxy-wasm 0.2.1, https://github.com/proxy-wasm/spec). All answer a status; 0 is ok. */

@external("env", "proxy_log")
export declare function proxy_log(level: i32, text: usize, size: usize): i32;
@external("env", "proxy_get_property")
export declare function proxy_get_property(path: usize, pathSize: usize, outAt: usize, outSize: usize): i32;
@external("env", "proxy_set_property")
export declare function proxy_set_property(path: usize, pathSize: usize, value: usize, valueSize: usize): i32;
@external("env", "proxy_get_header_map_value")
export declare function proxy_get_header_map_value(map: i32, name: usize, nameSize: usize, outAt: usize, outSize: usize): i32;
@external("env", "proxy_get_header_map_pairs")
export declare function proxy_get_header_map_pairs(map: i32, outAt: usize, outSize: usize): i32;
@external("env", "proxy_add_header_map_value")
export declare function proxy_add_header_map_value(map: i32, name: usize, nameSize: usize, value: usize, valueSize: usize): i32;
@external("env", "proxy_replace_header_map_value")
export declare function proxy_replace_header_map_value(map: i32, name: usize, nameSize: usize, value: usize, valueSize: usize): i32;
@external("env", "proxy_remove_header_map_value")
export declare function proxy_remove_header_map_value(map: i32, name: usize, nameSize: usize): i32;
@external("env", "proxy_get_buffer_bytes")
export declare function proxy_get_buffer_bytes(buffer: i32, start: i32, length: i32, outAt: usize, outSize: usize): i32;
@external("env", "proxy_set_buffer_bytes")
export declare function proxy_set_buffer_bytes(buffer: i32, start: i32, length: i32, data: usize, size: usize): i32;
@external("env", "proxy_send_local_response")
export declare function proxy_send_local_response(
  status: i32, details: usize, detailsSize: usize, body: usize, bodySize: usize, headers: usize, headersSize: usize, grpcStatus: i32): i32;
@external("env", "proxy_get_current_time_nanoseconds")
export declare function proxy_get_current_time_nanoseconds(out: usize): i32;
@external("env", "proxy_set_effective_context")
export declare function proxy_set_effective_context(id: i32): i32;
