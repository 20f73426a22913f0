import process from "node:process";
import { sha256Digest } from "../config/canonical.ts";
import { moreIssues } from "../config/issue.ts";
import { type ModuleSummary, summariseModule } from "../config/module-summary.ts";
import { connectHint } from "../config/nats/complaints.ts";
import { connectNats, type NatsAddress } from "../config/nats/connect.ts";
import { isSubjectToken, NATS_NAMES } from "../config/nats/names.ts";
import type { ApplyOutcome, Backup, ControlStatus, FilterLogAnswer } from "../control/control.ts";
import type { InboxAnswer } from "../control/inbox/answer.ts";
import type { QueryAnswer } from "../control/inbox/query.ts";
import { applyOverNats, deleteOverNats, rollbackOverNats } from "../control/inbox/send.ts";
import type { Difference } from "../control/model/difference.ts";
import type { WaitOutcome } from "../control/model/proxies.ts";
import type { StoredResource } from "../control/model/resource.ts";
import type { NatsObjects } from "../control/nats/objects.ts";
import type { LogEntry } from "../control/store/store.ts";
import { describeCause } from "../core/failure.ts";
import type { FilterLogQuery } from "../core/filter-logs.ts";
import { CommandError, EXIT } from "./command.ts";
import { type RemoteControl, type ResourceFilter, unreachable } from "./remote.ts";

const ANSWER_MS = 30_000;

type Connection = Awaited<ReturnType<typeof connectNats>>;

/** The subjects `selvedge.config.…`: what NATS offers, also on a secured server. The rest needs the control API. */
export class NatsRemote implements RemoteControl {
  constructor(
    /** Servers, without user and password. */
    readonly where: string,
    readonly connection: Connection,
    /** Last token of the subject, which is how the history knows who it was; undefined: the subject without it. */
    readonly author: string | undefined,
  ) {}

  /** `user`: author in the history when the address names nobody. On a secured server one may publish as oneself only. */
  static async connect(address: NatsAddress, user: string): Promise<NatsRemote> {
    const where = address.servers.join(",");
    // A secured server lets a user have answers in the inbox of its own name only.
    const id =
      address.user !== undefined && isSubjectToken(address.user)
        ? address.user
        : `cli-${user.replace(/[^A-Za-z0-9_-]/g, "") || "user"}-${process.pid}`;
    const author = address.user ?? user;
    try {
      return new NatsRemote(where, await connectNats(address, id), isSubjectToken(author) ? author : undefined);
    } catch (error) {
      const why = describeCause(error);
      const hint = connectHint(why);
      if (hint === "") throw unreachable(where, why);
      throw new CommandError(`NATS cannot be used at ${where}: ${why}`, hint, EXIT.unreachable);
    }
  }

