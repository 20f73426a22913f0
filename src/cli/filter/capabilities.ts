/** Something that a module could do, told by its imports, and by what it exports where an ABI gives it that with a callback. */
export interface Need {
  /** What it would do, in a few words. */
  readonly what: string;
  /** What grants it: a key of the Filter's `capabilities`, "" when nothing need be granted. */
  readonly grant: string;
  /** The imports and exports that say so. */
  readonly because: readonly string[];
}

interface Rule {
  readonly what: string;
  readonly grant: string;
  readonly pattern: RegExp;
  /** Exports of components and of plug-ins of Extism, whose callbacks get it as an argument or answer it. */
  readonly exported?: RegExp;
}

const BODIES = /^selvedge:filter\/bodies@|^on_(request|response)_body$/;
const PLUGIN_HEADS = /^on_(request|response)$/;

/** In the order shown. */
const RULES: readonly Rule[] = [
  {
    what: "HTTP calls to services",
    grant: "callouts",
    pattern:
      /^env\.proxy_(http_call|dispatch_http_call)$|^wasi:http\/outgoing|^selvedge:filter\/call-out@|^extism:host\/env\.http_request$/,
  },
  { what: "gRPC calls (services speak HTTP/1.1: it gets INTERNAL_FAILURE)", grant: "", pattern: /^env\.proxy_grpc_/ },
  {
    what: "shared data of its own; sharedData names one that filters share",
    grant: "",
    pattern: /^env\.proxy_\w+_shared_data$|^extism:host\/env\.var_|^selvedge:filter\/shared-data@/,
  },
  { what: "shared queues", grant: "", pattern: /^env\.proxy_\w+_shared_queue(_size)?$/ },
  { what: "metrics", grant: "metrics", pattern: /^env\.proxy_\w+_metric$|^selvedge:filter\/metrics@/ },
  {
    what: "functions of the host by name (rateLimit and nats are some)",
    grant: "rateLimit",
    pattern: /^env\.proxy_call_foreign_function$/,
  },
  {
    what: "time, in whole milliseconds unless granted",
    grant: "clock",
    pattern: /^env\.proxy_get_current_time|^wasi_\w+\.clock_time_get$|^wasi:clocks\/|^selvedge:filter\/clock@/,
  },
  {
    what: "random numbers (without the grant a fixed sequence while it starts, then an error)",
    grant: "random",
    pattern: /^wasi_\w+\.random_get$|^wasi:random\/|^selvedge:filter\/random@/,
  },
  { what: "messages over NATS", grant: "nats.publish", pattern: /^selvedge:filter\/nats@/ },
  {
    what: "files and sockets (there are none: it gets an error)",
    grant: "",
    pattern: /^wasi_\w+\.(path_|sock_|fd_(read|readdir|seek|pread|prestat))|^wasi:(filesystem|sockets)\//,
  },
  { what: "a periodic tick", grant: "", pattern: /^env\.proxy_set_tick_period_milliseconds$/ },
  { what: "reading bodies", grant: "bodies", pattern: /^env\.proxy_get_buffer_bytes$/, exported: BODIES },
  { what: "changing bodies", grant: "bodies", pattern: /^env\.proxy_set_buffer_bytes$/, exported: BODIES },
  {
    what: "reading fields (credentials only when they are named)",
    grant: "headers",
    pattern: /^env\.proxy_get_header_map_|^selvedge:filter\/http@/,
    exported: PLUGIN_HEADS,
  },
  {
    what: "changing fields (where a request goes only when it is named)",
    grant: "headers",
    pattern: /^env\.proxy_(add|set|replace|remove)_header_map_|^selvedge:filter\/http@/,
    exported: PLUGIN_HEADS,
  },
  { what: "reading attributes", grant: "attributes", pattern: /^env\.proxy_get_property$|^selvedge:filter\/http@/ },
  { what: "setting attributes", grant: "attributes", pattern: /^env\.proxy_set_property$|^selvedge:filter\/http@/ },
  {
    what: "answering itself",
    grant: "respond",
    pattern: /^env\.proxy_(send_local_response|close_stream)$/,
    exported: /^selvedge:filter\/(heads|bodies|call-answers)@|^on_(request(_body)?|response)$/,
  },
  {
    what: "log lines",
    grant: "log",
    pattern: /^env\.proxy_log$|^wasi_\w+\.fd_write$|^extism:host\/env\.log_|^selvedge:filter\/log@/,
  },
];

/** What the imports of a module let it do, and its exports: those of a proxy-wasm module give it nothing, so leave them out. */
export function needsOf(
  imports: readonly { readonly module: string; readonly name: string }[],
  exports: readonly string[] = [],
): Need[] {
  const names = imports.map(({ module, name }) => (name === "" ? module : `${module}.${name}`));
  return RULES.flatMap(({ what, grant, pattern, exported }) => {
    const because = [...names.filter((name) => pattern.test(name)), ...exports.filter((name) => exported?.test(name))];
    return because.length === 0 ? [] : [{ what, grant, because }];
  });
}
