/** The checker on histories of which it is known whether they are linearizable, by hand and by brute force. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { linearizableByForce } from './brute-force.test-helper.js';
import { checkLinearizable, explain } from './checker.js';
import { History } from './history.js';
import {
  answerOf,
  registerModel,
  type RegisterInput,
  type RegisterOperation,
  type RegisterOutput,
  type RegisterValue,
} from './register.js';
import { nodeModel, type NodeOperation } from './versioned.js';

/** `client call end operation`: `w1`, `r1`, `r-` (nothing), `c1>2` (swapped), `c1>2!` (did not); end `?`: no answer. */
function history(...lines: string[]): RegisterOperation[] {
  return lines.map((line) => {
    const [client = '', call, end, what = ''] = line.split(' ');
    const { input, output } = parse(what);
    const known = end !== '?';
    const times = { callMs: Number(call), endMs: known ? Number(end) : Infinity };
    return { client, key: 'x', input, output: known ? output : undefined, ...times };
  });
}

function parse(what: string): { input: RegisterInput; output: RegisterOutput } {
  const value = (text: string): RegisterValue => (text === '-' ? null : Number(text));
  const rest = what.slice(1);
  if (what.startsWith('w')) {
    return { input: { op: 'write', value: Number(rest) }, output: { done: true } };
  }
  if (what.startsWith('r')) return { input: { op: 'read' }, output: { value: value(rest) } };
  const [expected = '', wanted = ''] = rest.replace('!', '').split('>');
  const input: RegisterInput = { op: 'cas', expected: value(expected), value: Number(wanted) };
  return { input, output: { swapped: !rest.endsWith('!') } };
}

const GOOD: Record<string, string[]> = {
  nothing: [],
  'a read of nothing': ['a 0 1 r-'],
  'one after the other': ['a 0 1 w1', 'b 2 3 r1', 'a 4 5 w2', 'b 6 7 r2'],
  'a read beside a write sees the old or the new': [
    'a 0 10 w1',
    'b 1 2 r-',
    'c 3 4 r1',
    'd 5 6 r1',
  ],
  'two writes beside each other, in the other order': ['a 0 10 w1', 'b 1 9 w2', 'c 11 12 r1'],
  'a cas that found its value, one that did not': [
    'a 0 1 w1',
    'b 2 9 c1>2',
    'c 2 9 c1>3!',
    'a 10 11 r2',
  ],
  'a failed cas beside the write that it needed': ['a 0 10 w1', 'b 1 2 c1>2!', 'c 11 12 r1'],
  'an unanswered write that happened': ['a 0 ? w1', 'b 5 6 r1'],
  'an unanswered write that did not': ['a 0 ? w1', 'b 5 6 r-', 'b 7 8 r-'],
  'an unanswered write that happens late': ['a 0 ? w1', 'b 5 6 r-', 'b 7 8 r1'],
  'two unanswered writes, taken in the reverse order': [
    'a 0 ? w1',
    'b 1 ? w2',
    'c 5 6 r2',
    'c 7 8 r1',
  ],
  'an unanswered cas that happened': ['a 0 1 w1', 'b 2 ? c1>2', 'c 5 6 r2'],
  'an unanswered cas that could not happen': ['a 0 1 w1', 'b 2 ? c5>2', 'c 5 6 r1'],
  'ends and calls at one moment overlap': ['a 0 5 w1', 'b 5 6 r-'],
};

const BAD: Record<string, string[]> = {
  'a stale read': ['a 0 1 w1', 'a 2 3 w2', 'b 4 5 r1'],
  'a read that goes back': ['a 0 10 w1', 'b 1 2 r1', 'c 3 4 r-'],
  'a lost update': ['a 0 1 w1', 'b 2 3 c1>2', 'c 4 5 c1>3'],
  'a cas that succeeded twice, at once': ['a 0 1 w1', 'b 2 9 c1>2', 'c 2 9 c1>2', 'd 10 11 r2'],
  'a cas that failed although its value was there': ['a 0 1 w1', 'b 2 3 c1>2!', 'c 4 5 r1'],
  'a value that was never written': ['a 0 1 w1', 'b 2 3 r7'],
  'a value before it was written': ['b 0 1 r1', 'a 2 3 w1'],
  'an unanswered write that took effect twice': ['a 0 ? w1', 'b 1 2 r1', 'b 3 4 w2', 'b 5 6 r1'],
  'an unanswered write that took effect before its call': ['b 0 1 r1', 'a 2 ? w1'],
  'an unanswered cas that could not have happened': ['a 0 1 w1', 'b 2 ? c5>2', 'c 5 6 r2'],
  'two readers that saw two writes in different orders': [
    'a 0 20 w1',
    'b 0 20 w2',
    'c 1 2 r1',
    'd 3 4 r2',
    'c 5 6 r1',
  ],
};

