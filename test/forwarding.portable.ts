import assert from "node:assert/strict";
import type { ForwardingConfig, TracingConfig } from "../src/config/snapshot.ts";
import { HeaderBlock, type RequestHead } from "../src/core/head.ts";
import { IdSource, SeededRng } from "../src/core/rng.ts";
import { applyForwarding, compileForwarding, ForwardingResult } from "../src/proxy/forwarding.ts";
import type { ConnectionInfo } from "../src/proxy/stream.ts";
import { isTraceParent } from "../src/proxy/trace-context.ts";
import { makeHead } from "./kit/route-config.ts";
import { describe, test } from "./kit/suite.ts";

const NO_TRACE: TracingConfig = { start: false, sample: 0 };
const CONFIG: ForwardingConfig = {
  trustedHops: 0,
  xForwarded: true,
  forwarded: false,
  via: undefined,
  requestIdHeader: "x-request-id",
  trustRequestId: false,
  read: "x-forwarded",
  trustedHeaders: [],
};
const PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

interface Case {
  readonly config?: Partial<ForwardingConfig>;
  readonly trusted?: readonly string[];
  readonly tracing?: TracingConfig;
  readonly peer?: string;
  readonly headers?: readonly (readonly [string, string])[];
}

/** What becomes of a request to `shop.example:8080` over http. */
function forward({ config = {}, trusted = [], tracing = NO_TRACE, peer = "10.0.0.9", headers = [] }: Case): {
  head: RequestHead;
  result: ForwardingResult;
} {
  const head = makeHead("shop.example:8080", "/", { headers: HeaderBlock.from(headers) });
  const connection: ConnectionInfo = {
    id: 1,
    remoteAddress: peer,
    remotePort: 1234,
    localAddress: "10.0.0.1",
    localPort: 8080,
    directAddress: peer,
    listener: "default/edge/http",
    tls: undefined,
  };
  const result = new ForwardingResult();
  const policy = compileForwarding({ ...CONFIG, ...config }, trusted, tracing);
  applyForwarding(policy, connection, head, { ids: new IdSource(), rng: new SeededRng(1) }, result);
  return { head, result };
}

const xff = (...values: string[]) => values.map((value) => ["x-forwarded-for", value] as const);

