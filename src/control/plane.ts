import { sha256Digest } from "../config/canonical.ts";
import { orderIssues } from "../config/issue.ts";
import { type ModuleSummary, summariseModule } from "../config/module-summary.ts";
import { Complaints } from "../config/nats/complaints.ts";
import type { ProxyStatusMessage } from "../config/nats/status.ts";
import { isFromRegistry, type PinnedModules, pinNothing } from "../config/oci/pin.ts";
import { type ParseResult, parseResources } from "../config/parse.ts";
import type { Clock, Timer } from "../core/clock.ts";
import { describeCause } from "../core/failure.ts";
import type { FilterLogQuery } from "../core/filter-logs.ts";
import { CONTROL_LIMITS } from "../core/limits.ts";
import type { Log } from "../core/log.ts";
import type { Rng } from "../core/rng.ts";
import { readBackup, writeBackup } from "./backup.ts";
import type { CompiledConfig, ConfigCompiler, Pulled } from "./compiler.ts";
import type {
  ApplyOutcome,
  ApplyRequest,
  Backup,
  ControlPlane,
  ControlStatus,
  DeleteRequest,
  FilterLogAnswer,
  Sides,
} from "./control.ts";
import type { Distributor } from "./distribute/distributor.ts";
import type { PlaneObserver } from "./metrics.ts";
import { controlIssue, isBusy, isLost, mayMend, summaryOf, TOO_MANY_CHANGES, warningsOf } from "./model/issues.ts";
import { ControlModel } from "./model/model.ts";
import { type Plan, type Planner, planApply, planDelete, planReplace, planRollback } from "./model/plan.ts";
import { ProxyTable, type WaitOutcome } from "./model/proxies.ts";
import type { StoredResource } from "./model/resource.ts";
import type { Owners } from "./owners/owners.ts";
import { type ConfigStore, EMPTY_STATE, type LogEntry } from "./store/store.ts";
import { Turns } from "./turns.ts";

export interface PlaneOptions {
  readonly store: ConfigStore;
  readonly distributor: Distributor;
  readonly compiler: ConfigCompiler;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly connection: () => ControlStatus["connection"];
  readonly observer?: PlaneObserver | undefined;
  /** Who may write what over NATS; undefined: whoever may publish may write everything. */
  readonly owners?: Owners | undefined;
}

/** How often somebody else may be faster before an apply gives up. */
const CONFLICT_TRIES = 64;
/** Entries that the view may be behind the log, which keeps CONFIG_LIMITS.history of them. */
const VIEWS_BEHIND_MAX = 16;
/** A stop does not wait longer for the view or for objects: the next start, or the next announcement, repairs it. */
const STOP_MS = 2_000;
/** What another control plane left half done is repaired after this, if it has not done so itself. */
const REPAIR_MS = 300;
/** What no event told is noticed after this at the latest. */
const RECONCILE_MS = 5_000;
/** How long proxies have to say what they serve, before a log that holds nothing gives out its first revision. */
const LEARN_MS = 1_000;

interface Commit {
  readonly planner: Planner;
  readonly author: string;
  readonly origin: string;
  readonly dryRun: boolean;
  readonly inbox: ApplyRequest["inbox"];
  /** Whether the message may have been committed before it came to us; undefined: not decided yet. */
  readonly mayBeDone?: boolean;
  /** Kept when it is committed. */
  readonly pulled?: Pulled;
}

/** The control plane over any store and distributor: serialises applies, commits them, and follows those of others. */
export class Plane implements ControlPlane {
  #model = ControlModel.fromState(EMPTY_STATE);
  /** The model's configuration, when it compiles. */
  #compiled: CompiledConfig | undefined;
  /** Revision that view and proxies are known to have. */
  #followed = -1;
  readonly #turns = new Turns();
  /** Writes of the view that are on their way. */
  #views: Promise<void> = Promise.resolve();
  #viewsBehind = 0;
  #viewBroken = false;
  #stopped = false;
  /** Of the modules that were there when they were listed last. */
  #summaries: ReadonlyMap<string, ModuleSummary> = new Map();
  readonly #timers = new Map<string, Timer>();
  readonly #proxies: ProxyTable;
  readonly #complaints: Complaints;

