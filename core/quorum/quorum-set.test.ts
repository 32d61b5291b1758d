import { describe, expect, it } from 'vitest';
import { toLsn, toNodeId, type NodeId } from '../ids.js';
import { parseMembership } from './membership-json.js';
import {
  beginReplace,
  finishReplace,
  joinReplace,
  members,
  quorumPoint,
  readQuorum,
  registerQuorum,
  revertReplace,
  sealQuorum,
  stableMembership,
  writeQuorum,
  type Membership,
} from './quorum-set.js';

const nodes = (letters: string): NodeId[] => letters.toLowerCase().split('').map(toNodeId);
const node = (letter: string): NodeId => toNodeId(letter.toLowerCase());
/** One set as letters. */
const letters = (set: readonly NodeId[]): string => set.join('').toUpperCase();
const sets = (m: Membership): string => m.sets.map(letters).join(' ');

const STABLE = stableMembership(nodes('ABCDEF'));
const BOTH = beginReplace(STABLE, node('F'), node('G'));
const JOINED = joinReplace(BOTH, toLsn(70));
const BOTH_4 = beginReplace(BOTH, node('E'), node('H'));
const JOINED_4 = joinReplace(BOTH_4, toLsn(80));
const ALL: [string, Membership][] = [
  ['stable', STABLE],
  ['both', BOTH],
  ['joined', JOINED],
  ['both, two replacements', BOTH_4],
  ['joined, two replacements', JOINED_4],
];

function subsets(of: readonly NodeId[]): Set<NodeId>[] {
  return Array.from({ length: 2 ** of.length }, (_, bits) => {
    return new Set(of.filter((_node, i) => (bits >> i) & 1));
  });
}

/** The dumb twin: every set that is large enough is written out, then searched. */
function twinReaches(set: readonly NodeId[], count: number, have: Set<NodeId>): boolean {
  const choose = (from: readonly NodeId[], k: number): NodeId[][] => {
    if (k === 0) return [[]];
    return from.flatMap((first, i) => choose(from.slice(i + 1), k - 1).map((c) => [first, ...c]));
  };
  return choose(set, count).some((group) => group.every((one) => have.has(one)));
}

describe.each(ALL)('quorums when %s', (_, m) => {
  const everybody = members(m);
  const every = (k: number, have: Set<NodeId>): boolean =>
    m.sets.every((set) => twinReaches(set, k, have));

  it(`are what the dumb twin says for all ${2 ** everybody.length} subsets`, () => {
    for (const have of subsets(everybody)) {
      const has = (one: NodeId): boolean => have.has(one);
      expect(writeQuorum(m, has)).toBe(every(4, have));
      expect(registerQuorum(m, has)).toBe(every(4, have));
      expect(sealQuorum(m, has)).toBe(every(3, have));
      const readable = m.state === 'joined' ? m.sets : [m.sets[0]];
      expect(readQuorum(m, has)).toBe(readable.some((set) => twinReaches(set, 3, have)));
    }
  });

  it('meet: read and write in a node, register rounds in two of every set', () => {
    const all = subsets(everybody);
    const having = (is: typeof writeQuorum): Set<NodeId>[] =>
      all.filter((have) => is(m, (one) => have.has(one)));
    const [writes, reads] = [having(writeQuorum), having(readQuorum)];
    for (const write of writes) {
      for (const read of reads) {
        if (![...read].some((one) => write.has(one))) throw new Error('a read missed a write');
      }
    }
    for (const a of writes) {
      for (const b of writes) {
        const common = m.sets.every((set) => {
          return set.filter((one) => a.has(one) && b.has(one)).length >= 2;
        });
        if (!common) throw new Error('two register quorums apart');
      }
    }
    for (const have of all) {
      const has = (one: NodeId): boolean => have.has(one);
      if (writeQuorum(m, has) && !sealQuorum(m, has)) throw new Error('a write quorum cannot seal');
      if (sealQuorum(m, has) && !readQuorum(m, has)) throw new Error('a sealed quorum cannot read');
    }
  });

  it('the quorum point is the highest that a write quorum has reached', () => {
    for (const have of subsets(everybody)) {
      // Members get distinct heights, those in the subset the higher ones.
      const scl = (one: NodeId): number => everybody.indexOf(one) + (have.has(one) ? 100 : 1);
      const points = everybody.map(scl).filter((x) => writeQuorum(m, (one) => scl(one) >= x));
      expect(quorumPoint(m, scl)).toBe(Math.max(...points));
    }
    expect(quorumPoint(m, () => 0)).toBe(0);
  });

  it('goes through JSON', () => {
    expect(parseMembership(JSON.parse(JSON.stringify(m)))).toEqual(m);
  });
});

