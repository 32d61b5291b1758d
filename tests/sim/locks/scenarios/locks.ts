/** Rules 4, 5, 7, 8 and 9: groups and their epochs, rebuilds, modes, vectors, the global lock. */
import type { Actor, LockStage, Scenario } from './stage.js';

/** Kills or stops the server of a lock, and waits until another one serves it. */
async function takeOver(stage: LockStage, id: number, how: 'kill' | 'pause'): Promise<void> {
  const old = stage.serverOf(id);
  if (how === 'kill') old.process.crash();
  else old.process.pause();
  await stage.cluster.until(
    () => stage.cluster.leader !== undefined && stage.cluster.leader !== old,
    20_000,
    'a leader that runs',
  );
  await stage.cluster.until(
    () => ![old, undefined].includes(stage.servedBy(id)),
    20_000,
    'another owner',
  );
}

/** A parent directory of each directory, kept where both movers see it. */
class Tree {
  readonly parentOf = new Map<string, string>([
    ['x', 'root'],
    ['y', 'root'],
  ]);

  isUnder(directory: string, above: string): boolean {
    let at: string | undefined = directory;
    for (let steps = 0; at !== undefined && steps < 10; steps++) {
      if (at === above) return true;
      at = this.parentOf.get(at);
    }
    return false;
  }

  get hasCycle(): boolean {
    return [...this.parentOf.keys()].some((directory) => !this.isUnder(directory, 'root'));
  }
}

const MOVES = 1000;

/** Checks that the target is not below what is moved, then renames: with the global lock over both, or without. */
async function move(
  actor: Actor,
  tree: Tree,
  what: string,
  under: string,
  locked: boolean,
): Promise<void> {
  const held = locked ? await actor.take(MOVES, 'exclusive') : undefined;
  const allowed = !tree.isUnder(under, what);
  await actor.world.timers.sleep(5);
  if (allowed) tree.parentOf.set(what, under);
  if (held !== undefined) actor.give(held);
}

