import { latin1Text, utf8Bytes } from "../../core/bytes.ts";
import { type HeaderBlock, targetOf } from "../../core/head.ts";
import { joinValues, readNode } from "../attributes.ts";
import type { AttributeValue } from "../contract.ts";
import { DENIED_CALL } from "../guest/faults.ts";
import { lowerName, writeRequestPseudo, writeStatus } from "../guest/fields.ts";
import { type CallRequest, sendCall } from "./callouts.ts";
import type { ComponentContext } from "./context.ts";
import { EDITED, type EditResult, INVALID, NOT_NOW, type Part, removeField, writeField } from "./edits.ts";
import type { ComponentGuest } from "./guest.ts";
import { Trap } from "./memory.ts";
import type { MetricKind } from "./metrics.ts";

/**
 * The interfaces of `selvedge:filter` (filters-wasm/wit/filter.wit). Each function with its type as the linker writes it: a
 * guest that was built against another one is refused when it is loaded.
 */
export interface HostFunction {
  readonly type: string;
  readonly run: (guest: ComponentGuest) => (...args: never[]) => unknown;
}

const define = <A extends unknown[]>(type: string, run: (...args: A) => unknown): HostFunction => ({ type, run: () => run });
const defineFor = <A extends unknown[]>(type: string, run: (guest: ComponentGuest) => (...args: A) => unknown): HostFunction => ({
  type,
  run,
});

const HEADERS = "list<record{name: string, value: string}>";
const EDITED_TYPE = "result<_, enum{not-now, invalid, over-budget}>";
const REMOVED_TYPE = "result<bool, enum{not-now, invalid, over-budget}>";

type FindBlock = (context: ComponentContext) => HeaderBlock | undefined;

const READ: Readonly<Record<Part, FindBlock>> = {
  request: (context) => context.exchange?.request.headers,
  response: (context) => context.exchange?.response?.headers,
  trailers: (context) => context.trailers,
};
const WRITE: Readonly<Record<Part, FindBlock>> = {
  request: (context) => (context.hands.requestHead ? context.exchange?.request.headers : undefined),
  response: (context) => (context.hands.responseHead ? context.exchange?.response?.headers : undefined),
  trailers: (context) => context.trailers,
};

/** What all three sorts of header blocks offer. */
function headerMethods(part: Part): [string, HostFunction][] {
  const self = `self: borrow<${part}>`;
  const read = READ[part];
  const write = WRITE[part];
  const field = `${self}, name: string, value: string`;
  const methods: [string, HostFunction][] = [
    [
      "header",
      define(`func(${self}, name: string) -> option<string>`, (context: ComponentContext, name: string) => {
        const block = read(context);
        const key = lowerName(name);
        return block === undefined || !context.mayRead(part, key) ? undefined : joinValues(block, key);
      }),
    ],
    [
      "header-values",
      define(`func(${self}, name: string) -> list<string>`, (context: ComponentContext, name: string) => {
        const block = read(context);
        const key = lowerName(name);
        return block === undefined || !context.mayRead(part, key) ? [] : block.getAll(key);
      }),
    ],
    ["headers", define(`func(${self}) -> ${HEADERS}`, (context: ComponentContext) => context.list(part, read(context)))],
    [
      "add-header",
      define(`func(${field}) -> ${EDITED_TYPE}`, (context: ComponentContext, name: string, value: string) =>
        writeField(context, part, write(context), name, value, true),
      ),
    ],
    [
      "set-header",
      define(`func(${field}) -> ${EDITED_TYPE}`, (context: ComponentContext, name: string, value: string) =>
        writeField(context, part, write(context), name, value, false),
      ),
    ],
    [
      "remove-header",
      define(`func(${self}, name: string) -> ${REMOVED_TYPE}`, (context: ComponentContext, name: string) =>
        removeField(context, part, write(context), name),
      ),
    ],
  ];
  return methods.map(([name, method]) => [`[method]${part}.${name}`, method]);
}

/** "" for what it may not see. */
function requestText(name: string, read: (context: ComponentContext) => string | undefined): [string, HostFunction] {
  const run = (context: ComponentContext): string => (context.mayRead("request", `:${name}`) ? (read(context) ?? "") : "");
  return [`[method]request.${name}`, define("func(self: borrow<request>) -> string", run)];
}