/** One column a node, `x` where it answers; then what it is a quorum for. */
function picture(m: Membership, patterns: readonly string[]): string {
  const everybody = members(m);
  const lines = patterns.map((pattern) => {
    const has = (one: NodeId): boolean => pattern[everybody.indexOf(one)] === 'x';
    const is = [
      readQuorum(m, has) ? 'R' : '.',
      sealQuorum(m, has) ? 'S' : '.',
      writeQuorum(m, has) ? 'W' : '.',
    ];
    return `${pattern} ${is.join('')}`;
  });
  return [letters(everybody), ...lines].join('\n');
}

describe('in pictures', () => {
  it('stable: a zone and one node lost leaves reads, a zone or two nodes leaves writes', () => {
    expect(picture(STABLE, ['xxxxxx', '..xxxx', 'x.x.xx', '...xxx', '....xx'])).toBe(
      ['ABCDEF', 'xxxxxx RSW', '..xxxx RSW', 'x.x.xx RSW', '...xxx RS.', '....xx ...'].join('\n'),
    );
  });

  it('both: the new set alone neither reads nor writes', () => {
    expect(picture(BOTH, ['xx....x', 'xxx..x.', 'xxxx...', '..xxxx.', 'xxx...x', 'xx...xx'])).toBe(
      [
        'ABCDEFG',
        'xx....x ...', // what C, D, E, F committed alone is not here
        'xxx..x. RS.',
        'xxxx... RSW',
        '..xxxx. RS.', // four of the old set, three of the new
        'xxx...x RS.',
        'xx...xx RS.',
      ].join('\n'),
    );
  });

  it('joined: either set reads, both write', () => {
    expect(picture(JOINED, ['xx....x', 'xx...x.', 'xxx....', 'xx...xx', 'xxx..xx'])).toBe(
      ['ABCDEFG', 'xx....x R..', 'xx...x. R..', 'xxx.... RS.', 'xx...xx RS.', 'xxx..xx RSW'].join(
        '\n',
      ),
    );
  });

  it('two replacements: every one of four sets writes', () => {
    expect(sets(BOTH_4)).toBe('ABCDEF ABCDEG ABCDHF ABCDHG');
    expect(picture(BOTH_4, ['xxxx....', 'xxx...xx', 'xxx.x.x.', '..xxxx..', '..xxxxxx'])).toBe(
      [
        'ABCDEFGH',
        'xxxx.... RSW',
        'xxx...xx RS.',
        'xxx.x.x. RS.',
        '..xxxx.. R..', // two of ABCDHG
        '..xxxxxx RSW',
      ].join('\n'),
    );
  });
});

const shape = (m: Membership): string => `${m.epoch} ${m.state} ${sets(m)} ${m.barrier ?? ''}`;

