import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSextantError } from '../errors.js';
import { toNodeId, type NodeId } from '../ids.js';
import { beginReplace, members, registerQuorum, stableMembership } from '../quorum/quorum-set.js';
import { acceptorStep, EMPTY_ACCEPTOR, type AcceptorState } from './acceptor.js';
import { NO_BALLOT, type Ballot } from './ballot.js';
import {
  decodeAcceptorState,
  decodeRegisterMessage,
  decodeRegisterReply,
  encodeAcceptorState,
  encodeRegisterMessage,
  encodeRegisterReply,
  type RegisterMessage,
  type RegisterReply,
} from './messages.js';
import { Proposer, type ProposerEffect } from './proposer.js';

const KEY = 'volume/1';
const SIX = ['a', 'b', 'c', 'd', 'e', 'f'].map(toNodeId);
const STABLE = stableMembership(SIX);
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const prepare = (ballot: Ballot): RegisterMessage => ({ kind: 'prepare', key: KEY, ballot });
const accept = (ballot: Ballot, value: Uint8Array | null): RegisterMessage => {
  return { kind: 'accept', key: KEY, ballot, value };
};

describe('acceptor', () => {
  const state: AcceptorState = { promised: [7, 2], accepted: [5, 1], value: bytes(1) };
  const afterAccept: AcceptorState = { promised: NO_BALLOT, accepted: [7, 2], value: bytes(9) };

  it.each<[string, AcceptorState, RegisterMessage, string]>([
    ['a first prepare', EMPTY_ACCEPTOR, prepare([1, 1]), 'promise 0,0'],
    ['a higher prepare', state, prepare([7, 3]), 'promise 5,1'],
    ['the promised prepare again', state, prepare([7, 2]), 'conflict 7,2'],
    ['a lower prepare', state, prepare([7, 1]), 'conflict 7,2'],
    ['a prepare below accepted, promise erased', afterAccept, prepare([6, 9]), 'conflict 7,2'],
    ['the accepted prepare again', afterAccept, prepare([7, 2]), 'conflict 7,2'],
    ['the promised accept', state, accept([7, 2], bytes(9)), 'accepted'],
    ['a higher accept, never promised', state, accept([8, 1], bytes(9)), 'accepted'],
    ['an accept below the promise', state, accept([6, 1], bytes(9)), 'conflict 7,2'],
    ['the accepted one again', afterAccept, accept([7, 2], bytes(9)), 'accepted'],
    ['the accepted one again, above it a promise', state, accept([5, 1], bytes(1)), 'accepted'],
    ['an accept below accepted, promise erased', afterAccept, accept([7, 1], null), 'conflict 7,2'],
  ])('%s', (_, before, message, expected) => {
    const { state: after, reply } = acceptorStep(before, message);
    const about = { promise: 'accepted', conflict: 'seen', accepted: 'kind' } as const;
    const ballot: unknown = Reflect.get(reply, about[reply.kind]);
    expect(reply.kind === 'accepted' ? reply.kind : `${reply.kind} ${String(ballot)}`).toBe(
      expected,
    );
    expect(reply.ballot).toEqual(message.ballot);
    if (reply.kind === 'promise') {
      expect(after).toEqual({ ...before, promised: message.ballot });
      expect(reply.value).toBe(before.value);
    } else if (reply.kind === 'accepted' && message.ballot[0] !== before.accepted[0]) {
      expect(after).toEqual({ promised: NO_BALLOT, accepted: message.ballot, value: bytes(9) });
    } else {
      expect(after).toBe(before);
    }
  });
});

function proposer(id: number): Proposer {
  return new Proposer({
    key: KEY,
    id,
    acceptors: SIX,
    isQuorum: (has) => registerQuorum(STABLE, has),
  });
}

/** Effects in short, sends of one kind gathered. */
function short(effects: readonly ProposerEffect[]): string {
  const sends = effects.filter((e) => e.kind === 'send');
  const others = effects.filter((e) => e.kind !== 'send');
  const parts = sends.length > 0 ? [`${sends[0].message.kind} x${sends.length}`] : [];
  for (const e of others) {
    if (e.kind === 'backoff') parts.push(`backoff ${e.delayMs} ${e.reason} ${e.uncertain}`);
    else if (e.kind === 'decided')
      parts.push(`decided ${String(e.previous)} -> ${String(e.value)}`);
    else parts.push(`failed ${String(e.error)}`);
  }
  return parts.join(', ');
}

const promise = (from: NodeId, ballot: Ballot, accepted = NO_BALLOT, value = 0) => {
  const found = accepted === NO_BALLOT ? null : bytes(value);
  const reply = { kind: 'promise', key: KEY, ballot, accepted, value: found } as const;
  return { kind: 'reply', from, random: 0, reply } as const;
};
const accepted = (from: NodeId, ballot: Ballot) =>
  ({ kind: 'reply', from, random: 0, reply: { kind: 'accepted', key: KEY, ballot } }) as const;
const conflict = (from: NodeId, ballot: Ballot, seen: Ballot) => {
  const reply = { kind: 'conflict', key: KEY, ballot, seen } as const;
  return { kind: 'reply', from, random: 0.5, reply } as const;
};

