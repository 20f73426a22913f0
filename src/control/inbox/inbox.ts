import {
  AckPolicy,
  type ConsumerMessages,
  DeliverPolicy,
  DiscardPolicy,
  type JsMsg,
  RetentionPolicy,
  StorageType,
} from "@nats-io/jetstream";
import { type Msg, nanos, type Subscription } from "@nats-io/nats-core";
import { sha256Digest } from "../../config/canonical.ts";
import { type ConfigIssue, countIssues, formatIssue } from "../../config/issue.ts";
import { Complaints } from "../../config/nats/complaints.ts";
import { inboxPrefix, isInbox, NATS_NAMES } from "../../config/nats/names.ts";
import { formatDuration, formatSize } from "../../config/schema/units.ts";
import { WindowBudget } from "../../core/budgets.ts";
import { concatBytes, utf8Text } from "../../core/bytes.ts";
import type { Clock, Timer } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { CONFIG_LIMITS, CONTROL_LIMITS } from "../../core/limits.ts";
import type { Log } from "../../core/log.ts";
import type { ApplyOutcome, ControlPlane } from "../control.ts";
import { controlIssue } from "../model/issues.ts";
import type { ResourceKey } from "../model/resource.ts";
import { isStreamMissing } from "../nats/errors.ts";
import type { NatsLink } from "../nats/link.ts";
import type { Owners } from "../owners/owners.ts";
import { answerOf, type InboxAnswer } from "./answer.ts";
import { ReplyCorrelator } from "./correlator.ts";
import { type Payload, readPayload } from "./payload.ts";
import { answerQuery, readQuery } from "./query.ts";
import { RefusalLog } from "./refusals.ts";

/** What the control planes tell each other about a message. */
interface Processed {
  readonly sequence: number;
  readonly digest: string;
  readonly answer: InboxAnswer;
}

export interface InboxOptions {
  readonly link: NatsLink;
  readonly plane: Pick<
    ControlPlane,
    "apply" | "delete" | "get" | "history" | "rollback" | "status" | "waitApplied" | "filterLogs" | "redact"
  >;
  readonly clock: Clock;
  readonly log: Log;
  /** What each publisher may read; undefined: everything. */
  readonly owners?: Owners | undefined;
  /** A control plane that says nothing for this long has lost its message to another. Default 5,000; at least 1,000. */
  readonly ackWaitMs: number;
  /** What parts each publisher may store. Default `CONTROL_LIMITS.partsBytes`. */
  readonly partsBytes?: number | undefined;
}

const SUBJECTS = [NATS_NAMES.apply, `${NATS_NAMES.apply}.*`, NATS_NAMES.delete, `${NATS_NAMES.delete}.*`];
/** What nobody processed is forgotten after this. */
const KEEP_MS = 7 * 24 * 3_600_000;
/** What is published beyond these is not taken: to throw away what waits would let one publisher take away what others published. */
const BOUNDS = {
  max_msgs_per_subject: CONTROL_LIMITS.inboxMessages,
  max_msg_size: CONTROL_LIMITS.inboxMessageBytes,
  max_bytes: CONTROL_LIMITS.inboxBytes,
  discard: DiscardPolicy.New,
  discard_new_per_subject: true,
} as const;
/** The store cannot be reached: the message comes again after this. */
const NAK_MS = 1_000;
/** A message that brings every control plane down is given up after this many deliveries. */
const DELIVERIES_MAX = 20;
const SWEEP_MS = 5_000;

/**
 * `selvedge.config.apply`, `.delete` and `.get`. Applies and deletes go through a work queue in JetStream, one after the other
 * in the order in which the server stored them, whoever processes them: what is published while no control plane runs waits
 * there. The stream never acknowledges (`no_ack`), so that a request is answered by us only.
 */
export class ConfigInbox {
  readonly #correlator = new ReplyCorrelator<InboxAnswer>();
  #subscriptions: Subscription[] = [];
  #messages: ConsumerMessages | undefined;
  /** Newest delivery of what is being processed, by sequence and content. */
  readonly #underWay = new Map<string, JsMsg>();
  #sweep: Timer | undefined;
  /** Messages up to this one were stored before we listened: nobody will tell us their reply. */
  #before = 0;
  #stopped = false;
  readonly #complaints: Complaints;
  /** For the status. */
  readonly refusals = new RefusalLog();
  /** What publishers stored lately. */
  readonly #parts: WindowBudget;

