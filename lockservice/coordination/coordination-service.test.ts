import { describe, expect, it } from 'vitest';
import { SextantError } from '#core/errors.js';
import { Simulation } from '#core/world/simulated/simulation.js';
import { CoordinationService } from './coordination-service.js';
import { CoordinationTree } from './coordination-tree.js';
import type {
  CoordinationCommand,
  Operation,
  ReadOperation,
  WatchEvents,
  WatchKind,
} from './messages.js';
import { readAnswer, readRequest, watchEventsBody, writeAnswer, writeRequest } from './messages.js';

/** A leader of a group of one: what is proposed is applied at once, unless it is held. */
class Leader {
  readonly tree = new CoordinationTree();
  readonly pushed: [number, WatchEvents][] = [];
  readonly service: CoordinationService;
  rounds = 0;
  releaseRound: (() => void) | undefined;
  failRound: ((error: Error) => void) | undefined;
  holdRounds = false;
  index = 0;
  readonly #sequences = new Map<number, number>();

  constructor() {
    const world = new Simulation(1).process('leader').start();
    this.service = new CoordinationService(world, {
      propose: (command) => Promise.resolve(this.apply(command)),
      readIndex: async () => {
        this.rounds++;
        const { index } = this;
        if (this.holdRounds) await this.#held();
        return index;
      },
      tree: () => this.tree,
      push: (token, body) => this.pushed.push([token, watchEventsBody.decode(body)]),
    });
  }

  #held(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.releaseRound = resolve;
      this.failRound = reject;
    });
  }

  apply(command: CoordinationCommand) {
    this.index++;
    const result = this.tree.apply(this.index, command);
    this.service.onApplied(result.events);
    return result;
  }

  async write(token: number, ...operations: Operation[]) {
    const sequence = (this.#sequences.get(token) ?? 0) + 1;
    this.#sequences.set(token, sequence);
    const acknowledged = sequence - 1;
    const request = { stream: 0, seen: 0, sequence, acknowledged, operations };
    return writeAnswer.decode(await this.service.write(token, writeRequest.encode(request)));
  }

  async read(token: number, reads: ReadOperation[], extra: object = {}) {
    const request = { stream: 0, seen: 0, reads, watches: [], unwatch: [], ...extra };
    return readAnswer.decode(await this.service.read(token, readRequest.encode(request)));
  }

  watch(token: number, id: number, kind: WatchKind, path: string, present: boolean, since: number) {
    return this.read(token, [], { watches: [{ id, kind, path, present, since }] });
  }
}

const create = (path: string): Operation => ({
  op: 'create',
  path,
  data: '',
  ephemeral: false,
  sequential: false,
});
const set = (path: string): Operation => ({ op: 'set', path, data: 'QQ==' });
const remove = (path: string): Operation => ({ op: 'delete', path });