const increment = (current: Uint8Array | null): Uint8Array => bytes((current?.[0] ?? 0) + 1);
const throwing = (): null => {
  throw new Error('not mine');
};

describe('proposer', () => {
  const [a, b, c, d, e, f] = SIX;

  it('takes the value of the highest ballot that four promise, and four accept the next', () => {
    const p = proposer(9);
    expect(short(p.step({ kind: 'start', change: increment }))).toBe('prepare x6');
    expect(p.step(promise(a, [1, 9], [0, 4], 30))).toEqual([]);
    expect(p.step(promise(b, [1, 9], [0, 6], 40))).toEqual([]);
    expect(p.step(promise(b, [1, 9], [0, 6], 40))).toEqual([]);
    expect(p.step(promise(c, [1, 9]))).toEqual([]);
    expect(p.step(promise(c, [1, 8]))).toEqual([]);
    expect(short(p.step(promise(d, [1, 9], [0, 5], 50)))).toBe('accept x6');
    for (const from of [a, b, f]) expect(p.step(accepted(from, [1, 9]))).toEqual([]);
    expect(p.step(promise(e, [1, 9]))).toEqual([]);
    expect(short(p.step(accepted(e, [1, 9])))).toBe('decided 40 -> 41');
    expect(p.busy).toBe(false);
    expect(p.step(accepted(c, [1, 9]))).toEqual([]);
  });

  it('reads an empty register by a full round', () => {
    const p = proposer(9);
    p.step({ kind: 'start', change: (current) => current });
    for (const from of [a, b, c]) p.step(promise(from, [1, 9]));
    expect(short(p.step(promise(d, [1, 9])))).toBe('accept x6');
    for (const from of [d, e, f]) p.step(accepted(from, [1, 9]));
    expect(short(p.step(accepted(a, [1, 9])))).toBe('decided null -> null');
  });

  it('two in conflict leave four; the third ends the round, and the next is above it', () => {
    const p = proposer(9);
    p.step({ kind: 'start', change: () => bytes(1) });
    expect(p.step(conflict(a, [1, 9], [41, 3]))).toEqual([]);
    expect(p.step(conflict(a, [1, 9], [41, 3]))).toEqual([]);
    expect(p.step(conflict(b, [1, 9], [40, 3]))).toEqual([]);
    // An answer to a prepare that arrived twice is no conflict.
    expect(p.step(conflict(c, [1, 9], [1, 9]))).toEqual([]);
    expect(short(p.step(conflict(d, [1, 9], [12, 3])))).toBe('backoff 5 conflict false');
    expect(p.step(promise(e, [1, 9]))).toEqual([]);
    expect(short(p.step({ kind: 'retry' }))).toBe('prepare x6');
    expect(p.ballot).toEqual([42, 9]);
    expect(p.step({ kind: 'retry' })).toEqual([]);
  });

  it('waits twice as long each time, up to a bound, and says when the outcome is unknown', () => {
    const p = proposer(9);
    p.step({ kind: 'start', change: () => bytes(1) });
    const end = (random: number) => short(p.step({ kind: 'timeout', ballot: p.ballot, random }));
    const waits = [0, 0.5, 0.999, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5].map((random) => {
      const effects = end(random);
      p.step({ kind: 'retry' });
      return effects;
    });
    expect(waits[0]).toBe('backoff 2.5 no-quorum false');
    expect(waits[1]).toBe('backoff 10 no-quorum false');
    expect(waits.at(-1)).toBe('backoff 500 no-quorum false');
    for (const from of [a, b, c, d]) p.step(promise(from, p.ballot));
    expect(p.step({ kind: 'timeout', ballot: [1, 9], random: 0 })).toEqual([]);
    expect(end(0.5)).toBe('backoff 500 no-quorum true');
    p.step({ kind: 'abandon' });
    expect(p.step({ kind: 'retry' })).toEqual([]);
    expect(short(p.step({ kind: 'start', change: () => bytes(1) }))).toBe('prepare x6');
    expect(end(0.5)).toBe('backoff 5 no-quorum false');
  });

  it('three nodes that cannot answer end a round at once', () => {
    const p = proposer(9);
    p.step({ kind: 'start', change: () => bytes(1) });
    const lost = (from: NodeId) => p.step({ kind: 'lost', from, ballot: p.ballot, random: 0.5 });
    expect([lost(a), lost(a), lost(b)]).toEqual([[], [], []]);
    expect(short(lost(f))).toBe('backoff 5 no-quorum false');
  });

  it('passes on what the change function throws', () => {
    const p = proposer(9);
    p.step({ kind: 'start', change: throwing });
    for (const from of [a, b, c]) p.step(promise(from, [1, 9]));
    expect(short(p.step(promise(d, [1, 9])))).toBe('failed Error: not mine');
    expect(p.busy).toBe(false);
  });

  it('ignores other registers and other nodes', () => {
    const p = proposer(9);
    p.step({ kind: 'start', change: () => bytes(1) });
    for (const from of [...SIX, ...SIX]) {
      const other = promise(from, [1, 9]);
      p.step({ ...other, reply: { ...other.reply, key: 'volume/2' } });
      p.step(promise(toNodeId('g'), [1, 9]));
    }
    expect(short(p.step(promise(a, [1, 9])))).toBe('');
  });

  it('refuses a second operation meanwhile, and an id out of range', () => {
    const p = proposer(9);
    p.step({ kind: 'start', change: () => bytes(1) });
    expect(() => p.step({ kind: 'start', change: () => bytes(1) })).toThrowError('one operation');
    expect(() => proposer(0)).toThrowError('proposer id');
    expect(() => proposer(2 ** 48)).toThrowError('proposer id');
  });
});

