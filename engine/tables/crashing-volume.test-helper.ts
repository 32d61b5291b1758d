/** A memory volume, for tests, whose engine can crash: what was not durable is lost. */
import { MemoryVolume } from '../volume/memory-volume.js';

interface Appended {
  readonly pageNo: number;
  readonly flags: number;
  readonly previous: number;
  readonly edits: Uint8Array;
}

export class CrashingVolume extends MemoryVolume {
  readonly #log: Appended[] = [];

  constructor() {
    super({ manual: true });
  }

  override append(
    pageNo: number,
    flags: number,
    prevPageLsn: number,
    edits: Uint8Array,
    start: number,
    end: number,
  ): number {
    this.#log.push({ pageNo, flags, previous: prevPageLsn, edits: edits.slice(start, end) });
    return super.append(pageNo, flags, prevPageLsn, edits, start, end);
  }

  /** What the next engine finds: all records up to VDL and nothing else. This one is dead. */
  crash(): CrashingVolume {
    const survivor = new CrashingVolume();
    for (let i = 0; i < this.vdl; i++) {
      const { pageNo, flags, previous, edits } = this.#log[i];
      survivor.append(pageNo, flags, previous, edits, 0, edits.length);
    }
    survivor.advance();
    this.fail();
    return survivor;
  }
}