describe('registers', () => {
  it.each(Object.entries(GOOD))('%s: linearizable', (_, lines) => {
    const operations = history(...lines);
    const verdict = checkLinearizable(registerModel, operations);
    expect(verdict.verdict, explain(verdict)).toBe('linearizable');
    expect(replays(verdict.order)).toBe(true);
  });

  it.each(Object.entries(BAD))('%s: not linearizable', (_, lines) => {
    const verdict = checkLinearizable(registerModel, history(...lines));
    expect(verdict).toMatchObject({ verdict: 'violation', key: 'x' });
    expect(verdict.stuck.length).toBeGreaterThan(0);
    expect(explain(verdict)).toContain('not explained');
  });

  it('one object out of many is named', () => {
    const fine = history('a 0 1 w1', 'b 2 3 r1').map((one) => ({ ...one, key: 'fine' }));
    const verdict = checkLinearizable(registerModel, [...fine, ...history('a 0 1 r4')]);
    expect(verdict).toMatchObject({ verdict: 'violation', key: 'x' });
  });

  it('says so when it has not found out', () => {
    // Every subset of many unanswered writes is possible, and the last read fits none of them.
    const writes = Array.from({ length: 24 }, (_, i) => `c${i} ${i} ? w${i}`);
    const operations = history(...writes, 'z 100 101 r99');
    const verdict = checkLinearizable(registerModel, operations, { stepsMax: 20_000 });
    expect(verdict).toMatchObject({ verdict: 'undecided', key: 'x', steps: 20_000 });
  });

  it('is done with a long history in a moment', () => {
    const clients = 6;
    const operations: RegisterOperation[] = [];
    let state: RegisterValue = null;
    for (let i = 0; i < 6000; i++) {
      const input: RegisterInput =
        i % 3 === 0
          ? { op: 'write', value: i }
          : i % 3 === 1
            ? { op: 'read' }
            : { op: 'cas', expected: state, value: i };
      const next = answerOf(state, input);
      state = next.state;
      const callMs = i - (clients - 1);
      operations.push({
        client: `c${i % clients}`,
        key: 'x',
        input,
        output: next.output,
        callMs,
        endMs: i + 0.5,
      });
    }
    const verdict = checkLinearizable(registerModel, operations);
    expect(verdict.verdict).toBe('linearizable');
    operations[5001] = {
      ...(operations[5001] as RegisterOperation),
      input: { op: 'read' },
      output: { value: 17 },
    };
    expect(checkLinearizable(registerModel, operations).verdict).toBe('violation');
  });
});

/** The order explains itself on a plain register. */
function replays(order: readonly RegisterOperation[]): boolean {
  let state: RegisterValue = null;
  for (const { input, output } of order) {
    const next = answerOf(state, input);
    if (output !== undefined && JSON.stringify(next.output) !== JSON.stringify(output))
      return false;
    state = next.state;
  }
  return true;
}

describe('fifo per client', () => {
  const op = (client: string, callMs: number, endMs: number, what: string): RegisterOperation =>
    history(
      `${client} ${callMs} ${endMs === Infinity ? '?' : endMs} ${what}`,
    )[0] as RegisterOperation;

  it('a client may not overtake itself', () => {
    const operations = [op('a', 0, 10, 'w1'), op('a', 1, 9, 'w2'), op('b', 11, 12, 'r1')];
    expect(checkLinearizable(registerModel, operations).verdict).toBe('linearizable');
    expect(checkLinearizable(registerModel, operations, { fifo: () => true }).verdict).toBe(
      'violation',
    );
  });

  it('an unanswered one comes before what follows it, or never', () => {
    const before = [op('a', 0, Infinity, 'w1'), op('a', 1, 9, 'w2'), op('b', 11, 12, 'r2')];
    expect(checkLinearizable(registerModel, before, { fifo: () => true }).verdict).toBe(
      'linearizable',
    );
    const after = [...before, op('b', 13, 14, 'r1')];
    expect(checkLinearizable(registerModel, after).verdict).toBe('linearizable');
    expect(checkLinearizable(registerModel, after, { fifo: () => true }).verdict).toBe('violation');
  });
});

describe('coordination nodes', () => {
  const node = (
    client: string,
    callMs: number,
    input: NodeOperation['input'],
    output: NodeOperation['output'],
  ): NodeOperation => ({
    client,
    key: '/x',
    input,
    output,
    callMs,
    endMs: output === undefined ? Infinity : callMs + 1,
  });
  const made = node('a', 0, { op: 'create', data: 'a' }, { version: 0 });

  it('made, set by version, removed', () => {
    const operations = [
      made,
      node('b', 2, { op: 'create', data: 'b' }, { refused: 'EXISTS' }),
      node('b', 4, { op: 'set', data: 'b', version: 0 }, { version: 1 }),
      node('a', 6, { op: 'set', data: 'c', version: 0 }, { refused: 'CONFLICT' }),
      node('a', 8, { op: 'get' }, { node: { version: 1, data: 'b' } }),
      node('a', 10, { op: 'delete', version: -1 }, undefined),
      node('b', 12, { op: 'get' }, { node: null }),
    ];
    expect(checkLinearizable(nodeModel, operations).verdict).toBe('linearizable');
  });

  it.each<[string, NodeOperation[]]>([
    ['made twice', [made, node('b', 2, { op: 'create', data: 'b' }, { version: 0 })]],
    [
      'set twice from one version',
      [
        made,
        node('b', 2, { op: 'set', data: 'b', version: 0 }, { version: 1 }),
        node('a', 4, { op: 'set', data: 'c', version: 0 }, { version: 1 }),
      ],
    ],
    ['not there after it was made', [made, node('b', 2, { op: 'get' }, { node: null })]],
  ])('%s: not linearizable', (_, operations) => {
    expect(checkLinearizable(nodeModel, operations).verdict).toBe('violation');
  });
});

