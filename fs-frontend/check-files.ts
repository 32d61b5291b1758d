/**
 * Checks the file system of a running cluster.
 *
 * ```
 *   check    a server takes a snapshot under the barrier lock (rule 15); the snapshot is checked; others go on meanwhile
 *   repair   the dead are recovered first; nobody else may have it mounted; checked and repaired in place under the barrier
 * ```
 */
import { SextantError } from '#core/errors.js';
import type { World } from '#core/world/world.js';
import { checkFileSystem, type CheckReport, type Finding } from './check/check.js';
import { openDisk } from './disk/open-disk.js';
import { BARRIER_LOCK } from './format/layout.js';
import { openFiles, openFilesClerk, tableOf, type FilesCluster } from './open.js';

export interface CheckFilesOptions extends FilesCluster {
  /** For people, in listings of the lock service. */
  readonly name: string;
  readonly repair: boolean;
  /** Called for each finding as it is met first. */
  onFinding(finding: Finding): void;
  /** Names of other file servers of the disk that are alive or not recovered yet: with them nothing is repaired. */
  others(): Promise<readonly string[]>;
}

/** Rejects with CONFIG (to be repaired, but in use), and as `openFiles` and `checkFileSystem` do. */
export async function checkFiles(world: World, options: CheckFilesOptions): Promise<CheckReport> {
  return options.repair ? repair(world, options) : check(world, options);
}

async function check(world: World, options: CheckFilesOptions): Promise<CheckReport> {
  const { cluster, nodes, disk: name } = options;
  await using server = await openFiles(world, options);
  const { token } = server.status;
  const label = `check-${Buffer.from(world.random.bytes(6)).toString('hex')}`;
  const snapshot = await server.snapshot(label);
  try {
    await using disk = await openDisk(world, { cluster, nodes, name, token: 0, snapshot });
    return await checkFileSystem(disk, {
      repair: false,
      takeClocks: () => {
        throw new SextantError('INTERNAL', 'a check without repair writes nothing');
      },
      raiseClock: () => undefined,
      onFinding: (finding) => options.onFinding(finding),
    });
  } finally {
    await using disk = await openDisk(world, { cluster, nodes, name, token });
    await disk.deleteSnapshot(snapshot);
  }
}

async function repair(world: World, options: CheckFilesOptions): Promise<CheckReport> {
  const { cluster, nodes, disk: name } = options;
  await refuseInUse(options);
  const clerk = await openFilesClerk(world, options, {});
  try {
    // Servers that come now wait for it before they change anything.
    const barrier = await clerk.table(tableOf(name)).acquire(BARRIER_LOCK, 'exclusive');
    await refuseInUse(options);
    await using disk = await openDisk(world, { cluster, nodes, name, token: clerk.token });
    const report = await checkFileSystem(disk, {
      repair: true,
      takeClocks: (count) => {
        clerk.core.clock += count;
        return clerk.core.clock - count + 1;
      },
      raiseClock: (to) => {
        clerk.core.clock = Math.max(clerk.core.clock, to);
      },
      onFinding: (finding) => options.onFinding(finding),
    });
    barrier.release();
    return report;
  } finally {
    await clerk.close();
  }
}

async function refuseInUse(options: CheckFilesOptions): Promise<void> {
  const others = await options.others();
  if (others.length === 0) return;
  const names = others.join(', ');
  throw new SextantError(
    'CONFIG',
    `disk ${options.disk} is in use by ${names}: it is repaired when nobody has it mounted`,
  );
}
