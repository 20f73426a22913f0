const std = @import("std");
const pw = @import("proxy_wasm.zig");

const Settings = struct { greeting: []const u8 = "hello" };

/// Lives as long as the module: settings are read once.
var settings: Settings = .{};

/// Called once for each Filter resource that names this module. An error refuses the settings.
pub fn configure(text: []const u8) !void {
    settings = std.json.parseFromSliceLeaky(Settings, pw.lasting, text, .{ .allocate = .alloc_always }) catch |err| {
        pw.log(.err, "settings, greeting: text is needed");
        return err;
    };
}

pub fn onRequestHeaders(_: u32, _: bool) pw.Action {
    if (pw.header(.request, "x-block") == null) return .proceed;
    pw.log(.info, "blocked");
    return pw.respond(403, "blocked\n");
}

pub fn onResponseHeaders(_: u32, _: bool) pw.Action {
    pw.setHeader(.response, "x-greeting", settings.greeting);
    return .proceed;
}

comptime {
    pw.exportFilter(@This());
}
