/** Rules 1 to 3 and 6: tokens, clocks, tags, leases. */
import type { Scenario } from './stage.js';

export const LEASES: readonly Scenario[] = [
  {
    rule: 1,
    name: 'a lapsed lease is never renewed: new token, and the old handles are dead',
    async run(stage) {
      const { network } = stage.cluster.sim;
      const first = await stage.actor('a');
      const held = await stage.run(first.take(1, 'exclusive'), 'lock 1');
      network.partition(
        ['a'],
        stage.cluster.servers.map(({ id }) => id),
      );
      await stage.pass(5000);
      stage.expect(!held.handle.valid, 'the handle died with the lease');
      network.heal();
      await stage.pass(2000);
      stage.expect(first.isLost && !held.handle.valid, 'and does not come back');
      const second = await stage.actor('b');
      const again = await stage.run(second.take(1, 'exclusive'), 'lock 1 for the next one');
      stage.expect(second.token > first.token, 'tokens grow');
      stage.expect(again.handle.valid && !held.handle.valid, 'one holder');
    },
    needs: [
      { name: 'keepAfterLoss', planted: { clerk: { keepAfterLoss: true } }, caughtBy: 'any' },
    ],
  },
  {
    rule: 1,
    name: 'a token is given out once, after its clerk has gone too',
    async run(stage) {
      for (let i = 0; i < 3; i++) {
        const actor = await stage.actor(`a${i}`);
        await stage.run(actor.clerk.close(), 'close');
      }
    },
    needs: [{ name: 'tokenReuse', planted: { state: { tokenReuse: true } }, caughtBy: 'LOCK-2' }],
  },
  {
    rule: 1,
    name: 'a lock service that was made anew gives out larger tokens',
    async run(stage) {
      const first = await stage.actor('a');
      stage.cluster.loseAll();
      first.kill();
      for (const slot of stage.cluster.servers) stage.cluster.startServer(slot);
      await stage.restarted();
      const second = await stage.actor('b');
      stage.expect(second.token > first.token, 'tokens grow over generations');
    },
  },
  {
    rule: 2,
    name: 'the clock travels with a lock, and from one lock to another over their server',
    async run(stage) {
      const [a, b] = [await stage.actor('a'), await stage.actor('b')];
      const one = await stage.run(a.take(1, 'exclusive'), 'lock 1');
      for (let i = 0; i < 20; i++) await stage.run(a.write(one, 'block'), 'write');
      a.give(one);
      const two = await stage.run(b.take(1, 'exclusive'), 'lock 1 of the other');
      await stage.run(b.write(two, 'block'), 'write of the other');
    },
    needs: [
      { name: 'noClockInGrant', planted: { locks: { noClockInGrant: true } }, caughtBy: 'TAG-1' },
      {
        name: 'noClockInRelease',
        planted: { clerk: { noClockInRelease: true } },
        caughtBy: 'TAG-1',
      },
    ],
  },
  {
    rule: 2,
    name: 'a close raises the floor of the clocks, for servers that never saw the clerk',
    async run(stage) {
      const a = await stage.actor('a');
      const b = await stage.actor('b');
      const allocation = stage.idOf(() => true);
      const held = await stage.run(a.take(allocation, 'exclusive'), 'lock');
      for (let i = 0; i < 20; i++) await stage.run(a.write(held, 'freed'), 'write');
      a.give(held);
      await stage.run(a.clerk.close(), 'close');
      // The block comes back under a lock of another server.
      const server = stage.serverOf(allocation);
      const other = stage.idOf((slot) => slot !== server);
      const next = await stage.run(b.take(other, 'exclusive'), 'other lock');
      await stage.run(b.write(next, 'freed'), 'write of the other');
    },
    needs: [
      {
        name: 'floorFromNothing',
        planted: { state: { floorFromNothing: true } },
        caughtBy: 'TAG-1',
      },
      {
        name: 'floorOnlyAtRebuild',
        planted: { locks: { floorOnlyAtRebuild: true } },
        caughtBy: 'TAG-1',
      },
    ],
  },
  {
    rule: 2,
    name: 'recovery raises the floor before locks pass on',
    async run(stage) {
      const a = await stage.actor('a', { recovery: true });
      const b = await stage.actor('b', { recovery: true });
      const held = await stage.run(a.take(1, 'exclusive'), 'lock 1');
      for (let i = 0; i < 20; i++) await stage.run(a.write(held, 'block'), 'write');
      a.kill();
      const next = await stage.run(b.take(1, 'exclusive'), 'lock 1 of the other');
      await stage.run(b.write(next, 'block'), 'write of the other');
    },
    needs: [
      {
        name: 'floorFromNothing',
        planted: { state: { floorFromNothing: true } },
        caughtBy: 'TAG-1',
      },
    ],
  },
  {
    rule: 3,
    name: 'a lock that goes A, B, A keeps its tags in order, though A has the smaller token',
    async run(stage) {
      const [a, b] = [await stage.actor('a'), await stage.actor('b')];
      for (let round = 0; round < 3; round++) {
        for (const actor of [a, b]) {
          const held = await stage.run(actor.take(1, 'exclusive'), 'lock 1');
          const writes = actor === a ? 3 : 1;
          for (let i = 0; i < writes; i++) await stage.run(actor.write(held, 'block'), 'write');
          actor.give(held);
        }
      }
    },
    needs: [
      { name: 'noClockInGrant', planted: { locks: { noClockInGrant: true } }, caughtBy: 'TAG-1' },
    ],
  },
  {
    rule: 6,
    name: 'a new leader extends all leases by a full period',
    async run(stage) {
      const [a, b] = [await stage.actor('a'), await stage.actor('b')];
      const leader = stage.cluster.leader;
      // Of a server that stays, so that nothing is rebuilt.
      const id = stage.idOf((slot) => slot !== leader);
      const held = await stage.run(a.take(id, 'exclusive'), 'lock');
      leader?.process.crash();
      await stage.pass(1500);
      const wanted = b.take(id, 'exclusive');
      await stage.pass(1500);
      stage.expect(held.handle.valid, 'the holder went on through the change of leaders');
      a.give(held);
      await stage.run(wanted, 'the lock of the other');
    },
    needs: [
      {
        name: 'noLeaseExtension',
        planted: { state: { noLeaseExtension: true } },
        caughtBy: 'any',
      },
    ],
  },
  {
    rule: 6,
    name: 'a clerk counts its lease from when it sent the renewal, and stops a margin before its end',
    async run(stage) {
      const { network } = stage.cluster.sim;
      const [a, b] = [await stage.actor('a'), await stage.actor('b')];
      const held = await stage.run(a.take(1, 'exclusive'), 'lock 1');
      const servers = stage.cluster.servers.map(({ id }) => id);
      // Answers come late, then none at all.
      for (const id of servers) network.faults(id, 'a', { delayMs: 300 });
      await stage.pass(3000);
      network.partition(servers, ['a'], { oneWay: true });
      const wanted = b.take(1, 'exclusive');
      await stage.run(wanted, 'the lock of the other', 30_000);
      stage.expect(!held.handle.valid, 'the old holder knows that it is over');
    },
    needs: [{ name: 'noMargin', planted: { clerk: { noMargin: true } }, caughtBy: 'LOCK-1' }],
  },
];
