import { expect, test } from 'vitest';
import type { HydrateAnswer } from '../protocol/messages.js';
import { Hydration, hydrateEntry } from './hydration.js';
import type { HydrationEffect } from './hydration.js';

function answer(point: number, pages: number[], done: boolean, journaledVdl = point) {
  const payload = Buffer.concat(pages.map((pageNo) => hydrateEntry(pageNo).entry));
  const header: HydrateAnswer = {
    point,
    pageCount: pages.length,
    done,
    listEpoch: 1,
    journaledVdl,
  };
  return { header, payload: new Uint8Array(payload) };
}

function show(effects: HydrationEffect[]): string {
  return effects
    .map((effect) => {
      if (effect.type === 'request') return `request(${effect.point}, after ${effect.afterPage})`;
      if (effect.type === 'put') return `put(${effect.pageNo}@${effect.point})`;
      return effect.type === 'finished'
        ? `finished(${effect.point}, vdl ${effect.vdl})`
        : 'abandoned';
    })
    .join(' ');
}

function step(h: Hydration, scl: number, ...args: Parameters<typeof answer>): string {
  const { header, payload } = answer(...args);
  return show(h.answer(header, payload, scl));
}

test('pages_at_one_point_then_finished', () => {
  const h = new Hydration();
  expect(show(h.start('a'))).toBe('request(0, after -1)');
  expect(show(h.start('b'))).toBe('');
  expect(step(h, 5, 100, [0, 2], false)).toBe('put(0@100) put(2@100) request(100, after 2)');
  expect(step(h, 5, 100, [7], true, 120)).toBe('put(7@100) finished(100, vdl 120)');
  expect(h.active).toBe(false);
});

test('peer_with_nothing_newer_is_given_up', () => {
  const h = new Hydration();
  h.start('a');
  expect(step(h, 100, 100, [1], false)).toBe('abandoned');
  expect(h.active).toBe(false);
});

test('answers_that_contradict_themselves_are_corrupt', () => {
  const bad: Parameters<typeof answer>[] = [
    [101, [3], false],
    [100, [2], false],
    [100, [4, 4], false],
    [100, [], false],
    [100, [5], true, 99],
  ];
  for (const args of bad) {
    const h = new Hydration();
    h.start('a');
    step(h, 0, 100, [2], false);
    expect(() => step(h, 0, ...args)).toThrow(expect.objectContaining({ code: 'CORRUPTION' }));
  }
  const h = new Hydration();
  h.start('a');
  const { header } = answer(100, [1], true);
  expect(() => h.answer(header, new Uint8Array(5), 0)).toThrow(/length/);
});

test('abandoned_hydration_starts_over', () => {
  const h = new Hydration();
  h.start('a');
  step(h, 0, 100, [2], false);
  h.abandon();
  expect(show(h.start('b'))).toBe('request(0, after -1)');
  expect(step(h, 0, 200, [1], true)).toBe('put(1@200) finished(200, vdl 200)');
});
