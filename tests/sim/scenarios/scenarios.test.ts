/** Each numbered rule of the volume protocol as a script; each script again with its rule taken away. */
import { beforeAll, describe, expect, it } from 'vitest';
import { loadParser } from '#engine/sql/parse/parser.js';
import { caughtBy } from '../run.js';
import { DAMAGE } from './damage.js';
import { ENGINE } from './engine.js';
import { LOAD } from './load.js';
import { MEMBERS } from './members.js';
import { OPENING } from './opening.js';
import { type Scenario, Stage } from './stage.js';
import type { PlantedFaults } from '../cluster.js';
import { WRITING } from './writing.js';

const SCENARIOS: readonly Scenario[] = [
  ...WRITING,
  ...OPENING,
  ...MEMBERS,
  ...DAMAGE,
  ...LOAD,
  ...ENGINE,
];

// WebAssembly, loaded by real promises: before virtual time begins.
beforeAll(loadParser);

async function play(scenario: Scenario, planted?: PlantedFaults): Promise<Error | undefined> {
  const stage = new Stage(planted, scenario.change);
  try {
    await stage.start();
    await scenario.run(stage);
    return undefined;
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
