import { describe, expect, test } from 'vitest';
import { stableMembership } from '#core/quorum/quorum-set.js';
import { toNodeId } from '#core/ids.js';
import { decodeBoxcar, encodeBoxcarHeader, sliceBoxcar } from '#core/redo/boxcar.js';
import { boxcar } from '../node/boxcars.test-helper.js';
import type { BoxcarOptions } from '../node/boxcars.test-helper.js';
import type { Faults } from '../node/faults.js';
import type { DecidedList, TruncationRange } from '../protocol/messages.js';
import { Segment } from './segment.js';
import type { SegmentEffect, SegmentEvent } from './segment.js';

const nodes = ['a', 'b', 'c', 'd', 'e', 'f'].map(toNodeId);
const membership = (epoch = 1) => stableMembership(nodes, epoch);
const R1: TruncationRange = { epoch: 1, after: 0, through: 100 };

function list(
  volumeEpoch: number,
  listEpoch: number,
  ranges: TruncationRange[],
  m = 1,
): DecidedList {
  return { volumeEpoch, listEpoch, ranges, membership: membership(m), peers: [] };
}

/** Runs events and writes down what came of them, one line each. */
class Script {
  readonly segment: Segment;
  readonly lines: string[] = [];

  constructor(faults: Faults = {}, whole = true, heldBytesMax?: number) {
    this.segment = new Segment(1, 0, whole, faults, heldBytesMax);
  }

  step(event: SegmentEvent): string {
    let line: string;
    try {
      line = this.segment.step(event).map(show).join(' ');
    } catch (error) {
      line = `throws ${(error as { code?: string }).code ?? String(error)}`;
    }
    this.lines.push(line);
    return `${line} | scl ${this.segment.scl}`;
  }

  install(epoch: number, ranges: TruncationRange[], m = 1): string {
    return this.step({ type: 'install', list: list(epoch, epoch, ranges, m), vdl: 0 });
  }

  seal(epoch: number, ranges: TruncationRange[], m = 1): string {
    return this.step({ type: 'seal', list: list(epoch, ranges.at(-1)?.epoch ?? 0, ranges, m) });
  }

  boxcar(backLink: number, lsns: number[], options: BoxcarOptions = {}): string {
    return this.step({ type: 'boxcar', bytes: boxcar(backLink, lsns, options) });
  }

  gossip(boxcars: Uint8Array[], vdl = 0, peerScl = 0): string {
    return this.step({
      type: 'gossip',
      boxcars: new Uint8Array(Buffer.concat(boxcars)),
      vdl,
      peerScl,
    });
  }
}

function show(effect: SegmentEffect): string {
  switch (effect.type) {
    case 'chain': {
      const { firstLsn, lastLsn, backLink } = decodeBoxcar(effect.bytes);
      return `chain(${backLink}<-${firstLsn}..${lastLsn})`;
    }
    case 'truncate':
      return `truncate(${effect.lsn})`;
    case 'refuse':
      return `refuse(${['ok', 'stale', 'needRanges', 'full', 'notReady', 'corrupt'][effect.status]})`;
    case 'sealed': {
      const { scl, journaledVdl, pgTail, records, whole } = effect.state;
      const runs = records.map((run) => `${run.from}-${run.to}[${run.cpls.join(',')}]`).join(' ');
      return `sealed(scl ${scl} vdl ${journaledVdl} tail ${pgTail} ${runs} ${whole ? 'whole' : 'not whole'})`;
    }
    case 'forget':
    case 'saveEpochs':
    case 'savePoints':
    case 'acknowledge':
    case 'ask':
      return effect.type;
  }
}

/** Epoch 1 open: (0, 100] annulled, LSNs start at 101. */
function opened(faults: Faults = {}, whole = true, heldBytesMax?: number): Script {
  const script = new Script(faults, whole, heldBytesMax);
  script.install(1, [R1]);
  return script;
}

