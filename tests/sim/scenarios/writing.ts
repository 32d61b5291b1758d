/** Rules 1 to 8: writing and reading. */
import { need, type Scenario } from './stage.js';

export const WRITING: readonly Scenario[] = [
  {
    rule: 1,
    name: 'a crash between the halves of an MTR shows neither',
    needs: [need('volume', 'vdlAtVcl', 'LOG-1')],
    async run(stage) {
      const writer = await stage.opened([0, 4], { pgs: 2 });
      // Somebody waits in the middle of an MTR, so that its first half is sent and comes to all.
      const half = writer.write([0, 4, 1], true);
      writer.volume.wait(half, () => undefined);
      await stage.for(5);
      stage.expect(stage.host(5).segment.scl === half, 'the half has arrived');
      await stage.finish(writer);
    },
  },
  {
    rule: 2,
    name: 'a boxcar short of its quorum keeps the next one back, and its acknowledgement sends it',
    async run(stage) {
      const writer = await stage.opened([0]);
      const sent = writer.volume.status().boxcarsSent;
      for (let i = 0; i < 5; i++) writer.send([i % 4]);
      await stage.for(0.01);
      for (let i = 0; i < 5; i++) writer.send([i % 4]);
      await stage.for(0.01);
      stage.expect(writer.volume.status().boxcarsSent === sent + 1, 'one boxcar is on its way');
      await stage.until(() => writer.volume.vdl === writer.volume.nextLsn - 1, 'all durable');
      stage.expect(writer.volume.status().boxcarsSent === sent + 2, 'the rest rode in one more');
      // What nobody waits for stays.
      writer.write([1]);
      await stage.for(50);
      stage.expect(writer.volume.status().boxcarsSent === sent + 2, 'nobody waits for this one');
      await stage.commit(writer, [2]);
      await stage.finish(writer);
    },
  },
  {
    rule: 3,
    name: 'a flipped bit on the wire is not journaled',
    async run(stage) {
      const writer = await stage.open();
      stage.sim.network.faults(writer.name, '*', { flipBit: 0.3 });
      for (let i = 0; i < 20; i++) await stage.commit(writer, [i % 4]);
      await stage.finish(writer);
    },
  },
  {
    rule: 4,
    name: 'a power cut right after an acknowledgement',
    needs: [need('node', 'ackBeforeSync', 'LOG-2')],
    async run(stage) {
      for (const slot of stage.cluster.nodes) slot.process.disk.faults.keepUnsynced = 0;
      const writer = await stage.open();
      for (let i = 0; i < 6; i++) {
        const slot = stage.cluster.slot(i);
        slot.process.crashAtSync(2, 'before');
        await stage.commit(writer, [0]);
        await stage.commit(writer, [1]);
        await stage.for(300);
        slot.process.crash();
        await stage.restart(i);
      }
      await stage.finish(writer);
    },
  },
  {
    rule: 4,
    name: 'refusals of full disks are no acknowledgements',
    needs: [need('volume', 'refusalsCount', 'LOG-1')],
    async run(stage) {
      const writer = await stage.opened([0]);
      const full = stage.slots(2, 3, 4, 5);
      for (const { process } of full) process.disk.faults.quotaBytes = process.disk.usedBytes;
      // They write on as long as their journal file has room.
      for (let i = 0; i < 400 && writer.volume.hasRoom(1, 100); i++) {
        writer.send([i % 4]);
        await stage.for(1);
      }
      await stage.for(50);
      writer.process.crash();
      stage.stop(0, 1, 2, 3, 4, 5);
      for (const { process } of full) process.disk.faults.quotaBytes = 2 ** 40;
      await stage.restart(2, 3, 4, 5);
      const next = await stage.open();
      await stage.finish(next);
    },
  },
  {
    rule: 5,
    name: 'a node that missed boxcars is sent them again or gossips, and LAL bounds what waits',
    async run(stage) {
      const writer = await stage.opened([0]);
      stage.reach(writer, 0, 1, 2);
      let sent = 0;
      while (writer.volume.hasRoom(1, 100)) {
        writer.send([sent % 4]);
        sent++;
        await stage.for(1);
      }
      stage.expect(sent === stage.cluster.options.lal, `LAL records went out, not ${sent}`);
      stage.heal();
      await stage.until(() => writer.volume.vdl === writer.volume.nextLsn - 1, 'all durable');
      await stage.finish(writer);
    },
  },
  {
    rule: 6,
    name: 'three nodes have it: not durable',
    needs: [need('volume', 'writeQuorum3', 'LOG-1')],
    async run(stage) {
      const writer = await stage.opened([0]);
      stage.isolate(writer, 0, 1, 2);
      writer.send([1]);
      await stage.for(20);
      // Two of the three are down while the next one opens, and the third answers last.
      writer.process.crash();
      stage.stop(0, 1);
      stage.deafen(2);
      const next = await stage.openDeaf(300);
      stage.expect(next.view.epoch > writer.view.epoch, 'a new epoch');
      await stage.finish(next);
    },
  },
  {
    rule: 6,
    name: 'a hole: four nodes hold the later record, three the earlier one',
    needs: [need('volume', 'ignoreHoles', 'LOG-1')],
    async run(stage) {
      const writer = await stage.opened([0]);
      stage.isolate(writer, 0, 1, 2, 3);
      await stage.commit(writer, [1]);
      stage.isolate(writer, 0, 1, 4, 5);
      // Two of these four hold it behind a hole, in memory only.
      const lsn = writer.send([2]);
      await stage.for(5);
      writer.process.crash();
      stage.expect(stage.host(4).segment.scl < lsn, 'the hole is there');
      stage.stop(0, 1, 4, 5);
      stage.heal();
      await stage.restart(4, 5);
      const next = await stage.open();
      await stage.finish(next);
    },
  },
  {
    rule: 7,
    name: 'a laggard serves no read above its SCL',
    needs: [need('volume', 'readAnywhere', 'PAGE-2')],
    async run(stage) {
      const writer = await stage.opened([0, 1, 2, 3]);
      stage.isolate(writer, 0, 1, 2, 3);
      await stage.commit(writer, [0, 1]);
      stage.deafen();
      // Slow for everybody but the laggards, so that these would be asked first.
      for (const slot of stage.slots(0, 1, 2, 3)) {
        stage.sim.network.faults(writer.name, slot.id, { delayMs: 3 });
      }
      for (let i = 0; i < 10; i++) await stage.readAll(writer);
      await stage.finish(writer);
    },
  },
  {
    rule: 8,
    name: 'nothing above VDL is folded, so that annulling it leaves good pages',
    needs: [need('node', 'foldAboveVdl', 'any')],
    async run(stage) {
      const writer = await stage.opened([0, 1, 2, 3]);
      stage.isolate(writer, 0, 1, 2);
      for (let i = 0; i < 30; i++) {
        writer.send([0]);
        await stage.for(2);
      }
      // Long enough for folding, if it were allowed.
      await stage.for(2000);
      writer.process.crash();
      stage.stop(0, 1);
      stage.deafen(2);
      const next = await stage.openDeaf(300);
      next.process.crash();
      await stage.restart(0, 1);
      await stage.finish();
    },
  },
];
