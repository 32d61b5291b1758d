import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SextantError } from '#core/errors.js';
import { CoordinationTree } from './coordination-tree.js';
import { NO_COORDINATION_FAULTS } from './faults.js';
import type { Operation, WriteOutcome } from './messages.js';
import { coordinationCommand } from './messages.js';
import { checkPath, checkPrefix, parentOf, sequenceOf } from './paths.js';
import { TreeModel } from './tree-model.test-helper.js';

/** One clerk's hand on a tree: numbers its writes and prints what they do. */
class Script {
  tree = new CoordinationTree();
  index = 0;
  readonly lines: string[] = [];
  readonly #last = new Map<number, number>();

  write(token: number, ...operations: Operation[]): WriteOutcome {
    const sequence = (this.#last.get(token) ?? 0) + 1;
    this.#last.set(token, sequence);
    return this.send(token, sequence, sequence - 1, ...operations);
  }

  send(token: number, sequence: number, acknowledged: number, ...operations: Operation[]) {
    this.index++;
    const command = { token, sequence, acknowledged, operations };
    const { outcome, events } = this.tree.apply(this.index, command);
    this.lines.push(`${this.index} ${token}/${sequence} ${show(outcome)}`);
    for (const event of events) this.lines.push(`    ${event.kind} ${event.path}`);
    return outcome;
  }

  expire(token: number): void {
    this.index++;
    this.lines.push(`${this.index} ${token} ends`);
    for (const event of this.tree.expireSession(this.index, token)) {
      this.lines.push(`    ${event.kind} ${event.path}`);
    }
  }

  stat(path: string) {
    return this.tree.read([{ op: 'stat', path }])[0]?.stat ?? null;
  }

  names(path: string) {
    return this.tree.read([{ op: 'children', path }])[0]?.names;
  }

  get log(): string {
    return this.lines.join('\n');
  }
}

function show(outcome: WriteOutcome): string {
  if (outcome.kind === 'gap') return `gap, expected ${outcome.expected}`;
  if (outcome.kind === 'refused') return `${outcome.code} at ${outcome.failed}: ${outcome.message}`;
  return outcome.results
    .map(({ path, stat }) => (stat === null ? `${path} gone` : `${path} v${stat.version}`))
    .join(', ');
}

const create = (path: string, options: { e?: boolean; s?: boolean; data?: string } = {}) =>
  ({
    op: 'create',
    path,
    data: options.data ?? '',
    ephemeral: options.e === true,
    sequential: options.s === true,
  }) as const;
const set = (path: string, data: string, version?: number): Operation =>
  version === undefined ? { op: 'set', path, data } : { op: 'set', path, data, version };
const remove = (path: string, version?: number): Operation =>
  version === undefined ? { op: 'delete', path } : { op: 'delete', path, version };
const check = (path: string, version?: number): Operation =>
  version === undefined ? { op: 'check', path } : { op: 'check', path, version };

describe('coordination tree', () => {
  it('creates, sets, deletes', () => {
    const script = new Script();
    script.write(7, create('/a', { data: 'QQ==' }));
    script.write(7, create('/a/b'));
    script.write(7, set('/a', 'QUI='));
    script.write(7, remove('/a'));
    script.write(7, remove('/a/b'));
    script.write(7, remove('/a'));
    expect(script.log).toBe(`1 7/1 /a v0
    created /a
2 7/2 /a/b v0
    created /a/b
3 7/3 /a v1
    changed /a
4 7/4 NOT_EMPTY at 0: /a has 1 children
5 7/5 /a/b gone
    deleted /a/b
6 7/6 /a gone
    deleted /a`);
  });

  it('keeps the indices of creation, change and children', () => {
    const script = new Script();
    script.write(7, create('/a'));
    script.write(7, create('/a/b'));
    script.write(7, set('/a', 'QUI='));
    script.write(7, remove('/a/b'));
    expect(script.stat('/a')).toEqual({
      createdIndex: 1,
      changedIndex: 3,
      childrenIndex: 4,
      version: 1,
      childrenVersion: 2,
      owner: 0,
      dataBytes: 2,
      children: 0,
    });
  });

  it('refuses what does not fit', () => {
    const script = new Script();
    script.write(7, create('/a'));
    script.write(7, create('/a'));
    script.write(7, create('/'));
    script.write(7, create('/x/y'));
    script.write(7, set('/a', '', 3));
    script.write(7, remove('/a', 1));
    script.write(7, check('/a', 9));
    script.write(7, check('/b'));
    script.write(7, remove('/'));
    script.write(7, create('no-slash'));
    script.write(7, create('/e', { e: true }));
    script.write(7, create('/e/child'));
    expect(script.log).toBe(`1 7/1 /a v0
    created /a
2 7/2 EXISTS at 0: /a exists
3 7/3 EXISTS at 0: / exists
4 7/4 NOT_FOUND at 0: /x does not exist
5 7/5 CONFLICT at 0: /a is at version 0, not 3
6 7/6 CONFLICT at 0: /a is at version 0, not 1
7 7/7 CONFLICT at 0: /a is at version 0, not 9
8 7/8 NOT_FOUND at 0: /b does not exist
9 7/9 PROTOCOL at 0: / stays
10 7/10 PROTOCOL at 0: bad path "no-slash": it starts with /
11 7/11 /e v0
    created /e
12 7/12 PROTOCOL at 0: /e is ephemeral and has no children`);
  });

  it('numbers sequential nodes by a counter of the parent that never goes back', () => {
    const script = new Script();
    script.write(7, create('/q'));
    script.write(7, create('/q/a-', { s: true }));
    script.write(7, create('/q/b-', { s: true }));
    script.write(7, remove('/q/b-0000000001'));
    script.write(7, create('/q/', { s: true }));
    expect(script.names('/q')).toEqual(['0000000002', 'a-0000000000']);
  });

  it('does all of a multi or nothing, and says which operation failed', () => {
    const script = new Script();
    script.write(7, create('/a', { data: 'QQ==' }), create('/a/s-', { s: true }));
    const before = JSON.stringify(script.tree.toSnapshot());
    script.write(
      7,
      set('/a', 'QkI='),
      create('/a/s-', { s: true, e: true }),
      remove('/a/s-0000000000'),
      create('/c'),
      remove('/a', 5),
    );
    expect(script.lines.at(-1)).toBe('2 7/2 CONFLICT at 4: /a is at version 1, not 5');
    const after = script.tree.toSnapshot() as { nodes: unknown };
    expect(JSON.stringify(after.nodes)).toBe(
      JSON.stringify((JSON.parse(before) as { nodes: unknown }).nodes),
    );
    script.write(7, create('/a/s-', { s: true }));
    expect(script.names('/a')).toEqual(['s-0000000000', 's-0000000001']);
  });

  it('operations of a multi see the ones before them', () => {
    const script = new Script();
    script.write(7, create('/a'), create('/a/b'), set('/a', 'QQ==', 0), check('/a', 1));
    expect(script.log).toContain('1 7/1 /a v0, /a/b v0, /a v1, /a v1');
  });

  it('a node that is made and deleted in one write is no event; one that is replaced is', () => {
    const script = new Script();
    script.write(7, create('/a'));
    script.write(7, create('/b'), set('/b', 'QQ=='), remove('/b'), remove('/a'), create('/a'));
    expect(script.lines.slice(-2)).toEqual(['    deleted /a', '    created /a']);
    expect(script.lines).toHaveLength(5);
  });

  it('deletes the ephemeral nodes of a clerk with it, and no others', () => {
    const script = new Script();
    script.write(7, create('/d'), create('/d/7', { e: true }), create('/d/p'));
    script.write(8, create('/d/8', { e: true }));
    script.lines.length = 0;
    script.expire(7);
    expect(script.log).toBe(`3 7 ends
    deleted /d/7`);
    expect(script.names('/d')).toEqual(['8', 'p']);
    script.expire(8);
    script.expire(8);
    expect(script.names('/d')).toEqual(['p']);
    expect(script.tree.sessionCount).toBe(0);
  });
});

describe('writes of a session', () => {
  it('a repeated one is answered as before and changes nothing', () => {
    const script = new Script();
    const first = script.send(7, 1, 0, create('/a-', { s: true }));
    const again = script.send(7, 1, 0, create('/a-', { s: true }));
    expect(again).toEqual(first);
    expect(script.names('/')).toEqual(['a-0000000000']);
  });

  it('a refusal is kept as well', () => {
    const script = new Script();
    script.send(7, 1, 0, set('/a', ''));
    script.send(8, 1, 0, create('/a'));
    expect(script.send(7, 1, 0, set('/a', ''))).toMatchObject({ kind: 'refused', index: 1 });
    expect(script.stat('/a')?.version).toBe(0);
  });

  it('one behind a missing one changes nothing', () => {
    const script = new Script();
    script.send(7, 2, 0, create('/b'));
    script.send(7, 1, 0, create('/a'));
    script.send(7, 2, 0, create('/b'));
    expect(script.log).toBe(`1 7/2 gap, expected 1
2 7/1 /a v0
    created /a
3 7/2 /b v0
    created /b`);
  });

  it('one that was acknowledged is not answered again', () => {
    const script = new Script();
    script.send(7, 1, 0, create('/a'));
    script.send(7, 2, 1, create('/b'));
    expect(script.send(7, 1, 0, create('/a'))).toMatchObject({
      code: 'PROTOCOL',
      message: 'write 1 was answered and acknowledged',
    });
  });

  it('no more than 128 unanswered ones', () => {
    const script = new Script();
    for (let i = 1; i <= 128; i++) script.send(7, i, 0, create(`/n${i}`));
    expect(script.send(7, 129, 0, create('/x'))).toMatchObject({ code: 'PROTOCOL' });
    expect(script.send(7, 129, 1, create('/x'))).toMatchObject({ kind: 'done' });
  });
});

describe('bounds', () => {
  it('too many nodes or bytes are refused, deleting is not', () => {
    const tree = new CoordinationTree({ nodesMax: 3, bytesMax: 5000 });
    const big = Buffer.alloc(6000).toString('base64');
    let sequence = 0;
    const run = (operation: Operation): WriteOutcome => {
      sequence++;
      const operations = [operation];
      return tree.apply(sequence, { token: 1, sequence, acknowledged: sequence - 1, operations })
        .outcome;
    };
    expect(run(create('/a'))).toMatchObject({ kind: 'done' });
    expect(run(set('/a', big))).toMatchObject({ code: 'OVERLOADED' });
    expect(run(create('/b', { data: big }))).toMatchObject({ code: 'OVERLOADED' });
    expect(run(create('/b'))).toMatchObject({ kind: 'done' });
    expect(run(create('/c'))).toMatchObject({ code: 'OVERLOADED' });
    expect(run(remove('/a'))).toMatchObject({ kind: 'done' });
    expect(run(create('/c'))).toMatchObject({ kind: 'done' });
  });

  it('what is kept for a clerk is counted, and given back with it', () => {
    const tree = new CoordinationTree();
    const operations = [create('/a', { e: true }), check('/a')];
    tree.apply(1, { token: 1, sequence: 1, acknowledged: 0, operations });
    expect(tree.bytes).toBeGreaterThan(0);
    tree.expireSession(2, 1);
    expect(tree.bytes).toBe(0);
  });

  it('data of more than 1 MiB, or that is not base64, is no command', () => {
    const command = (data: string) => ({
      token: 1,
      sequence: 1,
      acknowledged: 0,
      operations: [create('/a', { data })],
    });
    const megabyte = Buffer.alloc(1024 * 1024).toString('base64');
    expect(coordinationCommand(command(megabyte), '').operations).toHaveLength(1);
    const refused = (data: string) => {
      try {
        coordinationCommand(command(data), '');
      } catch (error) {
        return (error as SextantError).code;
      }
      return 'taken';
    };
    expect(refused(Buffer.alloc(1024 * 1024 + 1).toString('base64'))).toBe('OUT_OF_RANGE');
    expect(refused('a')).toBe('PROTOCOL');
    expect(refused('a*==')).toBe('PROTOCOL');
  });

  it('answers that would be too long are refused', () => {
    const tree = new CoordinationTree();
    const data = Buffer.alloc(1024 * 1024).toString('base64');
    const operations = [create('/a', { data })];
    tree.apply(1, { token: 1, sequence: 1, acknowledged: 0, operations });
    const reads = Array.from({ length: 13 }, () => ({ op: 'get', path: '/a' }) as const);
    expect(() => tree.read(reads)).toThrow(/an answer of over/);
    expect(tree.read(reads.slice(0, 10))).toHaveLength(10);
  });
});

describe('paths', () => {
  it('follow the grammar', () => {
    for (const good of ['/', '/a', '/a/b.c', '/ä/x y', '/...', `/${'n'.repeat(255)}`]) {
      expect(() => checkPath(good)).not.toThrow();
    }
    const bad = ['', 'a', '/a/', '//', '/a//b', '/.', '/a/..', '/a\n', '/\ud800', '/\u0000'];
    for (const path of [...bad, `/${'n'.repeat(256)}`, '/abcdefgh'.repeat(120)]) {
      expect(() => checkPath(path), path).toThrow(SextantError);
    }
    expect(() => checkPrefix('/q/')).not.toThrow();
    expect(() => checkPrefix(`/${'n'.repeat(246)}`)).toThrow(/long name/);
    expect([parentOf('/a'), parentOf('/a/b')]).toEqual(['/', '/a']);
    expect([sequenceOf('n-0000000012'), sequenceOf('n-12')]).toEqual([12, undefined]);
  });
});

const name = fc.constantFrom('a', 'b', 'c');
const path = fc.oneof(
  name.map((n) => `/${n}`),
  fc.tuple(name, name).map(([x, y]) => `/${x}/${y}`),
);
const version = fc.option(fc.nat({ max: 2 }), { nil: undefined });
const data = fc.constantFrom('', 'QQ==', 'QUJD');
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc
    .record({ path, data, e: fc.boolean(), s: fc.boolean() })
    .map(({ path: where, ...options }) => create(where, options)),
  fc.tuple(path, data, version).map(([p, d, v]) => set(p, d, v)),
  fc.tuple(path, version).map(([p, v]) => remove(p, v)),
  fc.tuple(path, version).map(([p, v]) => check(p, v)),
);
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      token: fc.constantFrom(1, 2, 3),
      /** 0: in order; -1: the last one again; 1: one is left out. */
      skew: fc.constantFrom(0, 0, 0, 0, -1, 1),
      operations: fc.array(operation, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('expire' as const, 'restore' as const),
      token: fc.constantFrom(1, 2, 3),
      skew: fc.constant(0),
      operations: fc.constant<Operation[]>([]),
    }),
  },
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Runs the same steps on the tree and on the model; throws at the first difference. */
function compare(steps: Step[], faults = NO_COORDINATION_FAULTS): void {
  let tree = new CoordinationTree(undefined, faults);
  const model = new TreeModel();
  let index = 0;
  for (const one of steps) {
    index++;
    if (one.kind === 'restore') {
      const snapshot = JSON.stringify(tree.toSnapshot());
      tree = CoordinationTree.fromSnapshot(JSON.parse(snapshot), undefined, faults);
      expect(JSON.stringify(tree.toSnapshot())).toBe(snapshot);
    } else if (one.kind === 'expire') {
      tree.expireSession(index, one.token);
      model.expire(index, one.token);
    } else {
      const { token, operations } = one;
      const sequence = Math.max(1, model.sequenceOf(token) + 1 + one.skew);
      const acknowledged = Math.max(0, Math.min(sequence, model.sequenceOf(token)) - 2);
      const { outcome } = tree.apply(index, { token, sequence, acknowledged, operations });
      expect(outcome).toMatchObject(model.write(index, token, sequence, operations));
    }
    expect(model.describe()).toEqual(
      [...model.paths()].map((at) => {
        const [found] = tree.read([{ op: 'get', path: at }]);
        return { path: at, data: found?.data, ...found?.stat };
      }),
    );
    expect(tree.nodeCount).toBe(model.paths().length);
  }
}

describe('against a naive model', () => {
  it('does the same for any writes, repeats, gaps, ends of sessions and snapshots', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => compare(steps)),
      {
        numRuns: 300,
      },
    );
  });

  for (const fault of Object.keys(NO_COORDINATION_FAULTS)) {
    it(`notices ${fault}`, () => {
      const faults = { ...NO_COORDINATION_FAULTS, [fault]: true };
      const run = () =>
        fc.assert(
          fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) =>
            compare(steps, faults),
          ),
          {
            numRuns: 300,
            seed: 1,
          },
        );
      expect(run).toThrow();
    });
  }
});
