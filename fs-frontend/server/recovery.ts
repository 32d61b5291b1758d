/**
 * Recovery of dead file servers (rules 12, 16): given to the clerk as `onRecovery`, before the file server exists.
 *
 * ```
 *   expired --fence the token at the disk--> complete each listed register --steps.fenced--> replay the log
 *           --> take the orphans over --steps.recovered--> its locks pass on
 * ```
 *
 * Every step may be done twice, by this demon or the next one: fencing again, completing again under the same tags,
 * replaying what is in place already (FS-3).
 */
import type { OnRecovery, RecoverySteps, RecoveryTask } from '#lockservice/clerk/index.js';
import type { World } from '#core/world/world.js';
import type { RegisterRead, VirtualDisk } from '../disk/disk.js';
import { replayLog } from '../log/replay.js';

const READS_AT_ONCE = 256;
const WAIT_MS = 50;

export interface RecoveryHost {
  readonly disk: VirtualDisk;
  takeClocks(count: number): number;
  raiseClock(to: number): void;
  /** The orphans of that slot are ours; undefined while the server is not open yet. */
  takeOrphans(slot: number): Promise<void>;
}

export class RecoveryDemon {
  readonly counts = { recovered: 0, records: 0, applied: 0, completed: 0 };
  readonly #world: World;
  #host: RecoveryHost | undefined = undefined;
  /** Slots of the dead whose orphans are to be taken over once the server is open. */
  readonly slots: number[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** For `openClerk`. */
  readonly onRecovery: OnRecovery = (task, steps) => this.#recover(task, steps);

  /** From now on there is a disk to work on. */
  attach(host: RecoveryHost): void {
    this.#host = host;
  }

  async #recover(task: RecoveryTask, steps: RecoverySteps): Promise<void> {
    const host = await this.#attached(steps.signal);
    const { disk } = host;
    const fence = await disk.fence(task.dead);
    host.raiseClock(fence.clock);
    await this.#complete(disk, fence.listed);
    await steps.fenced(fence.clock);
    const replayed = await replayLog({
      disk,
      slot: task.slot,
      takeClocks: (count) => host.takeClocks(count),
      raiseClock: (to) => host.raiseClock(to),
    });
    this.counts.recovered++;
    this.counts.records += replayed.records;
    this.counts.applied += replayed.applied;
    await steps.recovered(Math.max(fence.clock, replayed.clockMax));
    const { dead, slot } = task;
    this.#world.log.info('a file server was recovered', { dead, slot, records: replayed.records });
    this.slots.push(slot);
    await host.takeOrphans(slot);
  }

  /** A register that a dead writer left at some nodes only is read by a quorum, which writes it back to one (rule 11). */
  async #complete(
    disk: VirtualDisk,
    listed: readonly { readonly region: RegisterRead['region']; readonly index: number }[],
  ): Promise<void> {
    for (let at = 0; at < listed.length; at += READS_AT_ONCE) {
      const part = listed.slice(at, at + READS_AT_ONCE);
      await disk.read(part.map(({ region, index }) => ({ region, index, count: 1 })));
      this.counts.completed += part.length;
    }
  }

  async #attached(signal: AbortSignal): Promise<RecoveryHost> {
    for (;;) {
      if (this.#host !== undefined) return this.#host;
      await this.#world.timers.sleep(WAIT_MS, signal);
    }
  }
}
