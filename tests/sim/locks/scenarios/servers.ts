/** Lock servers that join and leave (rule 4 and Raft's changes of members). */
import type { Scenario } from './stage.js';

export const SERVERS: readonly Scenario[] = [
  {
    rule: 4,
    name: 'a server that was taken in by a leader which lost its office joins all the same',
    async run(stage) {
      const { cluster } = stage;
      const { network } = cluster.sim;
      const old = cluster.leader;
      const others = cluster.servers.filter((slot) => slot !== old).map(({ id }) => id);
      // The old leader can speak to the new server alone.
      network.partition([old?.id ?? ''], others);
      const joining = cluster.addServerSlot(true);
      network.partition([joining.id], others);
      joining.process.start();
      await stage.pass(1500);
      network.heal();
      await stage.restarted();
      stage.expect(cluster.leader !== old, 'another leads');
    },
  },
  {
    rule: 4,
    name: 'groups go evenly to a server that joins, and back when it leaves; no holder is disturbed',
    async run(stage) {
      const { cluster } = stage;
      const a = await stage.actor('a');
      const handles = [];
      for (let id = 1; id <= 30; id++)
        handles.push(await stage.run(a.take(id, 'exclusive'), 'lock'));
      const joining = cluster.addServerSlot(true);
      joining.process.start();
      await stage.restarted();
      cluster.removeServer(joining);
      await cluster.until(() => joining.removed, 40_000, 'the server has left');
      await stage.restarted();
      const b = await stage.actor('b');
      stage.expect(
        handles.every(({ handle }) => handle.valid),
        'all locks are still held',
      );
      for (const held of handles) a.give(held);
      for (let id = 1; id <= 30; id++)
        await stage.run(b.take(id, 'exclusive'), 'lock of the other');
    },
  },
];
