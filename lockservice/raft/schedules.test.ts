/** RAFT-1 to RAFT-6 over random schedules of bare cores, and liveness when the faults end. */
import { describe, expect, it } from 'vitest';
import { Schedule } from './schedule.test-helper.js';

describe('schedules', () => {
  it('three servers', () => {
    let acknowledged = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const schedule = new Schedule(seed, { servers: 3 });
      schedule.run(2000);
      expect(schedule.settle(3000), `seed ${seed} settles`).toBe(true);
      acknowledged += schedule.acknowledged;
    }
    expect(acknowledged).toBeGreaterThan(1000);
  });
});
