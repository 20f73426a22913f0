import type { Msg, NatsConnection } from "@nats-io/nats-core";
import { copyBytes, utf8Text } from "../core/bytes.ts";
import type { Clock, Timer } from "../core/clock.ts";
import type { EventLog } from "../core/events.ts";
import { describeCause } from "../core/failure.ts";
import { type FilterLogs, readFilterLogQuery } from "../core/filter-logs.ts";
import { parseShallowJson } from "../core/json-text.ts";
import { EVENT_LIMITS, FILTER_LOG_LIMITS } from "../core/limits.ts";
import type { Log } from "../core/log.ts";
import type { Rng } from "../core/rng.ts";
import { issueOf } from "./issue.ts";
import { Complaints, natsHint } from "./nats/complaints.ts";
import { connectNats, type NatsAddress } from "./nats/connect.ts";
import { type Announcement, parseAnnouncement } from "./nats/manifest.ts";
import {
  askSubject,
  isSubjectToken,
  logsSubject,
  manifestGetSubject,
  NATS_NAMES,
  snapshotSubject,
  statusSubject,
} from "./nats/names.ts";
import { isStatus } from "./nats/objects.ts";
import { SnapshotCache, type StoredSnapshot } from "./nats/snapshot-cache.ts";
import { MissingObject, SnapshotLoader } from "./nats/snapshot-loader.ts";
import {
  HEARTBEAT_MS,
  type LogAnswer,
  type LogQuestion,
  type ProxyStatusMessage,
  QUESTION_CHARS,
  STATUS_ISSUES,
} from "./nats/status.ts";
import { NotNatsError, notNatsFields } from "./nats/transport.ts";
import type { Manifest } from "./sections.ts";
import type { SnapshotOutcome, SnapshotSource, SnapshotUpdate } from "./source.ts";

export type { NatsAddress } from "./nats/connect.ts";

export interface NatsSourceOptions {
  readonly address: NatsAddress;
  /** Name of this proxy: a NATS subject token (letters, digits, `-`, `_`). */
  readonly id: string;
  /** Proxy group; default `gateway`. */
  readonly group?: string;
  /** Version of the product, shown in status. */
  readonly version: string;
  /** Folder for the last good snapshot and its modules; undefined: nothing is kept on disk. */
  readonly cacheFolder?: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  /** What happens to this proxy: told to the control plane, and told of NATS. */
  readonly events?: EventLog;
  /** What its filters say: for whoever asks the control plane. Absent: nobody is answered. */
  readonly filterLogs?: FilterLogs;
  /** How to connect; for tests. Default: `connectNats`. */
  readonly connect?: (address: NatsAddress, id: string) => Promise<NatsConnection>;
}

export type NatsSourceState =
  | { readonly kind: "connected"; readonly revision: number }
  /** `sinceMs`: wall clock. */
  | { readonly kind: "disconnected"; readonly revision: number; readonly sinceMs: number };

/** Snapshots over NATS. `start` resolves when the last good one was read from disk and NATS was tried once. */
export interface NatsSource extends SnapshotSource {
  publish(subject: string, payload: Uint8Array): boolean;
  /** `revision` is the newest that was handed over; 0: none yet. */
  state(): NatsSourceState;
}

const CONNECT_RETRY_MS = 500;
const CONNECT_RETRY_JITTER_MS = 500;
const REQUEST_MS = 5_000;
/** A message that was lost on the way is noticed after this at the latest. */
const RECONCILE_MS = 20_000;
/** What happens within this goes with one status message. */
const EVENT_DELAY_MS = 500;
/** Many proxies must not all answer a control plane at once. */
const POLL_JITTER_MS = 100;
/**
 * Writing to disk waits this long and up to as much again, so that a burst of changes writes once, none waits for the disk, and the
 * proxies of a machine do not all write at one moment, when the next change may come. A crash before it costs nothing while NATS
 * is there: the proxy resumes by revision.
 */
const SAVE_MS = 1_000;
/** What could not be fetched is tried again after this. */
const RETRY_MS = 1_000;
/** What was not in the store for so long is refused, so that nobody waits for it without being told why. It is asked for all the same. */
const MISSING_MS = 4_000;

/** Makes a source; nothing happens before `start`. Throws an `Error` when id or group cannot be part of a NATS subject. */
export function createNatsSource(options: NatsSourceOptions): NatsSource {
  return new NatsSnapshotSource(options);
}

