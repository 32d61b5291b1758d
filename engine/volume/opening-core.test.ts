import { describe, expect, it } from 'vitest';
import { SextantError, type ErrorCode } from '#core/errors.js';
import type { NodeId } from '#core/ids.js';
import { beginReplace, stableMembership } from '#core/quorum/quorum-set.js';
import type { SealAnswer, VolumeState } from '#storage-nodes/protocol/messages.js';
import type { Fault } from './faults.js';
import {
  OpeningCore,
  type Opened,
  type OpeningEffect,
  type OpeningEvent,
  type OpeningOptions,
} from './opening-core.js';

const SIX = stableMembership(['a', 'b', 'c', 'd', 'e', 'f'] as NodeId[]);
const RANGE = { epoch: 3, after: 0, through: 100 };
const BEFORE: VolumeState = {
  format: 1,
  volume: 1,
  epoch: 3,
  state: 'open',
  opener: 'old',
  pagesPerPg: 10,
  pgs: [SIX],
  ranges: [RANGE],
  lal: 50,
};

/** An opening whose effects are written down; the register is a variable. */
class Script {
  register: VolumeState | null;
  readonly core: OpeningCore;
  log: string[] = [];
  opened: Opened | undefined;
  error: SextantError | undefined;
  #changes: Extract<OpeningEffect, { type: 'change' }>[] = [];

  constructor(register: VolumeState | null = BEFORE, options: Partial<OpeningOptions> = {}) {
    this.register = register;
    this.core = new OpeningCore({
      volume: 1,
      opener: 'me',
      lal: 20,
      create: false,
      pagesPerPg: 10,
      nodes: Array.from('abcdefg', (id) => ({ id, zone: 'z', address: id })),
      previousWriterDead: true,
      ...options,
    });
    this.step({ type: 'start' });
  }

  step(event: OpeningEvent): void {
    for (const effect of this.core.step(event)) {
      if (effect.type === 'change') {
        this.#changes.push(effect);
        this.log.push(`register: ${effect.step}`);
      } else if (effect.type === 'opened') this.opened = effect.opened;
      else if (effect.type === 'failed') this.error = effect.error as SextantError;
      else if (effect.type === 'lease') this.log.push('lease');
      else if (effect.type === 'seal') {
        this.log.push(`${effect.node} ${effect.pg} seal ${effect.request.ranges.length}`);
      } else if (effect.type === 'catchUp') {
        const { target, sources } = effect.request;
        this.log.push(`${effect.node} ${effect.pg} catch up to ${target} from ${sources.join('')}`);
      } else {
        const { vdl, pgTail, ranges } = effect.request;
        this.log.push(`${effect.node} ${effect.pg} install ${ranges.length} at ${vdl}/${pgTail}`);
      }
    }
  }

  /** Carries out the register rounds asked for; `reply` false: done, but nobody hears. */
  round(reply = true): void {
    for (const { step, change } of this.#changes.splice(0)) {
      try {
        this.register = change(this.register);
      } catch (error) {
        this.step({ type: 'registerFailed', step, error: error as Error });
        return;
      }
      if (reply) this.step({ type: 'decided', step, value: this.register });
      else {
        const error = new SextantError('NO_QUORUM', 'lost');
        this.step({ type: 'registerFailed', step, error });
      }
    }
  }

  sealed(nodes: string, scl: number, more: Partial<SealAnswer> = {}, pg = 0): void {
    for (const node of nodes) {
      const above = {
        from: 101,
        to: scl,
        cpls: Array.from({ length: scl - 100 }, (_, i) => 101 + i),
      };
      const records = scl > 100 ? [above] : [];
      const answer = {
        node,
        generation: 1,
        scl,
        journaledVdl: 90,
        pgTail: 90,
        records,
        whole: true,
      };
      this.step({ type: 'sealed', pg, node: node as NodeId, answer: { ...answer, ...more } });
    }
  }

  installed(nodes: string, generation = 1): void {
    for (const node of nodes) {
      this.step({
        type: 'installed',
        pg: 0,
        node: node as NodeId,
        answer: { scl: 110, generation },
      });
    }
  }

