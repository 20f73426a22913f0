import { nearest } from "../../config/suggest.ts";
import type { FilterLogAnswer } from "../../control/control.ts";
import { type FilterLogQuery, readFilterLogPage } from "../../core/filter-logs.ts";
import { type CommandContext, CommandError, EXIT } from "../command.ts";
import type { RemoteControl } from "../remote.ts";
import { findAdmin, getAdmin } from "../remote-admin.ts";
import { textsOf } from "../remote-http.ts";
import { printable } from "../terminal.ts";

/** Where the lines of one filter come from. Methods throw `CommandError`s that say what to do. */
export interface LogSource {
  /** Ids of those that can be asked now. */
  proxies(): Promise<readonly string[]>;
  read(proxyId: string, query: FilterLogQuery): Promise<FilterLogAnswer>;
  /** Nobody knows a filter of that name: says so, if it is true. */
  refuseUnknown(filter: string): Promise<void>;
}

/** All proxies that the control plane knows, or the one that `only` names. */
export function meshSource(remote: RemoteControl, only: string | undefined): LogSource {
  return {
    async proxies() {
      const ids = (await remote.status()).proxies.map(({ id }) => id);
      return only === undefined ? ids : ids.filter((id) => id === only);
    },
    read: (proxyId, query) => remote.filterLogs(proxyId, query),
    async refuseUnknown(filter) {
      const filters = (await remote.get({ kind: "Filter" })).map(({ key }) => key.replace(/^Filter\//, ""));
      if (filters.includes(filter)) return;
      const near = nearest(filter, filters);
      const hint = near === undefined ? "selvedge get filters lists them" : `did you mean ${printable(near)}?`;
      throw new CommandError(`there is no filter ${printable(filter)}`, hint, EXIT.notFound);
    },
  };
}

/** One proxy, at its admin address. */
export function adminSource(context: CommandContext): LogSource {
  const hint = "--admin-url names the admin address of a proxy";
  return {
    async proxies() {
      const { id } = (await getAdmin(context, "/status", hint)) as { readonly id?: unknown };
      return [String(id)];
    },
    async read(_proxyId, { filter, ...rest }) {
      const path = `/filters/${filter.split("/").map(encodeURIComponent).join("/")}/logs?${new URLSearchParams(textsOf(rest))}`;
      const content = await findAdmin(context, path, hint);
      if (content === undefined)
        throw new CommandError(
          `that proxy has no filter ${printable(filter)}`,
          "selvedge filter list --admin-url lists them",
          EXIT.notFound,
        );
      const page = readFilterLogPage(content);
      if (page === undefined) throw new CommandError("what the proxy answers are no log lines", "is it older than this program?");
      return { ok: true, page };
    },
    refuseUnknown: async () => {},
  };
}