function requestWrite(name: string, pseudo: string): [string, HostFunction] {
  const type = `func(self: borrow<request>, ${name}: string) -> ${EDITED_TYPE}`;
  const run = (context: ComponentContext, value: string): EditResult => {
    const { exchange } = context;
    if (exchange === undefined || !context.hands.requestHead) return NOT_NOW;
    if (!context.mayWrite("request", pseudo)) return INVALID;
    const written = writeRequestPseudo(exchange.request, pseudo, value);
    if (written === "target") exchange.markTargetChanged();
    return written === "refused" ? INVALID : EDITED;
  };
  return [`[method]request.set-${name}`, define(type, run)];
}

/** A value of an attribute as text; maps have none. */
function attributeText(value: AttributeValue | undefined): string | undefined {
  if (value === undefined || typeof value === "string") return value;
  if (value instanceof Uint8Array) return latin1Text(value);
  return typeof value === "object" ? undefined : String(value);
}

const HTTP = new Map<string, HostFunction>([
  ...headerMethods("request"),
  ...headerMethods("response"),
  ...headerMethods("trailers"),
  requestText("method", (context) => context.exchange?.request.method),
  requestText("path", (context) => context.exchange && targetOf(context.exchange.request)),
  requestText("authority", (context) => context.exchange?.request.authority),
  requestText("scheme", (context) => context.exchange?.request.scheme),
  requestWrite("method", ":method"),
  requestWrite("path", ":path"),
  requestWrite("authority", ":authority"),
  [
    "[method]request.attribute",
    define(
      "func(self: borrow<request>, path: list<string>) -> option<string>",
      (context: ComponentContext, path: readonly string[]) => {
        const { exchange, grants, guest } = context;
        if (grants?.mayReadAttribute(path) !== true) return undefined;
        return attributeText(readNode(path, guest?.owner.options.node) ?? exchange?.attribute(path));
      },
    ),
  ],
  [
    "[method]request.set-attribute",
    define(
      "func(self: borrow<request>, path: list<string>, value: string)",
      (context: ComponentContext, path: readonly string[], value: string) => {
        if (context.grants?.mayWriteAttribute(path) !== true) return;
        if (!context.spend(path.reduce((bytes, part) => bytes + part.length, value.length))) return;
        if (context.exchange?.setAttribute(path, utf8Bytes(value)) === false) context.guest?.owner.stats.onFault("budget");
      },
    ),
  ],
  [
    "[method]response.status",
    define("func(self: borrow<response>) -> u16", (context: ComponentContext) => {
      const status = context.exchange?.response?.status ?? 0;
      return context.mayRead("response", ":status") ? status : 0;
    }),
  ],
  [
    "[method]response.set-status",
    define(`func(self: borrow<response>, status: u16) -> ${EDITED_TYPE}`, (context: ComponentContext, status: number) => {
      const response = context.exchange?.response;
      if (response === undefined || !context.hands.responseHead) return NOT_NOW;
      if (!context.mayWrite("response", ":status")) return INVALID;
      return writeStatus(response, String(status)) ? EDITED : INVALID;
    }),
  ],
  ["[method]body.length", define("func(self: borrow<body>) -> u32", (context: ComponentContext) => context.body?.length ?? 0)],
  [
    "[method]body.read",
    define(
      "func(self: borrow<body>, start: u32, length: u32) -> list<u8>",
      (context: ComponentContext, start: number, length: number) => context.body?.read(start, length) ?? new Uint8Array(0),
    ),
  ],
  [
    "[method]body.replace",
    define(
      `func(self: borrow<body>, start: u32, length: u32, bytes: list<u8>) -> ${EDITED_TYPE}`,
      (context: ComponentContext, start: number, length: number, bytes: Uint8Array) => context.replaceBody(start, length, bytes),
    ),
  ],
]);

const LOG = new Map<string, HostFunction>([
  [
    "write",
    defineFor("func(level: enum{debug, info, warn, error}, message: string)", (guest) => (level: string, message: string) => {
      guest.log(level, message);
    }),
  ],
]);

const CLOCK = new Map<string, HostFunction>([
  ["wall", defineFor("func() -> u64", (guest) => () => guest.owner.timeNanos())],
  ["monotonic", defineFor("func() -> u64", (guest) => () => guest.owner.monotonicNanos())],
]);

