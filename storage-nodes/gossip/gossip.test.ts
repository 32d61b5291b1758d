import { expect, test } from 'vitest';
import { Gossip } from './gossip.js';
import type { GossipEffect, GossipEvent } from './gossip.js';

type Plain = GossipEvent extends infer E ? (E extends unknown ? Omit<E, 'nowMs'> : never) : never;

class Script {
  readonly gossip = new Gossip({ intervalMs: 1000, behindMs: 50 });
  nowMs = 0;

  constructor(peers = ['a', 'b', 'c']) {
    this.gossip.setPeers(peers, 0);
  }

  step(event: Plain): string {
    const effects = this.gossip.step({ ...event, nowMs: this.nowMs } as GossipEvent);
    return effects.map(show).join(' ');
  }

  answered(advanced: boolean, behind: boolean, hydrate = false): string {
    return this.step({ type: 'answered', advanced, behind, hydrate });
  }
}

function show(effect: GossipEffect): string {
  if (effect.type === 'request') return `request(${effect.to})`;
  return effect.type === 'hydrate' ? `hydrate(${effect.from})` : 'stuck';
}

test('tick_asks_one_peer_per_interval', () => {
  const s = new Script();
  expect(s.step({ type: 'tick', jitter: 0.5 })).toBe('');
  s.nowMs = 600;
  expect(s.step({ type: 'tick', jitter: 0.5 })).toBe('request(a)');
  expect(s.answered(false, false)).toBe('');
  s.nowMs = 700;
  expect(s.step({ type: 'tick', jitter: 0.5 })).toBe('');
  s.nowMs = 1700;
  expect(s.step({ type: 'tick', jitter: 0.5 })).toBe('request(b)');
});

test('ask_goes_out_at_once_and_only_once', () => {
  const s = new Script();
  expect(s.step({ type: 'ask' })).toBe('request(a)');
  expect(s.step({ type: 'ask' })).toBe('');
  expect(s.answered(true, false)).toBe('');
});

test('peer_that_helps_is_asked_again', () => {
  const s = new Script();
  s.step({ type: 'ask' });
  expect(s.answered(true, true)).toBe('request(a)');
  expect(s.answered(true, true)).toBe('request(a)');
});

test('peer_that_does_not_help_is_left_and_then_it_is_stuck', () => {
  const s = new Script();
  s.step({ type: 'ask' });
  expect(s.answered(false, true)).toBe('request(b)');
  expect(s.step({ type: 'failed', behind: true })).toBe('request(c)');
  expect(s.answered(false, true)).toBe('stuck');
  s.nowMs = 10;
  expect(s.step({ type: 'tick', jitter: 0 })).toBe('');
  s.nowMs = 60;
  expect(s.step({ type: 'tick', jitter: 0 })).toBe('request(a)');
});

test('sources_are_asked_first', () => {
  const s = new Script();
  expect(s.step({ type: 'ask', sources: ['c', 'unknown'] })).toBe('request(c)');
  expect(s.answered(true, true)).toBe('request(c)');
  expect(s.answered(true, false)).toBe('');
  expect(s.step({ type: 'ask' })).toBe('request(a)');
});

test('freed_log_means_hydration_from_that_peer', () => {
  const s = new Script();
  s.step({ type: 'ask' });
  expect(s.answered(false, true, true)).toBe('hydrate(a)');
  expect(s.gossip.asking).toBe('');
});

test('nobody_to_ask', () => {
  const s = new Script([]);
  expect(s.step({ type: 'ask' })).toBe('');
  expect(s.step({ type: 'tick', jitter: 0 })).toBe('');
});
