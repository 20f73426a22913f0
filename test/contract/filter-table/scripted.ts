import { utf8Bytes } from "../../../src/core/bytes.ts";
import * as abi from "../../../src/filters/proxy-wasm/abi.ts";
import { type Command, OUT_A, OUT_B, type Puppet, type PuppetGuest } from "../../kit/puppet.ts";

/**
 * The guest of proxy-wasm for the table: the puppet, doing what the script says in the language of test/guests/component-actor. What
 * a command answers goes to the log as `command: answer`.
 */

type Steps<T> = Generator<Command, T, number>;

const CONTINUE = 0;
const PAUSE = 1;

/** Callbacks of the script by those of the ABI: which header map and which buffer each has in hand. */
const PLACES = {
  configure: ["configure", -1, -1],
  request_headers: ["request-head", abi.MAP_REQUEST_HEADERS, -1],
  request_body: ["request-body", abi.MAP_REQUEST_TRAILERS, abi.BUFFER_REQUEST_BODY],
  request_trailers: ["request-trailers", abi.MAP_REQUEST_TRAILERS, abi.BUFFER_REQUEST_BODY],
  response_headers: ["response-head", abi.MAP_RESPONSE_HEADERS, -1],
  response_body: ["response-body", abi.MAP_RESPONSE_TRAILERS, abi.BUFFER_RESPONSE_BODY],
  response_trailers: ["response-trailers", abi.MAP_RESPONSE_TRAILERS, abi.BUFFER_RESPONSE_BODY],
  http_call_response: ["call-answer", abi.MAP_REQUEST_HEADERS, -1],
  tick: ["tick", -1, -1],
  log: ["done", abi.MAP_REQUEST_HEADERS, -1],
} as const;

/** Has the puppet play a script. */
export function playScript(puppet: Puppet, script: string): void {
  const callers = new Map<number, number>();
  const lines = script.split("\n").map((line) => line.split(/:(.*)/s) as [string, string]);
  for (const [callback, [name, map, buffer]] of Object.entries(PLACES)) {
    const commands = lines.filter(([each]) => each.trim() === name).flatMap(([, text]) => text.split(";"));
    if (commands.length === 0) continue;
    puppet.on(callback, function* (guest, id, second, third, fourth) {
      // Of a body (id, size, end), of a head (id, fields, end), of an answer to a call (id, call, fields, size).
      const hands = { map, buffer, end: third === 1, context: id, callers };
      if (callback === "http_call_response") {
        yield* sayAnswer(guest, third ?? 0, fourth ?? 0);
        yield guest.host("proxy_set_effective_context", callers.get(second ?? 0) ?? 0);
      }
      let verdict: number | undefined;
      for (const command of commands) {
        verdict = yield* new Player(guest, hands).obey(command.trim().split(/ +/));
        if (verdict !== undefined) break;
      }
      if (callback === "configure") return verdict === undefined ? 1 : 0;
      if (callback === "http_call_response" && verdict !== PAUSE) yield guest.host("proxy_continue_stream", abi.STREAM_REQUEST);
      return verdict ?? CONTINUE;
    });
  }
}

interface Hands {
  readonly map: number;
  readonly buffer: number;
  readonly end: boolean;
  readonly context: number;
  /** Whose calls are under way. */
  readonly callers: Map<number, number>;
}

/** What a status is called in the table. */
function word(status: number): string {
  if (status === abi.OK) return "ok";
  return status === abi.CAS_MISMATCH ? "conflict" : "invalid";
}

const readWord = (text: string): string =>
  text.replace(/%([0-9a-f]{4})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));

function* log(guest: PuppetGuest, text: string): Steps<void> {
  const bytes = utf8Bytes(text);
  yield guest.host("proxy_log", 2, guest.put(bytes), bytes.length);
}

function* sayAnswer(guest: PuppetGuest, fields: number, size: number): Steps<void> {
  if (fields === 0) return yield* log(guest, "no answer");
  const key = ":status";
  yield guest.host("proxy_get_header_map_value", abi.MAP_CALL_HEADERS, guest.put(key), key.length, OUT_A, OUT_B);
  const status = guest.given(OUT_A, OUT_B);
  yield guest.host("proxy_get_buffer_bytes", abi.BUFFER_CALL_BODY, 0, size, OUT_A, OUT_B);
  yield* log(guest, `answer ${status} ${guest.given(OUT_A, OUT_B)}`);
}

class Player {
  constructor(
    readonly guest: PuppetGuest,
    readonly hands: Hands,
  ) {}

