/** LOG-1 to LOG-6: what is acknowledged stays, what is annulled never comes back. */
import { BOXCAR_HEADER_BYTES, decodeBoxcar } from '#core/redo/boxcar.js';
import { RecordReader } from '#core/redo/record.js';
import { writeQuorum } from '#core/quorum/quorum-set.js';
import type { SegmentHost } from '#storage-nodes/node/segment-host.js';
import { Violation } from '../violation.js';
import type { CheckContext, Checker, NodeView, SegmentSnapshot } from './checker.js';

/** LOG-1: no decided range covers what an engine of an earlier epoch was told to be durable. */
export const acknowledgedIsKept: Checker = {
  id: 'LOG-1',
  opened(engine, state, { model }) {
    for (const range of state.ranges) {
      for (const [epoch, vdl] of model.acknowledged) {
        if (epoch >= range.epoch || vdl <= range.after) continue;
        throw new Violation(
          'LOG-1',
          `${engine.name}: epoch ${range.epoch} annuls (${range.after}, ${range.through}], epoch ${epoch} acknowledged ${vdl}`,
        );
      }
    }
  },
  durable(engine, vdl, { model }) {
    for (const range of model.ranges) {
      if (range.epoch <= engine.epoch || vdl <= range.after) continue;
      throw new Violation(
        'LOG-1',
        `${engine.name} acknowledges ${vdl} in epoch ${engine.epoch}, annulled by epoch ${range.epoch}`,
      );
    }
  },
};

/** LOG-2: what a node acknowledged is there after a power cut. */
export function acknowledgedIsDurable(): Checker {
  const promised = new Map<string, { generation: number; scl: number }>();
  return {
    id: 'LOG-2',
    acknowledged(_engine, node, { pg, generation, scl }) {
      const key = `${node.id}/${pg}`;
      const known = promised.get(key);
      if (known !== undefined && known.generation > generation) return;
      const before = known?.generation === generation ? known.scl : 0;
      promised.set(key, { generation, scl: Math.max(scl, before) });
    },
    recovered(view, { model }) {
      const { node } = view;
      if (node === undefined || view.wounded) return;
      for (const [key, { generation, scl }] of promised) {
        const [id, pg] = key.split('/');
        if (id !== view.id || generation !== node.identity.generation) continue;
        const host = [...node.hosts.values()].find(({ segment }) => segment.pg === Number(pg));
        const due = model.tail(Number(pg), scl, host?.segment.ranges);
        if ((host?.segment.scl ?? 0) >= due) continue;
        throw new Violation(
          'LOG-2',
          `${id} acknowledged ${due} of PG ${pg} and came back with ${host?.segment.scl ?? 'nothing'}`,
        );
      }
    },
  };
}

/** LOG-3: every record of the PG at or below SCL is on the node: its durable pages say so, and so does its log. */
export const chainIsWhole: Checker = {
  id: 'LOG-3',
  recovered(view, context) {
    if (view.wounded || view.node === undefined) return;
    for (const host of view.node.hosts.values()) {
      if (host.segment.whole) checkLog(view, host, context);
    }
  },
  converged(engine, context) {
    for (const view of context.nodes) {
      for (const host of view.node?.hosts.values() ?? []) {
        const { segment } = host;
        const tail = context.model.tail(segment.pg, engine.core.vdl);
        if (segment.scl < tail) {
          throw new Violation(
            'LOG-3',
            `${view.id} PG ${segment.pg}: SCL ${segment.scl} of ${tail}`,
          );
        }
        checkLog(view, host, context);
      }
    }
  },
};

/** What of the log is still there as log holds every surviving record of its span, and nothing annulled. */
function checkLog(view: NodeView, host: SegmentHost, { model }: CheckContext): void {
  const { segment } = host;
  const store = view.node?.store;
  if (store === undefined) return;
  const from = Math.max(segment.logStart, segment.base);
  const boxcars = store.readLog(host.key, from, host.admittedScl, 1 << 30);
  if (boxcars === null) return;
  const present = new Set<number>();
  const reader = new RecordReader();
  for (const boxcar of boxcars) {
    reader.reset(boxcar, BOXCAR_HEADER_BYTES, boxcar.length, decodeBoxcar(boxcar).firstLsn);
    while (reader.next()) present.add(reader.lsn);
  }
  for (const lsn of present) {
    if (lsn <= segment.scl && model.annulled(lsn, segment.ranges)) {
      throw new Violation('LOG-5', `${view.id} keeps ${lsn}, which its own list annuls`);
    }
  }
  for (let lsn = model.tail(segment.pg, segment.scl, segment.ranges); lsn > from;) {
    if (!present.has(lsn)) {
      throw new Violation(
        'LOG-3',
        `${view.id} PG ${segment.pg}: ${lsn} <= SCL ${segment.scl} is missing`,
      );
    }
    lsn = model.tail(segment.pg, lsn - 1, segment.ranges);
  }
}

