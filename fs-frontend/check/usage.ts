/** Which numbers of one kind are in use, as check finds them: bits by segment. */
export class Usage {
  readonly perSegment: number;
  readonly segments = new Map<number, Uint8Array>();
  total = 0;

  constructor(perSegment: number) {
    this.perSegment = perSegment;
  }

  /** Marks [start, start + count); returns the first one that was marked already, or -1. */
  mark(start: number, count: number): number {
    let twice = -1;
    for (let at = start; at < start + count; at++) {
      const segment = Math.floor(at / this.perSegment);
      let bits = this.segments.get(segment);
      if (bits === undefined) {
        bits = new Uint8Array(this.perSegment / 8);
        this.segments.set(segment, bits);
      }
      const bit = at % this.perSegment;
      const mask = 1 << (bit & 7);
      if ((bits[bit >>> 3] & mask) !== 0) {
        if (twice < 0) twice = at;
      } else {
        bits[bit >>> 3] |= mask;
        this.total++;
      }
    }
    return twice;
  }

  has(at: number): boolean {
    const bits = this.segments.get(Math.floor(at / this.perSegment));
    const bit = at % this.perSegment;
    return bits !== undefined && (bits[bit >>> 3] & (1 << (bit & 7))) !== 0;
  }

  get highestSegment(): number {
    let highest = -1;
    for (const segment of this.segments.keys()) highest = Math.max(highest, segment);
    return highest;
  }
}