describe('coordination service', () => {
  it('reads as of one index', async () => {
    const leader = new Leader();
    await leader.write(1, create('/a'), create('/a/b'));
    const answer = await leader.read(2, [
      { op: 'get', path: '/a' },
      { op: 'children', path: '/a' },
      { op: 'stat', path: '/no' },
    ]);
    expect(answer.index).toBe(1);
    expect(answer.results).toMatchObject([{ data: '' }, { names: ['b'] }, { stat: null }]);
  });

  it('reads that come in during a round share the next one', async () => {
    const leader = new Leader();
    leader.holdRounds = true;
    const first = leader.read(1, []);
    const others = [1, 2, 3].map((token) => leader.read(token, []));
    expect(leader.rounds).toBe(1);
    leader.releaseRound?.();
    await first;
    expect(leader.rounds).toBe(2);
    leader.releaseRound?.();
    await Promise.all(others);
    expect(leader.rounds).toBe(2);
  });

  it('a round that fails fails its own readers only', async () => {
    const leader = new Leader();
    leader.holdRounds = true;
    const first = leader.read(1, []);
    const second = leader.read(2, []);
    leader.holdRounds = false;
    leader.failRound?.(new SextantError('NOT_LEADER', 'deposed'));
    await expect(first).rejects.toMatchObject({ code: 'NOT_LEADER' });
    expect((await second).results).toEqual([]);
  });

  it('pushes the event of a watch before the answer of the write', async () => {
    const leader = new Leader();
    await leader.write(1, create('/a'));
    const { index } = await leader.read(2, []);
    const { watch } = await leader.watch(2, 5, 'data', '/a', true, index);
    expect(watch.events).toEqual([]);
    const write = leader.write(1, set('/a'));
    expect(leader.pushed).toMatchObject([
      [2, { stream: watch.stream, events: [{ number: 1, watch: 5, kind: 'changed', index: 2 }] }],
    ]);
    await write;
    await leader.write(1, set('/a'));
    expect(leader.pushed).toHaveLength(1);
    expect(leader.service.watchCount).toBe(0);
  });

  it('carries an event in every answer until it was seen', async () => {
    const leader = new Leader();
    const { stream } = (await leader.watch(2, 5, 'existence', '/a', false, 0)).watch;
    await leader.write(1, create('/a'));
    expect((await leader.read(2, [])).watch.events).toMatchObject([{ watch: 5 }]);
    expect((await leader.read(2, [], { stream, seen: 0 })).watch.events).toHaveLength(1);
    expect((await leader.read(2, [], { stream: stream + 1, seen: 1 })).watch.events).toHaveLength(
      1,
    );
    expect((await leader.read(2, [], { stream, seen: 1 })).watch).toEqual({ stream, events: [] });
  });

  it('fires what each kind is for', async () => {
    const leader = new Leader();
    const fired: Record<string, string> = {};
    for (const [what, write] of Object.entries({
      set: [set('/a')],
      child: [create('/a/b')],
      childSet: [set('/a/c')],
      remove: [remove('/a/c'), remove('/a')],
    })) {
      leader.pushed.length = 0;
      const paths = ['/a', '/a/c'].filter((path) => leader.tree.stateOf(path) === undefined);
      if (paths.length > 0) await leader.write(1, ...paths.map(create));
      const { index } = await leader.read(2, []);
      const kinds = ['data', 'existence', 'children'] as const;
      for (const [id, kind] of kinds.entries()) await leader.watch(2, id, kind, '/a', true, index);
      await leader.write(1, ...(what === 'remove' ? [...write] : write));
      const events = leader.pushed.flatMap(([, body]) => body.events);
      fired[what] = events.map((event) => `${kinds[event.watch]} ${event.kind}`).join(', ');
      leader.service.onDisconnect(2);
      if (what === 'child') await leader.write(1, remove('/a/b'));
    }
    expect(fired).toEqual({
      set: 'data changed',
      child: 'children children',
      childSet: '',
      remove: 'children children, data deleted, existence deleted',
    });
  });

  it('fires at once for what was missed', async () => {
    const leader = new Leader();
    await leader.write(1, create('/a'), create('/b'));
    await leader.write(1, set('/a'), create('/a/c'));
    await leader.write(1, remove('/b'), create('/b'));
    await leader.write(1, create('/gone'), remove('/gone'));
    const events = async (kind: WatchKind, path: string, present: boolean, since: number) => {
      leader.service.onDisconnect(2);
      return (await leader.watch(2, 1, kind, path, present, since)).watch.events.map(
        (event) => `${event.kind} ${event.index}`,
      );
    };
    expect(await events('data', '/a', true, 1)).toEqual(['changed 2']);
    expect(await events('data', '/a', true, 2)).toEqual([]);
    expect(await events('children', '/a', true, 1)).toEqual(['children 2']);
    expect(await events('existence', '/a', true, 1)).toEqual([]);
    expect(await events('existence', '/b', true, 1)).toEqual(['deleted 3']);
    expect(await events('existence', '/gone', true, 3)).toEqual(['deleted 4']);
    expect(await events('existence', '/gone', false, 3)).toEqual([]);
    expect(await events('data', '/a', false, 0)).toEqual(['created 1']);
  });

  it('forgets watches with the connection and with its leadership, and says so by another stream', async () => {
    const leader = new Leader();
    const first = await leader.watch(2, 1, 'existence', '/a', false, 0);
    leader.service.onDisconnect(2);
    expect((await leader.read(2, [])).watch.stream).toBe(0);
    const second = await leader.watch(2, 1, 'existence', '/a', false, 0);
    leader.service.onLeadership(false);
    const third = await leader.watch(2, 1, 'existence', '/a', false, 0);
    const streams = [first, second, third].map((answer) => answer.watch.stream);
    expect(new Set(streams).size).toBe(3);
    expect(leader.service.watchCount).toBe(1);
  });

  it('takes watches back', async () => {
    const leader = new Leader();
    await leader.watch(2, 1, 'existence', '/a', false, 0);
    await leader.read(2, [], { unwatch: [1, 99] });
    await leader.write(1, create('/a'));
    expect(leader.pushed).toEqual([]);
  });

  it('refuses bodies that are none, bad paths and too many watches', async () => {
    const leader = new Leader();
    const { service } = leader;
    const text = (value: string) => new TextEncoder().encode(value);
    await expect(service.write(1, text('{'))).rejects.toMatchObject({ code: 'PROTOCOL' });
    await expect(service.write(1, text('{"sequence":-1}'))).rejects.toMatchObject({
      code: 'PROTOCOL',
    });
    await expect(leader.write(1)).rejects.toMatchObject({ code: 'PROTOCOL' });
    await expect(leader.read(1, [{ op: 'get', path: 'x' }])).rejects.toMatchObject({
      code: 'PROTOCOL',
    });
    await expect(leader.watch(1, 1, 'data', '/a/', false, 0)).rejects.toMatchObject({
      code: 'PROTOCOL',
    });
    await expect(service.read(1, new Uint8Array(5 * 1024 * 1024))).rejects.toThrow(/fit/);
    const watches = Array.from({ length: 10_000 }, (_, id) => ({
      id,
      kind: 'data',
      path: '/a',
      present: false,
      since: 0,
    }));
    await leader.read(1, [], { watches });
    await expect(leader.watch(1, 10_000, 'data', '/a', false, 0)).rejects.toMatchObject({
      code: 'OVERLOADED',
    });
    expect(leader.index).toBe(0);
  });
});
