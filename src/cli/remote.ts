import type { ModuleSummary } from "../config/module-summary.ts";
import type { ApplyOutcome, Backup, ControlStatus, FilterLogAnswer } from "../control/control.ts";
import type { Difference } from "../control/model/difference.ts";
import type { WaitOutcome } from "../control/model/proxies.ts";
import type { StoredResource } from "../control/model/resource.ts";
import type { LogEntry } from "../control/store/store.ts";
import type { FilterLogQuery } from "../core/filter-logs.ts";
import { type CommandContext, CommandError, EXIT } from "./command.ts";

/** A control plane somewhere else, as the commands use it: over HTTP or over NATS. Methods throw `CommandError`s that say what to do. */
export interface RemoteControl {
  /** `secrets`, here and below: with what is redacted otherwise. */
  apply(text: string, dryRun: boolean, secrets?: boolean): Promise<ApplyOutcome>;
  /** `text`: references (`Kind/name`), one per line, or resources. */
  delete(text: string, dryRun: boolean): Promise<ApplyOutcome>;
  get(filter: ResourceFilter, secrets?: boolean): Promise<readonly StoredResource[]>;
  status(): Promise<ControlStatus>;
  /** `revision` 0: the newest. */
  waitApplied(revision: number, timeoutMs: number, minimum: number): Promise<WaitOutcome>;
  history(secrets?: boolean): Promise<readonly LogEntry[]>;
  /** What makes revision `from` revision `to`; 0: the newest. */
  difference(from: number, to: number, secrets: boolean): Promise<Difference>;
  rollback(revision: number): Promise<ApplyOutcome>;
  backup(): Promise<Backup>;
  restore(backup: unknown): Promise<ApplyOutcome>;
  /** Keeps a filter module; resolves with its digest. */
  putModule(bytes: Uint8Array): Promise<string>;
  listModules(): Promise<readonly ModuleSummary[]>;
  filterLogs(proxyId: string, query: FilterLogQuery): Promise<FilterLogAnswer>;
  close(): Promise<void>;
}

export interface ResourceFilter {
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
}

/** Connects as the flags say, runs `use`, and closes. */
export async function withRemote<T>(context: CommandContext, use: (remote: RemoteControl) => Promise<T>): Promise<T> {
  const remote = await connect(context);
  try {
    return await use(remote);
  } finally {
    await remote.close();
  }
}

async function connect(context: CommandContext): Promise<RemoteControl> {
  const { flags, terminal } = context;
  const nats = flags.text("nats");
  const user = terminal.env.USER ?? "";
  if (nats !== undefined && nats !== "") {
    const { natsAddress } = await import("./nats-address.ts");
    const { NatsRemote } = await import("./remote-nats.ts");
    return NatsRemote.connect(natsAddress(context, nats), user);
  }
  const { HttpRemote } = await import("./remote-http.ts");
  return new HttpRemote(flags.text("server") ?? "", flags.text("token"), user);
}

export function unreachable(where: string, cause: string): CommandError {
  return new CommandError(
    `no control plane answers at ${where} (${cause})`,
    "start one with `selvedge up` or `selvedge control`, or name another with --server or --nats",
    EXIT.unreachable,
  );
}
