import type { FilterCapabilities, FilterConfig, NameAccess } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import { isCredential, isProxysAttribute, isTrusted } from "../../core/guarded-names.ts";
import type { HeaderBlock } from "../../core/head.ts";
import { type CalloutLimits, DEFAULT_CALLOUT_LIMITS, DEFAULT_PUBLISH_LIMITS } from "../../core/limits.ts";
import type { Direction, FilterMetrics } from "../contract.ts";
import { NameSet } from "./name-set.ts";
import { RateGate } from "./rate-gate.ts";

/** Capabilities as denials are counted. */
export type Capability = Exclude<keyof FilterCapabilities, "calloutLimits" | "clock">;

/** Sends a message over NATS; false: it is not connected. `payload` is used during the call only. */
export type PublishMessage = (filter: string, subject: string, payload: Bytes) => boolean;
export type PublishRefusal = "not-granted" | "too-large" | "too-many" | "unavailable";

const ALL: NameAccess = { read: ["*"], write: ["*"] };

/** What a Filter resource that says nothing grants; also what a snapshot of an earlier version, kept on disk, left out. */
export const DEFAULT_CAPABILITIES: FilterCapabilities = {
  callouts: [],
  calloutLimits: {},
  sharedData: undefined,
  rateLimit: false,
  clock: false,
  random: false,
  metrics: true,
  log: true,
  respond: true,
  bodies: { request: "write", response: "write" },
  headers: { request: ALL, response: ALL },
  attributes: ALL,
  nats: { publish: [], ...DEFAULT_PUBLISH_LIMITS },
};

const never = (): boolean => false;

/** Fields that an attribute shows, by its second part. */
const REQUEST_FIELDS: Readonly<Record<string, string>> = {
  path: ":path",
  url_path: ":path",
  query: ":path",
  host: ":authority",
  scheme: ":scheme",
  method: ":method",
  referer: "referer",
  useragent: "user-agent",
};

/** What a filter may do, compiled when it is loaded, and who counts what it may not. A set that is undefined restricts nothing. */
export class Grants {
  readonly capabilities: FilterCapabilities;
  readonly requestRead: NameSet | undefined;
  readonly requestWrite: NameSet | undefined;
  readonly responseRead: NameSet | undefined;
  readonly responseWrite: NameSet | undefined;
  readonly attributeRead: NameSet | undefined;
  readonly attributeWrite: NameSet | undefined;
  readonly #publishing: RateGate;
  readonly #callouts = new Map<string, CalloutGate>();
  /** Nothing of attributes has to be looked at. */
  readonly #readsAll: boolean;

  constructor(
    readonly config: FilterConfig,
    readonly clock: Clock,
    readonly metrics: FilterMetrics,
    readonly publishMessage?: PublishMessage,
  ) {
    const capabilities = { ...DEFAULT_CAPABILITIES, ...config.capabilities };
    this.capabilities = capabilities;
    const { headers, attributes, nats } = capabilities;
    this.requestRead = NameSet.of(headers.request.read, isCredential);
    this.requestWrite = NameSet.of(headers.request.write, isTrusted);
    this.responseRead = NameSet.of(headers.response.read, isCredential);
    this.responseWrite = NameSet.of(headers.response.write, isCredential);
    this.attributeRead = NameSet.of(attributes.read, never);
    this.attributeWrite = NameSet.of(attributes.write, isProxysAttribute);
    this.#publishing = new RateGate(nats.perSecond, clock);
    this.#readsAll = [this.requestRead, this.responseRead, this.attributeRead].every((each) => each === undefined);
  }

  /** Counts a call that was denied. */
  deny(capability: Capability): void {
    this.metrics.onDenied?.(this.config.name, capability);
  }

  /** Whether something is granted; counts it when it is not. */
  may(capability: "random" | "metrics" | "log" | "respond"): boolean {
    if (this.capabilities[capability]) return true;
    this.deny(capability);
    return false;
  }

  /** May it read a body? Counts when it may not. */
  mayReadBody(direction: Direction): boolean {
    if (this.capabilities.bodies[direction] !== "none") return true;
    this.deny("bodies");
    return false;
  }

  mayWriteBody(direction: Direction): boolean {
    if (this.capabilities.bodies[direction] === "write") return true;
    this.deny("bodies");
    return false;
  }

  readable(direction: Direction): NameSet | undefined {
    return direction === "request" ? this.requestRead : this.responseRead;
  }
  writable(direction: Direction): NameSet | undefined {
    return direction === "request" ? this.requestWrite : this.responseWrite;
  }

  /** May it see a field? Counts when it may not: it asked for this one. */
  mayRead(direction: Direction, name: string): boolean {
    return this.#mayTouch(this.readable(direction), direction, name);
  }

  mayWrite(direction: Direction, name: string): boolean {
    return this.#mayTouch(this.writable(direction), direction, name);
  }