  refused(nodes: string, code: ErrorCode): void {
    for (const node of nodes) this.step({ type: 'refused', pg: 0, node: node as NodeId, code });
  }

  take(): string[] {
    return this.log.splice(0);
  }
}

const faulty = (fault: Fault): Partial<OpeningOptions> => ({ faults: new Set([fault]) });

describe('opening', () => {
  it('claims, seals, decides, installs, and starts above the range', () => {
    const script = new Script();
    expect(script.take()).toEqual(['register: claim']);
    script.round();
    expect(script.register).toMatchObject({ epoch: 4, state: 'recovering', opener: 'me' });
    expect(script.take()).toEqual(Array.from('abcdef', (node) => `${node} 0 seal 1`));
    script.sealed('ab', 110);
    expect(script.core.phase).toBe('seal');
    script.sealed('cd', 110);
    expect(script.take()).toEqual(['register: decide']);
    script.round();
    const range = { epoch: 4, after: 110, through: 160 };
    expect(script.register).toEqual({
      ...BEFORE,
      epoch: 4,
      opener: 'me',
      ranges: [RANGE, range],
      lal: 20,
    });
    expect(script.take()).toEqual(Array.from('abcd', (node) => `${node} 0 install 2 at 110/110`));
    script.installed('abc');
    expect(script.opened).toBeUndefined();
    script.installed('d');
    expect(script.opened).toMatchObject({ vdl: 160, tails: [110] });
  });

  it('makes a volume only when told to, and needs no lease for it', () => {
    const refused = new Script(null);
    refused.round();
    expect(refused.error?.code).toBe('NOT_FOUND');
    const script = new Script(null, { create: true, previousWriterDead: false });
    script.round();
    script.sealed('abcd', 0, { journaledVdl: 0, pgTail: 0 });
    script.round();
    script.installed('abcd');
    expect(script.opened).toMatchObject({ vdl: 20, tails: [0] });
    expect(script.register?.epoch).toBe(1);
  });

  it('rule 9: the seal brings the decided list', () => {
    const script = new Script();
    script.round();
    expect(script.take()[1]).toBe('a 0 seal 1');
    const without = new Script(BEFORE, faulty('sealNoList'));
    without.round();
    expect(without.take().at(-1)).toBe('f 0 seal 0');
  });

  it('rules 10 and 19: a segment that is not whole counts in no read quorum, but can be repaired', () => {
    const script = new Script();
    script.round();
    script.sealed('ab', 110);
    script.sealed('c', 110, { whole: false });
    expect(script.core.phase).toBe('seal');
    script.sealed('d', 90);
    script.round();
    expect(script.take()).toContain('d 0 catch up to 110 from abc');
    script.step({ type: 'caughtUp', pg: 0, node: 'd' as NodeId });
    script.step({ type: 'tick' });
    expect(script.take()).toContain('d 0 seal 1');
    script.sealed('d', 110);
    script.round();
    script.installed('abcd');
    const generations = script.opened?.segments.map(({ generation }) => generation);
    expect(generations).toEqual([1, 1, -1, 1]);
  });

  it('rule 10: every PG has its quorum before anything is computed', () => {
    const script = new Script({ ...BEFORE, pgs: [SIX, SIX] });
    script.round();
    script.sealed('abcdef', 110);
    expect(script.core.phase).toBe('seal');
    script.sealed('abcd', 0, { journaledVdl: 0, pgTail: 0 }, 1);
    expect(script.core.phase).toBe('decide');
  });

  it('rule 11: a record on one survivor is copied to a write quorum first', () => {
    const script = new Script();
    script.round();
    script.sealed('a', 110);
    script.sealed('bcd', 105);
    expect(script.core.phase).toBe('repair');
    expect(script.take()).toContain('b 0 catch up to 110 from a');
    const hasty = new Script(BEFORE, faulty('noRepair'));
    hasty.round();
    hasty.sealed('a', 110);
    hasty.sealed('bc', 105);
    expect(hasty.core.phase).toBe('decide');
  });

  it('rule 11: of every set in force', () => {
    const pgs = [beginReplace(SIX, 'f' as NodeId, 'g' as NodeId)];
    const script = new Script({ ...BEFORE, pgs });
    script.round();
    script.sealed('abf', 110);
    expect(script.core.phase).toBe('seal');
    script.sealed('g', 110);
    expect(script.core.phase).toBe('repair');
    script.sealed('c', 110);
    expect(script.core.phase).toBe('decide');
    const any = new Script({ ...BEFORE, pgs }, faulty('repairAnyW'));
    any.round();
    any.sealed('abfg', 110);
    expect(any.core.phase).toBe('decide');
  });

  it('rule 12: the range covers what the predecessor may have given out, whose LAL was larger', () => {
    for (const [fault, through] of [
      [undefined, 160],
      ['smallerLal', 159],
      ['reuse', 110],
    ] as const) {
      const script = new Script(BEFORE, fault === undefined ? {} : faulty(fault));
      script.round();
      script.sealed('abcd', 110);
      script.round();
      expect(script.register?.ranges.at(-1)).toEqual({ epoch: 4, after: 110, through });
    }
  });

  it('rule 12: a round that took effect unheard is found, not repeated', () => {
    const script = new Script();
    script.round(false);
    script.step({ type: 'tick' });
    script.round();
    expect(script.register?.epoch).toBe(4);
    script.sealed('abcd', 110);
    script.round(false);
    expect(script.core.phase).toBe('decide');
    script.step({ type: 'tick' });
    script.round();
    expect(script.register?.ranges.length).toBe(2);
    expect(script.core.phase).toBe('install');
  });

  it('rule 13: nothing is given out before a write quorum has the list', () => {
    const script = new Script();
    script.round();
    script.sealed('abcd', 110);
    script.round();
    script.installed('abc');
    script.refused('d', 'TIMEOUT');
    expect(script.opened).toBeUndefined();
    script.take();
    script.step({ type: 'tick' });
    expect(script.take()).toEqual(['d 0 install 2 at 110/110']);
    const hasty = new Script(BEFORE, faulty('noInstall'));
    hasty.round();
    hasty.sealed('abcd', 110);
    hasty.round();
    expect(hasty.opened).toBeDefined();
  });

  it('rule 26: waits for the lease, which runs from the sealed write quorum on', () => {
    const script = new Script(BEFORE, { previousWriterDead: false });
    script.round();
    script.sealed('abc', 110);
    expect(script.take()).not.toContain('lease');
    script.sealed('d', 110);
    expect(script.take()).toEqual(['lease', 'register: decide']);
    script.round();
    script.installed('abcd');
    expect(script.opened).toBeUndefined();
    script.step({ type: 'leaseOver' });
    expect(script.opened).toBeDefined();
  });

  it('loses against a later opener, at any step', () => {
    const later = { ...BEFORE, epoch: 5, state: 'recovering', opener: 'other' } as const;
    const decides = new Script();
    decides.round();
    decides.sealed('abcd', 110);
    decides.register = later;
    decides.round();
    expect(decides.error?.code).toBe('FENCED');
    expect(decides.register).toBe(later);
    const seals = new Script();
    seals.round();
    seals.register = later;
    seals.refused('a', 'STALE_EPOCH');
    seals.round();
    expect(seals.error?.code).toBe('FENCED');
    // A refusal that the register does not bear out is not believed.
    const goesOn = new Script();
    goesOn.round();
    goesOn.refused('a', 'STALE_EPOCH');
    goesOn.round();
    expect(goesOn.error).toBeUndefined();
    goesOn.sealed('bcde', 110);
    expect(goesOn.core.phase).toBe('decide');
  });

  it('a crash before the decision decides nothing: the next opener annuls just as much', () => {
    const first = new Script();
    first.round();
    first.sealed('abcd', 110);
    const second = new Script(first.register, { opener: 'next' });
    second.round();
    second.sealed('abcd', 110);
    second.round();
    expect(second.register?.ranges).toEqual([RANGE, { epoch: 5, after: 110, through: 160 }]);
  });

  it('repeats what was not answered', () => {
    const script = new Script();
    script.round();
    script.take();
    script.refused('abc', 'DISCONNECTED');
    script.step({ type: 'tick' });
    expect(script.take()).toEqual(['a 0 seal 1', 'b 0 seal 1', 'c 0 seal 1']);
  });
});
