/** The codec: every message comes back as it went; whatever else arrives is PROTOCOL and nothing more. */
import { describe, expect, it } from 'vitest';
import { isSextantError } from '#core/errors.js';
import { SimRandom } from '#core/world/simulated/random.js';
import { encodeMembers, EntryKind } from './entry.js';
import { decodeRaftMessage, encodeRaftMessage, type RaftMessage } from './messages.js';

const members = [
  { id: 'a', address: 'a:1' },
  { id: 'bö', address: '' },
];
const big = 2 ** 52 + 3;
const messages: RaftMessage[] = [
  { type: 'preVote', term: big, lastIndex: 3, lastTerm: 2 },
  { type: 'preVoteAnswer', term: 1, granted: true },
  { type: 'vote', term: 3, lastIndex: big, lastTerm: 2, told: true },
  { type: 'voteAnswer', term: 1, granted: false },
  {
    type: 'append',
    term: 9,
    round: 4,
    previousIndex: 7,
    previousTerm: 3,
    commit: 5,
    entries: [
      { index: 8, term: 3, kind: EntryKind.noop, data: new Uint8Array(0) },
      { index: 9, term: 4, kind: EntryKind.command, data: Uint8Array.of(1, 2, 3) },
      { index: 10, term: 9, kind: EntryKind.config, data: encodeMembers(members) },
    ],
  },
  { type: 'appendAnswer', term: 4, round: 1, ok: false, index: 3, hintIndex: 2, hintTerm: 1 },
  {
    type: 'snapshot',
    term: 4,
    round: 2,
    index: 8,
    lastTerm: 3,
    totalBytes: 10,
    crc: 0xffff_ffff,
    offset: 4,
    members,
    data: Uint8Array.of(5, 6, 7, 8, 9, 10),
  },
  { type: 'snapshotAnswer', term: 4, round: 2, index: 8, offset: 4 },
  { type: 'standNow', term: 4 },
];

function refused(bytes: Uint8Array): boolean {
  try {
    decodeRaftMessage(bytes);
    return false;
  } catch (error) {
    if (isSextantError(error, 'PROTOCOL')) return true;
    throw error;
  }
}

describe('raft messages', () => {
  for (const message of messages) {
    it(message.type, () => {
      const bytes = encodeRaftMessage(message, 'host:12');
      expect(decodeRaftMessage(bytes)).toEqual({ message, address: 'host:12' });
      for (let length = 0; length < bytes.length; length++) {
        // A chunk's data has no length of its own: a shorter one is another chunk.
        const whole = message.type === 'snapshot' && length >= bytes.length - message.data.length;
        if (!whole) expect(refused(bytes.subarray(0, length)), `${length} bytes`).toBe(true);
      }
      const longer = new Uint8Array(bytes.length + 1);
      longer.set(bytes);
      if (message.type !== 'snapshot') expect(refused(longer)).toBe(true);
    });
  }

  it('with flipped bits are read or refused, nothing else', () => {
    const random = new SimRandom(1);
    for (let round = 0; round < 5000; round++) {
      const bytes = encodeRaftMessage(messages[random.below(messages.length)]!, 'h');
      for (let i = random.below(4); i >= 0; i--) {
        const bit = random.below(bytes.length * 8);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      }
      refused(bytes);
    }
  });

  it('with sense but out of bounds are refused', () => {
    const append = messages[4]!;
    if (append.type !== 'append') throw new Error('an append');
    const [first, second] = append.entries;
    const swapped = [
      { ...second!, index: 8 },
      { ...first!, index: 9 },
    ];
    expect(refused(encodeRaftMessage({ ...append, entries: swapped }, ''))).toBe(true);
    expect(refused(encodeRaftMessage({ ...append, term: 8 }, ''))).toBe(true);
    const chunk = messages[6]!;
    if (chunk.type !== 'snapshot') throw new Error('a chunk');
    expect(refused(encodeRaftMessage({ ...chunk, offset: 5 }, ''))).toBe(true);
    expect(refused(encodeRaftMessage({ ...chunk, index: 0 }, ''))).toBe(true);
    const twice = [members[0]!, members[0]!];
    expect(refused(encodeRaftMessage({ ...chunk, members: twice }, ''))).toBe(true);
    expect(refused(encodeRaftMessage(chunk, 'x'.repeat(301)))).toBe(true);
  });
});