/** Bytes of one answer. */
const RANDOM_MAX_BYTES = 65_536;

/** Throws, which breaks the instance, when there are none for it: the interface has no error to answer. */
export function randomBytes({ chance, meters }: ComponentGuest, length: number): Uint8Array {
  if (length > RANDOM_MAX_BYTES) throw new Trap(`more than ${RANDOM_MAX_BYTES} random bytes at once`);
  meters.work.text(length);
  const drawn = new Uint8Array(length);
  if (!chance.fill(drawn)) throw new Trap(`${DENIED_CALL} wasi:random (capabilities.random)`);
  return drawn;
}

export function insecureBytes({ chance, meters }: ComponentGuest, length: number): Uint8Array {
  if (length > RANDOM_MAX_BYTES) throw new Trap(`more than ${RANDOM_MAX_BYTES} random bytes at once`);
  meters.work.text(length);
  const drawn = new Uint8Array(length);
  chance.fillInsecure(drawn);
  return drawn;
}

const RANDOM = new Map<string, HostFunction>([
  ["bytes", defineFor("func(length: u32) -> list<u8>", (guest) => (length: number) => randomBytes(guest, length))],
]);

const SHARED_DATA = new Map<string, HostFunction>([
  [
    "get",
    defineFor("func(key: string) -> option<record{value: list<u8>, version: u32}>", (guest) => (key: string) => {
      const entry = guest.namespace.get(key);
      return entry === undefined ? undefined : { value: entry.value, version: entry.cas };
    }),
  ],
  [
    "set",
    defineFor(
      "func(key: string, value: list<u8>, version: option<u32>) -> result<_, enum{conflict, full}>",
      (guest) => (key: string, value: Uint8Array, version: number | undefined) =>
        guest.owner.setShared(guest.namespace, key, value, version),
    ),
  ],
]);

const METRICS = new Map<string, HostFunction>([
  [
    "define",
    defineFor(
      "func(kind: enum{counter, gauge, histogram}, name: string) -> option<u32>",
      (guest) => (kind: MetricKind, name: string) => {
        const id = guest.owner.grants.may("metrics") ? guest.owner.metrics.define(kind, name) : undefined;
        return id === undefined ? undefined : guest.metricHandles.add(id);
      },
    ),
  ],
  [
    "increment",
    defineFor(
      "func(metric: u32, by: u32)",
      (guest) => (id: number, by: number) => guest.owner.metrics.increment(guest.metricHandles.get(id), by),
    ),
  ],
  [
    "observe",
    defineFor(
      "func(metric: u32, value: u32)",
      (guest) => (id: number, value: number) => guest.owner.metrics.observe(guest.metricHandles.get(id), value),
    ),
  ],
]);

const CALL_REQUEST = `record{service: string, method: string, path: string, authority: string, headers: ${HEADERS}, body: list<u8>, timeout-ms: u32}`;

const CALL_OUT = new Map<string, HostFunction>([
  [
    "send",
    defineFor(
      `func(exchange: u32, request: ${CALL_REQUEST}) -> option<u32>`,
      (guest) => (exchange: number, request: CallRequest) => sendCall(guest, exchange, request),
    ),
  ],
]);

const NATS = new Map<string, HostFunction>([
  [
    "publish",
    defineFor(
      "func(subject: string, payload: list<u8>) -> result<_, enum{not-granted, too-large, too-many, unavailable}>",
      (guest) => (subject: string, payload: Uint8Array) => {
        const answer = guest.owner.grants.publish(subject, payload);
        return answer === "sent" ? EDITED : { error: answer };
      },
    ),
  ],
]);

/** By name without version. */
export const INTERFACES: ReadonlyMap<string, ReadonlyMap<string, HostFunction>> = new Map([
  ["selvedge:filter/types", new Map<string, HostFunction>()],
  ["selvedge:filter/http", HTTP],
  ["selvedge:filter/log", LOG],
  ["selvedge:filter/clock", CLOCK],
  ["selvedge:filter/random", RANDOM],
  ["selvedge:filter/shared-data", SHARED_DATA],
  ["selvedge:filter/metrics", METRICS],
  ["selvedge:filter/call-out", CALL_OUT],
  ["selvedge:filter/nats", NATS],
]);