  constructor(readonly options: InboxOptions) {
    const { partsBytes: each = CONTROL_LIMITS.partsBytes, clock } = options;
    this.#complaints = new Complaints(clock);
    this.#parts = new WindowBudget(clock, { each, all: CONTROL_LIMITS.partsAllBytes, windowMs: CONTROL_LIMITS.partsWindowMs });
  }

  async open(): Promise<void> {
    await this.#ensure();
    if (this.#subscriptions.length === 0) this.#listen();
    const { connection, manager, client } = this.options.link.parts;
    await connection.flush();
    const info = await manager.streams.info(NATS_NAMES.inboxStream);
    this.#before = info.state.last_seq;
    this.#correlator.reset();
    await this.#messages?.close();
    const consumer = await client.consumers.get(NATS_NAMES.inboxStream, NATS_NAMES.inboxConsumer);
    this.#messages = await consumer.consume({ max_messages: 1, callback: (message) => void this.#process(message) });
    this.#sweepLater();
  }

  async close(): Promise<void> {
    this.#stopped = true;
    this.#sweep?.cancel();
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    await this.#messages?.close();
  }

  async #ensure(): Promise<void> {
    const { link, ackWaitMs } = this.options;
    const { manager } = link.parts;
    try {
      const { config } = await manager.streams.info(NATS_NAMES.inboxStream);
      // One that a former version made has no bounds for each.
      if (Object.entries(BOUNDS).some(([name, value]) => config[name as keyof typeof BOUNDS] !== value))
        await manager.streams.update(NATS_NAMES.inboxStream, BOUNDS);
    } catch (error) {
      if (!isStreamMissing(error)) throw error;
      await manager.streams.add({
        name: NATS_NAMES.inboxStream,
        description: "Selvedge: published configuration until a control plane has processed it",
        subjects: SUBJECTS,
        retention: RetentionPolicy.Workqueue,
        storage: StorageType.File,
        no_ack: true,
        max_age: nanos(KEEP_MS),
        num_replicas: link.replicas,
        ...BOUNDS,
      });
    }
    const config = {
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      ack_wait: nanos(ackWaitMs),
      max_ack_pending: 1,
    };
    await manager.consumers.add(NATS_NAMES.inboxStream, { durable_name: NATS_NAMES.inboxConsumer, ...config });
  }

  #listen(): void {
    const { connection } = this.options.link.parts;
    const direct = (error: Error | null, message: Msg): void => this.#onDirect(error, message);
    this.#subscriptions = SUBJECTS.map((subject) => connection.subscribe(subject, { callback: direct }));
    const processed = (error: Error | null, message: Msg): void => this.#onProcessed(error, message);
    this.#subscriptions.push(connection.subscribe(NATS_NAMES.processed, { callback: processed }));
    for (const subject of [NATS_NAMES.get, `${NATS_NAMES.get}.*`])
      this.#subscriptions.push(
        connection.subscribe(subject, { queue: "selvedge-control", callback: (error, message) => this.#onGet(error, message) }),
      );
  }

  // ---------------------------------------------------------------- direct messages

