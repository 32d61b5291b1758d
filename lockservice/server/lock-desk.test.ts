/** LOCK-7, LOCK-10: when a lock server may serve. */
import { describe, expect, it } from 'vitest';
import { Simulation } from '#core/world/simulated/simulation.js';
import { ServiceState } from '../state/service-state.js';
import type { ServerFaults } from './faults.js';
import { LockDesk } from './lock-desk.js';

/** A desk whose leader gives it a lease of a second at index 10 of the log, of which it has applied 5. */
async function desk(faults: ServerFaults = {}) {
  const sim = new Simulation(1);
  const host = { applied: 5 };
  const nothing = async (): Promise<void> => undefined;
  const made = new LockDesk({
    world: sim.process('lock-1').start(),
    options: {
      cluster: 'test',
      id: 'lock-1',
      listen: 'lock-1:1',
      folder: '/data',
      members: [],
      tokenFloor: { takeGeneration: async () => 1 },
    },
    state: new ServiceState(),
    faults,
    incarnation: 'x',
    calls: {
      serverBeat: async () => ({ leaseMs: 1000, index: 10 }),
      gaveUp: nothing,
      expel: nothing,
    },
    address: () => 'lock-1:1',
    appliedIndex: () => host.applied,
    closed: false,
  });
  made.tick();
  await sim.runFor(10);
  return { sim, host, desk: made };
}

describe('a lease from the leader', () => {
  it('counts only once the server has applied what the leader knew', async () => {
    const { host, desk: late } = await desk();
    expect(late.mayServe()).toBe(false);
    host.applied = 10;
    expect(late.mayServe()).toBe(true);
  });

  it('that the log reaches too late is worth nothing', async () => {
    const { sim, host, desk: late } = await desk();
    await sim.runFor(1000);
    host.applied = 10;
    expect(late.mayServe()).toBe(false);
  });

  it('leaseBeforeState, planted: counts at once', async () => {
    const { desk: early } = await desk({ leaseBeforeState: true });
    expect(early.mayServe()).toBe(true);
  });
});

it('a server that has left waits between its ticks, though its next beat is long due', async () => {
  const { sim, desk: left } = await desk();
  await left.leave();
  await sim.runFor(2000);
  expect(left.tickInMs(330)).toBe(100);
});
