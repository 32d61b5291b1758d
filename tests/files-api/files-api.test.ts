/** What the files API promises beyond Node: confinement, one door, changes told, extras, answers in the same turn. */
import * as nodePromises from 'node:fs/promises';
import * as nodeFs from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { filesOf, mount, type SextantFs } from '#fs-frontend/api/index.js';
import { FsError, type Vfs } from '#fs-frontend/vfs/vfs.js';
import { SextantError } from '#core/errors.js';
import { MemoryVfs } from '#tests/vfs/memory-vfs.js';
import { waiting } from './vfs-kinds.js';

function create(options = {}): SextantFs {
  return filesOf(new MemoryVfs(), { uid: 0, gid: 0, umask: 0o022, ...options });
}

describe('the object', () => {
  it('has the type and every function of node:fs/promises', () => {
    type Node = typeof nodePromises;
    expectTypeOf<SextantFs>().toExtend<Omit<Node, 'default'>>();
    const fs = create();
    const anything: Pick<Node, Exclude<keyof Node, 'default'>> = fs;
    for (const name of Object.keys(nodePromises).filter((key) => key !== 'default')) {
      expect(typeof anything[name as 'open'], name).toBe(
        typeof (nodePromises as unknown as Record<string, unknown>)[name],
      );
    }
    expect(fs.constants).toEqual(nodePromises.constants);
  });

  it('has handles with everything of Node’s', async () => {
    const fs = create();
    const handle = await fs.open('/file', 'w');
    const real = await nodePromises.open('/dev/null');
    const names = new Set<string>();
    for (let at = Object.getPrototypeOf(real) as object; at !== Object.prototype;) {
      for (const name of Object.getOwnPropertyNames(at)) names.add(name);
      at = Object.getPrototypeOf(at) as object;
    }
    names.delete('getAsyncId');
    const missing = [...names].filter((name) => !(name in handle));
    expect(missing).toEqual([]);
    expect(Symbol.asyncDispose in handle).toBe(true);
    await real.close();
    await handle.close();
  });

  it('is its own promises, enumerable, and its functions need no object', async () => {
    const fs = create();
    expect(Object.getOwnPropertyDescriptor(fs, 'promises')).toMatchObject({ enumerable: true });
    expect(fs.promises).toBe(fs);
    const { writeFile, readFile, open } = fs.promises;
    await writeFile('/a', 'x');
    expect(await readFile('/a', 'utf8')).toBe('x');
    const close = Reflect.get(await open('/a'), 'close') as () => Promise<void>;
    await close();
  });

  it('opens by mount, which says what it needs', async () => {
    const fs = await mount({ vfs: new MemoryVfs(), umask: 0o077 });
    await fs.mkdir('/d');
    expect((await fs.stat('/d')).mode & 0o777).toBe(0o700);
    await fs.unmount();
    await expect(mount({} as { vfs: Vfs })).rejects.toBeInstanceOf(SextantError);
  });

  it('closes what is open when it unmounts', async () => {
    const fs = create();
    const handle = await fs.open('/a', 'w');
    await fs.unmount();
    await expect(handle.write('x')).rejects.toMatchObject({ code: 'EBADF', syscall: 'write' });
    await handle.close();
  });
});

