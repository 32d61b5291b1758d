import { describe, expect, it } from 'vitest';
import { LeaseKeeper } from './lease-keeper.js';

/** Margin of a lease of 1000 ms: 5% + 50 ms. */
const MARGIN_MS = 100;

function leading(nowMs = 0): LeaseKeeper<number> {
  const leases = new LeaseKeeper<number>({});
  leases.lead([{ id: 1, leaseMs: 1000 }], nowMs);
  return leases;
}

describe('leases', () => {
  it('are over a margin after their end, and told once', () => {
    const leases = leading();
    expect(leases.due(1000 + MARGIN_MS - 1)).toEqual([]);
    expect(leases.due(1000 + MARGIN_MS)).toEqual([1]);
    expect(leases.due(5000)).toEqual([]);
  });

  it('run from when the renewal came in', () => {
    const leases = leading();
    expect(leases.renew(1, 900)).toBe(1000);
    expect(leases.due(1900 + MARGIN_MS - 1)).toEqual([]);
    expect(leases.leftMs(1, 1400)).toBe(500);
    expect(leases.due(1900 + MARGIN_MS)).toEqual([1]);
  });

  it('never get shorter by a renewal that came in earlier', () => {
    const leases = leading();
    leases.renew(1, 800);
    leases.renew(1, 300);
    expect(leases.leftMs(1, 800)).toBe(1000);
  });

  it('cannot be renewed once they were proposed to be over, whatever became of that', () => {
    const leases = leading();
    leases.due(2000);
    expect(leases.renew(1, 2001)).toBeUndefined();
    leases.again(1);
    expect(leases.renew(1, 2002)).toBeUndefined();
    expect(leases.due(2003)).toEqual([1]);
  });

  it('of an expelled clerk run on to their end', () => {
    const leases = leading();
    expect(leases.expel(1, 'claimed too much')).toBe(true);
    expect(leases.expel(1, 'again')).toBe(false);
    expect(leases.renew(1, 500)).toBeUndefined();
    expect(leases.expelledFor(1)).toBe('claimed too much');
    expect(leases.due(999)).toEqual([]);
    expect(leases.due(1000 + MARGIN_MS)).toEqual([1]);
  });

  it('get a full period from a new leader', () => {
    const leases = leading();
    leases.lead([{ id: 1, leaseMs: 1000 }], 950);
    expect(leases.due(1949)).toEqual([]);
    expect(leases.due(1950 + MARGIN_MS)).toEqual([1]);
    const broken = new LeaseKeeper<number>({ noLeaseExtension: true });
    broken.lead([{ id: 1, leaseMs: 1000 }], 950);
    expect(broken.due(951)).toEqual([1]);
  });

  it('are nothing to a member that does not lead', () => {
    const leases = leading();
    leases.follow();
    expect(leases.due(10_000)).toEqual([]);
    expect(leases.renew(1, 100)).toBeUndefined();
  });
});
