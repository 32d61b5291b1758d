/**
 * Do the checkers bite? Each planted fault takes one rule away; some seed out of a few must notice. Faults that need a
 * script of their own are in scenarios/, with the scripts that need them.
 */
import { describe, expect, it } from 'vitest';
import type { Fault } from '#engine/volume/faults.js';
import type { Faults as NodeFaults } from '#storage-nodes/node/faults.js';
import type { TxnFault } from '#engine/txn/faults.js';
import type { PlantedFaults } from './cluster.js';
import type { SimOptions, TroubleKind } from './options.js';
import { caughtBy, runSeed } from './run.js';

const SEEDS_MAX = 30;

const TROUBLE: Record<TroubleKind, number> = {
  powerCut: 2,
  kill: 2,
  crashAtSync: 1,
  pause: 2,
  isolateNode: 3,
  isolateEngine: 4,
  zoneDown: 1,
  zoneAndOneDown: 1,
  badLinks: 2,
  slowDisk: 1,
  fullDisk: 0,
  failingDisk: 0,
  lyingDisk: 0,
  rot: 0,
  loseFolder: 1,
  engineCrash: 3,
  engineOvertaken: 4,
  engineRace: 4,
};
const PAGES: Partial<SimOptions> = {
  level: 'pages',
  pagesPerPg: 4,
  lal: 20,
  rounds: 8,
  clients: 4,
  mtrPagesMax: 4,
  trouble: TROUBLE,
};
const SQL: Partial<SimOptions> = {
  ...PAGES,
  level: 'sql',
  pagesPerPg: 40,
  lal: 1000,
  rounds: 6,
};

interface Planted {
  readonly name: string;
  readonly planted: PlantedFaults;
  readonly change: Partial<SimOptions>;
  /** The checkers that may notice first; which of them does depends on the seed. */
  readonly caughtBy: readonly string[];
}

const volume = (fault: Fault, ...by: string[]): Planted => ({
  name: fault,
  planted: { volume: new Set([fault]) },
  change: PAGES,
  caughtBy: by,
});
const node = (fault: keyof NodeFaults, ...by: string[]): Planted => ({
  name: fault,
  planted: { node: { [fault]: true } },
  change: PAGES,
  caughtBy: by,
});
const txn = (fault: TxnFault, ...by: string[]): Planted => ({
  name: fault,
  planted: { txn: new Set([fault]) },
  change: SQL,
  caughtBy: by,
});

/** LIVE: it never converges; ERROR: a node or an engine has noticed itself. */
const FAULTS: readonly Planted[] = [
  volume('vdlAtVcl', 'LOG-1'),
  volume('min', 'LOG-1', 'PAGE-2'),
  volume('reuse', 'LOG-4'),
  volume('readAnywhere', 'PAGE-2'),
  volume('noLeaseWait', 'TXN-3'),
  volume('noInstall', 'LOG-5'),
  node('noSeal', 'LIVE', 'LOG-1', 'LOG-4', 'LOG-6'),
  node('keepAnnulled', 'LOG-5', 'LOG-3', 'ERROR', 'LIVE'),
  node('epochGate', 'ERROR', 'LIVE', 'LOG-3', 'LOG-5', 'PAGE-2'),
  { ...node('dropNeeded', 'PAGE-3'), change: { ...PAGES, readers: 2 } },
  node('takeStale', 'LOG-6'),
  txn('dropPredecessor', 'TXN-1'),
  txn('xidReuse', 'TXN-1', 'TXN-2'),
  txn('ignoreCovered', 'TXN-1', 'TXN-2'),
  txn('lockLeak', 'LIVE'),
  txn('noCommitMark', 'TXN-1', 'TXN-2'),
];

describe('planted faults', () => {
  it.each(FAULTS)('$name is caught', { timeout: 120_000 }, async (fault) => {
    for (let seed = 1; seed <= SEEDS_MAX; seed++) {
      const { failure } = await runSeed(seed, { planted: fault.planted, change: fault.change });
      if (failure === undefined) continue;
      expect(fault.caughtBy, failure.message).toContain(caughtBy(failure));
      return;
    }
    expect.fail(`no checker noticed in ${SEEDS_MAX} seeds`);
  });

  it('without one, the same runs pass', { timeout: 60_000 }, async () => {
    for (const change of [PAGES, SQL]) {
      for (let seed = 1; seed <= 2; seed++) {
        expect((await runSeed(seed, { change })).failure).toBeUndefined();
      }
    }
  });
});
