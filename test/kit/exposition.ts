/**
 * A strict reader of Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/), so that tests
 * check what a scraper would see and not a string that looks right.
 */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: Sample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*/;

/** Throws an `Error` that names the line when the text breaks the grammar or the rules for histograms. */
export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith("\n")) throw new Error("the text does not end in a line feed");
  const families = new Map<string, Family>();
  const helps = new Map<string, string>();
  const seen = new Set<string>();
  for (const line of text.slice(0, -1).split("\n")) {
    if (line === "") continue;
    if (line.startsWith("# HELP ")) {
      const [, name, help] = /^# HELP (\S+) (.*)$/.exec(line) ?? fail(line, "bad HELP");
      helps.set(String(name), String(help));
    } else if (line.startsWith("# TYPE ")) {
      const [, name, type] = /^# TYPE (\S+) (counter|gauge|histogram|summary|untyped)$/.exec(line) ?? fail(line, "bad TYPE");
      if (families.has(String(name))) fail(line, "a second TYPE");
      families.set(String(name), { name: String(name), type: String(type), help: helps.get(String(name)) ?? "", samples: [] });
    } else {
      const sample = parseSample(line);
      const key = `${sample.name}${JSON.stringify(Object.entries(sample.labels).sort())}`;
      if (seen.has(key)) fail(line, "the same series twice");
      seen.add(key);
      familyOf(families, sample.name, line).samples.push(sample);
    }
  }
  for (const family of families.values()) if (family.type === "histogram") checkHistogram(family);
  return families;
}

function fail(line: string, why: string): never {
  throw new Error(`${why}: ${line}`);
}

function parseSample(line: string): Sample {
  const name = NAME.exec(line)?.[0] ?? fail(line, "no metric name");
  let rest = line.slice(name.length);
  const labels: Record<string, string> = {};
  if (rest.startsWith("{")) {
    rest = rest.slice(1);
    while (!rest.startsWith("}")) {
      const label = LABEL.exec(rest)?.[0] ?? fail(line, "no label name");
      rest = rest.slice(label.length);
      const value = /^="((?:[^"\\\n]|\\[\\"n])*)"/.exec(rest) ?? fail(line, "bad label value");
      if (label in labels) fail(line, "the same label twice");
      labels[label] = String(value[1]).replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
      rest = rest.slice(value[0].length);
      if (rest.startsWith(",")) rest = rest.slice(1);
      else if (!rest.startsWith("}")) fail(line, "no comma between labels");
    }
    rest = rest.slice(1);
  }
  const value = /^ (\+Inf|-Inf|NaN|[-+]?[0-9.]+(?:e[-+]?[0-9]+)?)$/i.exec(rest) ?? fail(line, "bad value");
  return { name, labels, value: value[1] === "+Inf" ? Number.POSITIVE_INFINITY : Number(value[1]) };
}

function familyOf(families: Map<string, Family>, name: string, line: string): Family {
  const base = name.replace(/_(bucket|sum|count)$/, "");
  const histogram = families.get(base);
  if (histogram !== undefined && histogram.type === "histogram") return histogram;
  return families.get(name) ?? fail(line, "a sample before its TYPE");
}

function checkHistogram({ name, samples }: Family): void {
  const bySeries = new Map<string, Sample[]>();
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels;
    const key = JSON.stringify(Object.entries(labels).sort());
    bySeries.set(key, [...(bySeries.get(key) ?? []), sample]);
  }
  for (const series of bySeries.values()) {
    const buckets = series.filter((sample) => sample.name === `${name}_bucket`);
    let before = { le: Number.NEGATIVE_INFINITY, count: 0 };
    for (const bucket of buckets) {
      const le = bucket.labels.le === "+Inf" ? Number.POSITIVE_INFINITY : Number(bucket.labels.le);
      if (!(le > before.le)) throw new Error(`${name}: bounds do not grow at ${bucket.labels.le}`);
      if (bucket.value < before.count) throw new Error(`${name}: counts are not cumulative at ${bucket.labels.le}`);
      before = { le, count: bucket.value };
    }
    const count = series.find((sample) => sample.name === `${name}_count`)?.value;
    if (before.le !== Number.POSITIVE_INFINITY || count !== before.count) throw new Error(`${name}: +Inf is not the count`);
    if (!series.some((sample) => sample.name === `${name}_sum`)) throw new Error(`${name}: no sum`);
  }
}
