// The portable suites on Bun: each registers itself with bun:test.
import "./core.portable.ts";
import "./integration/control-store.portable.ts";