describe('chain', () => {
  test('boxcar_in_order_is_journaled_before_it_is_acknowledged', () => {
    const s = opened();
    expect(s.boxcar(0, [101, 102])).toBe('chain(0<-101..102) acknowledge | scl 102');
    expect(s.boxcar(102, [105])).toBe('chain(102<-105..105) acknowledge | scl 105');
  });

  test('gap_is_held_and_not_journaled_until_filled', () => {
    const s = opened();
    expect(s.boxcar(102, [103])).toBe('ask acknowledge | scl 0');
    expect(s.segment.held).toBe(103);
    expect(s.boxcar(103, [104])).toBe('ask acknowledge | scl 0');
    expect(s.boxcar(0, [101, 102])).toBe(
      'chain(0<-101..102) chain(102<-103..103) chain(103<-104..104) acknowledge | scl 104',
    );
  });

  test('repeated_boxcar_changes_nothing', () => {
    const s = opened();
    s.boxcar(0, [101, 102]);
    expect(s.boxcar(0, [101, 102])).toBe('acknowledge | scl 102');
  });

  test('resend_cut_differently_is_sliced', () => {
    const s = opened();
    s.boxcar(0, [101, 102]);
    expect(s.boxcar(101, [102, 103, 104])).toBe('chain(102<-103..104) acknowledge | scl 104');
  });

  test('held_and_then_overlapped_is_sliced_too', () => {
    const s = opened();
    s.boxcar(102, [103, 104, 105]);
    expect(s.boxcar(0, [101, 102, 103])).toBe(
      'chain(0<-101..103) chain(103<-104..105) acknowledge | scl 105',
    );
  });

  test('held_boxcars_are_bounded_and_a_resend_is_asked_for', () => {
    const one = boxcar(102, [103]).length;
    const s = opened({}, true, one * 2);
    s.boxcar(0, [101]);
    s.boxcar(102, [103]);
    s.boxcar(103, [104]);
    s.boxcar(104, [105]);
    expect(s.segment.resendAfter).toBe(101);
    expect(s.segment.held).toBe(104);
    s.boxcar(101, [102]);
    expect(s.segment.scl).toBe(104);
    expect(s.segment.resendAfter).toBe(0);
  });

  test('link_that_contradicts_the_chain_is_corrupt', () => {
    const s = opened();
    s.boxcar(0, [101, 102]);
    expect(s.boxcar(101, [104])).toBe('refuse(corrupt) acknowledge | scl 102');
  });

  test('flipped_bit_is_refused_as_corrupt', () => {
    const s = opened();
    const bytes = boxcar(0, [101]);
    bytes[90] = (bytes[90] as number) ^ 1;
    expect(s.step({ type: 'boxcar', bytes })).toBe('refuse(corrupt) | scl 0');
    const other = boxcar(0, [101], { pg: 3 });
    expect(s.step({ type: 'boxcar', bytes: other })).toBe('refuse(corrupt) | scl 0');
  });

  test('malformed_edits_under_a_good_checksum_are_corrupt', () => {
    const s = opened();
    s.boxcar(0, [101]);
    const good = boxcar(101, [102, 103]);
    const header = decodeBoxcar(good);
    const bad = good.slice();
    bad[bad.length - 6] = 99;
    encodeBoxcarHeader(bad, header);
    expect(s.step({ type: 'boxcar', bytes: bad })).toBe('refuse(corrupt) acknowledge | scl 101');
    expect(s.seal(2, [R1])).toMatch(/101-101\[101\] whole/);
  });

  test('stuck_hole_asks_the_engine', () => {
    const s = opened();
    s.boxcar(0, [101]);
    s.boxcar(102, [103]);
    expect(s.step({ type: 'stuck' })).toBe('acknowledge | scl 101');
    expect(s.segment.resendAfter).toBe(101);
  });
});

