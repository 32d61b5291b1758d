/** `sextant dev` and its companions as a user runs them. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DevProcess, SEXTANT } from '#bench/cluster.js';

let folder: string;
let cluster: DevProcess;

function sextant(...args: string[]): { code: number | null; out: string; err: string } {
  const done = spawnSync(process.execPath, [SEXTANT, ...args], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { code: done.status, out: done.stdout, err: done.stderr };
}

function isAlive(pid: number): boolean {
  return (
    existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  );
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sextant-dev-'));
  cluster = await DevProcess.start({ folder });
}, 60_000);

afterAll(async () => {
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
}, 30_000);

describe('sextant dev', () => {
  it('reports every part in status --json', () => {
    const { code, out } = sextant('status', '--data', folder, '--json');
    expect(code).toBe(0);
    const status = JSON.parse(out);
    expect(status.vdl).toBeGreaterThan(0);
    expect(status.volumeEpoch).toBe(1);
    expect(status.engine.state).toBe('open');
    expect(
      status.nodes.map((node: { id: string; zone: string; state: string }) => [
        node.id,
        node.zone,
        node.state,
      ]),
    ).toEqual([
      ['node-1', 'a', 'up'],
      ['node-2', 'a', 'up'],
      ['node-3', 'b', 'up'],
      ['node-4', 'b', 'up'],
      ['node-5', 'c', 'up'],
      ['node-6', 'c', 'up'],
    ]);
    for (const node of status.nodes) {
      expect(node.pid).toBeGreaterThan(0);
      expect(node.sclLag).toBeGreaterThanOrEqual(0);
      expect(node.journalBytes).toBeGreaterThan(0);
      expect(node.pageBytes).toBeGreaterThanOrEqual(0);
    }
  });

  it('has three lock servers, which share the lock groups, and starts a killed one again', async () => {
    interface LockServerLine {
      id: string;
      pid: number;
      state: string;
      groups: number;
    }
    const lockServers = async (
      wanted: (lines: LockServerLine[]) => boolean,
    ): Promise<LockServerLine[]> => {
      const deadline = Date.now() + 15_000;
      for (;;) {
        const status = JSON.parse(sextant('status', '--data', folder, '--json').out);
        const lines: LockServerLine[] = status.lockServers;
        if (wanted(lines) || Date.now() > deadline) return lines;
        await new Promise((wake) => setTimeout(wake, 100));
      }
    };
    const balanced = (lines: LockServerLine[]): boolean =>
      lines.every(({ groups }) => groups === 33 || groups === 34);
    const before = await lockServers(balanced);
    expect(before.map(({ id }) => id)).toEqual(['lock-1', 'lock-2', 'lock-3']);
    expect(before.map(({ groups }) => groups).toSorted((a, b) => a - b)).toEqual([33, 33, 34]);
    expect(before.filter(({ state }) => state === 'leader')).toHaveLength(1);
    process.kill(before[0]!.pid, 'SIGKILL');
    const after = await lockServers((lines) => lines[0]!.pid !== before[0]!.pid && balanced(lines));
    expect(after[0]!.pid).not.toBe(before[0]!.pid);
    expect(balanced(after)).toBe(true);
    const locks = sextant('locks', '--data', folder, '--json');
    expect(JSON.parse(locks.out)).toEqual({ total: 0, locks: [], missing: [] });
    const unknown = sextant('locks', '--data', folder, '--table', 'nope');
    expect(unknown).toMatchObject({ code: 1, err: 'sextant: no lock table nope\n' });
    const second = sextant(
      'lockserver',
      '--config',
      join(folder, 'sextant.json'),
      '--server',
      'lock-1',
    );
    expect(second.code).toBe(1);
    expect(second.err).toContain(join(folder, 'lock-1'));
    expect(second.err).toContain(String(after[0]!.pid));
  }, 60_000);

  it('runs SQL from the shell', () => {
    expect(sextant('sql', '--data', folder, '-c', 'SELECT 1 + 1 AS two').out).toContain(' 2');
    const bad = sextant('sql', '--data', folder, '-c', 'SELEC');
    expect(bad.code).toBe(1);
    expect(bad.err).toContain('42601');
  });

  it('starts a killed part again within a second', async () => {
    const pid = JSON.parse(sextant('status', '--data', folder, '--json').out).nodes[0]
      .pid as number;
    process.kill(pid, 'SIGKILL');
    const deadline = Date.now() + 3000;
    let again: number | null = null;
    while (Date.now() < deadline && (again === null || again === pid)) {
      again = JSON.parse(sextant('status', '--data', folder, '--json').out).nodes[0].pid as
        | number
        | null;
    }
    expect(again).toBeGreaterThan(0);
    expect(again).not.toBe(pid);
  }, 20_000);

  it('refuses a second cluster on the folder, and a second node on its folder, naming the holder', () => {
    const second = sextant('dev', '--data', folder, '--port', '1');
    expect(second.code).toBe(1);
    expect(second.err).toContain(folder);
    expect(second.err).toContain(String(cluster.pid));
    const status = JSON.parse(sextant('status', '--data', folder, '--json').out);
    const node = sextant(
      'storage-node',
      '--config',
      join(folder, 'sextant.json'),
      '--node',
      'node-3',
    );
    expect(node.code).toBe(1);
    expect(node.err).toContain(join(folder, 'node-3'));
    expect(node.err).toContain(String(status.nodes[2].pid));
  });

  it('has the same data after it was stopped and started, and leaves no process', async () => {
    const client = new pg.Client({ connectionString: cluster.url });
    await client.connect();
    await client.query('CREATE TABLE kept (id int PRIMARY KEY, word text)');
    await client.query("INSERT INTO kept VALUES (1, 'one'), (2, 'two')");
    await client.end();
    const status = JSON.parse(sextant('status', '--data', folder, '--json').out);
    const pids: number[] = [
      status.engine.pid,
      ...status.nodes.map((node: { pid: number }) => node.pid),
      ...status.lockServers.map((server: { pid: number }) => server.pid),
    ].filter((pid) => pid > 0);
    expect(await cluster.stop()).toBe(0);
    expect(pids.filter(isAlive)).toEqual([]);
    cluster = await DevProcess.start({ folder });
    const again = new pg.Client({ connectionString: cluster.url });
    await again.connect();
    expect((await again.query('SELECT * FROM kept ORDER BY id')).rows).toEqual([
      { id: 1, word: 'one' },
      { id: 2, word: 'two' },
    ]);
    await again.end();
  }, 60_000);

  it('leaves no process when it is killed itself', async () => {
    const status = JSON.parse(sextant('status', '--data', folder, '--json').out);
    const pids: number[] = [
      status.engine.pid,
      ...status.nodes.map((node: { pid: number }) => node.pid),
      ...status.lockServers.map((server: { pid: number }) => server.pid),
    ].filter((pid) => pid > 0);
    process.kill(cluster.pid, 'SIGKILL');
    const deadline = Date.now() + 5000;
    while (Date.now() < deadline && pids.some(isAlive))
      await new Promise((wake) => setTimeout(wake, 50));
    expect(pids.filter(isAlive)).toEqual([]);
    cluster = await DevProcess.start({ folder });
  }, 60_000);
});

describe('wrong use', () => {
  it.each([
    [['frobnicate'], /frobnicate/],
    [['dev', '--port', 'many'], /--port/],
    [['status', '--data', '/nonexistent'], /sextant dev/],
    [['storage-node', '--config', '/nonexistent.json', '--node', 'node-1'], /nonexistent\.json/],
    [['storage-node', '--node', 'node-1'], /--config/],
    [['sql', '--bogus'], /--bogus/],
    [['locks', '--data', '/nonexistent'], /sextant dev/],
    [['locks', '--limit', '0'], /--limit/],
    [['lockserver', '--config', '/nonexistent.json', '--server', 'lock-1'], /nonexistent\.json/],
    [['lockserver', '--config', 'x', '--server', 'y', '--join', '--leave'], /--leave/],
    [['lockserver', '--server', 'lock-1'], /--config/],
  ])('%j exits 2 with one line', (args, pattern) => {
    const { code, err } = sextant(...args);
    expect(code).toBe(2);
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(err).toMatch(pattern);
  });

  it.each(['dev', 'storage-node', 'engine', 'lockserver', 'locks', 'status', 'sql'])(
    '%s --help has an example',
    (command) => {
      const { code, out } = sextant(command, '--help');
      expect(code).toBe(0);
      expect(out).toContain(`sextant ${command}`);
      expect(out).toContain('Example:');
    },
  );

  it('a config of five nodes is refused with the place', () => {
    const path = join(folder, 'five.json');
    const config = JSON.parse(readFileSync(join(folder, 'sextant.json'), 'utf8'));
    writeFileSync(path, JSON.stringify({ ...config, nodes: config.nodes.slice(1) }));
    const { code, err } = sextant('engine', '--config', path);
    expect(code).toBe(2);
    expect(err).toContain('six storage nodes');
  });

  it('lock servers in a config are optional, and may not share what is their own', () => {
    const path = join(folder, 'locks.json');
    const config = JSON.parse(readFileSync(join(folder, 'sextant.json'), 'utf8'));
    writeFileSync(path, JSON.stringify({ ...config, lockServers: undefined }));
    const without = sextant('lockserver', '--config', path, '--server', 'lock-1');
    expect(without.code).toBe(2);
    expect(without.err).toContain('no lock server lock-1; it has none');
    expect(sextant('locks', '--config', path).err).toContain('has no lock servers');
    const [first, second] = config.lockServers;
    const shared = [first, { ...second, data: first.data }];
    writeFileSync(path, JSON.stringify({ ...config, lockServers: shared }));
    const { code, err } = sextant('lockserver', '--config', path, '--server', 'lock-1');
    expect(code).toBe(2);
    expect(err).toContain('share one data');
  });
});