/** LOG-4: VDL never goes back, LSNs are fresh, and none lies above VDL + LAL. */
export function pointsOnlyGrow(): Checker {
  const last = new Map<string, number>();
  return {
    id: 'LOG-4',
    appended(engine, record, { model }) {
      const { core } = engine;
      const { lsn } = record;
      const twin = model.issued.get(lsn);
      if (twin !== undefined) {
        throw new Violation(
          'LOG-4',
          `LSN ${lsn} of epoch ${twin.epoch} given out again by ${engine.epoch}`,
        );
      }
      if (lsn > core.vdl + core.lal) {
        throw new Violation('LOG-4', `LSN ${lsn} above VDL ${core.vdl} + LAL ${core.lal}`);
      }
      for (const range of model.ranges) {
        const later = range.epoch > engine.epoch;
        if (later ? lsn <= range.through : lsn > range.through) continue;
        throw new Violation(
          'LOG-4',
          `epoch ${engine.epoch} gives out ${lsn}, epoch ${range.epoch} decided (${range.after}, ${range.through}]`,
        );
      }
    },
    durable(engine, vdl) {
      const before = last.get(engine.name) ?? 0;
      if (vdl < before)
        throw new Violation('LOG-4', `${engine.name}: VDL from ${before} to ${vdl}`);
      last.set(engine.name, vdl);
    },
    opened(engine, _state, { model }) {
      // One that was overtaken while it opened may end below its successor: nothing of it reaches a quorum.
      for (const [epoch, vdl] of model.acknowledged) {
        if (epoch >= engine.epoch || vdl <= engine.core.vdl) continue;
        throw new Violation(
          'LOG-4',
          `${engine.name} opens at ${engine.core.vdl}, below ${vdl} of epoch ${epoch}`,
        );
      }
    },
  };
}

/** LOG-5: nothing that a decided range annuls is ever read. */
export const annulledIsHidden: Checker = {
  id: 'LOG-5',
  read(engine, pageNo, _readPoint, page, { model }) {
    const lsn = Number(new DataView(page.buffer, page.byteOffset).getBigUint64(0, true));
    for (const range of model.ranges) {
      if (range.epoch > engine.epoch || lsn <= range.after || lsn > range.through) continue;
      throw new Violation(
        'LOG-5',
        `${engine.name} reads page ${pageNo} at ${lsn}, annulled by epoch ${range.epoch}`,
      );
    }
  },
};

/** LOG-6: a request of an older epoch changes nothing, and no epoch that a node has answered is ever forgotten. */
export function staleChangesNothing(): Checker {
  const promised = new Map<string, { generation: number; epoch: number }>();
  const keyOf = (view: NodeView, pg: number): string => `${view.id}/${pg}`;
  return {
    id: 'LOG-6',
    handled(view, host, request, before) {
      const stale =
        request.volumeEpoch < before.volumeEpoch ||
        request.membershipEpoch < before.membershipEpoch;
      const changed = stale ? changeOf(before, host) : undefined;
      if (changed === undefined) return;
      throw new Violation(
        'LOG-6',
        `${view.id}: a request of epoch ${request.volumeEpoch} changed ${changed} of a segment of epoch ${before.volumeEpoch}`,
      );
    },
    promised(view, { pg, volumeEpoch }) {
      const generation = view.node?.identity.generation ?? 0;
      const known = promised.get(keyOf(view, pg));
      const before = known?.generation === generation ? known.epoch : 0;
      promised.set(keyOf(view, pg), { generation, epoch: Math.max(volumeEpoch, before) });
    },
    recovered(view) {
      if (view.wounded) return;
      for (const host of view.node?.hosts.values() ?? []) {
        const known = promised.get(keyOf(view, host.segment.pg));
        if (known === undefined || known.generation !== view.node?.identity.generation) continue;
        if (host.segment.volumeEpoch >= known.epoch) continue;
        throw new Violation(
          'LOG-6',
          `${view.id} answered epoch ${known.epoch} and came back with ${host.segment.volumeEpoch}`,
        );
      }
    },
  };
}

function changeOf(before: SegmentSnapshot, host: SegmentHost): string | undefined {
  const after: SegmentSnapshot = snapshotOf(host);
  const names = Object.keys(after) as (keyof SegmentSnapshot)[];
  return names.find((name) => before[name] !== after[name]);
}

export function snapshotOf({ segment }: SegmentHost): SegmentSnapshot {
  const { volumeEpoch, membershipEpoch, listEpoch } = segment;
  const { scl, held, journaledVdl, pgmrpl, whole } = segment;
  return { volumeEpoch, membershipEpoch, listEpoch, scl, held, journaledVdl, pgmrpl, whole };
}

/** LOG-5, rule 13: who opens has a write quorum of every group on whose nodes the list is. */
export const listIsInstalled: Checker = {
  id: 'LOG-5',
  opened(engine, state, { nodes }) {
    state.pgs.forEach((membership, pg) => {
      const has = (id: string): boolean => {
        const view = nodes.find((node) => node.id === id);
        // It may have been lost since it answered.
        if (view === undefined || view.wounded) return true;
        for (const { segment } of view.node?.hosts.values() ?? []) {
          if (segment.pg === pg && segment.listEpoch >= state.epoch) return true;
        }
        return false;
      };
      if (writeQuorum(membership, has)) return;
      throw new Violation(
        'LOG-5',
        `${engine.name} opens before a write quorum of PG ${pg} has the list of epoch ${state.epoch}`,
      );
    });
  },
};