class NatsSnapshotSource implements NatsSource {
  readonly #group: string;
  readonly #cache: SnapshotCache | undefined;
  readonly #loader: SnapshotLoader;
  readonly #complaints: Complaints;
  #connection: NatsConnection | undefined;
  #onSnapshot: (update: SnapshotUpdate) => void = () => {};
  #wasConnected = false;
  #disconnectedAtMs: number | undefined;
  #stopped = false;
  /** Newest manifest heard of, not handed over yet. */
  #wanted: Announcement | undefined;
  /** What was handed over last. */
  #current: Manifest | undefined;
  /** The revision that cannot be fetched, and since when. */
  #missing = { revision: 0, sinceMs: 0 };
  #working = false;
  #tellingSoon = false;
  /** Questions about log lines that are being answered. */
  #questions = 0;
  #saving: Promise<void> = Promise.resolve();
  /** What went live and is not on disk yet. */
  #unsaved: StoredSnapshot | undefined;
  #status: ProxyStatusMessage;
  readonly #timers = new Map<string, Timer>();

  constructor(readonly options: NatsSourceOptions) {
    this.#group = options.group ?? "gateway";
    this.#complaints = new Complaints(options.clock);
    if (!isSubjectToken(options.id)) throw new Error(`proxy id ${JSON.stringify(options.id)}: only letters, digits, - and _`);
    if (!isSubjectToken(this.#group))
      throw new Error(`proxy group ${JSON.stringify(this.#group)}: only letters, digits, - and _`);
    this.#cache = options.cacheFolder === undefined ? undefined : new SnapshotCache(options.cacheFolder);
    this.#loader = new SnapshotLoader();
    this.#disconnectedAtMs = options.clock.wallMs();
    this.#status = {
      ...{ id: options.id, group: this.#group, version: options.version, revision: 0, digest: "", applyMs: 0 },
      ...{ rejectedRevision: 0, issues: [], leaving: false },
    };
  }

  async start(onSnapshot: (update: SnapshotUpdate) => void): Promise<void> {
    this.#onSnapshot = onSnapshot;
    const { events } = this.options;
    if (events !== undefined) events.onChange = () => this.#tellSoon();
    await this.#readCache();
    await this.#connect();
  }

  report(outcome: SnapshotOutcome): void {
    if (outcome.kind === "applied") {
      const { revision, digest, applyMs } = outcome;
      this.#status = { ...this.#status, revision, digest, applyMs, rejectedRevision: 0, issues: [] };
      this.#save(revision, digest);
    } else {
      const issues = outcome.issues.slice(0, STATUS_ISSUES);
      this.#status = { ...this.#status, rejectedRevision: outcome.revision, issues };
    }
    this.#sendStatus();
  }

  publish(subject: string, payload: Uint8Array): boolean {
    const connection = this.#connection;
    if (connection === undefined || this.#disconnectedAtMs !== undefined || connection.isClosed()) return false;
    // The client keeps what it is given until it writes; a filter's memory changes before that.
    connection.publish(subject, copyBytes(payload));
    return true;
  }

  state(): NatsSourceState {
    const revision = this.#current?.revision ?? 0;
    if (this.#disconnectedAtMs === undefined) return { kind: "connected", revision };
    return { kind: "disconnected", revision, sinceMs: this.#disconnectedAtMs };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    this.#saveNow();
    await this.#saving;
    const connection = this.#connection;
    if (connection === undefined) return;
    if (this.#disconnectedAtMs === undefined) {
      this.#status = { ...this.#status, leaving: true };
      this.#sendStatus();
      await connection.flush().catch(() => {});
    }
    await connection.close();
  }

  // ---------------------------------------------------------------- disk

  async #readCache(): Promise<void> {
    const stored = await this.#cache?.read();
    if (stored === undefined || stored.manifest.group !== this.#group) return;
    this.#loader.remember(stored.bytes);
    try {
      this.#deliver(stored.manifest);
      this.options.log.info("serving the last good configuration from disk", { revision: stored.manifest.revision });
    } catch (error) {
      this.options.log.warn("the configuration on disk cannot be read", { cause: describeCause(error) });
    }
  }

  /** Only what went live is kept: a snapshot that was refused must not come back after a restart. */
  #save(revision: number, digest: string): void {
    const manifest = this.#current;
    if (this.#cache === undefined || manifest === undefined) return;
    if (manifest.revision !== revision || manifest.digest !== digest) return;
    const planned = this.#unsaved !== undefined;
    this.#unsaved = { manifest, bytes: this.#loader.known };
    if (!planned) this.#after("save", SAVE_MS * (1 + this.options.rng.next()), () => this.#saveNow());
  }

  #saveNow(): void {
    const unsaved = this.#unsaved;
    const cache = this.#cache;
    this.#unsaved = undefined;
    if (unsaved === undefined || cache === undefined) return;
    this.#saving = this.#saving
      .then(() => cache.write(unsaved))
      .catch((error) => this.options.log.warn("the configuration cannot be kept on disk", { cause: describeCause(error) }));
  }

  // ---------------------------------------------------------------- NATS

  async #connect(): Promise<void> {
    if (this.#stopped) return;
    let connection: NatsConnection;
    try {
      connection = await (this.options.connect ?? connectNats)(this.options.address, this.options.id);
    } catch (error) {
      this.#complain("NATS cannot be reached, trying again", describeCause(error));
      const delayMs = CONNECT_RETRY_MS + this.options.rng.next() * CONNECT_RETRY_JITTER_MS;
      this.#after("connect", delayMs, () => void this.#connect());
      return;
    }
    if (this.#stopped) return connection.close();
    this.#connection = connection;
    connection.subscribe(snapshotSubject(this.#group), { callback: (error, message) => this.#onManifest(error, message) });
    connection.subscribe(NATS_NAMES.poll, {
      callback: () => this.#after("beat", POLL_JITTER_MS * this.options.rng.next(), () => this.#beat()),
    });
    if (this.options.filterLogs !== undefined)
      connection.subscribe(askSubject(this.options.id), { callback: (error, message) => void this.#onQuestion(error, message) });
    void this.#follow(connection);
    this.#onConnected();
    await this.#reconcile();
  }

  /** What goes on being wrong is said once, with what to do, and then ever more rarely. */
  #complain(message: string, cause: string): void {
    if (!this.#complaints.isDue(`${message} ${cause}`)) return;
    const hint = natsHint(cause);
    this.options.log.warn(message, { cause, ...(hint === "" ? {} : { hint }) });
  }

  #complainOf(error: Error): void {
    if (!(error instanceof NotNatsError)) this.#complain("NATS refused something", describeCause(error));
    else if (this.#complaints.isDue(error.message))
      this.options.log.warn("a connection to NATS was given up", notNatsFields(error));
  }

  async #follow(connection: NatsConnection): Promise<void> {
    for await (const event of connection.status()) {
      if (event.type === "disconnect") this.#onDisconnected();
      if (event.type === "reconnect") {
        this.options.events?.add("source_back", "NATS", "connected again");
        this.#onConnected();
        void this.#reconcile();
      }
      if (event.type === "error") this.#complainOf(event.error);
    }
  }

  #onConnected(): void {
    const lostAtMs = this.#disconnectedAtMs;
    this.#disconnectedAtMs = undefined;
    const wrongMs = this.#complaints.forget();
    // What was not there yet is not lost.
    const wasLost = this.#wasConnected;
    this.#wasConnected = true;
    const lostMs = lostAtMs === undefined ? wrongMs : this.options.clock.wallMs() - lostAtMs;
    this.options.log.info("connected to NATS", {
      ...{ id: this.options.id, group: this.#group },
      ...(wasLost && lostMs !== undefined ? { lostMs } : {}),
    });
    this.#beat();
  }

  #onDisconnected(): void {
    if (this.#disconnectedAtMs !== undefined || this.#stopped) return;
    this.#disconnectedAtMs = this.options.clock.wallMs();
    const revision = this.#current?.revision ?? 0;
    this.options.events?.add("source_lost", "NATS", `revision ${revision} goes on serving`);
    this.options.log.warn("NATS is lost; the last configuration goes on serving", { revision });
  }

  /** Asks for the newest manifest: on start, after each reconnect, and now and then. */
  async #reconcile(): Promise<void> {
    if (this.#stopped) return;
    this.#after("reconcile", RECONCILE_MS * (0.75 + this.options.rng.next() / 2), () => void this.#reconcile());
    if (this.#disconnectedAtMs !== undefined || this.#connection === undefined) return;
    try {
      const answer = await this.#connection.request(manifestGetSubject(this.#group), "", { timeout: REQUEST_MS });
      // Not found: nothing was ever published for this group.
      if (!isStatus(answer)) this.#want(parseAnnouncement(answer.data));
      await this.#work();
    } catch (error) {
      if (this.#stopped) return;
      this.options.log.debug("the current manifest cannot be had yet", { cause: describeCause(error) });
      this.#after("reconcile", RETRY_MS * (1 + this.options.rng.next()), () => void this.#reconcile());
    }
  }

  #onManifest(error: Error | null, message: Msg): void {
    if (error !== null) return;
    try {
      this.#want(parseAnnouncement(message.data));
    } catch (cause) {
      this.options.log.warn("a manifest that cannot be read was ignored", { cause: describeCause(cause) });
      return;
    }
    void this.#work();
  }

  #want(announcement: Announcement): void {
    const { manifest } = announcement;
    const newest = Math.max(this.#current?.revision ?? 0, this.#wanted?.manifest.revision ?? 0);
    if (manifest.group !== this.#group) return;
    if (manifest.revision > newest) this.#wanted = announcement;
    else if (manifest.revision < (this.#current?.revision ?? 0))
      this.options.log.warn("an older revision was refused", { revision: manifest.revision, current: newest });
  }

  /** Fetches what the newest manifest names and hands it over; one at a time, and what was overtaken is skipped. */
  async #work(): Promise<void> {
    const connection = this.#connection;
    if (this.#working || connection === undefined) return;
    this.#working = true;
    try {
      for (let wanted = this.#wanted; wanted !== undefined && !this.#stopped; wanted = this.#wanted) {
        if (!this.#loader.take(wanted)) await this.#loader.fetch(connection, wanted);
        if (this.#stopped || this.#wanted !== wanted) continue;
        this.#wanted = undefined;
        this.#deliver(wanted.manifest);
      }
    } catch (error) {
      const cause = describeCause(error);
      this.options.events?.add("snapshot_missing", `revision ${this.#wanted?.manifest.revision ?? 0}`, cause);
      this.options.log.warn("a configuration cannot be fetched yet", { cause });
      if (error instanceof MissingObject) this.#refuseMissing(cause);
      this.#after("retry", RETRY_MS * (1 + this.options.rng.next()), () => void this.#work());
    } finally {
      this.#working = false;
    }
  }

  #refuseMissing(cause: string): void {
    const { revision = 0, digest = "" } = this.#wanted?.manifest ?? {};
    const nowMs = this.options.clock.nowMs();
    if (this.#missing.revision !== revision) this.#missing = { revision, sinceMs: nowMs };
    if (nowMs - this.#missing.sinceMs < MISSING_MS || this.#status.rejectedRevision === revision) return;
    const message = `It cannot be fetched: ${cause}.`;
    this.report({ kind: "rejected", revision, digest, issues: [issueOf({ code: "snapshot_missing", message })] });
  }

  #deliver(manifest: Manifest): void {
    const update = this.#loader.join(manifest);
    this.#current = manifest;
    this.#onSnapshot(update);
  }

  // ---------------------------------------------------------------- status

  #beat(): void {
    this.#sendStatus();
    this.#after("beat", HEARTBEAT_MS * (0.8 + this.options.rng.next() * 0.4), () => this.#beat());
  }

  /** Something happened: not a message for each, when it is much. */
  #tellSoon(): void {
    if (this.#tellingSoon) return;
    this.#tellingSoon = true;
    this.#after("events", EVENT_DELAY_MS, () => {
      this.#tellingSoon = false;
      this.#sendStatus();
    });
  }

  #sendStatus(): void {
    if (this.#connection === undefined || this.#disconnectedAtMs !== undefined) return;
    if (this.#connection.isClosed()) return;
    this.#connection.publish(
      statusSubject(this.options.id),
      JSON.stringify({ ...this.#status, events: this.options.events?.list(EVENT_LIMITS.published) ?? [] }),
    );
  }

  async #onQuestion(error: Error | null, message: Msg): Promise<void> {
    const logs = this.options.filterLogs;
    if (error !== null || logs === undefined || this.#questions >= FILTER_LOG_LIMITS.questions) return;
    this.#questions++;
    try {
      const { question, query: asked } = parseShallowJson(utf8Text(message.data)) as LogQuestion;
      const query = readFilterLogQuery(asked);
      if (typeof question !== "string" || question.length > QUESTION_CHARS || query === undefined) return;
      const answer: LogAnswer = { question, page: await logs.read(query) };
      if (!this.#stopped) this.publish(logsSubject(this.options.id), Buffer.from(JSON.stringify(answer)));
    } catch (cause) {
      this.options.log.debug("a question about log lines cannot be answered", { cause: describeCause(cause) });
    } finally {
      this.#questions--;
    }
  }

  #after(name: string, delayMs: number, fire: () => void): void {
    this.#timers.get(name)?.cancel();
    if (!this.#stopped) this.#timers.set(name, this.options.clock.setTimer(delayMs, fire));
  }
}
