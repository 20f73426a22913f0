// The portable suites on Bun: each registers itself with bun:test.
import "./core.portable.ts";
import "./conformance/wycheproof.portable.ts";
import "./conformance/jwt.portable.ts";
import "./contract/net.portable.ts";
import "./contract/process.portable.ts";
import "./contract/serve.portable.ts";
import "./contract/files.portable.ts";
import "./integration/control-plane.portable.ts";
import "./integration/control-source.portable.ts";
import "./integration/control-store.portable.ts";
import "./routing/router.portable.ts";
import "./routing/rewrite.portable.ts";
import "./balance/picker.portable.ts";
import "./cidr.portable.ts";
import "./listeners/proxy-header.portable.ts";
import "./forwarding.portable.ts";
import "./compress.portable.ts";