describe("forwarding: the caller's address (class 30)", () => {
  const table: [string, Case, string, string][] = [
    ["nobody is believed by default", { headers: xff("1.1.1.1") }, "10.0.0.9", "10.0.0.9"],
    [
      "one hop: what the hop wrote",
      { config: { trustedHops: 1 }, headers: xff("6.6.6.6, 1.1.1.1") },
      "1.1.1.1",
      "6.6.6.6, 1.1.1.1, 10.0.0.9",
    ],
    [
      "two hops",
      { config: { trustedHops: 2 }, headers: xff("6.6.6.6, 1.1.1.1, 10.0.0.8") },
      "1.1.1.1",
      "6.6.6.6, 1.1.1.1, 10.0.0.8, 10.0.0.9",
    ],
    [
      "fewer hops than configured",
      { config: { trustedHops: 5 }, headers: xff("1.1.1.1, 10.0.0.8") },
      "1.1.1.1",
      "1.1.1.1, 10.0.0.8, 10.0.0.9",
    ],
    [
      "several fields are one list, in order",
      { config: { trustedHops: 2 }, headers: xff("6.6.6.6", "1.1.1.1", "10.0.0.8") },
      "1.1.1.1",
      "6.6.6.6, 1.1.1.1, 10.0.0.8, 10.0.0.9",
    ],
    [
      "ranges: right-most that is outside",
      { trusted: ["10.0.0.0/8"], headers: xff("10.6.6.6, 1.1.1.1, 10.0.0.8") },
      "1.1.1.1",
      "10.6.6.6, 1.1.1.1, 10.0.0.8, 10.0.0.9",
    ],
    [
      "ranges: all inside",
      { trusted: ["10.0.0.0/8"], headers: xff("10.0.0.7,10.0.0.8") },
      "10.0.0.7",
      "10.0.0.7,10.0.0.8, 10.0.0.9",
    ],
    ["ranges: the peer is outside", { trusted: ["192.168.0.0/16"], headers: xff("1.1.1.1") }, "10.0.0.9", "10.0.0.9"],
    [
      "ranges and hops: both must hold",
      { trusted: ["10.0.0.0/8"], config: { trustedHops: 1 }, headers: xff("1.1.1.1, 10.0.0.8") },
      "10.0.0.8",
      "1.1.1.1, 10.0.0.8, 10.0.0.9",
    ],
    [
      "hops do not help a peer outside the ranges",
      { trusted: ["192.168.0.0/16"], config: { trustedHops: 3 }, headers: xff("1.1.1.1") },
      "10.0.0.9",
      "10.0.0.9",
    ],
    [
      "rubbish ends the chain",
      { config: { trustedHops: 3 }, headers: xff("1.1.1.1, evil, 10.0.0.8") },
      "10.0.0.8",
      "1.1.1.1, evil, 10.0.0.8, 10.0.0.9",
    ],
    [
      "unknown as the last word",
      { config: { trustedHops: 1 }, headers: xff("1.1.1.1, unknown") },
      "10.0.0.9",
      "1.1.1.1, unknown, 10.0.0.9",
    ],
    [
      "ports and brackets",
      { config: { trustedHops: 2 }, headers: xff("[2001:DB8::1]:443, 10.0.0.8:5555") },
      "2001:db8::1",
      "[2001:DB8::1]:443, 10.0.0.8:5555, 10.0.0.9",
    ],
    [
      "a mapped peer is IPv4",
      { peer: "::ffff:10.0.0.9", trusted: ["10.0.0.0/8"], headers: xff("1.1.1.1") },
      "1.1.1.1",
      "1.1.1.1, 10.0.0.9",
    ],
    ["trusted, but it said nothing", { config: { trustedHops: 1 } }, "10.0.0.9", "10.0.0.9"],
    ["empty value", { config: { trustedHops: 1 }, headers: xff("") }, "10.0.0.9", ", 10.0.0.9"],
  ];
  for (const [name, each, client, sent] of table) {
    test(name, () => {
      const { head, result } = forward(each);
      assert.equal(result.clientAddress, client);
      assert.deepEqual(head.headers.getAll("x-forwarded-for"), [sent]);
    });
  }

  test("Forwarded is read when it is the configured kind, and only then", () => {
    const config = { trustedHops: 2, xForwarded: false, forwarded: true, read: "forwarded" } as const;
    const headers = [
      ["x-forwarded-for", "6.6.6.6"],
      ["Forwarded", 'for=7.7.7.7;proto=http, For="[2001:db8::5]:99";host=a'],
      ["forwarded", "proto=https;for=10.0.0.8"],
    ] as const;
    const { head, result } = forward({ config, headers });
    assert.equal(result.clientAddress, "2001:db8::5");
    assert.deepEqual(
      head.headers.entries().filter(([name]) => name !== "x-request-id"),
      [
        [
          "forwarded",
          'for=7.7.7.7;proto=http, For="[2001:db8::5]:99";host=a, proto=https;for=10.0.0.8, for=10.0.0.9;host="shop.example:8080";proto=http',
        ],
      ],
    );
    const other = forward({ config: { trustedHops: 1 }, headers });
    assert.equal(other.result.clientAddress, "6.6.6.6");
    assert.equal(other.head.headers.has("forwarded"), false);
  });
});