export const LOCKS: readonly Scenario[] = [
  {
    rule: 4,
    name: 'a stopped server grants nothing of groups that went to another',
    async run(stage) {
      const [a, b] = [await stage.actor('a'), await stage.actor('b')];
      const id = stage.idOf((slot) => slot !== stage.cluster.leader);
      const old = stage.serverOf(id);
      old.process.pause();
      // It waits in the stopped server's socket, and is asked for again elsewhere.
      const first = b.take(id, 'exclusive');
      await stage.cluster.until(
        () => ![old, undefined].includes(stage.servedBy(id)),
        20_000,
        'another owner',
      );
      const held = await stage.run(first, 'the lock from the new owner');
      const second = a.take(id, 'exclusive');
      old.process.resume();
      await stage.pass(1000);
      stage.expect(held.handle.valid, 'the holder is not disturbed');
      b.give(held);
      await stage.run(second, 'the lock of the other');
    },
  },
  {
    rule: 4,
    name: 'states of clerks survive a restart of all servers: what is not recovered stays locked',
    async run(stage) {
      const a = await stage.actor('a', { recovery: true });
      const held = await stage.run(a.take(1, 'exclusive'), 'lock 1');
      stage.expect(held.handle.valid, 'held');
      a.kill();
      await stage.pass(4000);
      for (const slot of stage.cluster.servers) slot.process.crash();
      for (const slot of stage.cluster.servers) stage.cluster.startServer(slot);
      await stage.restarted();
      // A plain clerk recovers nobody, and must wait.
      const b = await stage.actor('b');
      const wanted = b.take(1, 'exclusive');
      await stage.pass(4000);
      const demon = await stage.actor('demon', { recovery: true });
      stage.expect(!demon.isLost, 'the demon lives');
      await stage.run(wanted, 'lock 1 after the recovery');
    },
    needs: [
      {
        name: 'freeDeadLocks',
        planted: { locks: { freeDeadLocks: true } },
        caughtBy: 'LOCK-2',
      },
    ],
  },
  {
    rule: 5,
    name: 'a server that gains a group grants nothing before every live clerk has answered',
    async run(stage) {
      const { network } = stage.cluster.sim;
      const [a, b] = [await stage.actor('a'), await stage.actor('b')];
      const id = stage.idOf((slot) => slot !== stage.cluster.leader);
      const held = await stage.run(a.take(id, 'exclusive'), 'lock');
      const old = stage.serverOf(id);
      // The holder's answer is slow, the other is at once there with a request.
      for (const slot of stage.cluster.servers) {
        if (slot !== old) network.faults('a', slot.id, { delayMs: 150 });
      }
      await takeOver(stage, id, 'kill');
      const wanted = b.take(id, 'exclusive');
      await stage.pass(3000);
      stage.expect(held.handle.valid, 'the holder keeps its lock over the change of servers');
      a.give(held);
      await stage.run(wanted, 'the lock of the other');
    },
    needs: [
      {
        name: 'grantDuringRebuild',
        planted: { locks: { grantDuringRebuild: true } },
        caughtBy: 'LOCK-1',
      },
      { name: 'claimsIgnored', planted: { locks: { claimsIgnored: true } }, caughtBy: 'LOCK-1' },
      { name: 'forgetClaim', planted: { clerk: { forgetClaim: true } }, caughtBy: 'LOCK-1' },
    ],
  },
  {
    rule: 5,
    name: 'while a clerk is neither live nor recovered, what nobody claims counts as its',
    async run(stage) {
      const a = await stage.actor('a', { recovery: true, leaseMs: 600 });
      const b = await stage.actor('b');
      const id = stage.idOf((slot) => slot !== stage.cluster.leader);
      await stage.run(a.take(id, 'exclusive'), 'lock');
      const kept = await stage.run(b.take(id + 1, 'exclusive'), 'another lock');
      a.kill();
      // First the lease ends, then the group moves: nobody is left to claim it.
      await stage.pass(3000);
      await takeOver(stage, id, 'kill');
      const wanted = b.take(id, 'exclusive');
      await stage.pass(3000);
      stage.expect(kept.handle.valid, 'what a live clerk claims stays its own');
      await stage.actor('demon', { recovery: true });
      await stage.run(wanted, 'the lock after the recovery');
    },
    needs: [
      {
        name: 'freeDeadLocks',
        planted: { locks: { freeDeadLocks: true } },
        caughtBy: 'LOCK-2',
      },
    ],
  },
  {
    rule: 7,
    name: 'two clerks that hold shared and want exclusive do not wait for each other',
    async run(stage) {
      const [a, b] = [await stage.actor('a'), await stage.actor('b')];
      const [one, two] = [
        await stage.run(a.take(1, 'shared'), 'shared'),
        await stage.run(b.take(1, 'shared'), 'shared of the other'),
      ];
      const upgrade = async (actor: Actor, held: typeof one): Promise<boolean> => {
        const { interrupted } = await held.handle.upgrade();
        stage.cluster.beliefs.giveBack(held.belief);
        const exclusive = actor.believe(held.handle);
        await actor.world.timers.sleep(20);
        actor.give(exclusive);
        return interrupted;
      };
      const ends = await stage.run(
        Promise.all([upgrade(a, one), upgrade(b, two)]),
        'both upgrades',
      );
      stage.expect(ends.includes(true), 'one of them was told to look again');
    },
  },
  {
    rule: 7,
    name: 'open stands beside exclusive, and against destroy only',
    async run(stage) {
      const [a, b] = [await stage.actor('a'), await stage.actor('b')];
      const open = await stage.run(a.take(1, 'open'), 'open');
      const exclusive = await stage.run(b.take(1, 'exclusive'), 'exclusive beside open');
      stage.expect(open.handle.valid && exclusive.handle.valid, 'both hold');
      let destroyed = false;
      const destroy = b.take(1, 'destroy').then((held) => {
        destroyed = true;
        return held;
      });
      await stage.pass(1000);
      stage.expect(!destroyed, 'destroy waits for open');
      a.give(open);
      b.give(await stage.run(destroy, 'destroy'));
    },
  },
  {
    rule: 7,
    name: 'a waiting exclusive request is not passed by later shared ones',
    async run(stage) {
      const [a, b, c] = [await stage.actor('a'), await stage.actor('b'), await stage.actor('c')];
      const first = await stage.run(a.take(1, 'shared'), 'shared');
      const order: string[] = [];
      const writer = b.take(1, 'exclusive').then((held) => {
        order.push('writer');
        b.give(held);
      });
      await stage.pass(100);
      const reader = c.take(1, 'shared').then((held) => {
        order.push('reader');
        c.give(held);
      });
      await stage.pass(500);
      a.give(first);
      await stage.run(Promise.all([writer, reader]), 'both');
      stage.expect(order.join() === 'writer,reader', `served ${order.join()}`);
    },
    needs: [
      { name: 'starveWriters', planted: { locks: { starveWriters: true } }, caughtBy: 'LOCK-5' },
    ],
  },
  {
    rule: 8,
    name: 'a directory that is revoked cedes its children in the same turn, after one flush',
    async run(stage) {
      const [a, b] = [await stage.actor('a'), await stage.actor('b')];
      const directory = 1;
      const children = [2, 3, 4];
      const flushed: number[][] = [];
      const table = a.clerk.table('files');
      table.onRevoke = (locks) => {
        const ids = locks.map(({ id }) => Number(id));
        flushed.push(ids);
        if (ids.includes(directory)) table.cede(children);
      };
      const wanted = [directory, ...children].map((id) => ({ id, mode: 'exclusive' as const }));
      const handles = await stage.run(a.clerk.acquireMany(wanted), 'all at once');
      for (const handle of handles) handle.release();
      b.give(await stage.run(b.take(directory, 'exclusive'), 'the directory'));
      await stage.pass(50);
      const asked = flushed.length;
      for (const id of children) b.give(await stage.run(b.take(id, 'exclusive'), 'a child'));
      stage.expect(
        asked <= 2,
        `the owner was asked ${asked} times for the directory and its children`,
      );
      stage.expect(flushed.length === asked, 'no child was revoked by itself');
    },
  },
  {
    rule: 9,
    name: 'two moves of directories under the global lock make no cycle',
    async run(stage) {
      const [a, b] = [await stage.actor('a'), await stage.actor('b')];
      const both = async (locked: boolean): Promise<Tree> => {
        const tree = new Tree();
        const moves = [move(a, tree, 'x', 'y', locked), move(b, tree, 'y', 'x', locked)];
        await stage.run(Promise.all(moves), 'both moves');
        return tree;
      };
      stage.expect(!(await both(true)).hasCycle, 'no cycle under the lock');
      stage.expect((await both(false)).hasCycle, 'one without it, or the script shows nothing');
    },
  },
];
