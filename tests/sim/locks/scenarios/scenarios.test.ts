/** Rules 1 to 9 of locks as scripts; each script again with its rule taken away. */
import { describe, expect, it } from 'vitest';
import { caughtBy } from '../../run.js';
import type { PlantedLockFaults } from '../cluster.js';
import { LEASES } from './leases.js';
import { LOCKS } from './locks.js';
import { SERVERS } from './servers.js';
import { LockStage, type Scenario } from './stage.js';

const SCENARIOS: readonly Scenario[] = [...LEASES, ...LOCKS, ...SERVERS];

async function play(scenario: Scenario, planted?: PlantedLockFaults): Promise<Error | undefined> {
  const stage = new LockStage(planted, scenario.change);
  try {
    await stage.start();
    await scenario.run(stage);
    return stage.cluster.violation;
  } catch (error) {
    return stage.cluster.violation ?? (error instanceof Error ? error : new Error(String(error)));
  }
}

describe.each(SCENARIOS)('rule $rule: $name', (scenario) => {
  it('holds', async () => {
    expect(await play(scenario)).toBeUndefined();
  });

  it.each(scenario.needs ?? [])('needs what $name takes away', async (need) => {
    const failure = await play(scenario, need.planted);
    expect(failure).toBeDefined();
    if (need.caughtBy !== 'any') expect(caughtBy(failure)).toBe(need.caughtBy);
  });
});