describe('paths', () => {
  it('never lead out of the root', async () => {
    const fs = create();
    await fs.mkdir('/a/b', { recursive: true });
    await fs.writeFile('/top', 'top');
    await fs.symlink('../../../../../top', '/a/b/out');
    await fs.symlink('/../../etc/passwd', '/a/b/passwd');
    expect(await fs.readFile('/a/b/out', 'utf8')).toBe('top');
    expect(await fs.readFile('../../../top', 'utf8')).toBe('top');
    await expect(fs.readFile('/a/b/passwd')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(fs.readFile('/../../../etc/passwd')).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await fs.realpath('/a/../../../a/b/out')).toBe('/top');
  });

  it('start at the root when they are relative', async () => {
    const fs = create();
    expect(await fs.mkdir('x/y', { recursive: true })).toBe('/x');
    await fs.writeFile('x/y/z', '1');
    expect(await fs.realpath('x/./y/z')).toBe('/x/y/z');
    expect(await fs.readFile(new URL('file:///x/y/z'), 'utf8')).toBe('1');
  });

  it('check permissions of whoever mounted', async () => {
    const vfs = new MemoryVfs();
    const root = filesOf(vfs, { uid: 0, gid: 0, umask: 0 });
    const user = filesOf(vfs, { uid: 1000, gid: 1000, groups: [50], umask: 0o022 });
    await root.mkdir('/closed', { mode: 0o700 });
    await root.writeFile('/closed/file', 'x');
    await root.mkdir('/open', { mode: 0o777 });
    await user.writeFile('/open/mine', 'x');
    expect(await user.stat('/open/mine')).toMatchObject({ uid: 1000, gid: 1000, mode: 0o100644 });
    for (const path of ['/closed/file', '/closed/.', '/closed/..', '/closed/none']) {
      await expect(user.stat(path), path).rejects.toMatchObject({ code: 'EACCES', errno: -13 });
    }
    await expect(user.chown('/open/mine', 0, 0)).rejects.toMatchObject({ code: 'EPERM' });
    await expect(user.writeFile('/new', 'x')).rejects.toMatchObject({ code: 'EACCES' });
    await expect(user.access('/open/mine', nodeFs.constants.X_OK)).rejects.toMatchObject({
      message: "EACCES: permission denied, access '/open/mine'",
    });
  });
});

describe('answers', () => {
  it('come in the same turn when the Vfs answers at once', async () => {
    const fs = create();
    let turns = 0;
    let over = false;
    const count = async (): Promise<void> => {
      while (!over) {
        await setImmediate();
        turns++;
      }
    };
    const counting = count();
    await fs.mkdir('/a/b/c', { recursive: true });
    await fs.writeFile('/a/b/c/file', 'x'.repeat(100_000));
    await fs.symlink('b/c', '/a/link');
    await fs.readFile('/a/link/file');
    const handle = await fs.open('/a/link/file', 'r+');
    await handle.write('y', 5);
    await handle.read(Buffer.alloc(10), 0, 10, 0);
    await handle.stat();
    await handle.close();
    await fs.cp('/a', '/copy', { recursive: true });
    await fs.rm('/a', { recursive: true });
    await fs.readdir('/', { recursive: true });
    expect(turns).toBe(0);
    over = true;
    await counting;
  });

  it('show an errno that libuv has no name for, and a cause below', async () => {
    const vfs = new MemoryVfs();
    const fs = filesOf(vfs);
    await fs.writeFile('/a', '');
    vfs.lookup = () => {
      throw new FsError('EDQUOT');
    };
    await expect(fs.stat('/a')).rejects.toMatchObject({
      code: 'EDQUOT',
      errno: -122,
      message: "EDQUOT: disk quota exceeded, stat '/a'",
    });
    const cause = new SextantError('LEASE_LOST', 'the lease is over');
    vfs.lookup = () => {
      throw cause;
    };
    await expect(fs.stat('/a')).rejects.toMatchObject({
      code: 'EIO',
      message: "EIO: i/o error, stat '/a' (the lease is over)",
      cause,
    });
  });

  it('keep the order of writes at the position', async () => {
    const fs = filesOf(waiting(new MemoryVfs()));
    const handle = await fs.open('/a', 'w+');
    await Promise.all(['one ', 'two ', 'three'].map((text) => handle.write(text)));
    await Promise.all([handle.close(), handle.close()]);
    expect(await fs.readFile('/a', 'utf8')).toBe('one two three');
  });

  it('agree when many do the same at once', async () => {
    const fs = filesOf(waiting(new MemoryVfs()));
    const many = <T>(work: (index: number) => Promise<T>): Promise<T[]> =>
      Promise.all(Array.from({ length: 20 }, (_, index) => work(index)));
    const made = await many(() => fs.mkdir('/a/b/c/d', { recursive: true }));
    expect(new Set(made.filter((path) => path !== undefined)).size).toBeGreaterThan(0);
    await many((index) => fs.writeFile('/a/b/c/d/same', String(index).padStart(4)));
    expect(await fs.readFile('/a/b/c/d/same', 'utf8')).toHaveLength(4);
    const exclusive = await many((index) =>
      fs.writeFile('/a/one', String(index), { flag: 'wx' }).then(
        () => 'made',
        (error: NodeJS.ErrnoException) => error.code,
      ),
    );
    expect(exclusive.filter((result) => result === 'made')).toHaveLength(1);
    expect(exclusive.filter((result) => result === 'EEXIST')).toHaveLength(19);
    await many((index) => fs.appendFile('/a/log', `${index}\n`));
    const lines = (await fs.readFile('/a/log', 'utf8')).trim().split('\n');
    expect(lines.map(Number).sort((a, b) => a - b)).toEqual([...Array(20).keys()]);
    await many(() => fs.rm('/a', { recursive: true, force: true }));
    expect(await fs.readdir('/')).toEqual([]);
  });

  it('hold two megabytes and more in one call', async () => {
    const fs = create();
    const bytes = Buffer.alloc(2_500_001, 'sextant ');
    await fs.writeFile('/big', bytes);
    const handle = await fs.open('/big', 'a+');
    await handle.write(bytes);
    const back = Buffer.alloc(bytes.length * 2 + 10);
    expect((await handle.read(back, 0, back.length, 0)).bytesRead).toBe(bytes.length * 2);
    expect(back.subarray(0, -10).equals(Buffer.concat([bytes, bytes]))).toBe(true);
    await handle.close();
    expect((await fs.readFile('/big')).length).toBe(bytes.length * 2);
  });

  it('refuse a buffer size that is none', async () => {
    await expect(create().opendir('/', { bufferSize: 0 })).rejects.toMatchObject({
      code: 'ERR_OUT_OF_RANGE',
    });
  });
});

