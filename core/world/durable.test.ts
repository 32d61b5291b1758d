import { expect, test } from 'vitest';
import { makeDurableFolder, writeDurably } from './durable.js';
import { Simulation } from './simulated/simulation.js';
import type { World } from './world.js';

function powerCut(work: (world: World) => void): World {
  const sim = new Simulation(1);
  const process = sim.process('one');
  const world = process.start() as World;
  work(world);
  process.crash();
  return process.start() as World;
}

test('a folder whose parents are new outlives a power cut', () => {
  const world = powerCut(({ disk }) => makeDurableFolder(disk, '/a/b/c'));
  expect(world.disk.exists('/a/b/c')).toBe(true);
});

test('a file that was written durably is there, whole', () => {
  const world = powerCut(({ disk }) => {
    makeDurableFolder(disk, '/data');
    writeDurably(disk, '/data', 'identity', 'identity.new', new Uint8Array([1, 2]));
    writeDurably(disk, '/data', 'identity', 'identity.new', new Uint8Array([3]));
  });
  expect(world.disk.list('/data')).toEqual(['identity']);
  expect(world.disk.open('/data/identity').size()).toBe(1);
});