describe('steps', () => {
  it('replace one, forward and back', () => {
    expect(shape(BOTH)).toBe('2 both ABCDEF ABCDEG ');
    expect(shape(JOINED)).toBe('3 joined ABCDEF ABCDEG 70');
    expect(shape(finishReplace(JOINED))).toBe('4 stable ABCDEG ');
    expect(shape(revertReplace(JOINED))).toBe('4 stable ABCDEF ');
    expect(shape(revertReplace(BOTH))).toBe('3 stable ABCDEF ');
    expect(letters(members(JOINED))).toBe('ABCDEFG');
  });

  it('replace two, ended together or one by one', () => {
    expect(shape(JOINED_4)).toBe('4 joined ABCDEF ABCDEG ABCDHF ABCDHG 80');
    expect(shape(finishReplace(JOINED_4))).toBe('5 stable ABCDHG ');
    expect(shape(finishReplace(JOINED_4, node('H')))).toBe('5 joined ABCDHF ABCDHG 80');
    expect(shape(finishReplace(JOINED_4, node('G')))).toBe('5 joined ABCDEG ABCDHG 80');
    expect(shape(revertReplace(JOINED_4, node('H')))).toBe('5 joined ABCDEF ABCDEG 80');
    expect(shape(revertReplace(BOTH_4, node('G')))).toBe('4 both ABCDEF ABCDHF ');
    expect(shape(revertReplace(BOTH_4))).toBe('4 stable ABCDEF ');
  });

  it('a second failure after joining falls back to reading the old set', () => {
    const again = beginReplace(JOINED, node('A'), node('H'));
    expect(shape(again)).toBe('4 both ABCDEF ABCDEG HBCDEF HBCDEG ');
    expect(() => finishReplace(again)).toThrowError('finish in state both');
  });

  it('what makes no sense is refused', () => {
    expect(() => finishReplace(BOTH)).toThrowError('finish in state both');
    expect(() => finishReplace(STABLE)).toThrowError('finish in state stable');
    expect(() => finishReplace(JOINED, node('F'))).toThrowError('f is not coming in');
    expect(() => joinReplace(STABLE, toLsn(1))).toThrowError('join in state stable');
    expect(() => joinReplace(JOINED, toLsn(1))).toThrowError('join in state joined');
    expect(() => revertReplace(STABLE)).toThrowError('nothing to take back');
    expect(() => revertReplace(BOTH, node('H'))).toThrowError('h is not coming in');
    expect(() => beginReplace(STABLE, node('G'), node('H'))).toThrowError('g is not in every set');
    expect(() => beginReplace(BOTH, node('F'), node('H'))).toThrowError('f is not in every set');
    expect(() => beginReplace(BOTH, node('G'), node('H'))).toThrowError('g is not in every set');
    expect(() => beginReplace(BOTH, node('E'), node('F'))).toThrowError('f is a member already');
    expect(() => beginReplace(BOTH_4, node('A'), node('I'))).toThrowError('two replacements');
    expect(() => stableMembership(nodes('ABCDEE'))).toThrowError('six different');
  });
});

describe('parseMembership', () => {
  it.each([
    ['nothing', null],
    ['a text', 'stable'],
    ['no epoch', { state: 'stable', sets: [nodes('ABCDEF')] }],
    ['epoch 0', { ...STABLE, epoch: 0 }],
    ['a fraction', { ...STABLE, epoch: 1.5 }],
    ['another state', { ...STABLE, state: 'new' }],
    ['no sets', { ...STABLE, sets: [] }],
    ['sets of another type', { ...STABLE, sets: 'abcdef' }],
    ['five nodes', { ...STABLE, sets: [nodes('ABCDE')] }],
    ['a node twice', { ...STABLE, sets: [nodes('ABCDEE')] }],
    ['a number for a node', { ...STABLE, sets: [[...nodes('ABCDE'), 6]] }],
    ['a bad node id', { ...STABLE, sets: [[...nodes('ABCDE'), 'F_']] }],
    ['stable with two sets', { ...BOTH, state: 'stable' }],
    ['both with one set', { ...STABLE, state: 'both' }],
    ['three sets', { ...BOTH_4, sets: BOTH_4.sets.slice(0, 3) }],
    ['two equal sets', { ...BOTH, sets: [BOTH.sets[0], BOTH.sets[0]] }],
    ['sets that differ in two places', { ...BOTH, sets: [nodes('ABCDEF'), nodes('ABCDHG')] }],
    [
      'one place replaced twice',
      { ...BOTH_4, sets: ['ABCDEF', 'ABCDEG', 'ABCDEH', 'ABCDEI'].map(nodes) },
    ],
    [
      'sets that do not combine',
      { ...BOTH_4, sets: [...BOTH_4.sets.slice(0, 3), nodes('ABCDIG')] },
    ],
    ['one node for two', { ...BOTH_4, sets: ['ABCDEF', 'ABCDEG', 'ABCDGF', 'ABCDGG'].map(nodes) }],
    ['joined without a barrier', { ...BOTH, state: 'joined' }],
    ['a barrier too early', { ...BOTH, barrier: 3 }],
    ['a barrier that is no LSN', { ...JOINED, barrier: -1 }],
    ['a barrier that is no number', { ...JOINED, barrier: '7' }],
  ])('refuses %s', (_, value) => {
    expect(() => parseMembership(value)).toThrowError(
      expect.objectContaining({ code: 'CORRUPTION' }),
    );
  });
});
