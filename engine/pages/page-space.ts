/**
 * The pages of one open database: cache, MTR, allocator and header over a volume. What trees, transaction
 * status and tables stand on.
 */
import { pageLsn } from '#core/redo/page.js';
import type { Volume } from '../volume/volume.js';
import { PageAllocator } from './allocator.js';
import { Mtr } from './mtr.js';
import { PageCache, type PageCacheOptions } from './page-cache.js';
import { Suspend } from './suspend.js';
import { HEADER_PAGE_NO, VolumeHeader } from './volume-header.js';

export class PageSpace {
  readonly volume: Volume;
  readonly cache: PageCache;
  /** The only one: an MTR begins and ends within a turn, so two never overlap. */
  readonly mtr: Mtr;
  readonly header: VolumeHeader;
  readonly allocator: PageAllocator;

  private constructor(volume: Volume, options: PageCacheOptions) {
    this.volume = volume;
    this.cache = new PageCache(volume, options);
    this.mtr = new Mtr(volume, this.cache);
    this.header = new VolumeHeader(this.cache);
    this.allocator = new PageAllocator(volume, this.cache, this.header);
  }

  /** Opens the pages of a volume; an empty one gets its header. Throws WRONG_CLUSTER on a foreign one. */
  static async open(volume: Volume, options: PageCacheOptions = {}): Promise<PageSpace> {
    const space = new PageSpace(volume, options);
    const { cache, mtr, header } = space;
    if (volume.pageCapacity === 0) await volume.grow();
    const base = await untilReady(() => cache.pin(HEADER_PAGE_NO));
    if (pageLsn(cache.view, base) !== 0) {
      header.check();
      return space;
    }
    await untilReady(() => {
      mtr.begin();
      mtr.add(HEADER_PAGE_NO);
      header.create(mtr);
      mtr.commit();
    });
    return space;
  }
}

/** Runs a step again until it no longer throws Suspend, and gives its result. */
export async function untilReady<Result>(step: () => Result): Promise<Result> {
  for (;;) {
    try {
      return step();
    } catch (thrown) {
      if (!(thrown instanceof Suspend)) throw thrown;
      await thrown.ready;
    }
  }
}
