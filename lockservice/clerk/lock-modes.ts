/** The four modes as an aspect and a level of it (rule 7), and lock ids as their users write them. */
import { SextantError } from '#core/errors.js';
import { Aspect, Level } from '../protocol/messages.js';
import type { LockMode } from '../protocol/messages.js';

export function aspectOf(mode: LockMode): Aspect {
  return mode === 'shared' || mode === 'exclusive' ? Aspect.content : Aspect.life;
}

/** Throws CONFIG for what is no mode. */
export function levelOf(mode: LockMode): Level {
  switch (mode) {
    case 'shared':
    case 'open':
      return Level.shared;
    case 'exclusive':
    case 'destroy':
      return Level.exclusive;
    default:
      throw new SextantError('CONFIG', `no lock mode: ${String(mode)}`);
  }
}

export function modeOf(aspect: Aspect, level: Level): LockMode {
  if (aspect === Aspect.content) return level === Level.exclusive ? 'exclusive' : 'shared';
  return level === Level.exclusive ? 'destroy' : 'open';
}

const U64_MAX = 0xffff_ffff_ffff_ffffn;
const TWO_32 = 0x1_0000_0000;

/** An unsigned 64-bit id: a number up to 2^53 - 1, a bigint above. Throws OUT_OF_RANGE. */
export function lockId(id: number | bigint): number | bigint {
  if (typeof id === 'number') {
    if (Number.isSafeInteger(id) && id >= 0) return id;
  } else if (typeof id === 'bigint' && id >= 0n && id <= U64_MAX) {
    return id <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(id) : id;
  }
  throw new SextantError(
    'OUT_OF_RANGE',
    `a lock's id is 0 to 2^64-1, a bigint above 2^53-1, not ${String(id)}`,
  );
}

export function idHighOf(id: number | bigint): number {
  return typeof id === 'number' ? Math.floor(id / TWO_32) : Number(id >> 32n);
}

export function idLowOf(id: number | bigint): number {
  return typeof id === 'number' ? id >>> 0 : Number(id & 0xffff_ffffn);
}