describe("forwarding: spoofed headers (classes 11, 28, 30)", () => {
  const spoofs = [
    "X-Forwarded-For",
    "x-forwarded-proto",
    "X-FORWARDED-HOST",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-User",
    "X-Forwarded",
    "X-Forwarded-Client-Cert",
    "Forwarded",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Envoy-Internal",
    "X-Envoy-Original-Path",
    "X-Envoy-External-Address",
    "X-Selvedge-Identity",
    "x-selvedge-anything",
    "X_Forwarded_For",
    "x_forwarded-host",
    "X.Forwarded.For",
    "x_real_ip",
    "true_client_ip",
    "x_selvedge_identity",
    "Client-IP",
    "CF-Connecting-IP",
    "cf-connecting-ipv6",
    "Fastly-Client-IP",
    "X-Originating-IP",
    "X-Original-Path",
    "client_ip",
    "Proxy",
    "X-Request-Id",
    "x_request_id",
  ];
  for (const name of spoofs) {
    test(`${name} of a stranger does not pass`, () => {
      const { head, result } = forward({
        headers: [
          ["a", "1"],
          [name, "spoof"],
          ["b", "2"],
          [name, "spoof"],
        ],
      });
      assert.equal(JSON.stringify(head.headers.entries()).includes("spoof"), false);
      assert.equal(JSON.stringify(result).includes("spoof"), false);
      assert.deepEqual(Object.fromEntries(head.headers.entries()), {
        a: "1",
        b: "2",
        "x-forwarded-for": "10.0.0.9",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "shop.example:8080",
        "x-request-id": result.requestId,
      });
      assert.equal(head.headers.length, 6);
    });
  }

  test("a trusted peer may not send what is the mesh's own, nor aliases", () => {
    const headers = ["x-selvedge-identity", "x-forwarded-client-cert", "x_forwarded_for"].map((name) => [name, "spoof"] as const);
    const { head } = forward({ config: { trustedHops: 1 }, headers });
    assert.equal(JSON.stringify(head.headers.entries()).includes("spoof"), false);
  });

  test("innocent neighbours pass", () => {
    const names = [
      "x-forward",
      "x-my_header",
      "a.b",
      "x-requested-with",
      "from",
      "te-x",
      "cf-ray",
      "client",
      "proxy-x",
      "x-selvedge",
      "xx-forwarded-for",
    ];
    const { head } = forward({ headers: names.map((name) => [name, "kept"]) });
    for (const name of names) assert.equal(head.headers.get(name), "kept", name);
  });

  test("what a trusted proxy says of scheme and host is kept, nonsense is not", () => {
    const of = (...protos: string[]) =>
      forward({
        config: { trustedHops: 1 },
        headers: [
          ...xff("1.1.1.1"),
          ["x-forwarded-host", "public.example"],
          ...protos.map((each) => ["x-forwarded-proto", each] as const),
        ],
      }).head;
    const good = of("HTTPS");
    assert.equal(good.scheme, "https");
    assert.equal(good.headers.get("x-forwarded-host"), "public.example");
    for (const protos of [["ftp"], ["https", "http"], []]) {
      const head = of(...protos);
      assert.equal(head.scheme, "http");
      assert.deepEqual(head.headers.getAll("x-forwarded-proto"), ["http"]);
    }
    assert.equal(forward({ headers: [["x-forwarded-proto", "https"]] }).head.scheme, "http");
  });

  test("switched off, nothing is written and nothing of a stranger passes", () => {
    const { head, result } = forward({
      config: { xForwarded: false, requestIdHeader: undefined },
      headers: [...xff("1.1.1.1"), ["x-request-id", "theirs"]],
    });
    assert.deepEqual(head.headers.entries(), [["x-request-id", "theirs"]]);
    assert.match(result.requestId, /^[0-9a-f]{32}$/);
  });

  test("Unix sockets have no address", () => {
    const { head, result } = forward({ peer: "", config: { forwarded: true } });
    assert.equal(result.clientAddress, "");
    assert.equal(head.headers.get("x-forwarded-for"), "unknown");
    assert.equal(head.headers.get("forwarded"), 'for=unknown;host="shop.example:8080";proto=http');
  });

  test("Via is added behind what is there", () => {
    const { head } = forward({ config: { via: "edge" }, headers: [["via", "1.0 fred"]] });
    assert.deepEqual(head.headers.getAll("via"), ["1.0 fred", "1.1 edge"]);
  });
});

describe("forwarding: request id", () => {
  const idOf = (config: Partial<ForwardingConfig>, ...ids: string[]) => {
    const { head, result } = forward({ config, headers: ids.map((id) => ["x-request-id", id]) });
    assert.deepEqual(head.headers.getAll("x-request-id"), [result.requestId]);
    return result.requestId;
  };

  test("kept of a trusted hop when configured, made otherwise", () => {
    assert.equal(idOf({ trustedHops: 1, trustRequestId: true }, "abc-123"), "abc-123");
    assert.equal(idOf({ trustedHops: 1, trustRequestId: true }, "first", "second"), "first");
    assert.match(idOf({ trustedHops: 1 }, "abc-123"), /^[0-9a-f]{32}$/);
    assert.match(idOf({ trustRequestId: true }, "abc-123"), /^[0-9a-f]{32}$/);
    assert.match(idOf({}), /^[0-9a-f]{32}$/);
    assert.notEqual(idOf({}), idOf({}));
  });

  test("one that could harm a log is not kept", () => {
    const trusting = { trustedHops: 1, trustRequestId: true };
    for (const id of ["", "a b", 'a"b', "a\u00e9", "<x>", "a,b", "x".repeat(129)])
      assert.match(idOf(trusting, id), /^[0-9a-f]{32}$/, id);
    for (const id of ["x".repeat(128), "A-z_0.9~:/+=@"]) assert.equal(idOf(trusting, id), id);
  });
});

