//! Bindings to proxy-wasm 0.2.1 (https://github.com/proxy-wasm/spec): what filters need of it.
const std = @import("std");

pub const Action = enum(u32) { proceed = 0, pause = 1 };
pub const Level = enum(u32) { debug = 1, info = 2, warn = 3, err = 4 };
pub const Map = enum(u32) { request = 0, response = 2 };
pub const Body = enum(u32) { request = 0, response = 1 };

/// For what must last: settings.
pub const lasting = std.heap.wasm_allocator;

/// What the host hands over, and scratch data, lives until the next callback begins.
var arena = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);

extern "env" fn proxy_log(level: u32, text: [*]const u8, size: usize) u32;
extern "env" fn proxy_get_property(path: [*]const u8, path_size: usize, at: *?[*]const u8, size: *usize) u32;
extern "env" fn proxy_get_header_map_value(map: u32, name: [*]const u8, name_size: usize, at: *?[*]const u8, size: *usize) u32;
extern "env" fn proxy_replace_header_map_value(map: u32, name: [*]const u8, name_size: usize, value: [*]const u8, value_size: usize) u32;
extern "env" fn proxy_remove_header_map_value(map: u32, name: [*]const u8, name_size: usize) u32;
extern "env" fn proxy_get_buffer_bytes(buffer: u32, start: u32, length: usize, at: *?[*]const u8, size: *usize) u32;
extern "env" fn proxy_set_buffer_bytes(buffer: u32, start: u32, length: usize, data: [*]const u8, size: usize) u32;
extern "env" fn proxy_send_local_response(status: u32, details: ?[*]const u8, details_size: usize, body: [*]const u8, body_size: usize, headers: ?[*]const u8, headers_size: usize, grpc_status: i32) u32;

pub fn log(level: Level, text: []const u8) void {
    _ = proxy_log(@intFromEnum(level), text.ptr, text.len);
}

/// The first value of a field; also ":method", ":path", ":authority".
pub fn header(map: Map, name: []const u8) ?[]const u8 {
    var at: ?[*]const u8 = null;
    var size: usize = 0;
    if (proxy_get_header_map_value(@intFromEnum(map), name.ptr, name.len, &at, &size) != 0) return null;
    return if (at) |bytes| bytes[0..size] else "";
}

/// One field with this value takes the place of all of that name.
pub fn setHeader(map: Map, name: []const u8, value: []const u8) void {
    // Hosts differ in what "replace" does to the second value of a name.
    if (name[0] != ':') removeHeader(map, name);
    _ = proxy_replace_header_map_value(@intFromEnum(map), name.ptr, name.len, value.ptr, value.len);
}

pub fn removeHeader(map: Map, name: []const u8) void {
    _ = proxy_remove_header_map_value(@intFromEnum(map), name.ptr, name.len);
}

/// What is there of a body.
pub fn readBody(body: Body, size: usize) ?[]const u8 {
    return readBuffer(@intFromEnum(body), size);
}

pub fn replaceBody(body: Body, size: usize, with: []const u8) void {
    _ = proxy_set_buffer_bytes(@intFromEnum(body), 0, size, with.ptr, with.len);
}

/// An attribute as text: property("source\x00address").
pub fn property(path: []const u8) ?[]const u8 {
    var at: ?[*]const u8 = null;
    var size: usize = 0;
    if (proxy_get_property(path.ptr, path.len, &at, &size) != 0) return null;
    return if (at) |bytes| bytes[0..size] else "";
}

/// Answers itself; the request goes no further. Return what it returns.
pub fn respond(status: u32, body: []const u8) Action {
    _ = proxy_send_local_response(status, null, 0, body.ptr, body.len, null, 0, -1);
    return .pause;
}

fn readBuffer(buffer: u32, size: usize) ?[]const u8 {
    var at: ?[*]const u8 = null;
    var length: usize = 0;
    if (proxy_get_buffer_bytes(buffer, 0, size, &at, &length) != 0) return null;
    return if (at) |bytes| bytes[0..length] else "";
}

/// Exports what the host calls. `Filter` has `configure` and the callbacks that matter.
pub fn exportFilter(comptime Filter: type) void {
    const calls = struct {
        fn abiVersion() callconv(.c) void {}
        fn allocate(size: usize) callconv(.c) ?[*]u8 {
            const bytes = arena.allocator().alloc(u8, @max(size, 1)) catch return null;
            return bytes.ptr;
        }
        fn vmStart(_: u32, _: u32) callconv(.c) u32 {
            return 1;
        }
        fn contextCreate(_: u32, _: u32) callconv(.c) void {
            begin();
        }
        fn configure(_: u32, size: u32) callconv(.c) u32 {
            begin();
            const text = if (size == 0) "{}" else readBuffer(7, size) orelse return 0;
            Filter.configure(text) catch return 0;
            return 1;
        }
        fn requestHeaders(id: u32, _: u32, end: u32) callconv(.c) u32 {
            begin();
            return @intFromEnum(Filter.onRequestHeaders(id, end != 0));
        }
        fn requestBody(id: u32, size: u32, end: u32) callconv(.c) u32 {
            begin();
            return @intFromEnum(Filter.onRequestBody(id, size, end != 0));
        }
        fn responseHeaders(id: u32, _: u32, end: u32) callconv(.c) u32 {
            begin();
            return @intFromEnum(Filter.onResponseHeaders(id, end != 0));
        }
        fn responseBody(id: u32, size: u32, end: u32) callconv(.c) u32 {
            begin();
            return @intFromEnum(Filter.onResponseBody(id, size, end != 0));
        }
        fn begin() void {
            _ = arena.reset(.retain_capacity);
        }
    };
    @export(&calls.abiVersion, .{ .name = "proxy_abi_version_0_2_1" });
    @export(&calls.allocate, .{ .name = "proxy_on_memory_allocate" });
    @export(&calls.vmStart, .{ .name = "proxy_on_vm_start" });
    @export(&calls.contextCreate, .{ .name = "proxy_on_context_create" });
    @export(&calls.configure, .{ .name = "proxy_on_configure" });
    if (@hasDecl(Filter, "onRequestHeaders")) @export(&calls.requestHeaders, .{ .name = "proxy_on_request_headers" });
    if (@hasDecl(Filter, "onRequestBody")) @export(&calls.requestBody, .{ .name = "proxy_on_request_body" });
    if (@hasDecl(Filter, "onResponseHeaders")) @export(&calls.responseHeaders, .{ .name = "proxy_on_response_headers" });
    if (@hasDecl(Filter, "onResponseBody")) @export(&calls.responseBody, .{ .name = "proxy_on_response_body" });
}
