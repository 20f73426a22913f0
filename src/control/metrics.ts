import type { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ProxyStatusMessage } from "../config/nats/status.ts";
import type { ApplyOutcome, ControlStatus } from "./control.ts";

/** What a control plane tells whoever counts. */
export interface PlaneObserver {
  /** An apply, delete, rollback or restore is over. `outcome` undefined: the store could not be reached. */
  onApply(outcome: ApplyOutcome | undefined, origin: string, tookMs: number): void;
  /** A proxy said how it is: when something changed, and as a heartbeat. */
  onProxyStatus(message: ProxyStatusMessage): void;
}

/** Proxies with series of their own; those beyond have none. */
export const PROXY_SERIES_MAX = 1_000;

interface Definition {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
  readonly help: string;
}

/** Every metric of the control API's `/metrics`; docs/operations.md has the table from here. */
export const CONTROL_METRICS = {
  applies: {
    ...{ name: "selvedge_control_applies_total", kind: "counter", labels: ["origin", "result"] },
    help: "Requests to change configuration. origin: nats, api, file, rollback, restore; result: applied, unchanged (also dry runs), invalid, conflict, not_found, busy, failed.",
  },
  issues: {
    ...{ name: "selvedge_control_issues_total", kind: "counter", labels: ["code"] },
    help: "Issues of refused requests, by code.",
  },
  applyDuration: {
    ...{ name: "selvedge_control_apply_seconds", kind: "histogram", labels: [] },
    help: "From a request to its answer: checked, committed and published.",
  },
  revision: { name: "selvedge_control_revision", kind: "gauge", labels: [], help: "Newest revision." },
  resources: { name: "selvedge_control_resources", kind: "gauge", labels: [], help: "Current resources." },
  compileIssues: {
    ...{ name: "selvedge_control_compile_issues", kind: "gauge", labels: [] },
    help: "Why the stored configuration cannot be compiled; 0: it can.",
  },
  connected: {
    ...{ name: "selvedge_control_nats_connected", kind: "gauge", labels: [] },
    help: "1: connected to NATS, or it needs none.",
  },
  proxyRevision: {
    ...{ name: "selvedge_control_proxy_revision", kind: "gauge", labels: ["proxy", "group"] },
    help: "Revision that a live proxy serves.",
  },
  proxyApply: {
    ...{ name: "selvedge_control_proxy_apply_seconds", kind: "gauge", labels: ["proxy", "group"] },
    help: "How long a live proxy took to put its revision in place.",
  },
  acks: {
    ...{ name: "selvedge_control_proxy_acks_total", kind: "counter", labels: ["proxy", "group"] },
    help: "Revisions that a proxy took.",
  },
  nacks: {
    ...{ name: "selvedge_control_proxy_nacks_total", kind: "counter", labels: ["proxy", "group"] },
    help: "Revisions that a proxy refused.",
  },
} as const satisfies Readonly<Record<string, Definition>>;

const APPLY_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

interface Parts {
  readonly registry: Registry;
  counter(definition: Definition): Counter;
  gauge(definition: Definition): Gauge;
  histogram(definition: Definition, buckets: number[]): Histogram;
}

/** Loads prom-client and makes the metrics of a control plane. */
export async function createControlMetrics(): Promise<ControlMetrics> {
  const prom = await import("prom-client");
  const registry = new prom.Registry();
  const optionsOf = ({ name, help, labels }: Definition) => ({ name, help, labelNames: [...labels], registers: [registry] });
  return new ControlMetrics({
    registry,
    counter: (definition) => new prom.Counter(optionsOf(definition)),
    gauge: (definition) => new prom.Gauge(optionsOf(definition)),
    histogram: (definition, buckets) => new prom.Histogram({ ...optionsOf(definition), buckets }),
  });
}

/** Counts what a control plane does, and renders it in Prometheus' text format. */
export class ControlMetrics implements PlaneObserver {
  readonly #registry: Registry;
  readonly #applies: Counter;
  readonly #issues: Counter;
  readonly #duration: Histogram;
  readonly #acks: Counter;
  readonly #nacks: Counter;
  readonly #gauges: Readonly<
    Record<"revision" | "resources" | "compileIssues" | "connected" | "proxyRevision" | "proxyApply", Gauge>
  >;
  /** What each proxy said last: a heartbeat says it again. */
  readonly #last = new Map<string, { readonly group: string; readonly revision: number; readonly rejected: number }>();

  constructor({ registry, counter, gauge, histogram }: Parts) {
    const { applies, issues, applyDuration, acks, nacks, ...rest } = CONTROL_METRICS;
    this.#registry = registry;
    this.#applies = counter(applies);
    this.#issues = counter(issues);
    this.#duration = histogram(applyDuration, APPLY_SECONDS);
    this.#acks = counter(acks);
    this.#nacks = counter(nacks);
    this.#gauges = {
      ...{ revision: gauge(rest.revision), resources: gauge(rest.resources), compileIssues: gauge(rest.compileIssues) },
      ...{ connected: gauge(rest.connected), proxyRevision: gauge(rest.proxyRevision), proxyApply: gauge(rest.proxyApply) },
    };
  }

  onApply(outcome: ApplyOutcome | undefined, origin: string, tookMs: number): void {
    this.#applies.inc({ origin: origin.split(" ", 1)[0] ?? "", result: resultOf(outcome) });
    this.#duration.observe(tookMs / 1000);
    if (outcome !== undefined && !outcome.ok) for (const { code } of outcome.issues) this.#issues.inc({ code });
  }

  onProxyStatus({ id, group, revision, rejectedRevision, leaving }: ProxyStatusMessage): void {
    const known = this.#last.get(id);
    if (known === undefined && this.#last.size >= PROXY_SERIES_MAX) return;
    // One series for each, whatever it calls its group from now on.
    if (known !== undefined && known.group !== group) this.#forget(id);
    const labels = { proxy: id, group };
    if (revision > 0 && revision !== known?.revision) this.#acks.inc(labels);
    if (rejectedRevision > 0 && rejectedRevision !== known?.rejected) this.#nacks.inc(labels);
    this.#last.set(id, { group, revision, rejected: rejectedRevision });
    if (leaving) this.#forget(id);
  }

  /** Names may be new with every start: what is gone makes room. */
  #forget(id: string): void {
    const labels = { proxy: id, group: this.#last.get(id)?.group ?? "" };
    this.#last.delete(id);
    this.#acks.remove(labels);
    this.#nacks.remove(labels);
  }

  /** The text of `/metrics`. */
  render(status: ControlStatus): Promise<string> {
    const { revision, resources, compileIssues, connected, proxyRevision, proxyApply } = this.#gauges;
    revision.set(status.revision);
    resources.set(status.resources);
    compileIssues.set(status.issues.length);
    connected.set(status.connection === "disconnected" ? 0 : 1);
    const live = new Set(status.proxies.map(({ id }) => id));
    // Those that ended without a word.
    for (const id of [...this.#last.keys()]) if (!live.has(id)) this.#forget(id);
    proxyRevision.reset();
    proxyApply.reset();
    for (const proxy of status.proxies.slice(0, PROXY_SERIES_MAX)) {
      const labels = { proxy: proxy.id, group: proxy.group };
      proxyRevision.set(labels, proxy.revision);
      proxyApply.set(labels, proxy.applyMs / 1000);
    }
    return this.#registry.metrics();
  }
}

function resultOf(outcome: ApplyOutcome | undefined): string {
  if (outcome === undefined) return "failed";
  if (!outcome.ok) return outcome.reason;
  return outcome.changes.length > 0 && outcome.diff === undefined ? "applied" : "unchanged";
}
