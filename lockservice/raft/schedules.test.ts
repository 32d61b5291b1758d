/** RAFT-1 to RAFT-6 over random schedules of bare cores, and liveness when the faults end. More: `RAFT_SEEDS=5000`. */
import { describe, expect, it } from 'vitest';
import { Schedule, type ScheduleOptions } from './schedule.test-helper.js';

const SEEDS = Number(process.env['RAFT_SEEDS'] ?? 60);

describe('random schedules', () => {
  const plans: ScheduleOptions[] = [
    { servers: 3 },
    { servers: 5 },
    { servers: 5, founders: 3 },
    { servers: 4, founders: 1 },
    { servers: 3, crashes: 0.002, limits: { entriesMax: 1 } },
    { servers: 5, founders: 4, crashes: 0.001 },
  ];
  for (const options of plans) {
    it(JSON.stringify(options), () => {
      const sum = { acknowledged: 0, reads: 0, changes: 0, snapshots: 0, elections: 0 };
      for (let seed = 1; seed <= SEEDS; seed++) {
        const schedule = new Schedule(seed, options);
        try {
          schedule.run(2000);
          expect(schedule.settle(3000), 'settles').toBe(true);
        } catch (error) {
          throw new Error(`seed ${seed}`, { cause: error });
        }
        sum.acknowledged += schedule.acknowledged;
        sum.reads += schedule.readsDone;
        sum.changes += schedule.changesDone;
        sum.snapshots += schedule.snapshotsTaken;
        sum.elections += schedule.checker.leaders.size;
      }
      // What is not exercised is not tested.
      for (const count of Object.values(sum)) expect(count).toBeGreaterThan(SEEDS / 4);
    });
  }
});