describe('histories of a real register', () => {
  const input = fc.oneof(
    fc.constant<RegisterInput>({ op: 'read' }),
    fc.record({ op: fc.constant('write' as const), value: fc.integer({ min: 0, max: 3 }) }),
    fc.record({
      op: fc.constant('cas' as const),
      expected: fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 3 })),
      value: fc.integer({ min: 0, max: 3 }),
    }),
  );
  /** Each takes effect at its place in the list; it is called so much before and ends so much after. */
  const script = (maxLength: number): fc.Arbitrary<Step[]> =>
    fc.array(
      fc.record({
        input,
        early: fc.integer({ min: 0, max: 5 }),
        late: fc.integer({ min: 0, max: 5 }),
        fate: fc.constantFrom<Step['fate']>('answered', 'answered', 'answered', 'silent', 'lost'),
      }),
      { maxLength },
    );

  it('always pass', () => {
    fc.assert(
      fc.property(script(60), (steps) => {
        const verdict = checkLinearizable(registerModel, play(steps));
        expect(verdict.verdict, explain(verdict)).toBe('linearizable');
        expect(replays(verdict.order)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('changed somewhere: as brute force says', () => {
    let bad = 0;
    fc.assert(
      fc.property(
        script(6),
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 0, max: 3 }),
        fc.boolean(),
        fc.boolean(),
        (steps, at, value, swap, inOrder) => {
          const fifo = inOrder ? writesFirst : undefined;
          const operations = play(steps);
          const victim = operations[at % Math.max(1, operations.length)];
          if (victim !== undefined)
            operations[operations.indexOf(victim)] = spoil(victim, value, swap);
          const byForce = linearizableByForce(registerModel, operations, fifo);
          if (!byForce) bad++;
          expect(checkLinearizable(registerModel, operations, fifo && { fifo }).verdict).toBe(
            byForce ? 'linearizable' : 'violation',
          );
        },
      ),
      { numRuns: 2000 },
    );
    expect(bad).toBeGreaterThan(100);
  });
});

/** Reads may be overtaken. */
const writesFirst = ({ op }: RegisterInput): boolean => op !== 'read';

interface Step {
  readonly input: RegisterInput;
  readonly early: number;
  readonly late: number;
  /** Silent: it happened, and nobody was told. Lost: it did not happen. */
  readonly fate: 'answered' | 'silent' | 'lost';
}

/** Two clients, which may have several operations under way. */
function play(steps: readonly Step[]): RegisterOperation[] {
  let state: RegisterValue = null;
  return steps.map(({ input, early, late, fate }, i) => {
    const answer = answerOf(state, input);
    if (fate !== 'lost') state = answer.state;
    const known = fate === 'answered';
    return {
      client: i % 2 === 0 ? 'a' : 'b',
      key: 'x',
      input,
      output: known ? answer.output : undefined,
      // The fraction keeps moments of different operations apart.
      callMs: i - early + i / 1000,
      endMs: known ? i + late + 0.5 + i / 1000 : Infinity,
    };
  });
}

/** Another answer, or another time. */
function spoil(one: RegisterOperation, value: number, swap: boolean): RegisterOperation {
  if (one.output === undefined || swap)
    return { ...one, callMs: one.callMs + value, endMs: one.endMs + value };
  if ('value' in one.output) return { ...one, output: { value } };
  if ('swapped' in one.output) return { ...one, output: { swapped: !one.output.swapped } };
  return { ...one, input: { op: 'write', value } };
}

describe('what clients did is collected', () => {
  it('what has no answer counts as unknown', () => {
    let nowMs = 0;
    const collected = new History<RegisterInput, RegisterOutput>(() => nowMs);
    const first = collected.begin('a', 'x', { op: 'write', value: 1 });
    nowMs = 5;
    first.answered({ done: true });
    const second = collected.begin('a', 'x', { op: 'write', value: 2 });
    second.unknown();
    collected.begin('b', 'x', { op: 'read' }, 4);
    collected.begin('b', 'x', { op: 'write', value: 3 }).never();
    expect(() => second.never()).toThrow('ended already');
    expect(collected.all().map(({ callMs, endMs }) => [callMs, endMs])).toEqual([
      [0, 5],
      [5, Infinity],
      [4, Infinity],
    ]);
  });
});
