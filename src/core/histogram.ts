/**
 * A log-linear histogram (as in HdrHistogram): four equal buckets per power of two, so a value is known to 25 % at worst, in a
 * fixed array and without a search. Prometheus gets the powers of two as its buckets.
 */
const SUB_BITS = 2;
const SUB_BUCKETS = 1 << SUB_BITS;

/** The range of a histogram: values up to `2^minExponent` share the first bucket, those above `2^maxExponent` the last. */
export interface HistogramScale {
  /** ≥ 2. */
  readonly minExponent: number;
  /** ≤ 31. */
  readonly maxExponent: number;
  /** One unit of the exported value, in recorded units: 1e6 when microseconds are recorded and seconds exported. */
  readonly unitsPerExported: number;
}

/** Microseconds in, seconds out: 32 us to 134 s. */
export const TIME_SCALE: HistogramScale = { minExponent: 5, maxExponent: 27, unitsPerExported: 1e6 };
/** Whatever a filter records, from 4 to 2^31. */
export const VALUE_SCALE: HistogramScale = { minExponent: 2, maxExponent: 31, unitsPerExported: 1 };

export class LogHistogram {
  readonly counts: Float64Array;
  sum = 0;
  count = 0;

  constructor(readonly scale: HistogramScale) {
    this.counts = new Float64Array(bucketCount(scale));
  }

  /** `value` in recorded units; negative ones (a clock that jumped) count as 0. `weight`: how many such values it stands for. */
  record(value: number, weight = 1): void {
    const at = bucketOf(this.scale, value);
    this.counts[at] = (this.counts[at] as number) + weight;
    if (value > 0) this.sum += value * weight;
    this.count += weight;
  }

  /** Adds what `sparse` says: pairs of bucket and count, one list. Pairs that are not of this scale are ignored. */
  addSparse(sparse: readonly number[], sum: number): void {
    for (let i = 0; i + 1 < sparse.length; i += 2) {
      const at = sparse[i] as number;
      const before = this.counts[at];
      if (before === undefined) continue;
      const more = sparse[i + 1] as number;
      this.counts[at] = before + more;
      this.count += more;
    }
    this.sum += sum;
  }

  /** The buckets that are not empty, as pairs in one list. */
  sparse(): number[] {
    const pairs: number[] = [];
    for (let i = 0; i < this.counts.length; i++) {
      const count = this.counts[i] as number;
      if (count > 0) pairs.push(i, count);
    }
    return pairs;
  }

  reset(): void {
    this.counts.fill(0);
    this.sum = 0;
    this.count = 0;
  }

  /** Upper bound (recorded units) below which a share of the values lies; 0 when empty, `Infinity` when in the last bucket. */
  quantile(share: number): number {
    const wanted = Math.ceil(this.count * share);
    let seen = 0;
    for (let i = 0; i < this.counts.length && wanted > 0; i++) {
      seen += this.counts[i] as number;
      if (seen >= wanted) return upperBoundOf(this.scale, i);
    }
    return 0;
  }

  /** Cumulative counts at the powers of two, bounds in exported units; the last is `Infinity`. */
  exported(): { readonly le: number; readonly count: number }[] {
    const { minExponent, maxExponent, unitsPerExported } = this.scale;
    const rows: { le: number; count: number }[] = [];
    let count = this.counts[0] as number;
    rows.push({ le: 2 ** minExponent / unitsPerExported, count });
    for (let exponent = minExponent; exponent < maxExponent; exponent++) {
      const first = 1 + (exponent - minExponent) * SUB_BUCKETS;
      for (let i = first; i < first + SUB_BUCKETS; i++) count += this.counts[i] as number;
      rows.push({ le: 2 ** (exponent + 1) / unitsPerExported, count });
    }
    rows.push({ le: Number.POSITIVE_INFINITY, count: this.count });
    return rows;
  }
}

function bucketCount(scale: HistogramScale): number {
  return 2 + (scale.maxExponent - scale.minExponent) * SUB_BUCKETS;
}

/** Buckets include their upper bound, as Prometheus' `le` does: hence the value minus one. */
export function bucketOf(scale: HistogramScale, value: number): number {
  const whole = Math.ceil(value) - 1;
  if (!(whole >= 2 ** scale.minExponent)) return 0;
  if (whole >= 2 ** scale.maxExponent) return bucketCount(scale) - 1;
  const exponent = 31 - Math.clz32(whole);
  return 1 + (exponent - scale.minExponent) * SUB_BUCKETS + ((whole >>> (exponent - SUB_BITS)) & (SUB_BUCKETS - 1));
}

/** The greatest value of a bucket. */
export function upperBoundOf(scale: HistogramScale, bucket: number): number {
  if (bucket === 0) return 2 ** scale.minExponent;
  if (bucket >= bucketCount(scale) - 1) return Number.POSITIVE_INFINITY;
  const exponent = scale.minExponent + ((bucket - 1) >> SUB_BITS);
  const sub = (bucket - 1) & (SUB_BUCKETS - 1);
  return (SUB_BUCKETS + sub + 1) * 2 ** (exponent - SUB_BITS);
}