describe('watch', () => {
  async function told(
    fs: SextantFs,
    path: string,
    options: { recursive?: boolean; encoding?: 'buffer' },
    work: () => Promise<void>,
  ): Promise<string[]> {
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async (): Promise<unknown> => {
      try {
        for await (const event of fs.watch(path, { ...options, signal: stop.signal })) {
          seen.push(`${event.eventType} ${String(event.filename)}`);
        }
        return undefined;
      } catch (error) {
        return error;
      }
    })();
    await setImmediate();
    await work();
    await setImmediate();
    stop.abort();
    expect(await watching).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
    return seen;
  }

  it('tells what changes in a directory, also through another door', async () => {
    const vfs = new MemoryVfs();
    const fs = filesOf(vfs);
    const other = filesOf(vfs);
    await fs.mkdir('/d/sub', { recursive: true });
    const seen = await told(fs, '/d', {}, async () => {
      await other.writeFile('/d/file', 'x');
      await fs.appendFile('/d/file', 'y');
      await fs.writeFile('/d/sub/deep', 'not told');
      await fs.rename('/d/file', '/d/other');
      await fs.chmod('/d/other', 0o600);
      await fs.unlink('/d/other');
      await fs.writeFile('/elsewhere', '');
    });
    expect(seen).toEqual([
      'rename file',
      'change file',
      'change file',
      'rename file',
      'rename other',
      'change other',
      'rename other',
    ]);
  });

  it('tells what changes below, when recursive, and of one file', async () => {
    const fs = create();
    await fs.mkdir('/d/sub/deep', { recursive: true });
    const below = await told(fs, '/d', { recursive: true }, async () => {
      await fs.writeFile('/d/sub/deep/file', '');
      await fs.mkdir('/d/new');
    });
    expect(below).toEqual(['rename sub/deep/file', 'rename new']);
    const file = await told(fs, '/d/sub/deep/file', {}, async () => {
      await fs.writeFile('/d/sub/deep/file', 'x');
      await fs.writeFile('/d/sub/deep/other', 'x');
    });
    expect(file).toEqual(['change file', 'change file']);
    const gone = await told(fs, '/d/sub/deep/file', {}, async () => {
      await fs.rename('/d/sub/deep/file', '/d/moved');
      await fs.unlink('/d/moved');
    });
    expect(gone).toEqual(['rename file', 'rename file']);
  });

  it('refuses as Node does', async () => {
    const fs = create();
    const first = async (path: string, options?: object): Promise<unknown> =>
      await fs.watch(path, options)[Symbol.asyncIterator]().next();
    await expect(first('/none')).rejects.toMatchObject({ code: 'ENOENT', syscall: 'watch' });
    await expect(first('/', { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORT_ERR',
    });
  });
});

