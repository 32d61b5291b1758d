const LATE_MS_MIN = 2;

/** Smoothed duration of calls, and their mean deviation: an eighth of each new one, as TCP estimates its round trip. */
export class SmoothedLatency {
  /** 0 before the first. */
  ms = 0;
  deviationMs = 0;

  add(ms: number): void {
    if (this.ms === 0) {
      this.ms = ms;
      this.deviationMs = ms / 2;
      return;
    }
    this.deviationMs += (Math.abs(ms - this.ms) - this.deviationMs) / 8;
    this.ms += (ms - this.ms) / 8;
  }

  /** After so long a call is late that was expected to take `estimateMs`. */
  lateMs(estimateMs: number): number {
    return Math.max(LATE_MS_MIN, 3 * estimateMs, this.ms + 4 * this.deviationMs);
  }
}
