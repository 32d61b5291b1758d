/** One file server: what it does, and that it is on the disk afterwards. */
import { describe, expect, test } from 'vitest';
import { ROOT_INO, RenameFlag } from '../vfs/vfs.js';
import { ALICE, BOB, FilesCluster, ROOT, RW, bytes, text } from './files-cluster.test-helper.js';

async function started(seed = 1): Promise<FilesCluster> {
  const cluster = new FilesCluster(seed);
  await cluster.start();
  return cluster;
}

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >>> 8) * 7 + seed) & 0xff);
}

describe('one server', () => {
  test('files, directories and links are there after it was closed', async () => {
    const cluster = await started();
    const server = await cluster.open();
    await cluster.run(server.makeDirectory(ROOT_INO, bytes('d'), 0o755, ROOT));
    await cluster.writeFile(server, '/d/small', 'hello');
    await cluster.writeFile(server, '/d/large', pattern(300_000, 1));
    const d = await cluster.walk(server, '/d');
    await cluster.run(server.symlink(d, bytes('s'), bytes('large'), ROOT));
    const ino = await cluster.walk(server, '/d/small');
    await cluster.run(server.link(ino, ROOT_INO, bytes('hard'), ROOT));
    expect(text(await cluster.readFile(server, '/hard'))).toBe('hello');
    expect(Buffer.compare(await cluster.readFile(server, '/d/large'), pattern(300_000, 1))).toBe(0);
    await cluster.run(server.close());

    const again = await cluster.open();
    expect(await cluster.list(again, '/')).toEqual(['d', 'hard']);
    expect(await cluster.list(again, '/d')).toEqual(['large', 's', 'small']);
    expect(text(await cluster.readFile(again, '/hard'))).toBe('hello');
    expect(Buffer.compare(await cluster.readFile(again, '/d/large'), pattern(300_000, 1))).toBe(0);
    const link = await cluster.walk(again, '/d/s');
    expect(text(await cluster.run(again.readLink(link)))).toBe('large');
    const { attributes } = await cluster.run(again.getAttributes(ino));
    expect(attributes).toMatchObject({ nlink: 2, size: 5, mode: 0o100644 });
    await cluster.run(again.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('a cached operation answers at once, without a promise', async () => {
    const cluster = await started();
    const server = await cluster.open();
    await cluster.writeFile(server, '/a', 'x');
    await cluster.run(server.lookup(ROOT_INO, bytes('a'), ROOT));
    expect(server.lookup(ROOT_INO, bytes('a'), ROOT)).not.toBeInstanceOf(Promise);
    const made = server.create(ROOT_INO, bytes('b'), 0o644, RW, ROOT);
    expect(made).not.toBeInstanceOf(Promise);
    if (made instanceof Promise) return;
    expect(server.write(made.handle, 0, bytes('data'), ROOT)).toBe(4);
    expect(server.release(made.handle)).toBeUndefined();
    expect(server.rename(ROOT_INO, bytes('b'), ROOT_INO, bytes('c'), 0, ROOT)).toBeUndefined();
    expect(server.unlink(ROOT_INO, bytes('c'), ROOT)).toBeUndefined();
    await cluster.run(server.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('rename: over files and directories, exchange, into itself', async () => {
    const cluster = await started();
    const server = await cluster.open();
    const mkdir = async (path: string): Promise<number> => {
      const at = path.lastIndexOf('/');
      const parent = await cluster.walk(server, path.slice(0, at));
      const made = server.makeDirectory(parent, bytes(path.slice(at + 1)), 0o755, ROOT);
      return (await cluster.run(made)).attributes.ino;
    };
    const a = await mkdir('/a');
    const b = await mkdir('/a/b');
    const c = await mkdir('/c');
    await cluster.writeFile(server, '/f', 'f');
    await cluster.writeFile(server, '/g', 'g');
    const rename = (p: number, n: string, q: number, m: string, flags = 0): Promise<string> =>
      cluster.errno(() => server.rename(p, bytes(n), q, bytes(m), flags, ROOT));
    expect(await rename(ROOT_INO, 'a', b, 'x')).toBe('EINVAL');
    expect(await rename(ROOT_INO, 'f', ROOT_INO, 'c')).toBe('EISDIR');
    expect(await rename(ROOT_INO, 'c', ROOT_INO, 'f')).toBe('ENOTDIR');
    expect(await rename(ROOT_INO, 'c', ROOT_INO, 'a')).toBe('ENOTEMPTY');
    expect(await rename(ROOT_INO, 'f', ROOT_INO, 'g', RenameFlag.noReplace)).toBe('EEXIST');
    expect(await rename(ROOT_INO, 'f', ROOT_INO, 'g')).toBe('done');
    expect(text(await cluster.readFile(server, '/g'))).toBe('f');
    expect(await rename(ROOT_INO, 'c', a, 'b')).toBe('done');
    expect(await cluster.walk(server, '/a/b')).toBe(c);
    expect(await rename(a, 'b', ROOT_INO, 'g', RenameFlag.exchange)).toBe('done');
    expect(text(await cluster.readFile(server, '/a/b'))).toBe('f');
    const root = await cluster.run(server.getAttributes(ROOT_INO));
    expect(root.attributes.nlink).toBe(4);
    expect((await cluster.run(server.getAttributes(a))).attributes.nlink).toBe(2);
    await cluster.run(server.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('an unlinked file that is open stays until it is closed', async () => {
    const cluster = await started();
    const server = await cluster.open();
    await cluster.writeFile(server, '/a', pattern(50_000, 3));
    const ino = await cluster.walk(server, '/a');
    const handle = await cluster.run(server.open(ino, RW, ROOT));
    await cluster.run(server.unlink(ROOT_INO, bytes('a'), ROOT));
    expect(await cluster.errno(() => server.lookup(ROOT_INO, bytes('a'), ROOT))).toBe('ENOENT');
    expect((await cluster.readAll(server, handle)).length).toBe(50_000);
    expect((await cluster.run(server.getAttributes(ino))).attributes.nlink).toBe(0);
    await cluster.run(server.release(handle));
    await cluster.locks.sim.runFor(1000);
    expect(server.status.orphans).toBe(0);
    expect(await cluster.errno(() => server.getAttributes(ino))).toBe('ESTALE');
    await cluster.run(server.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('holes, truncation and growth read as zeros', async () => {
    const cluster = await started();
    const server = await cluster.open();
    const { handle } = await cluster.run(server.create(ROOT_INO, bytes('a'), 0o644, RW, ROOT));
    await cluster.run(server.write(handle, 0, bytes('start'), ROOT));
    await cluster.run(server.write(handle, 1_000_000, bytes('end'), ROOT));
    await cluster.run(server.fsync(handle, false));
    const ino = await cluster.walk(server, '/a');
    const before = (await cluster.run(server.getAttributes(ino))).attributes;
    expect(before.size).toBe(1_000_003);
    expect(before.blocks).toBe(16);
    expect(await cluster.run(server.seek(handle, 5000, 'data'))).toBe(999_424);
    expect(await cluster.run(server.seek(handle, 0, 'hole'))).toBe(4096);
    await cluster.run(server.setAttributes(ino, { size: 3 }, ROOT, handle));
    await cluster.run(server.setAttributes(ino, { size: 9000 }, ROOT, handle));
    const content = await cluster.readAll(server, handle);
    expect(content.length).toBe(9000);
    expect(text(content.subarray(0, 3))).toBe('sta');
    expect(content.subarray(3).every((byte) => byte === 0)).toBe(true);
    await cluster.run(server.release(handle));
    await cluster.run(server.close());
    const again = await cluster.open();
    expect(Buffer.compare(await cluster.readFile(again, '/a'), content)).toBe(0);
    await cluster.run(again.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('permissions: who is neither owner nor root is refused', async () => {
    const cluster = await started();
    const server = await cluster.open();
    const { entry } = await cluster.run(server.create(ROOT_INO, bytes('a'), 0o640, RW, ALICE));
    const { ino } = entry.attributes;
    expect(await cluster.errno(() => server.open(ino, RW, BOB))).toBe('EACCES');
    expect(await cluster.errno(() => server.access(ino, 4, BOB))).toBe('done');
    expect(await cluster.errno(() => server.unlink(ROOT_INO, bytes('a'), BOB))).toBe('EPERM');
    expect(await cluster.errno(() => server.setAttributes(ino, { mode: 0o777 }, BOB))).toBe(
      'EPERM',
    );
    await cluster.run(server.setAttributes(ino, { mode: 0o6755 }, ALICE));
    const handle = await cluster.run(server.open(ino, RW, ALICE));
    await cluster.run(server.write(handle, 0, bytes('x'), ALICE));
    expect((await cluster.run(server.getAttributes(ino))).attributes.mode & 0o7777).toBe(0o755);
    await cluster.run(server.close());
    expect(await cluster.check()).toEqual([]);
  });
});
