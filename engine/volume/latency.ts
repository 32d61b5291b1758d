/** Latencies in an HDR histogram, at microsecond resolution. */
import { build, type Histogram } from 'hdr-histogram-js';
import type { LatencySummary } from './volume.js';

const US_PER_MS = 1000;

export class Latency {
  readonly #histogram: Histogram = build({ numberOfSignificantValueDigits: 2 });

  record(ms: number): void {
    this.#histogram.recordValue(Math.max(1, Math.round(ms * US_PER_MS)));
  }

  summary(): LatencySummary {
    const histogram = this.#histogram;
    const at = (percentile: number): number =>
      histogram.totalCount === 0 ? 0 : histogram.getValueAtPercentile(percentile) / US_PER_MS;
    return {
      count: histogram.totalCount,
      p50Ms: at(50),
      p95Ms: at(95),
      p99Ms: at(99),
      maxMs: histogram.totalCount === 0 ? 0 : histogram.maxValue / US_PER_MS,
    };
  }
}
