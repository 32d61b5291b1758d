/** Rules 9 to 15 and 26: opening, against openers that crash and writers that do not know they are over. */
import { need, type Scenario } from './stage.js';

export const OPENING: readonly Scenario[] = [
  {
    rule: 9,
    name: 'the old writer commits once more, at every moment of an opening',
    needs: [need('node', 'noSeal', 'LOG-1')],
    async run(stage) {
      let old = await stage.opened([0]);
      for (let offsetMs = 1; offsetMs < 12; offsetMs += 0.1) {
        // Every node has everything, so that nothing but the seals stands between the two.
        await stage.for(30);
        const opening = stage.opening({ previousWriterDead: true });
        await stage.for(offsetMs);
        if (old.volume.failure === undefined) old.send([1]);
        const next = await stage.watched(opening);
        await stage.for(5);
        old.process.crash();
        old = next;
        await stage.readAll(old);
        await stage.commit(old, [0]);
      }
      await stage.finish(old);
    },
  },
  {
    rule: 9,
    name: 'the old writer goes on sending while the next one opens',
    needs: [need('node', 'takeStale', 'LOG-6')],
    async run(stage) {
      const old = await stage.opened([0, 4], { pgs: 2 });
      const opening = stage.opening();
      for (let i = 0; !opening.isOver() && i < 400; i++) {
        if (old.volume.failure === undefined && old.volume.hasRoom(2, 200)) old.send([i % 4, 4]);
        await stage.for(0.3);
      }
      await stage.run(opening.opened);
      await stage.finish(opening);
    },
  },
  {
    rule: 9,
    name: 'a node that slept through a recovery is sealed by the next one',
    needs: [
      {
        name: 'sealNoList',
        planted: { node: { sealNoList: true }, volume: new Set(['sealNoList']) },
        caughtBy: 'any',
      },
    ],
    async run(stage) {
      const first = await stage.opened([0]);
      stage.silence();
      // Two nodes have a tail that no quorum has; they sleep while it is annulled.
      stage.reach(first, 0, 1);
      first.send([1]);
      first.send([2]);
      await stage.for(20);
      first.process.crash();
      for (const slot of stage.slots(0, 1)) slot.process.pause();
      const second = await stage.open();
      second.process.crash();
      for (const slot of stage.slots(0, 1)) slot.process.resume();
      // What was annulled is still on them; they are sealed before any peer could tell them.
      stage.stop(4, 5);
      const third = await stage.opened([3]);
      await stage.finish(third);
    },
  },
  {
    rule: 10,
    name: 'the longest chain of each quorum counts, not the shortest',
    needs: [need('volume', 'min', 'LOG-1')],
    async run(stage) {
      const writer = await stage.opened([0, 4], { pgs: 2 });
      stage.isolate(writer, 0, 1, 2, 3);
      await stage.commit(writer, [1, 5]);
      await stage.commit(writer, [2]);
      writer.process.crash();
      // Whichever three answer first, one of them lacks what was committed, and no gossip fills it before.
      stage.stop(0, 1);
      stage.deafen();
      const next = await stage.openDeaf(1500);
      await stage.restart(0, 1);
      await stage.finish(next);
    },
  },
  {
    rule: 10,
    name: 'a range whose opener died before anybody journaled it counts as settled',
    needs: [need('volume', 'runFromJournal', 'any')],
    async run(stage) {
      const writer = await stage.opened([0]);
      writer.process.crash();
      // It opens and gives out LSNs above its range, which nobody ever sees: no node journals its VDL.
      const opening = stage.opening();
      const second = await stage.watched(opening);
      stage.reach(second);
      second.send([1]);
      second.send([2]);
      await stage.for(20);
      second.process.crash();
      stage.heal();
      await stage.finish();
    },
  },
  {
    rule: 11,
    name: 'a record kept by one survivor is repaired before anybody builds on it',
    needs: [need('volume', 'noRepair', 'any')],
    async run(stage) {
      const writer = await stage.opened([0]);
      stage.isolate(writer, 3);
      writer.send([1]);
      await stage.for(20);
      writer.process.crash();
      stage.stop(0, 1);
      // So that the three who answer first are the survivor and two who never had it.
      stage.deafen(2);
      const opening = stage.opening();
      // Nodes do not hear each other, so it cannot repair: it must not open.
      await stage.for(1500);
      if (!opening.isOver()) stage.heal();
      const next = await stage.watched(opening);
      const kept = stage.cluster.model.tail(0, next.volume.vdl);
      stage.expect(kept > 0, 'something is there');
      next.process.crash();
      stage.stop(3);
      stage.sim.network.clearFaults();
      stage.heal();
      await stage.restart(0, 1);
      const third = await stage.open();
      await stage.finish(third);
    },
  },
  {
    rule: 12,
    name: 'a second crash in the middle of recovery, at every step of it',
    async run(stage) {
      let writer = await stage.opened([0, 4], { pgs: 2 });
      stage.isolate(writer, 0, 1, 2);
      // As far as LAL allows: the next one may not use any of these LSNs again.
      while (writer.volume.hasRoom(1, 100)) writer.send([writer.volume.nextLsn % 8]);
      await stage.for(5);
      for (let ms = 0.2; ms < 8; ms *= 1.6) {
        const opening = stage.opening({ previousWriterDead: true });
        await stage.for(ms);
        opening.process.crash();
      }
      stage.heal();
      const old = writer;
      writer = await stage.opened([1, 5]);
      if (old.volume.failure === undefined && old.volume.hasRoom(1, 100)) old.send([0]);
      old.process.crash();
      await stage.finish(writer);
    },
  },
  {
    rule: 12,
    name: 'the old writer gives out all that LAL allows, which nobody sees',
    needs: [need('volume', 'reuse', 'LOG-4'), need('volume', 'smallerLal', 'LOG-4')],
    async run(stage) {
      const writer = await stage.opened([0]);
      stage.reach(writer);
      while (writer.volume.hasRoom(1, 100)) writer.send([writer.volume.nextLsn % 4]);
      await stage.for(5);
      writer.process.crash();
      stage.heal();
      await stage.finish();
    },
  },
  {
    rule: 13,
    name: 'a truncated range is not gossiped back',
    needs: [need('node', 'keepAnnulled', 'any'), need('volume', 'noInstall', 'LOG-5')],
    async run(stage) {
      const writer = await stage.opened([0, 1, 2, 3]);
      stage.isolate(writer, 0, 1);
      for (const page of [0, 1, 2]) writer.send([page]);
      await stage.for(20);
      writer.process.crash();
      stage.deafen();
      stage.stop(0, 1);
      const second = await stage.opened([3]);
      // They come back with what was annulled, and gossip begins before the engine reaches them.
      stage.sim.network.partition([second.name], ['node-1', 'node-2']);
      stage.heal();
      stage.sim.network.partition([second.name], ['node-1', 'node-2']);
      await stage.restart(0, 1);
      const { epoch } = second.view;
      await stage.until(
        () => [0, 1].every((i) => stage.host(i).segment.listEpoch === epoch),
        'both learnt the list from peers',
      );
      stage.heal();
      await stage.for(1000);
      for (let i = 0; i < 5; i++) await stage.readAll(second);
      await stage.finish(second);
    },
  },
  {
    rule: 14,
    name: 'a second crash with nothing written in between gives out nothing twice',
    async run(stage) {
      const first = await stage.opened([0]);
      for (let i = 0; i < 4; i++) {
        const next = await stage.open({ previousWriterDead: true });
        next.send([1]);
        next.process.crash();
      }
      await stage.finish(first);
    },
  },
  {
    rule: 15,
    name: 'with three nodes left a running engine reads, nobody opens, and a fourth heals it',
    async run(stage) {
      const writer = await stage.opened([0, 1, 2, 3]);
      await stage.for(500);
      stage.stop(0, 1, 2);
      await stage.readAll(writer);
      const waiting = writer.send([0]);
      await stage.expectNoOpening(2000);
      stage.expect(writer.volume.vdl < waiting, 'three nodes make nothing durable');
      await stage.readAll(writer);
      await stage.restart(0);
      await stage.until(() => writer.volume.vdl >= waiting, 'the fourth node');
      await stage.finish(writer);
    },
  },
  {
    rule: 26,
    name: 'a stale reader that hears nothing of its successor falls silent in time',
    needs: [need('volume', 'noLeaseWait', 'TXN-3')],
    async run(stage) {
      const leaseMs = stage.cluster.options.leaseMs;
      const old = await stage.opened([0]);
      await stage.run(old.volume.confirm());
      stage.reach(old);
      const opening = stage.opening();
      const answer = (): void => {
        if (!old.volume.confirmedWithin(leaseMs * 0.98)) return;
        stage.cluster.check((checker) => checker.answered?.(old.view, stage.cluster));
      };
      for (let i = 0; !opening.isOver() && i < 5000; i++) {
        answer();
        await stage.for(0.2);
      }
      const volume = await stage.run(opening.opened);
      const view = { name: opening.name, epoch: volume.epoch, core: volume.core };
      stage.cluster.check((checker) => checker.opened?.(view, volume.state, stage.cluster));
      stage.cluster.model.decide(volume.state.ranges);
      answer();
      stage.look();
      old.process.crash();
      await stage.finish(opening);
    },
  },
];
