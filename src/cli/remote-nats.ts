import process from "node:process";
import type { ConfigIssue } from "../config/issue.ts";
import { connectNats, type NatsAddress } from "../config/nats/connect.ts";
import { isSubjectToken, NATS_NAMES } from "../config/nats/names.ts";
import type { ApplyOutcome, Backup, ControlStatus } from "../control/control.ts";
import type { InboxAnswer } from "../control/inbox/answer.ts";
import { applyOverNats, deleteOverNats, type SendOptions } from "../control/inbox/send.ts";
import type { WaitOutcome } from "../control/model/proxies.ts";
import type { StoredResource } from "../control/model/resource.ts";
import type { LogEntry } from "../control/store/store.ts";
import { CommandError, EXIT } from "./command.ts";
import { type RemoteControl, type ResourceFilter, unreachable } from "./remote.ts";

const ANSWER_MS = 30_000;

type Connection = Awaited<ReturnType<typeof connectNats>>;

/** The subjects `selvedge.config.…`: what NATS offers. The rest needs the control API. */
export class NatsRemote implements RemoteControl {
  readonly canWait = false;

  constructor(
    readonly url: string,
    readonly connection: Connection,
    /** Last token of the subject, which is how the history knows who it was; undefined: the subject without it. */
    readonly author: string | undefined,
  ) {}

  /** `user`: author in the history when the URL names nobody. On a secured server one may publish as oneself only. */
  static async connect(url: string, user: string): Promise<NatsRemote> {
    const address = addressOf(url);
    // A secured server lets a user have answers in the inbox of its own name only.
    const id =
      address.user !== undefined && isSubjectToken(address.user)
        ? address.user
        : `cli-${user.replace(/[^A-Za-z0-9_-]/g, "") || "user"}-${process.pid}`;
    const author = address.user ?? user;
    try {
      return new NatsRemote(url, await connectNats(address, id), isSubjectToken(author) ? author : undefined);
    } catch (error) {
      throw unreachable(withoutPassword(url), error instanceof Error ? error.message : String(error));
    }
  }

  async apply(text: string, dryRun: boolean): Promise<ApplyOutcome> {
    if (dryRun) return this.#missing("--dry-run and diff");
    return this.#send(NATS_NAMES.apply, text, applyOverNats);
  }
  async delete(text: string, dryRun: boolean): Promise<ApplyOutcome> {
    if (dryRun) return this.#missing("--dry-run");
    return this.#send(NATS_NAMES.delete, text, deleteOverNats);
  }
  async get(filter: ResourceFilter): Promise<readonly StoredResource[]> {
    const answer = await this.#request<{ resources?: StoredResource[] } | StoredResource[]>(
      this.author === undefined ? NATS_NAMES.get : `${NATS_NAMES.get}.${this.author}`,
      JSON.stringify(filter),
    );
    return Array.isArray(answer) ? answer : (answer.resources ?? []);
  }
  status(): Promise<ControlStatus> {
    return this.#missing("status");
  }
  waitApplied(): Promise<WaitOutcome> {
    return this.#missing("--wait");
  }
  history(): Promise<readonly LogEntry[]> {
    return this.#missing("history");
  }
  rollback(): Promise<ApplyOutcome> {
    return this.#missing("rollback");
  }
  backup(): Promise<Backup> {
    return this.#missing("backup");
  }
  restore(): Promise<ApplyOutcome> {
    return this.#missing("restore");
  }
  async close(): Promise<void> {
    await this.connection.close();
  }

  #missing(what: string): Promise<never> {
    return Promise.reject(
      new CommandError(
        `${what} needs the control API: over NATS there are apply, delete and get only`,
        "leave --nats out (and SELVEDGE_NATS), and name the control plane with --server",
        EXIT.usage,
      ),
    );
  }

  /** A text of any size: what does not fit a message goes through the object store. */
  async #send(
    subject: string,
    text: string,
    send: (connection: Connection, options: SendOptions) => Promise<InboxAnswer>,
  ): Promise<ApplyOutcome> {
    try {
      const { author } = this;
      const answer = await send(this.connection, { text, timeoutMs: ANSWER_MS, ...(author === undefined ? {} : { author }) });
      return outcomeOf(answer);
    } catch (error) {
      throw this.#failed(subject, error);
    }
  }

  async #request<T>(subject: string, text: string): Promise<T> {
    let answer: string;
    try {
      const message = await this.connection.request(subject, Buffer.from(text, "utf8"), { timeout: ANSWER_MS });
      answer = message.string();
    } catch (error) {
      throw this.#failed(subject, error);
    }
    try {
      return JSON.parse(answer) as T;
    } catch {
      throw new CommandError(`an answer on ${subject} is not JSON: ${answer.slice(0, 200)}`);
    }
  }

  #failed(subject: string, error: unknown): CommandError {
    const why = error instanceof Error ? error.message : String(error);
    return unreachable(`${withoutPassword(this.url)}, subject ${subject}`, why);
  }
}

/** An answer lists a part only when there is very much; that must not look like all. */
function outcomeOf(answer: InboxAnswer): ApplyOutcome {
  if (answer.ok) return answer;
  const { reason, issues, moreIssues = 0 } = answer;
  const message = `${moreIssues} more issues are not listed.`;
  const more: ConfigIssue = { ...NOWHERE, code: "too_many_issues", message };
  const known = reason === "conflict" || reason === "not_found" ? reason : "invalid";
  return { ok: false, reason: known, issues: moreIssues > 0 ? [...issues, more] : issues };
}

const NOWHERE = { hint: "", resource: "", path: "", file: "", line: 0, column: 0 };

/** `nats://user:password@host:4222`, several separated by commas; the name and password of the first serve for all. */
function addressOf(urls: string): NatsAddress {
  const parsed = urls.split(",").map((each) => URL.parse(each.includes("://") ? each.trim() : `nats://${each.trim()}`));
  const servers = parsed.map((url) => {
    if (url === null) throw new CommandError("--nats is not a URL like nats://127.0.0.1:4222", "", EXIT.usage);
    return `${url.protocol}//${url.host}`;
  });
  const { username = "", password = "" } = parsed[0] ?? {};
  const user = decodeURIComponent(username);
  return { servers, ...(user === "" ? {} : { user }), ...(password === "" ? {} : { password: decodeURIComponent(password) }) };
}

const withoutPassword = (url: string): string => url.replace(/\/\/[^@/]*@/g, "//");