  async apply(text: string, dryRun: boolean): Promise<ApplyOutcome> {
    if (dryRun) return this.#missing("--dry-run, and diff of files,");
    return this.#send(NATS_NAMES.apply, (options) => applyOverNats(this.connection, { text, ...options }));
  }
  async delete(text: string, dryRun: boolean): Promise<ApplyOutcome> {
    if (dryRun) return this.#missing("--dry-run");
    return this.#send(NATS_NAMES.delete, (options) => deleteOverNats(this.connection, { text, ...options }));
  }
  async get(filter: ResourceFilter, secrets = false): Promise<readonly StoredResource[]> {
    return (await this.#ask({ ...filter, secrets })).resources ?? [];
  }
  async status(): Promise<ControlStatus> {
    return answered((await this.#ask({ query: "status" })).status);
  }
  async waitApplied(revision: number, timeoutMs: number, minimum: number): Promise<WaitOutcome> {
    return answered((await this.#ask({ query: "wait", revision, timeoutMs, minimum }, ANSWER_MS + timeoutMs)).wait);
  }
  async history(secrets = false): Promise<readonly LogEntry[]> {
    return answered((await this.#ask({ query: "history", secrets })).history);
  }
  async difference(from: number, to: number, secrets: boolean): Promise<Difference> {
    return answered((await this.#ask({ query: "diff", from, to, secrets })).diff);
  }
  async filterLogs(proxyId: string, query: FilterLogQuery): Promise<FilterLogAnswer> {
    return answered((await this.#ask({ query: "logs", proxy: proxyId, logs: query })).logs);
  }
  rollback(revision: number): Promise<ApplyOutcome> {
    return this.#send(NATS_NAMES.apply, (options) => rollbackOverNats(this.connection, revision, options));
  }
  backup(): Promise<Backup> {
    return this.#missing("backup");
  }
  restore(): Promise<ApplyOutcome> {
    return this.#missing("restore");
  }
  putModule(bytes: Uint8Array): Promise<string> {
    return this.#objects((objects) => {
      const digest = sha256Digest(bytes);
      return objects.putModule(digest, bytes).then(() => digest);
    });
  }
  listModules(): Promise<readonly ModuleSummary[]> {
    return this.#objects(async (objects) => {
      const found: ModuleSummary[] = [];
      for (const digest of await objects.listModules()) {
        const bytes = await objects.getModule(digest);
        if (bytes !== undefined) found.push(summariseModule(bytes));
      }
      return found;
    });
  }
  async close(): Promise<void> {
    await this.connection.close();
  }

  /** What is larger than a message can be (all modules in a backup), or needs more than one answer. */
  /** Straight to the object store: on a secured server that takes the rights of a control plane. */
  async #objects<T>(use: (objects: NatsObjects) => Promise<T>): Promise<T> {
    try {
      const { jetstreamManager } = await import("@nats-io/jetstream");
      const { NatsObjects } = await import("../control/nats/objects.ts");
      const objects = new NatsObjects(this.connection, await jetstreamManager(this.connection), 1);
      await objects.open();
      return await use(objects);
    } catch (error) {
      throw new CommandError(
        `the object store of ${this.where} cannot be used: ${describeCause(error)}`,
        "over the control API: leave --nats out, and name the control plane with --server",
      );
    }
  }

  #missing(what: string): Promise<never> {
    return Promise.reject(
      new CommandError(
        `${what} needs the control API: over NATS there are apply, delete, get, status, history, rollback and diff of revisions`,
        "leave --nats out (and SELVEDGE_NATS), and name the control plane with --server",
        EXIT.usage,
      ),
    );
  }

  async #send(
    subject: string,
    send: (options: { readonly timeoutMs: number; readonly author?: string }) => Promise<InboxAnswer>,
  ): Promise<ApplyOutcome> {
    const { author } = this;
    try {
      return outcomeOf(await send({ timeoutMs: ANSWER_MS, ...(author === undefined ? {} : { author }) }));
    } catch (error) {
      throw this.#failed(subject, error);
    }
  }

  /** A question on `selvedge.config.get`. */
  async #ask(question: object, timeoutMs = ANSWER_MS): Promise<QueryAnswer> {
    const subject = this.author === undefined ? NATS_NAMES.get : `${NATS_NAMES.get}.${this.author}`;
    let answer: string;
    try {
      const message = await this.connection.request(subject, JSON.stringify(question), { timeout: timeoutMs });
      answer = message.string();
    } catch (error) {
      throw this.#failed(subject, error);
    }
    let content: QueryAnswer;
    try {
      content = JSON.parse(answer) as QueryAnswer;
    } catch {
      throw new CommandError(`an answer on ${subject} is not JSON: ${answer.slice(0, 200)}`);
    }
    const issue = content.issues?.[0];
    if (issue?.code === "unknown_revision") throw new CommandError(issue.message, issue.hint, EXIT.notFound);
    if (issue !== undefined) throw new CommandError(issue.message, issue.hint);
    return content;
  }

  #failed(subject: string, error: unknown): CommandError {
    const why = error instanceof Error ? error.message : String(error);
    if (/permissions violation/i.test(describeCause(error)))
      return new CommandError(
        `the NATS user may not publish to ${subject}`,
        "`selvedge permissions --editors` gives the right to change and read; or leave --nats out and name the control API",
      );
    return unreachable(`${this.where}, subject ${subject}`, why);
  }
}

/** A control plane of another version answers something else. */
function answered<T>(part: T | undefined): T {
  if (part !== undefined) return part;
  throw new CommandError("the control plane does not know this question", "is it older than this program?");
}

/** An answer lists a part only when there is very much; that must not look like all. */
function outcomeOf(answer: InboxAnswer): ApplyOutcome {
  if (answer.ok) return answer;
  const { reason, issues, moreIssues: more = 0 } = answer;
  const known = reason === "conflict" || reason === "not_found" || reason === "busy" ? reason : "invalid";
  return { ok: false, reason: known, issues: more > 0 ? [...issues, moreIssues(more)] : issues };
}