/** True when no decoder takes it; throws when one fails otherwise. */
const refuse = (what: Uint8Array): boolean => {
  for (const decode of [decodeRegisterMessage, decodeRegisterReply, decodeAcceptorState]) {
    try {
      decode(what);
      return false;
    } catch (error) {
      if (!isSextantError(error, 'CORRUPTION')) throw error;
    }
  }
  return true;
};

describe('messages', () => {
  const ballot = fc
    .tuple(fc.integer({ min: 1, max: 2 ** 48 - 1 }), fc.maxSafeNat())
    .map((pair): Ballot => pair);
  const key = fc.stringMatching(/^[a-z0-9/-]{1,128}$/);
  const value = fc.option(fc.uint8Array());

  it('go through their codecs', () => {
    fc.assert(
      fc.property(key, ballot, ballot, value, (k, one, two, v) => {
        const messages: RegisterMessage[] = [
          { kind: 'prepare', key: k, ballot: one },
          { kind: 'accept', key: k, ballot: one, value: v },
        ];
        for (const m of messages)
          expect(decodeRegisterMessage(encodeRegisterMessage(m))).toEqual(m);
        const replies: RegisterReply[] = [
          { kind: 'promise', key: k, ballot: one, accepted: two, value: v },
          { kind: 'accepted', key: k, ballot: one },
          { kind: 'conflict', key: k, ballot: one, seen: two },
        ];
        for (const r of replies) expect(decodeRegisterReply(encodeRegisterReply(r))).toEqual(r);
        const state = { promised: one, accepted: two, value: v };
        const coded = encodeAcceptorState(k, state);
        expect(decodeAcceptorState(coded)).toEqual({ key: k, state });
        for (const decode of [decodeRegisterMessage, decodeRegisterReply]) {
          expect(() => decode(coded)).toThrowError(expect.objectContaining({ code: 'CORRUPTION' }));
        }
      }),
    );
  });

  it('that are malformed give nothing but CORRUPTION', () => {
    let refused = 0;
    const damage = fc.array(fc.tuple(fc.nat(43), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(value, damage, fc.nat(50), fc.uint8Array(), (v, changes, cut, noise) => {
        const good = encodeRegisterMessage(accept([3, 4], v));
        const bad = good.slice();
        for (const [at, to] of changes) bad[at] = to;
        if (refuse(bad)) refused++;
        expect(refuse(good.subarray(0, cut % good.length))).toBe(true);
        expect(refuse(noise)).toBe(true);
      }),
      { numRuns: 500 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  it('have these bytes', () => {
    const coded = encodeRegisterMessage(accept([258, 7], bytes(0xaa, 0xbb)));
    expect(Buffer.from(coded).toString('hex')).toBe(
      '0102080002000000' +
        '0201000000000000' +
        '0700000000000000' +
        '00'.repeat(16) +
        Buffer.from(KEY).toString('hex') +
        'aabb',
    );
    expect(() => encodeRegisterMessage({ ...prepare([1, 1]), key: 'Volume 1' })).toThrowError(
      'key',
    );
  });
});

describe('while the acceptors change', () => {
  it('both phases reach four of every set', () => {
    const both = beginReplace(STABLE, SIX[5], toNodeId('g'));
    const p = new Proposer({
      key: KEY,
      id: 1,
      acceptors: members(both),
      isQuorum: (has) => registerQuorum(both, has),
    });
    const states = new Map(members(both).map((node) => [node, EMPTY_ACCEPTOR]));
    const run = (dead: string): string => {
      let effects = p.step({ kind: 'start', change: () => bytes(5) });
      const kinds: string[] = [];
      for (let i = 0; i < effects.length; i++) {
        const effect = effects[i];
        if (effect.kind !== 'send') kinds.push(effect.kind);
        else if (!dead.includes(effect.to)) {
          const step = acceptorStep(states.get(effect.to)!, effect.message);
          states.set(effect.to, step.state);
          const event = { kind: 'reply', from: effect.to, reply: step.reply, random: 0 } as const;
          effects = [...effects, ...p.step(event)];
        }
      }
      p.step({ kind: 'abandon' });
      return kinds.join();
    };
    expect(run('')).toBe('decided');
    expect(run('ef')).toBe('decided');
    expect(run('dg')).toBe('decided');
    expect(run('abg')).toBe(''); // c, d, e, f are four of the old set but three of the new
    expect(run('def')).toBe('');
  });
});