  /** A verdict, when the command is one. */
  *obey(words: readonly string[]): Steps<number | undefined> {
    const [verb = "", ...rest] = words;
    const args = rest.map(readWord);
    if (verb === "") return undefined;
    if (verb === "continue") return CONTINUE;
    if (verb === "pause") return PAUSE;
    if (verb === "pause-until-end") return this.hands.end ? undefined : PAUSE;
    if (verb === "fail") return yield* this.#refuse(rest.join(" "));
    if (verb === "respond") return yield* this.#respond(args);
    if (verb === "log") return yield* this.#silently(log(this.guest, args[0] ?? ""));
    const own = OWN[verb];
    if (own !== undefined) {
      const result = yield this.guest.host(own, Number(args[0] ?? 0));
      if (verb === "grow") yield* log(this.guest, `${words.join(" ")}: ${result}`);
      return undefined;
    }
    const answer = (yield* this.#look(verb, args)) ?? (yield* this.#edit(verb, args)) ?? (yield* this.#reach(verb, args));
    if (answer !== SILENT) yield* log(this.guest, `${words.join(" ")}: ${answer}`);
    return undefined;
  }

  *#silently(steps: Steps<void>): Steps<undefined> {
    yield* steps;
    return undefined;
  }

  *#refuse(reason: string): Steps<number> {
    yield* log(this.guest, reason);
    return 0;
  }

  *#respond([status = "", body = "", ...fields]: readonly string[]): Steps<number> {
    const { guest } = this;
    const pairs = fields.map((field) => [field.slice(0, field.indexOf("=")), field.slice(field.indexOf("=") + 1)] as const);
    const [at, size] = guest.putPairs(pairs);
    yield guest.host("proxy_send_local_response", Number(status), 0, 0, guest.put(body), body.length, at, size, -1);
    return PAUSE;
  }

  *#value(map: number, name: string): Steps<string | undefined> {
    const status = yield this.guest.host("proxy_get_header_map_value", map, this.guest.put(name), name.length, OUT_A, OUT_B);
    return status === abi.OK ? this.guest.given(OUT_A, OUT_B) : undefined;
  }

  *#pairs(): Steps<[string, string][]> {
    const { guest } = this;
    if ((yield guest.host("proxy_get_header_map_pairs", this.hands.map, OUT_A, OUT_B)) !== abi.OK) return [];
    const at = guest.u32(OUT_A);
    const count = guest.u32(OUT_B) === 0 ? 0 : guest.u32(at);
    const pairs: [string, string][] = [];
    let next = at + 4 + count * 8;
    const text = (size: number): string => {
      next += size + 1;
      return guest.memory.toString("latin1", next - size - 1, next - 1);
    };
    for (let i = 0; i < count; i++) pairs.push([text(guest.u32(at + 4 + i * 8)), text(guest.u32(at + 8 + i * 8))]);
    return pairs.filter(([name]) => !name.startsWith(":"));
  }

  *#look(verb: string, args: readonly string[]): Steps<string | undefined> {
    const { map, buffer, end } = this.hands;
    const name = (args[0] ?? "").toLowerCase();
    switch (verb) {
      case "show":
      case "values": {
        const found = (yield* this.#pairs()).filter(([each]) => each === name).map(([, value]) => value);
        return verb === "values" ? found.join("|") : found.length === 0 ? "none" : found.join(",");
      }
      case "all":
        return (yield* this.#pairs()).map((pair) => pair.join("=")).join(",");
      case "line": {
        const parts: string[] = [];
        for (const key of [":method", ":scheme", ":authority", ":path"]) parts.push((yield* this.#value(map, key)) ?? "");
        return parts.join(" ");
      }
      case "status":
        return (yield* this.#value(map, ":status")) ?? "0";
      case "end":
        return String(end);
      case "length":
        return String((yield* this.#body(buffer, 0, 0x7fff_ffff)).length);
      case "read":
        return yield* this.#body(buffer, Number(args[0]), args.length > 1 ? Number(args[1]) : 0x7fff_ffff);
      case "attribute": {
        const path = args.join("\0");
        const status = yield this.guest.host("proxy_get_property", this.guest.put(path), path.length, OUT_A, OUT_B);
        return status === abi.OK ? this.guest.given(OUT_A, OUT_B) : "none";
      }
      default:
        return undefined;
    }
  }

  *#body(buffer: number, start: number, length: number): Steps<string> {
    const status = yield this.guest.host("proxy_get_buffer_bytes", buffer, start, length, OUT_A, OUT_B);
    return status === abi.OK ? this.guest.given(OUT_A, OUT_B) : "";
  }

  *#edit(verb: string, args: readonly string[]): Steps<string | undefined> {
    const { guest } = this;
    const { map, buffer } = this.hands;
    const [name = "", value = ""] = args;
    const write = function* (how: string, to: number, key: string, text: string): Steps<string> {
      return word(
        yield guest.host(`proxy_${how}_header_map_value`, to, guest.put(key), key.length, guest.put(text), text.length),
      );
    };
    if (verb === "set") return yield* write("replace", map, name, value);
    if (verb === "add") return yield* write("add", map, name, value);
    if (verb === "request-set") return yield* write("replace", abi.MAP_REQUEST_HEADERS, name, value);
    if (verb === "remove") return word(yield guest.host("proxy_remove_header_map_value", map, guest.put(name), name.length));
    if (verb === "set-attribute") {
      yield guest.host("proxy_set_property", guest.put(name), name.length, guest.put(value), value.length);
      return SILENT;
    }
    if (verb.startsWith("set-")) return yield* write("replace", map, `:${verb.slice(4)}`, name);
    if (verb !== "replace") return undefined;
    const text = args[2] ?? "";
    return word(yield guest.host("proxy_set_buffer_bytes", buffer, Number(name), Number(value), guest.put(text), text.length));
  }

  /** What reaches beyond the message. */
  *#reach(verb: string, args: readonly string[]): Steps<string> {
    const { guest } = this;
    const [name = "", value = ""] = args;
    switch (verb) {
      case "random": {
        const status = yield guest.host("random_get", OUT_A, Number(name));
        return status === 0 ? name : "denied";
      }
      case "clock": {
        const wall = yield* this.#time(0);
        return `${wall} ${yield* this.#time(1)}`;
      }
      case "shared-get": {
        const status = yield guest.host("proxy_get_shared_data", guest.put(name), name.length, OUT_A, OUT_B, VERSION);
        return status === abi.OK ? `${guest.given(OUT_A, OUT_B)} ${guest.u32(VERSION)}` : "none";
      }
      case "shared-set": {
        const at = guest.put(value);
        const cas = Number(args[2] ?? 0);
        const status = yield guest.host("proxy_set_shared_data", guest.put(name), name.length, at, value.length, cas);
        return status === abi.INTERNAL_FAILURE ? "full" : word(status);
      }
      case "count": {
        const status = yield guest.host("proxy_define_metric", 0, guest.put(name), name.length, OUT_A);
        if (status !== abi.OK) return yield* this.#sayNoMetric();
        yield guest.host("proxy_increment_metric", guest.u32(OUT_A), BigInt(value));
        return SILENT;
      }
      case "every":
        yield guest.host("proxy_set_tick_period_milliseconds", Number(name));
        return SILENT;
      case "call":
        return yield* this.#call(name, value);
      case "publish": {
        const text = `${name}\0${value}`;
        const call = guest.put(PUBLISH);
        const status = yield guest.host(
          "proxy_call_foreign_function",
          call,
          PUBLISH.length,
          guest.put(text),
          text.length,
          OUT_A,
          OUT_B,
        );
        return status === abi.OK ? "ok" : "refused";
      }
      default:
        return "unknown command";
    }
  }

  *#sayNoMetric(): Steps<string> {
    yield* log(this.guest, "no metric");
    return SILENT;
  }

  *#time(id: number): Steps<bigint> {
    yield this.guest.host("clock_time_get", id, 1n, VERSION);
    return this.guest.u64(VERSION);
  }

  *#call(service: string, path: string): Steps<string> {
    const { guest } = this;
    const [at, size] = guest.putPairs([
      [":method", "GET"],
      [":path", path],
      [":authority", "callee"],
      ["x-asked", "1"],
    ]);
    const name = guest.put(service);
    const status = yield guest.host("proxy_http_call", name, service.length, at, size, 0, 0, 0, 0, 100, OUT_A);
    if (status !== abi.OK) return "refused";
    this.hands.callers.set(guest.u32(OUT_A), this.hands.context);
    return "sent";
  }
}

const PUBLISH = "selvedge.nats_publish";
/** What commands answer that say nothing. */
const SILENT = "\0";
/** Where numbers of 8 bytes are put. */
const VERSION = 912;

/** Commands of the puppet itself. */
const OWN: Readonly<Record<string, string>> = { trap: "trap", loop: "spin", recurse: "recurse", grow: "grow" };
