import type { ProxyStatus } from "../../control/model/proxies.ts";
import type { EventKind } from "../../core/events.ts";

/** A Filter resource and whether it runs, as far as the control plane was told. */
export interface ListedFilter {
  /** `namespace/name` */
  readonly name: string;
  /** For people: `running`, `disabled by configuration`, `disabled by hand in gateway-1`, `quarantined in gateway-1`; `-`: no proxy lives. */
  readonly state: string;
  readonly disabled: boolean;
  /** Ids of proxies in which somebody switched it off. */
  readonly disabledByHandIn: readonly string[];
  readonly quarantinedIn: readonly string[];
}

/** `disabled`: in its resource. What proxies do is in what they told of themselves, which is bounded: the last things that happened. */
export function listFilter(name: string, disabled: boolean, proxies: readonly ProxyStatus[]): ListedFilter {
  const idsOf = (isSo: (proxy: ProxyStatus) => boolean): string[] => proxies.filter(isSo).map(({ id }) => id);
  const disabledByHandIn = idsOf((proxy) => holds(proxy, name, "filter_disabled", "filter_enabled", "by hand"));
  const quarantinedIn = idsOf((proxy) => holds(proxy, name, "filter_quarantined", "filter_released"));
  const parts = [
    ...(disabled ? ["disabled by configuration"] : []),
    ...(disabledByHandIn.length > 0 ? [`disabled by hand in ${disabledByHandIn.join(", ")}`] : []),
    ...(quarantinedIn.length > 0 ? [`quarantined in ${quarantinedIn.join(", ")}`] : []),
  ];
  const state = parts.length > 0 ? parts.join("; ") : proxies.length > 0 ? "running" : "-";
  return { name, state, disabled, disabledByHandIn, quarantinedIn };
}

/** Whether the last of these two things that happened to the filter, in one of the proxy's processes, is the first. */
function holds({ events }: ProxyStatus, filter: string, begins: EventKind, ends: EventKind, reason?: string): boolean {
  const seen = new Set<number | undefined>();
  // The newest first.
  for (const event of events) {
    if (event.subject !== filter || (event.kind !== begins && event.kind !== ends) || seen.has(event.worker)) continue;
    seen.add(event.worker);
    if (event.kind === begins && (reason === undefined || event.reason === reason)) return true;
  }
  return false;
}
