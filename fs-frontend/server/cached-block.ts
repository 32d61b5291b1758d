/** A block of the cache: beside what the format knows of it, whose list it is in and what is on its way to the disk. */
import type { Region } from '../disk/disk.js';
import { Block } from '../format/block.js';

export class CachedBlock extends Block {
  readonly key: number;
  /** In the cache; an evicted one may still be in somebody's hand. */
  cached = true;
  /** The tag's clock of the copy that is being written in place; 0: none. */
  flyingClock = 0;
  /** Position of the first record behind that copy; 0: none yet. */
  nextFrom = 0;
  /** Neighbours in the list of its owner. */
  before: CachedBlock | undefined = undefined;
  after: CachedBlock | undefined = undefined;

  constructor(region: Region, index: number, key: number, bytes?: Uint8Array) {
    super(region, index, bytes);
    this.key = key;
  }
}
