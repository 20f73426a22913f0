const std = @import("std");
const pw = @import("proxy_wasm.zig");

const Frame = enum { DENY, SAMEORIGIN };

const Settings = struct {
    csp: ?[]const u8 = null,
    frame: Frame = .DENY,
    referrer: []const u8 = "strict-origin-when-cross-origin",
    hstsSeconds: u32 = 31_536_000,
    remove: []const []const u8 = &.{ "server", "x-powered-by", "x-aspnet-version" },
    overwrite: bool = false,
};

/// Live as long as the module: settings are read once.
var settings: Settings = .{};
var hsts: []const u8 = "";

/// Called once for each Filter resource that names this module. An error refuses the settings.
pub fn configure(text: []const u8) !void {
    settings = std.json.parseFromSliceLeaky(Settings, pw.lasting, text, .{ .allocate = .alloc_always }) catch |err| {
        pw.log(.err, switch (err) {
            error.UnknownField => "settings: there is a key that is not known",
            error.InvalidEnumTag => "settings /frame: must be DENY or SAMEORIGIN",
            else => "settings: a value has the wrong type, or is out of range",
        });
        return err;
    };
    hsts = try std.fmt.allocPrint(pw.lasting, "max-age={d}; includeSubDomains", .{settings.hstsSeconds});
}

pub fn onResponseHeaders(_: u32, _: bool) pw.Action {
    for (settings.remove) |name| pw.removeHeader(.response, name);
    give("x-content-type-options", "nosniff");
    give("x-frame-options", @tagName(settings.frame));
    give("referrer-policy", settings.referrer);
    // Over plain HTTP it must not be sent (RFC 6797, section 7.2).
    if (settings.hstsSeconds > 0 and pw.property("connection\x00tls_version") != null) give("strict-transport-security", hsts);
    if (settings.csp) |policy| {
        if (isHtml()) give("content-security-policy", policy);
    }
    return .proceed;
}

fn give(name: []const u8, value: []const u8) void {
    if (settings.overwrite or pw.header(.response, name) == null) pw.setHeader(.response, name, value);
}

fn isHtml() bool {
    const kind = pw.header(.response, "content-type") orelse return false;
    return std.ascii.startsWithIgnoreCase(kind, "text/html") or std.ascii.startsWithIgnoreCase(kind, "application/xhtml+xml");
}

comptime {
    pw.exportFilter(@This());
}
