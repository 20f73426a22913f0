import type { MetricFamily } from "./aggregator.ts";
import { OVERFLOW_LABEL } from "./metric-names.ts";

type Labels = Record<string, string | number>;
interface Row {
  readonly labels: Labels;
  readonly value: number;
  readonly metricName?: string;
}

/** Renders Prometheus' text format with prom-client, which is loaded by the first scrape. Own registry, no default metrics. */
export async function renderMetrics(families: readonly MetricFamily[]): Promise<{ contentType: string; text: string }> {
  const { Registry, Counter, Gauge, Histogram } = await import("prom-client");
  const registry = new Registry();
  for (const { definition, series } of families) {
    if (series.length === 0) continue;
    const options = { name: definition.name, help: definition.help, labelNames: [...definition.labels], registers: [registry] };
    if (definition.kind === "histogram") {
      // prom-client's own histogram can only observe; ours are counted already, so it gets them as finished rows.
      const histogram = new Histogram({ ...options, registers: [] });
      const values = series.flatMap((each) => histogramRows(definition.name, labelsOf(definition.labels, each.labels), each));
      const finished = { name: definition.name, help: definition.help, type: "histogram", values, aggregator: "sum" };
      Object.defineProperty(histogram, "getForPromString", { value: undefined });
      Object.defineProperty(histogram, "get", { value: () => Promise.resolve(finished) });
      registry.registerMetric(histogram);
      continue;
    }
    const metric = definition.kind === "counter" ? new Counter(options) : new Gauge(options);
    for (const each of series) metric.inc(labelsOf(definition.labels, each.labels), each.value);
  }
  return { contentType: registry.contentType, text: await registry.metrics() };
}

function labelsOf(names: readonly string[], values: readonly string[]): Labels {
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? OVERFLOW_LABEL]));
}

function histogramRows(name: string, labels: Labels, { histogram }: MetricFamily["series"][number]): Row[] {
  if (histogram === undefined) return [];
  const rows: Row[] = histogram.exported().map(({ le, count }) => ({
    metricName: `${name}_bucket`,
    labels: { le: le === Number.POSITIVE_INFINITY ? "+Inf" : le, ...labels },
    value: count,
  }));
  rows.push({ metricName: `${name}_sum`, labels, value: histogram.sum / histogram.scale.unitsPerExported });
  rows.push({ metricName: `${name}_count`, labels, value: histogram.count });
  return rows;
}
