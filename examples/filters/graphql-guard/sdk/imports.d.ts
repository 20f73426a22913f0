/** Interfaces that a filter imports by name; each needs to be in its world, and `call-out` its capability. */

declare module "selvedge:filter/log@0.1.0" {
  export function write(level: "debug" | "info" | "warn" | "error", message: string): void;
}

declare module "selvedge:filter/clock@0.1.0" {
  /** Nanoseconds since 1970, whole milliseconds unless the filter has the capability `clock`. */
  export function wall(): bigint;
  export function monotonic(): bigint;
}

declare module "selvedge:filter/random@0.1.0" {
  export function bytes(length: number): Uint8Array;
}

declare module "selvedge:filter/shared-data@0.1.0" {
  export function get(key: string): { value: Uint8Array; version: number } | null;
  /** Throws `conflict` or `full` (`payload` of the error). */
  export function set(key: string, value: Uint8Array, version: number | null): void;
}

declare module "selvedge:filter/metrics@0.1.0" {
  export function define(kind: "counter" | "gauge" | "histogram", name: string): number | null;
  export function increment(metric: number, by: number): void;
  export function observe(metric: number, value: number): void;
}

declare module "selvedge:filter/nats@0.1.0" {
  /** Throws `not-granted`, `too-large`, `too-many` or `unavailable` (`payload` of the error). */
  export function publish(subject: string, payload: Uint8Array): void;
}

declare module "selvedge:filter/call-out@0.1.0" {
  /** Null: refused. The answer comes to `onCallAnswer`. */
  export function send(
    exchange: number,
    request: {
      service: string;
      method: string;
      path: string;
      authority: string;
      headers: { name: string; value: string }[];
      body: Uint8Array;
      timeoutMs: number;
    },
  ): number | null;
}
