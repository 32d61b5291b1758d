import { afterEach, describe, expect, it } from 'vitest';
import { TestCluster } from '#storage-nodes/node/cluster.test-helper.js';
import { RegisterTokenFloor } from './token-floor.js';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.close();
});

function floor(): RegisterTokenFloor {
  return new RegisterTokenFloor(cluster.world, cluster.name, cluster.addresses);
}

describe('generations of tokens', () => {
  it('count up, whoever takes them, and two nodes may be down', async () => {
    cluster = new TestCluster();
    await cluster.startAll();
    expect(await floor().takeGeneration()).toBe(1);
    expect(await floor().takeGeneration()).toBe(2);
    for (const id of ['n1', 'n4']) await cluster.nodes.get(id)?.close();
    expect(await floor().takeGeneration()).toBe(3);
  });

  it('are never given to two who take them at the same time', async () => {
    cluster = new TestCluster();
    await cluster.startAll();
    const taken = await Promise.allSettled([1, 2, 3].map(() => floor().takeGeneration()));
    const given = taken.filter((one) => one.status === 'fulfilled').map((one) => one.value);
    expect(given.length).toBeGreaterThan(0);
    expect(new Set(given).size).toBe(given.length);
    const next = await floor().takeGeneration();
    expect(next).toBeGreaterThan(Math.max(...given));
  });
});