  #onDirect(error: Error | null, message: Msg): void {
    if (error !== null) return;
    const reply = this.#replyOf(message);
    if (message.data.byteLength > CONTROL_LIMITS.inboxMessageBytes) {
      this.#refuseLarge(message, reply);
      return;
    }
    const answer = this.#correlator.onArrival(digestOfMessage(message), reply, this.options.clock.nowMs());
    if (answer !== undefined && reply !== "") this.options.link.parts.connection.publish(reply, JSON.stringify(answer));
  }

  /** The server does not store it, so that nobody will process it. */
  #refuseLarge({ subject }: Msg, reply: string): void {
    const { link, log } = this.options;
    const most = formatSize(CONTROL_LIMITS.inboxMessageBytes);
    const issue = controlIssue(
      "bad_request",
      `The message has more than ${most}.`,
      "`selvedge apply` sends a large text in parts",
    );
    if (reply !== "") link.parts.connection.publish(reply, JSON.stringify(answerOf(refused(issue))));
    if (this.#complaints.isDue(`large ${subject}`))
      log.warn("configuration was refused", { subject, issues: 1, first: formatIssue(issue) });
  }

  /** Where an answer may go; "": nowhere. Where publishers are told apart, also not into another's inbox. */
  #replyOf({ subject, reply = "" }: Msg): string {
    if (!isInbox(reply)) return "";
    const publisher = subject.split(".")[3];
    const isForeign = this.options.owners !== undefined && !reply.startsWith("_INBOX.");
    return isForeign && publisher !== undefined && !reply.startsWith(`${inboxPrefix(publisher)}.`) ? "" : reply;
  }

  #onProcessed(error: Error | null, message: Msg): void {
    if (error !== null) return;
    try {
      const { sequence, digest, answer } = parseShallowJson(utf8Text(message.data)) as Processed;
      // Who processed it has answered, or will when the request reaches it: our copy is only struck off.
      this.#correlator.onProcessed(sequence, digest, answer, sequence > this.#before, this.options.clock.nowMs());
      this.refusals.add(sequence, digest.split(" ")[0] ?? "", answer, this.options.clock.wallMs());
    } catch {
      // Not from a control plane: only they may publish here on a secured server.
    }
  }

  #onGet(error: Error | null, message: Msg): void {
    if (error !== null || this.#replyOf(message) === "") return;
    const { owners, plane, log } = this.options;
    const reader = message.subject.split(".")[3] ?? "";
    // Resources hold private keys: whoever owns a part does not read the rest.
    const mayRead = (key: ResourceKey): boolean => owners === undefined || owners.mayRead(reader, key);
    answerQuery(plane, readQuery(message.string()), { name: reader, mayRead })
      .then((text) => message.respond(text))
      // Of sending as well: a server with a smaller `max_payload` takes less than we think.
      .catch((cause: unknown) => log.warn("a question over NATS was not answered", { cause: describeCause(cause) }));
  }

  // ---------------------------------------------------------------- stored messages

  /**
   * Reading a large text leaves no moment to say that we live, so the message may come again meanwhile. To begin again each time
   * would never end: what comes again is the same work.
   */
  async #process(message: JsMsg): Promise<void> {
    const key = `${message.seq} ${digestOfMessage(message)}`;
    const isUnderWay = this.#underWay.has(key);
    this.#underWay.set(key, message);
    if (isUnderWay) return;
    try {
      await this.#processOnce(message, () => this.#underWay.get(key) ?? message);
    } finally {
      this.#underWay.delete(key);
    }
  }

  /** `latest`: its newest delivery, which is the one to acknowledge. */
  async #processOnce(message: JsMsg, latest: () => JsMsg): Promise<void> {
    const { clock, log, link } = this.options;
    const { connection } = link.parts;
    const alive = this.#keepAlive(message);
    try {
      const outcome = await this.#run(message);
      const digest = digestOfMessage(message);
      const answer = answerOf(outcome);
      const reply = this.#correlator.onProcessed(message.seq, digest, answer, message.seq > this.#before, clock.nowMs());
      this.refusals.add(message.seq, message.subject, answer, clock.wallMs());
      const text = JSON.stringify(answer);
      if (reply !== "") connection.publish(reply, text);
      connection.publish(NATS_NAMES.processed, `{"sequence":${message.seq},"digest":${JSON.stringify(digest)},"answer":${text}}`);
      latest().ack();
      const fields = { subject: message.subject, sequence: message.seq };
      if (outcome.ok)
        log.info("configuration was applied", { ...fields, revision: outcome.revision, changes: outcome.changes.length });
      else
        log.warn("configuration was refused", { ...fields, issues: countIssues(outcome.issues), first: firstOf(outcome.issues) });
    } catch (error) {
      if (this.#stopped) return;
      log.error("configuration could not be processed, trying again", { sequence: message.seq, cause: describeCause(error) });
      latest().nak(NAK_MS);
    } finally {
      alive.cancel();
    }
  }

  async #run(message: JsMsg): Promise<ApplyOutcome> {
    if (message.info.deliveryCount > DELIVERIES_MAX)
      return refused(controlIssue("internal", "Processing this message failed again and again."));
    const tokens = message.subject.split(".");
    const author = tokens[3] ?? "";
    const inbox = { sequence: message.seq, redelivered: message.redelivered };
    const payload = readPayload(message.string());
    const { plane } = this.options;
    if (payload.kind === "part" && this.options.owners?.knows(author) !== false) return this.#store(author, payload.bytes);
    if (payload.kind === "rollback" && this.options.owners === undefined) return plane.rollback(payload.revision, author, inbox);
    const text = await this.#textOf(message, payload);
    if (typeof text !== "string") return text;
    const request = { text, author, origin: "nats", file: "<nats>", inbox };
    return tokens[2] === "delete" ? plane.delete(request) : plane.apply(request);
  }

  /** Part of a text that does not fit a message: stored under its digest, changes nothing, and goes when nobody refers to it. */
  async #store(author: string, bytes: Uint8Array): Promise<ApplyOutcome> {
    const amount = Math.max(bytes.byteLength, CONTROL_LIMITS.partMinBytes);
    if (amount > this.#parts.left(author)) return { ok: false, reason: "busy", issues: [overQuota(author)] };
    this.#parts.spend(author, amount);
    const digest = await this.options.link.parts.objects.putSealed(bytes);
    return { ok: true, revision: this.options.plane.status().revision, digest, changes: [] };
  }

  async #textOf(message: JsMsg, payload: Payload): Promise<string | ApplyOutcome> {
    if (payload.kind === "text") return message.string();
    if (payload.kind === "bad") return refused(controlIssue("bad_request", payload.message));
    if (payload.kind !== "stored") {
      const reason =
        payload.kind === "part" ? "The publisher owns nothing." : "A rollback changes what belongs to others as well.";
      return refused(controlIssue("not_owned", reason, "the operator of the control plane can: selvedge rollback --server"));
    }
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for (const digest of payload.digests) {
      const part = await this.options.link.parts.objects.findSealed(digest);
      if (part === undefined) return refused(controlIssue("missing_object", `There is no object ${digest}.`));
      parts.push(part);
      bytes += part.byteLength;
      if (bytes > CONFIG_LIMITS.documentBytes)
        return refused(controlIssue("bad_request", "The text is larger than one apply may be."));
    }
    return new TextDecoder().decode(concatBytes(parts));
  }

  /** A long compile must not look like a death. */
  #keepAlive(message: JsMsg): { cancel(): void } {
    let timer: Timer | undefined;
    const beat = (): void => {
      message.working();
      later();
    };
    const later = (): void => {
      timer = this.options.clock.setTimer(this.options.ackWaitMs / 3, beat);
    };
    later();
    return { cancel: () => timer?.cancel() };
  }

  /** The server tells nobody what it does not take. We heard as many as wait at least, so it is asked only when that may be. */
  async #tellFull(): Promise<void> {
    if (this.#stopped || this.#correlator.size < CONTROL_LIMITS.inboxMessages) return;
    const { link, log } = this.options;
    try {
      const { state } = await link.parts.manager.streams.info(NATS_NAMES.inboxStream, { subjects_filter: ">" });
      for (const [subject, messages] of Object.entries(state.subjects ?? {}))
        if (messages >= CONTROL_LIMITS.inboxMessages && this.#complaints.isDue(`full ${subject}`))
          log.warn("as much configuration waits as may wait; what is published besides is not taken", { subject, messages });
    } catch {
      // NATS is away, which others say.
    }
  }

  #sweepLater(): void {
    if (this.#stopped) return;
    this.#sweep?.cancel();
    this.#sweep = this.options.clock.setTimer(SWEEP_MS, () => {
      this.#correlator.sweep(this.options.clock.nowMs());
      void this.#tellFull().finally(() => this.#sweepLater());
    });
  }
}

function digestOfMessage(message: { readonly subject: string; readonly data: Uint8Array }): string {
  return `${message.subject} ${sha256Digest(message.data)}`;
}

const overQuota = (author: string): ConfigIssue =>
  controlIssue(
    "parts_quota",
    `${author === "" ? "Publishers have" : `${author}, or all publishers together, have`} stored as many parts of large texts as they may.`,
    `apply in smaller texts, later (it is counted for ${formatDuration(CONTROL_LIMITS.partsWindowMs)}), or with --server http://…`,
  );

/** Where and what: those who publish without asking for an answer have this line and nothing else. */
const firstOf = ([first]: readonly ConfigIssue[]): string | undefined => first && formatIssue(first);

const refused = (issue: ReturnType<typeof controlIssue>): ApplyOutcome => ({ ok: false, reason: "invalid", issues: [issue] });