describe("forwarding: trace context", () => {
  test("what is a traceparent", () => {
    const [id, span] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
    const good = [PARENT, `00-${id}-${span}-00`, `00-${id}-${span}-ff`, `01-${id}-${span}-01`, `cc-${id}-${span}-01-what-ever`];
    const bad = [
      "",
      `ff-${id}-${span}-01`,
      `00-${id}-${span}-01-extra`,
      `00-${id}-${span}-01-`,
      `01-${id}-${span}-01x`,
      `00-${"0".repeat(32)}-${span}-01`,
      `00-${id}-${"0".repeat(16)}-01`,
      `00-${id.toUpperCase()}-${span}-01`,
      `00-${id}-${span}-0`,
      `00-${id}-${span}-0g`,
      `00_${id}-${span}-01`,
      ` ${PARENT}`,
      `0-${id}-${span}-01`,
    ];
    for (const text of good) assert.ok(isTraceParent(text), text);
    for (const text of bad) assert.ok(!isTraceParent(text), text);
  });

  test("a valid one is passed on with its state, whatever is configured", () => {
    for (const start of [true, false]) {
      const headers = [
        ["traceparent", PARENT],
        ["tracestate", "a=1"],
        ["tracestate", "b=2"],
      ] as const;
      const { head, result } = forward({ headers, tracing: { start, sample: 0 } });
      assert.deepEqual(head.headers.entries().slice(0, 3), headers);
      assert.equal(result.traceId, "4bf92f3577b34da6a3ce929d0e0e4736");
      assert.equal(result.sampled, true);
    }
    assert.equal(forward({ headers: [["traceparent", PARENT.replace(/1$/, "0")]] }).result.sampled, false);
  });

  test("a bad or doubled one goes, and its state with it", () => {
    const state = ["tracestate", "a=1"] as const;
    for (const headers of [
      [["traceparent", "rubbish"], state],
      [["traceparent", PARENT], ["traceparent", PARENT], state],
      [state],
    ] as const) {
      const off = forward({ headers });
      assert.equal(off.head.headers.has("traceparent") || off.head.headers.has("tracestate"), false);
      assert.equal(off.result.traceId, "");
      const on = forward({ headers, tracing: { start: true, sample: 1 } });
      assert.equal(on.head.headers.has("tracestate"), false);
      assert.equal(
        on.head.headers.get("traceparent"),
        `00-${on.result.traceId}-${on.head.headers.get("traceparent")?.slice(36, 52)}-01`,
      );
      assert.ok(isTraceParent(on.head.headers.get("traceparent") ?? ""));
    }
  });

  test("started traces are sampled as configured", () => {
    const sampled = (sample: number) => forward({ tracing: { start: true, sample } });
    assert.equal(sampled(0).result.sampled, false);
    assert.match(sampled(0).head.headers.get("traceparent") ?? "", /-00$/);
    assert.equal(sampled(1).result.sampled, true);
  });

  test("with export, what is sampled gets a span of ours between the caller's and the upstream's", () => {
    const collector = { protocol: "otlp", url: "http://c/v1/traces", serviceName: "edge", timeoutMs: 1 } as const;
    const tracing = { start: true, sample: 1, export: collector };
    const sent = (parent: string) => {
      const headers = [
        ["traceparent", parent],
        ["tracestate", "a=1"],
      ] as const;
      const { head, result } = forward({ headers, tracing });
      assert.equal(head.headers.get("tracestate"), "a=1");
      assert.equal(head.headers.count("traceparent"), 1);
      return { text: head.headers.get("traceparent") ?? "", result };
    };
    const { text, result } = sent(PARENT);
    assert.equal(text, `00-4bf92f3577b34da6a3ce929d0e0e4736-${result.spanId}-01`);
    assert.ok(isTraceParent(text) && result.spanId !== PARENT.slice(36, 52));
    assert.equal(result.parentSpanId, PARENT.slice(36, 52));
    // What only a later version knows is not repeated.
    assert.match(sent(`cc${PARENT.slice(2, -2)}ff-later`).text, /^00-[0-9a-f]{32}-[0-9a-f]{16}-03$/);
    const unsampled = PARENT.replace(/1$/, "0");
    assert.equal(sent(unsampled).text, unsampled);
    assert.deepEqual([sent(unsampled).result.spanId, sent(unsampled).result.parentSpanId], ["", ""]);

    const started = forward({ tracing });
    assert.equal(started.head.headers.get("traceparent"), `00-${started.result.traceId}-${started.result.spanId}-01`);
    assert.equal(started.result.parentSpanId, "");
    assert.equal(forward({ tracing: { ...tracing, sample: 0 } }).result.spanId, "");
    assert.equal(forward({ tracing: { ...tracing, start: false } }).result.spanId, "");
    assert.equal(forward({ tracing: { start: true, sample: 1 } }).result.spanId, "");
  });
});
