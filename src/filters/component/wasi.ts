import { utf8Text } from "../../core/bytes.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { ComponentGuest } from "./guest.ts";
import { HeldState } from "./handles.ts";
import { type HostFunction, insecureBytes, randomBytes } from "./interfaces.ts";

/**
 * What language runtimes need of WASI 0.2 to start: output goes to our log, time is rounded unless granted, there are no
 * arguments, no environment, no files, nothing to wait for. What is not here links, and traps when it is called.
 */

type Run = (guest: ComponentGuest) => (...args: never[]) => unknown;
const table = (functions: Readonly<Record<string, Run>>): ReadonlyMap<string, HostFunction> =>
  new Map(Object.entries(functions).map(([name, run]) => [name, { type: "", run }]));
const answer =
  (value: unknown): Run =>
  () =>
  () =>
    value;

/** What a stream says that it takes at once; what a guest writes beyond is left out. */
const OUTPUT_BYTES = 65_536;

/** A stream that a guest holds: its lines go to the log. */
class OutputStream extends HeldState {
  #line = "";
  constructor(
    readonly guest: ComponentGuest,
    readonly level: "info" | "error",
  ) {
    super();
  }

  forget(): void {
    this.#line = "";
  }

  write(bytes: Uint8Array): void {
    const taken = bytes.subarray(0, OUTPUT_BYTES);
    this.guest.meters.work.text(taken.byteLength);
    const lines = (this.#line + utf8Text(taken)).split("\n");
    this.guest.meters.work.items(lines.length);
    this.#line = (lines.pop() ?? "").slice(0, PROXY_WASM_LIMITS.logLineBytes);
    for (const line of lines) if (line.trim() !== "") this.guest.log(this.level, line.slice(0, PROXY_WASM_LIMITS.logLineBytes));
  }
}

const write: Run = () => (stream: OutputStream, bytes: Uint8Array) => {
  stream.write(bytes);
  return { ok: undefined };
};
const CLOSED = { error: { tag: "closed", value: undefined } };
const wallTime: Run = (guest) => () => {
  const nanos = guest.owner.timeNanos();
  return { seconds: nanos / 1_000_000_000n, nanoseconds: Number(nanos % 1_000_000_000n) };
};
const u64Of = (bytes: Uint8Array): bigint => new DataView(bytes.buffer).getBigUint64(0);
const sizeOf = (length: bigint): number => (length > 65_536n ? 65_537 : Number(length));
const randomU64: Run = (guest) => () => u64Of(randomBytes(guest, 8));
const randomList: Run = (guest) => (length: bigint) => randomBytes(guest, sizeOf(length));
/** By their contract nobody relies on these: without `random` they come from the fixed sequence for good. */
const insecureU64: Run = (guest) => () => u64Of(insecureBytes(guest, 8));
const insecureList: Run = (guest) => (length: bigint) => insecureBytes(guest, sizeOf(length));
const seed: Run = (guest) => () => [u64Of(insecureBytes(guest, 8)), u64Of(insecureBytes(guest, 8))];

/** By name without version. */
export const WASI_INTERFACES: ReadonlyMap<string, ReadonlyMap<string, HostFunction>> = new Map<
  string,
  ReadonlyMap<string, HostFunction>
>([
  [
    "wasi:cli/environment",
    table({ "get-environment": answer([]), "get-arguments": answer([]), "initial-cwd": answer(undefined) }),
  ],
  ["wasi:cli/exit", table({})],
  ["wasi:cli/stdin", table({ "get-stdin": answer({}) })],
  ["wasi:cli/stdout", table({ "get-stdout": (guest) => () => new OutputStream(guest, "info") })],
  ["wasi:cli/stderr", table({ "get-stderr": (guest) => () => new OutputStream(guest, "error") })],
  ["wasi:cli/terminal-input", table({})],
  ["wasi:cli/terminal-output", table({})],
  ["wasi:cli/terminal-stdin", table({ "get-terminal-stdin": answer(undefined) })],
  ["wasi:cli/terminal-stdout", table({ "get-terminal-stdout": answer(undefined) })],
  ["wasi:cli/terminal-stderr", table({ "get-terminal-stderr": answer(undefined) })],
  ["wasi:io/error", table({ "[method]error.to-debug-string": answer("") })],
  ["wasi:io/poll", table({ "[method]pollable.ready": answer(true) })],
  [
    "wasi:io/streams",
    table({
      "[method]input-stream.read": answer(CLOSED),
      "[method]input-stream.blocking-read": answer(CLOSED),
      "[method]output-stream.check-write": answer({ ok: BigInt(OUTPUT_BYTES) }),
      "[method]output-stream.write": write,
      "[method]output-stream.blocking-write-and-flush": write,
      "[method]output-stream.flush": answer({ ok: undefined }),
      "[method]output-stream.blocking-flush": answer({ ok: undefined }),
      "[method]output-stream.subscribe": answer({}),
    }),
  ],
  ["wasi:clocks/monotonic-clock", table({ now: (guest) => () => guest.owner.monotonicNanos(), resolution: answer(1_000_000n) })],
  ["wasi:clocks/wall-clock", table({ now: wallTime, resolution: answer({ seconds: 0n, nanoseconds: 1_000_000 }) })],
  ["wasi:filesystem/types", table({ "filesystem-error-code": answer(undefined) })],
  ["wasi:filesystem/preopens", table({ "get-directories": answer([]) })],
  // Python links them whatever it does; there is no function behind any of them.
  ...["network", "instance-network", "tcp", "tcp-create-socket", "udp", "udp-create-socket", "ip-name-lookup"].map(
    (name) => [`wasi:sockets/${name}`, table({})] as const,
  ),
  ["wasi:random/random", table({ "get-random-bytes": randomList, "get-random-u64": randomU64 })],
  ["wasi:random/insecure", table({ "get-insecure-random-bytes": insecureList, "get-insecure-random-u64": insecureU64 })],
  ["wasi:random/insecure-seed", table({ "insecure-seed": seed })],
]);