describe('epochs', () => {
  test('boxcar_of_older_epoch_is_stale', () => {
    const s = opened();
    s.seal(2, [R1]);
    expect(s.boxcar(0, [101], { epoch: 1 })).toBe('refuse(stale) | scl 0');
  });

  test('boxcar_of_older_membership_is_stale', () => {
    const s = opened();
    s.install(1, [R1], 2);
    expect(s.boxcar(0, [101], { membershipEpoch: 1 })).toBe('refuse(stale) | scl 0');
    expect(s.boxcar(0, [101], { membershipEpoch: 3 })).toBe('refuse(needRanges) | scl 0');
    expect(s.boxcar(0, [101], { membershipEpoch: 2 })).toBe(
      'chain(0<-101..101) acknowledge | scl 101',
    );
  });

  test('boxcar_of_newer_epoch_needs_ranges', () => {
    expect(opened().boxcar(0, [101], { epoch: 2 })).toBe('refuse(needRanges) | scl 0');
  });

  test('sealed_segment_takes_no_boxcar_before_the_list', () => {
    const s = opened();
    s.seal(2, [R1]);
    expect(s.boxcar(0, [201], { epoch: 2 })).toBe('refuse(needRanges) | scl 0');
    const faulty = opened({ epochGate: true });
    faulty.seal(2, [R1]);
    expect(faulty.boxcar(0, [201], { epoch: 2 })).toBe('chain(0<-201..201) acknowledge | scl 201');
  });

  test('read_names_epoch_list_tail_and_horizon', () => {
    const s = opened();
    s.boxcar(0, [101], { vdl: 101, pgmrpl: 50 });
    const read = {
      volume: 1,
      pg: 0,
      volumeEpoch: 1,
      membershipEpoch: 1,
      pageNo: 0,
      readPoint: 101,
      pgTail: 101,
    };
    const code = (change: object): string => {
      try {
        s.segment.checkRead({ ...read, ...change });
        return 'ok';
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(code({})).toBe('ok');
    expect(code({ pgTail: 102 })).toBe('NOT_READY');
    expect(code({ readPoint: 49 })).toBe('OUT_OF_RANGE');
    expect(code({ volumeEpoch: 2 })).toBe('NEED_RANGES');
    s.seal(2, [R1]);
    expect(code({})).toBe('STALE_EPOCH');
    expect(code({ volumeEpoch: 2 })).toBe('NEED_RANGES');
  });
});

describe('seal', () => {
  test('seal_answers_the_records_above_the_journaled_vdl', () => {
    const s = opened();
    s.boxcar(0, [101, 102, 103, 106], { cpls: [102, 106], vdl: 0 });
    s.boxcar(106, [107], { cpls: [], vdl: 102 });
    expect(s.seal(2, [R1])).toBe(
      'saveEpochs savePoints sealed(scl 107 vdl 102 tail 102 103-103[] 106-107[106] whole) | scl 107',
    );
  });

  test('seal_adopts_epoch_and_list_in_the_step_that_answers', () => {
    const s = opened();
    s.boxcar(0, [101, 102, 103]);
    // It slept through epoch 2, which annulled (101, 201].
    expect(s.seal(3, [R1, { epoch: 2, after: 101, through: 201 }])).toBe(
      'saveEpochs truncate(101) savePoints sealed(scl 101 vdl 0 tail 0 101-101[101] whole) | scl 101',
    );
    expect([s.segment.volumeEpoch, s.segment.listEpoch]).toEqual([3, 2]);
    const faulty = opened({ sealNoList: true });
    faulty.boxcar(0, [101, 102, 103]);
    expect(faulty.seal(3, [R1, { epoch: 2, after: 101, through: 201 }])).toMatch(/scl 103$/);
  });

  test('seal_of_older_epoch_changes_nothing', () => {
    const s = opened();
    s.seal(3, [R1]);
    expect(s.seal(2, [R1])).toBe('throws STALE_EPOCH | scl 0');
    expect(s.segment.volumeEpoch).toBe(3);
  });

  test('seal_repeated_before_install_answers_again_after_it_is_stale', () => {
    const s = opened();
    s.seal(2, [R1]);
    expect(s.seal(2, [R1])).toMatch(/sealed/);
    s.install(2, [R1, { epoch: 2, after: 0, through: 200 }]);
    expect(s.seal(2, [R1])).toBe('throws STALE_EPOCH | scl 0');
  });

  test('no_seal_fault_keeps_taking_the_old_epoch', () => {
    const s = opened({ noSeal: true });
    s.seal(2, [R1]);
    expect(s.boxcar(0, [101], { epoch: 1 })).toMatch(/^chain/);
  });
});

describe('install', () => {
  test('install_clamps_to_the_tail_and_the_next_record_links_to_it', () => {
    const s = opened();
    s.boxcar(0, [101, 103, 105, 107], { cpls: [103, 107] });
    s.seal(2, [R1]);
    // VDL 104 belongs to another PG: this one's tail is 103.
    expect(s.install(2, [R1, { epoch: 2, after: 104, through: 204 }])).toBe(
      'saveEpochs truncate(104) savePoints acknowledge ask | scl 103',
    );
    expect(s.boxcar(103, [205], { epoch: 2 })).toBe('chain(103<-205..205) acknowledge | scl 205');
    expect(s.boxcar(107, [206], { epoch: 2 })).toBe('refuse(corrupt) acknowledge | scl 205');
  });

  test('keep_annulled_fault_keeps_them', () => {
    const s = opened({ keepAnnulled: true });
    s.boxcar(0, [101, 102]);
    expect(s.install(2, [R1, { epoch: 2, after: 101, through: 201 }])).toMatch(/scl 102$/);
  });

  test('install_drops_held_boxcars_of_the_old_epoch', () => {
    const s = opened();
    s.boxcar(0, [101]);
    s.boxcar(102, [103]);
    s.install(2, [R1, { epoch: 2, after: 102, through: 202 }]);
    expect(s.segment.held).toBe(101);
  });

  test('annulled_records_never_come_back', () => {
    const s = opened();
    s.boxcar(0, [101]);
    s.install(2, [R1, { epoch: 2, after: 101, through: 201 }]);
    expect(s.boxcar(101, [102], { epoch: 2 })).toBe('refuse(corrupt) | scl 101');
    expect(s.gossip([boxcar(101, [102], { epoch: 1 })])).toBe(' | scl 101');
  });

  test('range_that_annuls_the_durable_is_refused', () => {
    const s = opened();
    s.boxcar(0, [101, 102], { vdl: 102 });
    expect(s.install(2, [R1, { epoch: 2, after: 101, through: 201 }])).toBe(
      'throws PROTOCOL | scl 102',
    );
    expect(s.segment.volumeEpoch).toBe(1);
  });

  test('list_that_is_no_extension_is_refused', () => {
    const s = opened();
    expect(s.install(2, [{ epoch: 1, after: 0, through: 99 }])).toBe('throws PROTOCOL | scl 0');
  });

  test('install_repeated_changes_nothing', () => {
    const s = opened();
    s.boxcar(0, [101]);
    expect(s.install(1, [R1])).toBe('saveEpochs savePoints acknowledge ask | scl 101');
  });
});

describe('gossip', () => {
  test('gossip_fills_the_hole_and_tells_the_engine', () => {
    const s = opened();
    s.boxcar(102, [103]);
    expect(s.gossip([boxcar(0, [101, 102])])).toBe(
      'chain(0<-101..102) chain(102<-103..103) acknowledge | scl 103',
    );
  });

  test('records_of_old_epochs_come_by_gossip_and_are_filtered', () => {
    const s = opened();
    s.install(3, [
      R1,
      { epoch: 2, after: 102, through: 202 },
      { epoch: 3, after: 203, through: 303 },
    ]);
    const old = boxcar(0, [101, 102, 103], { epoch: 1 });
    expect(s.gossip([old, boxcar(102, [203], { epoch: 2 })], 203)).toBe(
      'chain(0<-101..102) chain(102<-203..203) acknowledge | scl 203',
    );
    expect(s.segment.journaledVdl).toBe(203);
  });

  test('sealed_segments_repair_each_other', () => {
    const s = opened();
    s.seal(2, [R1]);
    expect(s.gossip([boxcar(0, [101])])).toBe('chain(0<-101..101) acknowledge | scl 101');
  });

  test('bad_gossip_is_refused_and_the_rest_dropped', () => {
    const s = opened();
    const bad = boxcar(101, [102]);
    bad[90] = (bad[90] as number) ^ 4;
    expect(s.gossip([boxcar(0, [101]), bad, boxcar(102, [103])])).toBe(
      'chain(0<-101..101) refuse(corrupt) acknowledge | scl 101',
    );
  });
});

describe('whole', () => {
  test('blank_becomes_whole_by_strike_and_pgcl', () => {
    const s = opened({}, false);
    const strike = {
      volume: 1,
      pg: 0,
      volumeEpoch: 1,
      membershipEpoch: 1,
      generation: 2,
      pgcl: 102,
    };
    s.boxcar(0, [101]);
    expect(s.step({ type: 'strike', strike })).toBe('ask | scl 101');
    expect(s.segment.whole).toBe(false);
    expect(s.boxcar(101, [102])).toBe('chain(101<-102..102) saveEpochs acknowledge | scl 102');
    expect(s.segment.whole).toBe(true);
  });

  test('one_complete_peer_is_not_enough', () => {
    const s = opened({}, false);
    s.gossip([boxcar(0, [101])], 0, 101);
    expect(s.segment.whole).toBe(false);
    const faulty = opened({ earlyWhole: true }, false);
    faulty.gossip([boxcar(0, [101])], 0, 101);
    expect(faulty.segment.whole).toBe(true);
  });

  test('strike_of_an_older_epoch_does_not_count', () => {
    const s = opened({}, false);
    const strike = {
      volume: 1,
      pg: 0,
      volumeEpoch: 1,
      membershipEpoch: 1,
      generation: 2,
      pgcl: 101,
    };
    s.step({ type: 'strike', strike });
    s.seal(2, [R1]);
    s.gossip([boxcar(0, [101])]);
    expect(s.segment.whole).toBe(false);
    expect(s.step({ type: 'strike', strike })).toBe('throws STALE_EPOCH | scl 101');
  });

  test('hydration_moves_scl_to_the_point_and_the_log_goes_on_from_there', () => {
    const s = opened();
    expect(s.step({ type: 'hydrated', point: 150, vdl: 160 })).toBe(
      'savePoints acknowledge ask | scl 150',
    );
    expect(s.segment.logStart).toBe(150);
    expect(s.gossip([boxcar(150, [155, 170])])).toBe('chain(150<-155..170) acknowledge | scl 170');
    expect(s.seal(2, [R1])).toMatch(/vdl 160 tail 155 170-170/);
  });
});

describe('recovery', () => {
  function recovered(from: Script, boxcars: Uint8Array[], floor = 0) {
    const segment = new Segment(1, 0, true, {});
    segment.restore(from.segment.epochs(), from.segment.points(), floor);
    return { verdicts: boxcars.map((bytes) => segment.recover(bytes).verdict), segment };
  }

  test('journal_order_rebuilds_chain_vdl_and_tail', () => {
    const s = opened();
    const log = [boxcar(0, [101, 102], { cpls: [102] }), boxcar(102, [103], { vdl: 102 })];
    for (const bytes of log) s.step({ type: 'boxcar', bytes });
    const { verdicts, segment } = recovered(s, log);
    expect(verdicts).toEqual(['admit', 'admit']);
    expect([segment.scl, segment.journaledVdl, segment.base]).toEqual([103, 102, 102]);
    const fresh = recovered(opened(), log);
    expect([fresh.segment.scl, fresh.segment.journaledVdl, fresh.segment.base]).toEqual([
      103, 102, 102,
    ]);
  });

  test('annulled_tail_is_cut_again', () => {
    const s = opened();
    const log = [boxcar(0, [101, 102, 103]), boxcar(103, [104])];
    s.install(2, [R1, { epoch: 2, after: 102, through: 202 }]);
    const { verdicts, segment } = recovered(s, [...log, boxcar(102, [203], { epoch: 2 })]);
    expect(verdicts).toEqual(['cut', 'drop', 'admit']);
    expect(segment.scl).toBe(203);
  });

  test('cut_between_two_records_ends_at_the_lower_one', () => {
    const s = opened();
    s.install(2, [R1, { epoch: 2, after: 104, through: 204 }]);
    const { verdicts, segment } = recovered(s, [
      boxcar(0, [101, 103, 105]),
      boxcar(103, [205], { epoch: 2 }),
    ]);
    expect(verdicts).toEqual(['cut', 'admit']);
    expect(segment.scl).toBe(205);
  });

  test('folded_and_freed_log_is_not_missed', () => {
    const s = opened();
    s.boxcar(0, [101, 102]);
    s.boxcar(102, [103], { vdl: 102 });
    const { verdicts, segment } = recovered(s, [boxcar(102, [103])], 102);
    expect([...verdicts, segment.endRecovery(), segment.scl]).toEqual(['admit', true, 103]);
    const folded = recovered(s, [], 102);
    expect([folded.segment.endRecovery(), folded.segment.scl]).toEqual([true, 102]);
  });

  test('log_missing_between_floor_and_base_is_damage', () => {
    const s = opened();
    s.boxcar(0, [101, 102]);
    s.boxcar(102, [103], { vdl: 102 });
    const { verdicts, segment } = recovered(s, [boxcar(102, [103])], 101);
    expect(verdicts).toEqual(['broken']);
    expect([segment.endRecovery(), segment.scl, segment.journaledVdl]).toEqual([false, 101, 102]);
  });

  test('log_goes_on_after_hydrated_pages', () => {
    const s = opened();
    s.boxcar(0, [101]);
    s.step({ type: 'hydrated', point: 150, vdl: 160 });
    const { verdicts, segment } = recovered(s, [boxcar(0, [101]), boxcar(150, [155])]);
    expect([...verdicts, segment.endRecovery(), segment.scl]).toEqual([
      'admit',
      'admit',
      true,
      155,
    ]);
  });

  test('missing_piece_is_damage', () => {
    const { verdicts, segment } = recovered(opened(), [boxcar(0, [101]), boxcar(102, [103])]);
    expect(verdicts).toEqual(['admit', 'broken']);
    expect(segment.scl).toBe(101);
  });
});

test('any_cut_and_order_of_a_log_gives_the_same_chain', () => {
  const whole = boxcar(
    0,
    Array.from({ length: 40 }, (_, i) => 101 + i * 2),
  );
  let seed = 7;
  const below = (n: number): number => (seed = (seed * 48271) % 2147483647) % n;
  for (let run = 0; run < 50; run++) {
    const s = opened();
    const journal: Uint8Array[] = [];
    for (let i = 0; i < 400 && s.segment.scl < 179; i++) {
      const from = 99 + below(42) * 2;
      const bytes = sliceBoxcar(whole, from, from + 2 + below(24));
      if (bytes.length === 0) continue;
      for (const effect of s.segment.step({ type: 'boxcar', bytes })) {
        expect(effect.type).not.toBe('refuse');
        if (effect.type === 'chain') journal.push(effect.bytes);
      }
    }
    const end = s.segment.scl;
    let at = 0;
    for (const bytes of journal) {
      const header = decodeBoxcar(bytes);
      expect(header.backLink).toBe(at);
      at = header.lastLsn;
    }
    expect(at).toBe(end);
  }
});