describe('extra', () => {
  it('has extended attributes', async () => {
    const fs = create();
    await fs.writeFile('/a', '');
    await fs.extra.setXattr('/a', 'user.kind', 'note');
    expect((await fs.extra.getXattr('/a', 'user.kind')).toString()).toBe('note');
    expect(await fs.extra.listXattr('/a')).toEqual(['user.kind']);
    await expect(
      fs.extra.setXattr('/a', 'user.kind', 'x', { mode: 'create' }),
    ).rejects.toMatchObject({ code: 'EEXIST', syscall: 'setxattr' });
    await fs.extra.removeXattr('/a', 'user.kind');
    await expect(fs.extra.getXattr('/a', 'user.kind')).rejects.toMatchObject({
      code: 'ENODATA',
      path: '/a',
    });
  });

  it('exchanges, renames onto nothing only, and makes nodes', async () => {
    const fs = create();
    await fs.writeFile('/a', 'A');
    await fs.mkdir('/b');
    await fs.extra.exchange('/a', '/b');
    expect(await fs.readFile('/b', 'utf8')).toBe('A');
    await expect(fs.extra.renameNoReplace('/b', '/a')).rejects.toMatchObject({ code: 'EEXIST' });
    await fs.extra.makeNode('/pipe', 'fifo', 0o600);
    expect((await fs.stat('/pipe')).isFIFO()).toBe(true);
    await expect(fs.open('/pipe')).rejects.toMatchObject({ code: 'ENXIO' });
    await expect(fs.cp('/pipe', '/copy')).rejects.toMatchObject({ code: 'ERR_FS_CP_FIFO_PIPE' });
    await expect(fs.extra.makeNode('/pipe', 'fifo')).rejects.toMatchObject({ code: 'EEXIST' });
    await fs.extra.sync();
    expect((await fs.extra.statistics()).nameBytesMax).toBe(255);
  });

  it('locks bytes: between doors, and waits', async () => {
    const vfs = new MemoryVfs();
    const one = filesOf(vfs);
    const other = filesOf(vfs);
    await one.writeFile('/a', 'x');
    const mine = await one.open('/a', 'r+');
    const theirs = await other.open('/a', 'r+');
    await mine.extra.lock({ start: 0, end: 10 });
    expect(await theirs.extra.testLock({ start: 5, end: 6 })).toMatchObject({ type: 'write' });
    await expect(theirs.extra.lock({ start: 9, wait: false })).rejects.toMatchObject({
      code: 'EAGAIN',
    });
    const waits = theirs.extra.lock({ start: 9 });
    await mine.extra.unlock({ start: 0, end: 10 });
    await waits;
    await mine.close();
    await theirs.close();
    const again = await one.open('/a', 'r+');
    await again.extra.lock({ family: 'flock', wait: false });
    await again.close();
  });

  it('allocates and finds holes', async () => {
    const fs = create();
    const handle = await fs.open('/a', 'w+');
    await handle.write('data', 1 << 20);
    expect(await handle.extra.seekData(0)).toBeLessThanOrEqual(1 << 20);
    expect(await handle.extra.seekHole(0)).toBe(0);
    await handle.extra.allocate(0, 2 << 20);
    expect((await handle.stat()).size).toBe(2 << 20);
    await expect(handle.extra.seekData(3 << 20)).rejects.toMatchObject({ code: 'ENXIO' });
    await handle.close();
  });
});
