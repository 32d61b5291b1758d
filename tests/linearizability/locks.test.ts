/** The lock model and the sweep over intervals on histories by hand, and against each other. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { linearizableByForce } from './brute-force.test-helper.js';
import { checkLinearizable } from './checker.js';
import {
  lockModel,
  overlap,
  sureIntervals,
  type LockInput,
  type LockMode,
  type LockOperation,
} from './locks.js';

const MODES: Record<string, LockMode> = { S: 'shared', X: 'exclusive', O: 'open', D: 'destroy' };

/** `client call end what`: `+X` acquire, `?X` try, `?X!` try that was refused, `-X` release, `lapse`. */
function history(...lines: string[]): LockOperation[] {
  return lines.map((line) => {
    const [client = '', call, end, what = ''] = line.split(' ');
    const mode = MODES[what[1] as string] as LockMode;
    const op = ({ '+': 'acquire', '?': 'try', '-': 'release' } as const)[
      what[0] as '+' | '?' | '-'
    ];
    const input: LockInput = what === 'lapse' ? { op: 'lapse' } : { op, mode };
    const output = end === '?' ? undefined : { done: !what.endsWith('!') };
    const endMs = output === undefined ? Infinity : Number(end);
    return { client, key: '1', input, output, callMs: Number(call), endMs };
  });
}

const GOOD: Record<string, string[]> = {
  'one after the other': ['a 0 1 +X', 'a 2 3 -X', 'b 4 5 +X'],
  'who waits takes it while the other releases': ['a 0 1 +X', 'b 2 9 +X', 'a 5 9 -X'],
  'shared together': ['a 0 1 +S', 'b 0 2 +S', 'c 3 4 ?X!'],
  'open does not hinder exclusive': ['a 0 1 +O', 'b 2 3 +X', 'c 4 5 +O'],
  'a killed holder lapses some time later': ['a 0 1 +X', 'a 5 ? lapse', 'b 3 20 +X'],
  'an acquire without an answer may hold it or not': [
    'a 0 ? +X',
    'b 5 6 ?X!',
    'a 8 ? lapse',
    'b 9 20 +X',
  ],
  'an upgrade of the only holder': ['a 0 1 +S', 'a 2 3 +X', 'b 4 5 ?S!'],
};
const BAD: Record<string, string[]> = {
  'two exclusive holders': ['a 0 1 +X', 'b 2 3 +X'],
  'shared beside exclusive': ['a 0 1 +X', 'b 2 3 +S'],
  'destroy beside open': ['a 0 1 +O', 'b 2 3 +D'],
  'taken before the holder was dead': ['a 0 1 +X', 'b 2 3 +X', 'a 5 ? lapse'],
  'taken before the release began': ['a 0 1 +X', 'b 2 3 +X', 'a 5 6 -X'],
  'refused although free': ['a 0 1 ?X!'],
  'refused although only shared beside shared': ['a 0 1 +S', 'b 2 3 ?S!'],
  'released and never held': ['a 0 1 -X'],
};

describe('locks', () => {
  it.each(Object.entries(GOOD))('%s: linearizable', (_, lines) => {
    expect(checkLinearizable(lockModel, history(...lines)).verdict).toBe('linearizable');
    expect(overlap(sureIntervals(history(...lines)))).toBeUndefined();
  });

  it.each(Object.entries(BAD))('%s: not linearizable', (_, lines) => {
    expect(checkLinearizable(lockModel, history(...lines)).verdict).toBe('violation');
  });

  it('two holders are named', () => {
    const [first, second] =
      overlap(sureIntervals(history('a 0 1 +X', 'b 2 3 +X', 'a 9 10 -X'))) ?? [];
    expect([first?.client, second?.client]).toEqual(['a', 'b']);
  });

  /** Each client takes and gives back, again and again, with no regard to the others: times are drawn. */
  const takings = fc.array(
    fc.record({
      client: fc.constantFrom('a', 'b', 'c'),
      mode: fc.constantFrom<LockMode>('shared', 'exclusive', 'open', 'destroy'),
      times: fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 1, max: 9 }))),
      dies: fc.boolean(),
    }),
    { maxLength: 3 },
  );

  const gapMs = { a: 0, b: 0.3, c: 0.6 };
  function played(
    list: readonly (typeof takings extends fc.Arbitrary<infer T> ? T : never)[number][],
  ): LockOperation[] {
    const at: Record<string, number> = { ...gapMs };
    const operations: LockOperation[] = [];
    for (const { client, mode, times, dies } of list) {
      const step = (index: number): number =>
        (at[client] = (at[client] as number) + (times[index] as number));
      const common = { client, key: '1' };
      const times1 = { callMs: step(0), endMs: step(1) };
      operations.push({
        ...common,
        input: { op: 'acquire', mode },
        output: { done: true },
        ...times1,
      });
      const callMs = step(2);
      const endMs = step(3);
      if (dies) {
        operations.push({
          ...common,
          input: { op: 'lapse' },
          output: undefined,
          callMs,
          endMs: Infinity,
        });
        at[client] = 1000;
      } else {
        const input = { op: 'release', mode } as const;
        operations.push({ ...common, input, output: { done: true }, callMs, endMs });
      }
    }
    return operations;
  }

  it('search, sweep and brute force agree where nothing was refused', () => {
    let bad = 0;
    fc.assert(
      fc.property(takings, (list) => {
        const operations = played(list);
        const verdict = checkLinearizable(lockModel, operations).verdict;
        expect(verdict === 'linearizable').toBe(overlap(sureIntervals(operations)) === undefined);
        expect(verdict === 'linearizable').toBe(linearizableByForce(lockModel, operations));
        if (verdict === 'violation') bad++;
      }),
      { numRuns: 1500 },
    );
    expect(bad).toBeGreaterThan(50);
  });
});
