import { connectNats } from "../config/nats/connect.ts";
import { NATS_NAMES } from "../config/nats/names.ts";
import type { ApplyOutcome, Backup, ControlStatus } from "../control/control.ts";
import type { WaitOutcome } from "../control/model/proxies.ts";
import type { StoredResource } from "../control/model/resource.ts";
import type { LogEntry } from "../control/store/store.ts";
import { CommandError, EXIT } from "./command.ts";
import { type RemoteControl, type ResourceFilter, unreachable } from "./remote.ts";

const ANSWER_MS = 30_000;

type Connection = Awaited<ReturnType<typeof connectNats>>;

/** The subjects `selvedge.config.…`: what NATS offers. The rest needs the control API. */
export class NatsRemote implements RemoteControl {
  constructor(
    readonly url: string,
    readonly connection: Connection,
  ) {}

  static async connect(url: string, user: string): Promise<NatsRemote> {
    const id = `cli-${user.replace(/[^A-Za-z0-9_-]/g, "") || "user"}-${process.pid}`;
    try {
      return new NatsRemote(url, await connectNats({ servers: [url] }, id));
    } catch (error) {
      throw unreachable(url, error instanceof Error ? error.message : String(error));
    }
  }

  apply(text: string, dryRun: boolean): Promise<ApplyOutcome> {
    if (dryRun) return this.#missing("--dry-run and diff");
    return this.#request(NATS_NAMES.apply, text);
  }
  delete(text: string, dryRun: boolean): Promise<ApplyOutcome> {
    if (dryRun) return this.#missing("--dry-run");
    return this.#request(NATS_NAMES.delete, text);
  }
  async get(filter: ResourceFilter): Promise<readonly StoredResource[]> {
    const answer = await this.#request<{ resources?: StoredResource[] } | StoredResource[]>(
      NATS_NAMES.get,
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
    return Promise.reject(new CommandError(`${what} is not offered over NATS`, "use the control API: --server", EXIT.usage));
  }

  async #request<T>(subject: string, text: string): Promise<T> {
    let answer: string;
    try {
      const message = await this.connection.request(subject, Buffer.from(text, "utf8"), { timeout: ANSWER_MS });
      answer = message.string();
    } catch (error) {
      throw unreachable(`${this.url}, subject ${subject}`, error instanceof Error ? error.message : String(error));
    }
    try {
      return JSON.parse(answer) as T;
    } catch {
      throw new CommandError(`an answer on ${subject} is not JSON: ${answer.slice(0, 200)}`);
    }
  }
}
