/** Rules 18 to 21 and 28: laggards, lost and damaged folders, the journal, pages that are formatted again. */
import { need, type Scenario } from './stage.js';

export const DAMAGE: readonly Scenario[] = [
  {
    rule: 18,
    name: 'a laggard whose log is gone is hydrated while records go on',
    async run(stage) {
      const writer = await stage.opened([0, 1, 2, 3]);
      stage.stop(5);
      for (let i = 0; i < 400; i++) {
        await stage.commit(writer, [i % 4]);
        if (i % 50 === 0) await stage.for(300);
      }
      stage.cluster.startNode(stage.cluster.slot(5));
      for (let i = 0; i < 20; i++) await stage.commit(writer, [i % 4]);
      await stage.restart(5);
      await stage.until(() => stage.host(5).segment.scl === writer.lsns.get(3), 'caught up');
      await stage.finish(writer);
    },
  },
  {
    rule: 19,
    name: 'a blank folder serves nothing before it has read the register',
    needs: [need('node', 'blankServes', 'any')],
    async run(stage) {
      const writer = await stage.opened([0]);
      stage.isolate(writer, 0, 1, 2, 3);
      await stage.commit(writer, [1]);
      writer.process.crash();
      // Two of the four that have it are down, a third loses its folder: of the rest one has it.
      stage.stop(0);
      stage.cluster.loseFolder(stage.cluster.slot(1));
      stage.heal();
      stage.cluster.startNode(stage.cluster.slot(1));
      await stage.for(50);
      stage.sim.network.faults('node-3', '*', { delayMs: 20 });
      stage.sim.network.faults('node-4', '*', { delayMs: 20 });
      stage.silence();
      const next = await stage.openDeaf(500);
      next.process.crash();
      await stage.restart(0);
      await stage.finish();
    },
  },
  {
    rule: 19,
    name: 'acknowledgements of a lost folder are struck',
    needs: [need('volume', 'keepAcks', 'LOG-1')],
    async run(stage) {
      const { network } = stage.sim;
      const writer = await stage.opened([0]);
      stage.isolate(writer, 0, 1, 2);
      const lsn = writer.send([1]);
      await stage.for(20);
      // Node 2 loses its folder. Node 1 sleeps, node 3 is heard by node 2 alone, and only while it starts.
      stage.cluster.slot(0).process.pause();
      const lost = stage.cluster.slot(1);
      stage.cluster.loseFolder(lost);
      stage.heal();
      network.partition(['node-3'], ['node-4', 'node-5', 'node-6']);
      network.faults('node-3', 'node-2', { delayMs: 10 });
      stage.reach(writer, 1, 2);
      await stage.restart(1);
      network.partition(['node-2'], ['node-3']);
      network.clearFaults();
      await stage.for(12_000);
      // One more node gets it: with what node 2 acknowledged before its loss that would make four.
      stage.isolate(writer, 1, 2, 3);
      await stage.until(() => writer.volume.vdl === lsn, 'durable');
      writer.process.crash();
      stage.stop(0, 3);
      stage.deafen(2);
      await stage.finish(await stage.openDeaf(500));
    },
  },
  {
    rule: 19,
    name: 'a lost folder that is as complete as a lagging peer is not whole',
    needs: [need('node', 'earlyWhole', 'LOG-1')],
    async run(stage) {
      const { network } = stage.sim;
      const writer = await stage.opened([0]);
      stage.isolate(writer, 0, 1, 2, 3);
      await stage.commit(writer, [1]);
      writer.process.crash();
      stage.stop(0);
      stage.cluster.loseFolder(stage.cluster.slot(1));
      // Node 2 hears those that have the record while it starts; afterwards only those that lack it.
      stage.heal();
      network.partition(['node-3', 'node-4'], ['node-5', 'node-6']);
      for (const id of ['node-3', 'node-4']) network.faults(id, 'node-2', { delayMs: 10 });
      await stage.restart(1);
      network.partition(['node-2'], ['node-3', 'node-4']);
      await stage.for(3000);
      network.clearFaults();
      for (const id of ['node-3', 'node-4']) network.faults(id, '*', { delayMs: 30 });
      await stage.finish(await stage.openDeaf(500));
    },
  },
  {
    rule: 19,
    name: 'a failed sync: the node is damaged, and comes back under a new generation',
    async run(stage) {
      const writer = await stage.opened([0]);
      const slot = stage.cluster.slot(3);
      stage.cluster.wound(slot);
      slot.process.disk.faults.syncFails = 1;
      await stage.commit(writer, [1]);
      await stage.until(() => slot.node?.state === 'damaged', 'damage');
      slot.process.disk.faults.syncFails = 0;
      slot.process.crash({ power: false });
      await stage.restart(3);
      await stage.until(() => {
        stage.cluster.tend();
        return !slot.wounded;
      }, 'repaired');
      stage.stop(3);
      await stage.restart(3);
      await stage.finish(writer);
    },
  },
  {
    rule: 19,
    name: 'the first start: `initial` makes no lost folder new, and a folder outlives a power cut',
    async run(stage) {
      const writer = await stage.opened([0]);
      for (const slot of stage.cluster.nodes) slot.process.disk.faults.keepUnsynced = 0;
      for (const i of [0, 1, 2, 3, 4, 5]) stage.stop(i);
      await stage.restart(0, 1, 2, 3, 4, 5);
      for (const slot of stage.cluster.nodes) {
        stage.expect(slot.node?.identity.generation === 1, `${slot.id} kept its folder`);
      }
      const slot = stage.cluster.slot(2);
      stage.cluster.loseFolder(slot);
      await stage.restart(2);
      stage.expect(
        slot.node?.identity.generation === 2,
        'the lost folder is not taken for a new one',
      );
      await stage.until(() => {
        stage.cluster.tend();
        return !slot.wounded;
      }, 'repaired');
      await stage.finish(writer);
    },
  },
  {
    rule: 19,
    name: 'three folders lost at once: `initial` or not, nobody opens on blank nodes',
    async run(stage) {
      const writer = await stage.opened([0]);
      writer.process.crash();
      stage.stop(3, 4, 5);
      for (const slot of stage.slots(0, 1, 2)) stage.cluster.loseFolder(slot);
      for (const slot of stage.cluster.nodes) stage.cluster.startNode(slot);
      await stage.expectNoOpening(5000);
      for (const slot of stage.slots(0, 1, 2)) {
        stage.expect(slot.node?.state === 'starting', `${slot.id} takes part in nothing`);
      }
    },
  },
  {
    rule: 20,
    name: 'journal files are freed and recycled, and a restart finds all that was in them',
    async run(stage) {
      const writer = await stage.open({ pgs: 2 });
      for (let i = 0; i < 600; i++) {
        await stage.commit(writer, [i % 8]);
        if (i % 60 === 0) await stage.for(300);
      }
      await stage.for(1000);
      for (const i of [0, 1, 2, 3, 4, 5]) {
        stage.stop(i);
        await stage.restart(i);
      }
      await stage.readAll(writer);
      await stage.finish(writer);
    },
  },
  {
    rule: 21,
    name: 'long chains are folded in the background, short ones on the fly',
    async run(stage) {
      const writer = await stage.open();
      for (let i = 0; i < 60; i++) await stage.commit(writer, [0]);
      await stage.commit(writer, [1]);
      await stage.for(2000);
      const { stats } = stage.cluster.slot(0).node?.store ?? { stats: undefined };
      stage.expect((stats?.foldedPages ?? 0) > 0, 'page 0 was folded');
      stage.expect((stats?.unfoldedRecords ?? 0) > 0, 'page 1 is not worth it');
      await stage.readAll(writer);
      await stage.finish(writer);
    },
  },
  {
    rule: 28,
    name: 'a page is freed and formatted again: the new life starts without a base',
    async run(stage) {
      const writer = await stage.open();
      for (let i = 0; i < 5; i++) await stage.commit(writer, [0]);
      const before = writer.lsns.get(0) ?? 0;
      await stage.run(writer.reformat(0));
      stage.expect((writer.lsns.get(0) ?? 0) > before, 'it has a new version');
      await stage.commit(writer, [0]);
      await stage.readAll(writer);
      stage.stop(0, 1);
      await stage.restart(0, 1);
      await stage.finish(writer);
    },
  },
];
