/**
 * The file system of a real `sextant dev` cluster: mounts as processes of their own, commands, the API; what one writes the
 * others see; one that is killed is recovered.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  rmdirSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DevProcess, SEXTANT } from '#bench/cluster.js';
import { mount } from '#fs-frontend/api/index.js';
import { canMount, mountsUnder, run } from '../vfs/mounting.js';

const CALL_MS = 60_000;

let folder: string;
let cluster: DevProcess;
const mounts: MountProcess[] = [];

/** `sextant mount`; nothing of it is left behind. */
class MountProcess {
  readonly point: string;
  readonly child: ChildProcess;
  line = '';
  readonly errors: string[] = [];
  readonly ended: Promise<number | null>;

  private constructor(point: string, more: readonly string[]) {
    this.point = point;
    const args = [SEXTANT, 'mount', point, '--data', folder, ...more];
    this.child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.ended = new Promise((done) => this.child.once('close', done));
    mounts.push(this);
  }

  static async start(point?: string, ...more: string[]): Promise<MountProcess> {
    const where = point ?? realpathSync(mkdtempSync(join(tmpdir(), 'sextant-mount-')));
    const self = new MountProcess(where, more);
    createInterface({ input: self.child.stderr! }).on('line', (line) => self.errors.push(line));
    const mounted = new Promise<void>((ready) => {
      createInterface({ input: self.child.stdout! }).on('line', (line) => {
        self.line = line;
        ready();
      });
    });
    const code = await Promise.race([mounted, self.ended]);
    if (typeof code === 'number') throw new Error(`ended with ${code}: ${self.errors.join()}`);
    return self;
  }

  path(name: string): string {
    return join(this.point, name);
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.child.kill(signal);
    return this.ended;
  }

  async clear(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.end('SIGKILL');
    for (let i = 0; i < 4 && mountsUnder(this.point).length > 0; i++) {
      spawnSync('umount', ['-i', '-l', this.point]);
    }
    rmSync(this.point, { recursive: true, force: true });
  }
}

function sextant(...args: string[]): { code: number | null; out: string; err: string } {
  const done = spawnSync(process.execPath, [SEXTANT, ...args], {
    encoding: 'utf8',
    timeout: CALL_MS,
  });
  return { code: done.status, out: done.stdout, err: done.stderr };
}

const files = (...args: string[]): ReturnType<typeof sextant> =>
  sextant('fs', ...args, '--data', folder);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sextant-files-dev-'));
  cluster = await DevProcess.start({ folder });
}, CALL_MS);

afterAll(async () => {
  for (const one of mounts) await one.clear();
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
}, CALL_MS);

describe('sextant fs', () => {
  it(
    'makes the disk of a dev cluster at its first use, others when told to',
    () => {
      expect(files('ls')).toEqual({ code: 0, out: '', err: '' });
      const none = files('ls', '--disk', 'other');
      expect(none.code).toBe(1);
      expect(none.err).toMatch(/^sextant: there is no file system on disk other: make it with/);
      const made = files('mkfs', '--disk', 'other', '--data-copies', '6', '--json');
      expect(JSON.parse(made.out)).toEqual({ disk: 'other', dataCopies: 6 });
      expect(files('mkfs', '--disk', 'other')).toMatchObject({ code: 1 });
      expect(files('mkdir', '/only-there', '--disk', 'other').code).toBe(0);
      expect(files('ls', '--disk', 'other').out).toBe('only-there\n');
      expect(files('ls').out).toBe('');
      expect(files('ls', '--disk', 'Not a name')).toMatchObject({ code: 2 });
    },
    CALL_MS,
  );

  it(
    'copies in, within and out; lists, moves, removes; check finds nothing',
    () => {
      const local = mkdtempSync(join(tmpdir(), 'sextant-local-'));
      const big = Buffer.alloc(3_000_000, 'sextant');
      mkdirSync(join(local, 'tree/below'), { recursive: true });
      writeFileSync(join(local, 'tree/one'), 'one\n', { mode: 0o640 });
      writeFileSync(join(local, 'tree/below/big'), big);
      try {
        expect(files('cp', `local:${local}/tree`, '/')).toMatchObject({ code: 2 });
        const copied = files('cp', '-r', `local:${local}/tree`, '/', '--json');
        expect(JSON.parse(copied.out)).toEqual({ files: 2, bytes: big.length + 4, skipped: [] });
        expect(files('cat', '/tree/one').out).toBe('one\n');
        const [one] = JSON.parse(files('stat', '/tree/one', '--json').out);
        expect(one).toMatchObject({ type: 'file', mode: '0640', size: 4, nlink: 1 });
        expect(files('cp', '-r', '/tree', '/tree/below').err).toMatch(/into itself/);
        expect(files('cp', '-r', '/tree', '/again').code).toBe(0);
        expect(files('mv', '/again', '/tree/below').code).toBe(0);
        const [sum] = JSON.parse(files('du', '/tree', '--json').out);
        expect(sum).toMatchObject({ files: 4, directories: 4, bytes: 2 * (big.length + 4) });
        expect(files('cp', '-r', '/tree/below/again', `local:${local}/back`).code).toBe(0);
        expect(readFileSync(join(local, 'back/below/big')).equals(big)).toBe(true);
        expect(JSON.parse(files('df', '--json').out).used).toBeGreaterThan(big.length);
        expect(files('rm', '/tree')).toMatchObject({ code: 1 });
        expect(files('rm', '-r', '/tree').code).toBe(0);
        expect(files('cat', '/tree/one')).toMatchObject({ code: 1, out: '' });
        expect(JSON.parse(files('check', '--json').out)).toMatchObject({ clean: true, files: 0 });
        expect(files('check', '--repair')).toMatchObject({ code: 0 });
      } finally {
        rmSync(local, { recursive: true });
      }
    },
    2 * CALL_MS,
  );

  it(
    "is a program's, too: mount({ data })",
    async () => {
      await using fs = await mount({ data: folder, name: 'tried' });
      await fs.writeFile('/from-a-program', 'hello');
      // Not spawnSync: the file server is in this thread.
      const aside = async (...args: string[]): Promise<string> =>
        (await run(process.execPath, [SEXTANT, ...args, '--data', folder])).out;
      expect(await aside('fs', 'cat', '/from-a-program')).toBe('hello');
      const status = JSON.parse(await aside('status', '--json'));
      expect(status.fileServers).toMatchObject([{ disk: 'default', name: 'tried', state: 'live' }]);
      await fs.rm('/from-a-program');
      await expect(mount({ data: folder, config: folder })).rejects.toThrow(/not both/);
    },
    CALL_MS,
  );
});

