import { bench, describe } from 'vitest';
import { stableMembership } from '#core/quorum/quorum-set.js';
import { toNodeId } from '#core/ids.js';
import { boxcar } from '../node/boxcars.test-helper.js';
import { Segment } from './segment.js';

const membership = stableMembership(['a', 'b', 'c', 'd', 'e', 'f'].map(toNodeId));
const ranges = [{ epoch: 1, after: 0, through: 100 }];

/** A chain of boxcars that is started over when it has been taken. */
function chain(records: number): () => void {
  const boxcars: Uint8Array[] = [];
  for (let i = 0; i < 256; i++) {
    const first = 101 + i * records;
    const lsns = Array.from({ length: records }, (_, k) => first + k);
    boxcars.push(boxcar(i === 0 ? 0 : first - 1, lsns, { vdl: Math.max(0, first - 2) }));
  }
  let at = 256;
  let segment: Segment;
  return () => {
    if (at === 256) {
      segment = new Segment(1, 0, true, {});
      const list = { volumeEpoch: 1, listEpoch: 1, ranges, membership, peers: [] };
      segment.step({ type: 'install', list, vdl: 0 });
      at = 0;
    }
    segment.step({ type: 'boxcar', bytes: boxcars[at++] as Uint8Array });
  };
}

describe('segment.step of a boxcar in order', () => {
  for (const records of [1, 10, 100]) bench(`${records} records`, chain(records));
});