  /** `host` of a request is another name of `:authority`. */
  #mayTouch(set: NameSet | undefined, direction: Direction, name: string): boolean {
    if (set === undefined || set.has(name === "host" && direction === "request" ? ":authority" : name)) return true;
    this.deny("headers");
    return false;
  }

  /** Takes what it may not write out of a response of its own. That goes out all the same: it may be a refusal. */
  cutAnswer(headers: HeaderBlock): void {
    if (this.responseWrite === undefined) return;
    for (let i = headers.length - 1; i >= 0; i--) if (!this.mayWrite("response", headers.names[i] as string)) headers.removeAt(i);
  }

  /** May it see an attribute? Those of fields need the field as well; what shows several is cut by the caller (`visiblePairs`). */
  mayReadAttribute(path: readonly string[]): boolean {
    if (this.#readsAll) return true;
    if (this.attributeRead !== undefined && !this.attributeRead.has(path.join("."))) {
      this.deny("attributes");
      return false;
    }
    const [root, name = ""] = path;
    if (root === "request") {
      const field = name === "headers" ? path[2] : REQUEST_FIELDS[name];
      return field === undefined || this.mayRead("request", field);
    }
    if (root !== "response") return true;
    if (name === "code") return this.mayRead("response", ":status");
    return (name !== "headers" && name !== "trailers") || path[2] === undefined || this.mayRead("response", path[2]);
  }

  /** The fields of an attribute that is a map of them, without those that it may not see. */
  visiblePairs(path: readonly string[], pairs: readonly (readonly [string, string])[]): readonly (readonly [string, string])[] {
    const [root, name] = path;
    if (path.length !== 2 || (name !== "headers" && name !== "trailers")) return pairs;
    const set = root === "request" ? this.requestRead : root === "response" ? this.responseRead : undefined;
    return set === undefined ? pairs : pairs.filter(([field]) => set.has(field));
  }

  mayWriteAttribute(path: readonly string[]): boolean {
    if (this.attributeWrite?.has(path.join(".")) !== false) return true;
    this.deny("attributes");
    return false;
  }

  /** The granted service by a name that a guest uses (`namespace/name`, or `name` in the default namespace); counts what is not granted. */
  service(name: string): string | undefined {
    const full = name.includes("/") ? name : `default/${name}`;
    const found = this.capabilities.callouts.find((service) => service === full);
    if (found === undefined) this.deny("callouts");
    return found;
  }

  /**
   * The granted service that the host of a URL names: `name` in the default namespace (which may have dots), else `name.namespace`; counts
   * what is not granted.
   */
  serviceOfHost(host: string): string | undefined {
    const { callouts } = this.capabilities;
    const found =
      callouts.find((service) => service === `default/${host}`) ??
      callouts.find((service) => service.split("/").reverse().join(".") === host);
    if (found === undefined) this.deny("callouts");
    return found;
  }

  /** Publishes a message; answers what kept it from being sent. The payload is used during the call only. */
  publish(subject: string, payload: Bytes): "sent" | PublishRefusal {
    const { nats } = this.capabilities;
    if (!nats.publish.includes(subject)) {
      this.deny("nats");
      return "not-granted";
    }
    if (payload.byteLength > nats.payloadBytes) return "too-large";
    if (this.publishMessage === undefined) return "unavailable";
    if (!this.#publishing.take()) {
      this.deny("nats");
      return "too-many";
    }
    return this.publishMessage(this.config.name, subject, payload) ? "sent" : "unavailable";
  }

  /** Limits of calls to a service, and what is under way. */
  calloutsTo(service: string): CalloutGate {
    let gate = this.#callouts.get(service);
    if (gate === undefined) {
      const limits = this.capabilities.calloutLimits[service] ?? DEFAULT_CALLOUT_LIMITS;
      gate = new CalloutGate(limits, new RateGate(limits.perSecond, this.clock), () => this.deny("callouts"));
      this.#callouts.set(service, gate);
    }
    return gate;
  }
}

/** A filter's calls to one service in this process. */
export class CalloutGate {
  underWay = 0;

  constructor(
    readonly limits: CalloutLimits,
    readonly rate: RateGate,
    readonly onDenied: () => void,
  ) {}

  /** Begins a call; false: one too many. Each that began must `end`. */
  begin(): boolean {
    if (this.underWay < this.limits.concurrent && this.rate.take()) {
      this.underWay++;
      return true;
    }
    this.onDenied();
    return false;
  }

  end(): void {
    this.underWay--;
  }

  timeoutMs(wantedMs: number): number {
    return Math.min(wantedMs, this.limits.timeoutMs);
  }

  answerBytes(bufferBytes: number): number {
    return Math.min(bufferBytes, this.limits.answerBytes ?? bufferBytes);
  }
}