  constructor(readonly options: PlaneOptions) {
    this.#complaints = new Complaints(options.clock);
    this.#proxies = new ProxyTable(options.clock);
    options.distributor.onStatus((message: ProxyStatusMessage, local) => {
      this.#proxies.update(message, local);
      options.observer?.onProxyStatus(message);
    });
  }

  async start(): Promise<void> {
    await this.recover();
    this.#reconcileLater();
  }

  /** Opens everything (again): on start, and after NATS was away. */
  async recover(): Promise<void> {
    const { store, distributor } = this.options;
    await store.open();
    await distributor.open();
    await store.startAbove(() => this.#highestSeen());
    await store.watch((revision) => this.#after("notice", 0, () => void this.#notice(revision)));
    await this.#turns.take(async () => {
      await this.#reload();
      await this.#follow();
    });
  }

  /** Highest revision that we, the proxies or the published snapshots know of. Proxies were asked when the distributor was opened. */
  async #highestSeen(): Promise<number> {
    const { clock, compiler, distributor, log } = this.options;
    await new Promise<void>((resolve) => void clock.setTimer(LEARN_MS, resolve));
    const published = await Promise.all(compiler.options.groups.map((group) => distributor.publishedRevision(group)));
    const highest = Math.max(this.#model.revision, ...published, ...this.#proxies.list().map((each) => each.revision));
    if (highest > 0) log.warn("the log of applies is empty, but revisions were given out: it goes on above them", { highest });
    return highest;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers.values()) timer.cancel();
    await this.#turns.done();
    await this.#inTime(this.#views);
    await this.options.store.close();
    await this.#inTime(this.options.distributor.close());
  }

  #inTime(work: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.options.clock.setTimer(STOP_MS, resolve);
      void work.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  // ---------------------------------------------------------------- requests

  async apply(request: ApplyRequest): Promise<ApplyOutcome> {
    const { dryRun = false, inbox, expected } = request;
    const mayBeDone = this.#mayBeDone(inbox);
    const read = parseResources(request.text, { file: request.file ?? `<${request.origin}>` });
    // Before its turn: a registry that takes its time holds up nobody else, but for those behind it in the inbox.
    const { resources, ...pulled } = await this.#pull(read, request);
    try {
      const planner = planApply({ ...read, resources }, expected);
      return await this.#commit({ ...request, planner, dryRun, inbox, mayBeDone, pulled });
    } finally {
      pulled.release();
    }
  }

  /** Asks no registry for somebody who may not write what they sent. */
  async #pull(read: ParseResult, request: ApplyRequest): Promise<PinnedModules> {
    const { origin, author, expected, inbox } = request;
    const { resources } = read;
    if (!resources.some((each) => isFromRegistry(each.resource))) return pinNothing(resources);
    const refused = this.#refuse(origin, author, planApply(read, expected)(this.#model), this.#model);
    return refused === undefined
      ? this.options.compiler.pin(resources, inbox === undefined ? undefined : author)
      : pinNothing(resources);
  }

  /** What an owner's file, or who is first, says against it; before anything else is said about what is there. */
  #refuse(origin: string, author: string, plan: Plan, model: ControlModel): ApplyOutcome | undefined {
    const foreign = origin === "nats" ? this.options.owners?.refuse(author, plan, model) : undefined;
    if (foreign !== undefined && foreign.length > 0) return { ok: false, reason: "invalid", issues: foreign };
    return plan.failure === undefined ? undefined : { ok: false, reason: plan.failure, issues: plan.issues };
  }

  delete(request: DeleteRequest): Promise<ApplyOutcome> {
    const planner = planDelete(request.text, request.file ?? `<${request.origin}>`, request.expected);
    return this.#commit({ ...request, planner, dryRun: request.dryRun ?? false, inbox: request.inbox });
  }

  async rollback(revision: number, author: string, inbox?: ApplyRequest["inbox"]): Promise<ApplyOutcome> {
    let history = await this.options.store.history();
    const planner: Planner = (model) => planRollback(revision, history)(model);
    // Somebody else may append meanwhile: the plan needs those entries too.
    const refresh = async (): Promise<void> => {
      history = await this.options.store.history();
    };
    return this.#commit({ planner, author, origin: `rollback to ${revision}`, dryRun: false, inbox }, refresh);
  }

  async restore(backup: unknown, author: string): Promise<ApplyOutcome> {
    const read = readBackup(backup);
    if (!read.ok) return { ok: false, reason: "invalid", issues: [read.error] };
    for (const [digest, bytes] of read.value.modules) await this.options.store.putModule(digest, bytes);
    const planner = planReplace(read.value.resources, "<backup>");
    return this.#commit({ planner, author, origin: "restore", dryRun: false, inbox: undefined });
  }

  async backup(): Promise<Backup> {
    return writeBackup(this.#model, this.options.store);
  }

  async putModule(bytes: Uint8Array): Promise<string> {
    const digest = sha256Digest(bytes);
    await this.options.store.putModule(digest, bytes);
    if (mayMend(this.#compiled)) this.#after("repair", 0, () => void this.#repair());
    return digest;
  }

  async listModules(): Promise<readonly ModuleSummary[]> {
    const { store } = this.options;
    const found = new Map<string, ModuleSummary>();
    // One after the other: there may be many, and each may be large. A digest is read once, and others have their turn between.
    for (const digest of await store.listModules()) {
      const known = this.#summaries.get(digest);
      if (known !== undefined) {
        found.set(digest, known);
        continue;
      }
      const bytes = await store.getModule(digest);
      if (bytes === undefined) continue;
      found.set(digest, summariseModule(bytes));
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    this.#summaries = found;
    return [...found.values()];
  }

  get(filter: { readonly kind?: string; readonly namespace?: string; readonly name?: string } = {}): readonly StoredResource[] {
    const found: StoredResource[] = [];
    for (const { key, revision, written } of this.#model.resources.values()) {
      const [kind, namespace, name] = key.split("/");
      if (filter.kind !== undefined && filter.kind !== kind) continue;
      if (filter.namespace !== undefined && filter.namespace !== namespace) continue;
      if (filter.name !== undefined && filter.name !== name) continue;
      found.push({ key, revision, written });
    }
    return found.sort((one, other) => (one.key < other.key ? -1 : 1));
  }

  status(): ControlStatus {
    const { revision, digest, resources } = this.#model;
    const { issues = [], warnings = [] } = this.#compiled ?? {};
    return {
      ...{ revision, digest, resources: resources.size, issues, warnings: warnings.filter(isLost) },
      ...{ store: this.options.store.kind, connection: this.options.connection(), proxies: this.#proxies.list() },
      ...{ refused: [], unreadable: [] },
    };
  }

  history(): Promise<readonly LogEntry[]> {
    return this.options.store.history();
  }

  redact<C extends Sides>(changes: readonly C[]): Promise<C[]> {
    return this.options.compiler.redact(changes);
  }

  async filterLogs(proxyId: string, query: FilterLogQuery): Promise<FilterLogAnswer> {
    if (!this.#proxies.list().some(({ id }) => id === proxyId)) return { ok: false, reason: "no_proxy" };
    const page = await this.options.distributor.filterLogs(proxyId, query);
    return page === undefined ? { ok: false, reason: "no_answer" } : { ok: true, page };
  }

  waitApplied(revision: number, timeoutMs: number, minimum = 0): Promise<WaitOutcome> {
    return this.#proxies.wait(revision, timeoutMs, minimum);
  }

  // ---------------------------------------------------------------- commit

  async #commit(commit: Commit, onConflict: () => Promise<void> = async () => {}): Promise<ApplyOutcome> {
    const { clock, observer } = this.options;
    const startMs = clock.nowMs();
    let outcome: ApplyOutcome | undefined;
    try {
      outcome = await this.#commitInTurn(commit, onConflict);
      return outcome;
    } finally {
      observer?.onApply(outcome, commit.origin, clock.nowMs() - startMs);
    }
  }

  /** A sequence below what the log holds, delivered for the first time: the inbox was made anew, it is a new message. */
  #mayBeDone(inbox: ApplyRequest["inbox"]): boolean {
    return inbox !== undefined && (inbox.redelivered || this.#model.inboxSequence < inbox.sequence);
  }

  #commitInTurn(commit: Commit, onConflict: () => Promise<void>): Promise<ApplyOutcome> {
    const { inbox, mayBeDone = this.#mayBeDone(inbox) } = commit;
    // Each holds its text and its request. Of those over NATS there is one.
    if (inbox === undefined && this.#turns.waiting > CONTROL_LIMITS.waitingChanges) return Promise.resolve(TOO_MANY_CHANGES);
    return this.#turns.take(async () => {
      for (let attempt = 0; attempt < CONFLICT_TRIES; attempt++) {
        if (attempt > 0 || inbox?.redelivered === true) {
          await this.#catchUp();
          await onConflict();
        }
        if (mayBeDone && inbox !== undefined && inbox.sequence <= this.#model.inboxSequence)
          return this.#alreadyDone(inbox.sequence);
        const outcome = await this.#tryCommit(commit);
        if (outcome === "conflict") continue;
        const isCommitted = outcome.ok && outcome.changes.length > 0 && !commit.dryRun;
        if (isCommitted || !(await this.#isBehind())) return outcome;
      }
      throw new Error("other control planes are faster all the time");
    });
  }

  /**
   * The log refuses what was planned on an old state; "nothing changes" and "that is wrong" are only said. Another control plane may
   * have answered a moment ago what makes them untrue.
   */
  async #isBehind(): Promise<boolean> {
    return (await this.options.store.readAfter(this.#model.revision)).length > 0;
  }

  async #tryCommit(commit: Commit): Promise<ApplyOutcome | "conflict"> {
    const model = this.#model;
    const plan = commit.planner(model);
    const refused = this.#refuse(commit.origin, commit.author, plan, model);
    if (refused !== undefined) return refused;
    const { compiler, store } = this.options;
    const owners = commit.origin === "nats" ? this.options.owners : undefined;
    const applied = { ...plan, partial: owners?.writable(commit.author, plan) ?? plan.partial };
    const compiled = await compiler.compile(plan.next.catalogue, model.revision + 1, applied, commit.pulled);
    const issues = orderIssues(plan.issues, compiled.issues);
    if (issues.length > 0) return { ok: false, reason: issues.some(isBusy) ? "busy" : "invalid", issues };
    const { digest } = plan.next.digests;
    const changes = plan.changes.map(summaryOf);
    const warnings = warningsOf(compiled.warnings, changes, owners === undefined);
    if (commit.dryRun) return { ok: true, revision: model.revision, digest, changes, diff: plan.changes, ...warnings };
    if (changes.length === 0 && mayMend(this.#compiled))
      for (const bytes of commit.pulled?.modules.values() ?? []) await this.putModule(bytes);
    if (changes.length === 0) return { ok: true, revision: model.revision, digest: model.digest, changes, ...warnings };
    // The log is short, and who loads applies its tail over the view: the view must not fall far behind.
    if (this.#viewsBehind >= VIEWS_BEHIND_MAX) await this.#views;
    if (this.#followed !== model.revision) await this.#follow();
    for (const [module, bytes] of commit.pulled?.modules ?? []) await store.putModule(module, bytes);
    const entry = this.#entryOf(commit, plan, digest);
    const appended = await store.append(entry, model.revision);
    if (!appended.ok) return "conflict";
    const revision = appended.value;
    this.#model = model.after({ ...entry, revision, previous: model.revision }, plan.parsed);
    this.#compiled = compiled.at(revision);
    await this.#followOrRepair({ ...entry, revision, previous: model.revision });
    return { ok: true, revision, digest, changes, ...warnings };
  }

  #entryOf(commit: Commit, plan: Plan, digest: string): Omit<LogEntry, "revision" | "previous"> {
    const { author, origin, inbox } = commit;
    const inboxSequence = inbox?.sequence ?? this.#model.inboxSequence;
    return { author, origin, timeMs: this.options.clock.wallMs(), changes: plan.changes, digest, inboxSequence };
  }

  /** A message that comes again after it was committed: its answer was lost, not its effect. */
  async #alreadyDone(sequence: number): Promise<ApplyOutcome> {
    await this.#follow();
    // Later entries that came another way carry the sequence on: the oldest with it is the message's.
    const entry = (await this.options.store.history()).findLast((each) => each.inboxSequence === sequence);
    const { revision, digest } = entry ?? this.#model;
    return { ok: true, revision, digest, changes: (entry?.changes ?? []).map(summaryOf) };
  }

  // ---------------------------------------------------------------- following the log

  async #reload(): Promise<void> {
    const state = await this.options.store.load();
    if (state.revision < this.#model.revision)
      this.options.log.error("the store has lost configuration", { revision: state.revision, known: this.#model.revision });
    this.#model = ControlModel.fromState(state);
    this.#followed = -1;
    await this.#recompile();
  }

  /** Brings the model to the end of the log. */
  async #catchUp(): Promise<void> {
    const entries = await this.options.store.readAfter(this.#model.revision);
    const first = entries[0];
    if (first === undefined) return;
    if (first.previous !== this.#model.revision) return this.#reload();
    for (const entry of entries) this.#model = this.#model.after(entry);
    await this.#recompile();
  }

  async #recompile(): Promise<void> {
    const { compiler, log } = this.options;
    const { catalogue, revision, unreadable } = this.#model;
    const compiled = await compiler.compile(catalogue, revision);
    const issues = [
      ...compiled.issues,
      ...unreadable.map((key) => controlIssue("internal", "This version cannot read what is stored.", "", key)),
    ];
    // Once, however often it is tried again.
    if (issues.length > 0 && issues[0]?.message !== this.#compiled?.issues[0]?.message)
      log.error("the stored configuration cannot be compiled", { issues: issues.length, first: issues[0]?.message });
    this.#compiled = { ...compiled, issues };
  }

  /** What follows a commit must not fail it: somebody repairs it, we or another control plane. */
  async #followOrRepair(entry: LogEntry): Promise<void> {
    this.#queueView(entry);
    try {
      await this.#publish();
      if (!this.#viewBroken) this.#followed = entry.revision;
    } catch (error) {
      this.#repairLater(entry.revision, error);
    }
  }

  /** Nobody waits for the view: who reads it applies the log's tail over it. In order, and not beyond one that failed. */
  #queueView(entry: LogEntry): void {
    this.#viewsBehind++;
    this.#views = this.#views
      .then(() => (this.#viewBroken ? undefined : this.options.store.writeView(entry)))
      .catch((error) => {
        this.#viewBroken = true;
        this.#followed = -1;
        this.#repairLater(entry.revision, error);
      })
      .then(() => {
        this.#viewsBehind--;
      });
  }

  #repairLater(revision: number, error: unknown): void {
    if (this.#stopped) return;
    this.options.log.warn("a revision is committed but not yet everywhere", { revision, cause: describeCause(error) });
    this.#after("repair", REPAIR_MS, () => void this.#repair());
  }

  /** View and proxies get what the log has. Idempotent. */
  async #follow(): Promise<void> {
    const { store } = this.options;
    await this.#views;
    for (const entry of await store.readAfter(await store.viewRevision())) await store.writeView(entry);
    this.#viewBroken = false;
    await this.#publish();
    this.#followed = this.#model.revision;
  }

  async #publish(): Promise<void> {
    const compiled = this.#compiled;
    if (compiled === undefined || compiled.issues.length > 0 || this.#model.revision === 0) return;
    const { distributor } = this.options;
    const publishedAtMs = this.#model.timeMs;
    await Promise.all(compiled.groups.map((group) => distributor.publish({ ...group, publishedAtMs })));
  }

  /** The log has grown, by us or by another: after a grace, in which the other does its work, see to it that all is done. */
  async #notice(revision: number | undefined): Promise<void> {
    let isNew = true;
    await this.#quietly(async () => {
      // Mostly it is what we have just appended ourselves.
      isNew = revision === undefined || revision > this.#model.revision;
      if (isNew) await this.#catchUp();
    });
    if (isNew) this.#after("repair", REPAIR_MS * (1 + this.options.rng.next()), () => void this.#repair());
  }

  async #repair(): Promise<void> {
    await this.#quietly(async () => {
      await this.#catchUp();
      const again = mayMend(this.#compiled);
      if (again) await this.#recompile();
      if (again || this.#followed !== this.#model.revision) await this.#follow();
    });
  }

  #reconcileLater(): void {
    this.#after("reconcile", RECONCILE_MS * (0.75 + this.options.rng.next() / 2), () => {
      void this.#repair().then(() => this.#reconcileLater());
    });
  }

  async #quietly(work: () => Promise<void>): Promise<void> {
    try {
      if (this.#stopped) return;
      await this.#turns.take(work);
      const goneMs = this.#complaints.forget();
      if (goneMs !== undefined) this.options.log.info("the store can be reached again", { goneMs });
    } catch (error) {
      const cause = describeCause(error);
      if (!this.#stopped && this.#complaints.isDue(cause)) this.options.log.warn("the store cannot be reached", { cause });
    }
  }

  #after(name: string, delayMs: number, fire: () => void): void {
    this.#timers.get(name)?.cancel();
    if (!this.#stopped) this.#timers.set(name, this.options.clock.setTimer(delayMs, fire));
  }
}