describe.skipIf(!canMount())('sextant mount', () => {
  it(
    'serves two mounts that see one another; SIGTERM unmounts',
    async () => {
      const [a, b] = [await MountProcess.start(), await MountProcess.start()];
      expect(a.line).toMatch(new RegExp(`^mounted default on ${a.point} `));
      writeFileSync(a.path('one'), 'from a');
      expect(readFileSync(b.path('one'), 'utf8')).toBe('from a');
      writeFileSync(b.path('one'), 'from b!', { flag: 'a' });
      expect(statSync(a.path('one')).size).toBe(13);
      renameSync(a.path('one'), a.path('two'));
      expect(readdirSync(b.point)).toEqual(['two']);
      truncateSync(b.path('two'), 4);
      expect(readFileSync(a.path('two'), 'utf8')).toBe('from');
      mkdirSync(b.path('folder'));
      expect(() => mkdirSync(a.path('folder'))).toThrow(/EEXIST/);
      expect(() => rmdirSync(a.path('two'))).toThrow(/ENOTDIR/);
      unlinkSync(a.path('two'));
      expect(() => statSync(b.path('two'))).toThrow(/ENOENT/);
      rmdirSync(a.path('folder'));
      expect(readdirSync(b.point)).toEqual([]);
      const twice = sextant('mount', a.point, '--data', folder);
      expect(twice).toMatchObject({ code: 2 });
      expect(twice.err).toMatch(/^sextant: cannot mount .*: it is in use/);
      writeFileSync(a.path('kept'), 'kept');
      expect(await a.end('SIGTERM')).toBe(0);
      expect(await b.end('SIGINT')).toBe(0);
      expect([...a.errors, ...b.errors]).toEqual([]);
      expect(mountsUnder(a.point)).toEqual([]);
      expect(files('cat', '/kept').out).toBe('kept');
    },
    2 * CALL_MS,
  );

  it(
    'answers errors after kill -9, is recovered by another, and is mounted again',
    async () => {
      const [a, b] = [await MountProcess.start(), await MountProcess.start()];
      const done = spawnSync('sync', [writeSynced(a.path('synced'))]);
      expect(done.status).toBe(0);
      await a.end('SIGKILL');
      expect(() => readdirSync(a.point)).toThrow(/ECONNABORTED|ENOTCONN/);
      // Waits until the lease of the dead has ended and its log is replayed.
      expect(readFileSync(b.path('synced'), 'utf8')).toBe('synced');
      writeFileSync(b.path('synced'), 'and changed');
      const again = await MountProcess.start(a.point);
      expect(readFileSync(again.path('synced'), 'utf8')).toBe('and changed');
      expect(await b.end('SIGTERM')).toBe(0);
      expect(await again.end('SIGTERM')).toBe(0);
      expect(JSON.parse(files('check', '--json').out)).toMatchObject({ clean: true });
    },
    2 * CALL_MS,
  );
});

function writeSynced(path: string): string {
  writeFileSync(path, 'synced');
  return path;
}
