/** A server dies: another one replays its log, and every byte that was synced is there (FS-4). */
import { describe, expect, test } from 'vitest';
import { ROOT_INO } from '../vfs/vfs.js';
import { FilesCluster, ROOT, RW, bytes, text } from './files-cluster.test-helper.js';

const LEASE = { leaseMs: 1000 };

describe('after a crash', () => {
  test('the server that is left replays the log; what was synced is there', async () => {
    const cluster = new FilesCluster(1);
    await cluster.start();
    const a = await cluster.open({}, LEASE);
    const b = await cluster.open({}, LEASE);
    await cluster.run(a.makeDirectory(ROOT_INO, bytes('d'), 0o755, ROOT));
    const d = await cluster.walk(a, '/d');
    const large = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) & 0xff);
    const { handle } = await cluster.run(a.create(d, bytes('large'), 0o644, RW, ROOT));
    await cluster.run(a.write(handle, 0, large, ROOT));
    await cluster.run(a.fsync(handle, false));
    large.set(bytes('changed'), 5000);
    await cluster.run(a.write(handle, 5000, bytes('changed'), ROOT));
    await cluster.run(a.fsync(handle, false));
    for (let i = 0; i < 50; i++) await cluster.writeFile(a, `/d/f${i}`, `content ${i}`);
    const last = await cluster.run(a.open(await cluster.walk(a, '/d/f0'), RW, ROOT));
    await cluster.run(a.fsync(last, false));
    await cluster.run(a.create(d, bytes('lost'), 0o644, RW, ROOT));
    cluster.crash(a);
    expect(await cluster.check()).toEqual([]);

    const names = await cluster.list(b, '/d');
    expect(names).toContain('large');
    expect(names.filter((name) => name.startsWith('f')).length).toBe(50);
    expect(Buffer.compare(await cluster.readFile(b, '/d/large'), large)).toBe(0);
    for (let i = 0; i < 50; i++) {
      expect(text(await cluster.readFile(b, `/d/f${i}`))).toBe(`content ${i}`);
    }
    await cluster.writeFile(b, '/d/new', 'after');
    await cluster.run(b.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('a sole server is recovered by the next one that opens', async () => {
    const cluster = new FilesCluster(2);
    await cluster.start();
    const a = await cluster.open({}, LEASE);
    await cluster.writeFile(a, '/kept', 'kept');
    await cluster.run(a.sync());
    const open = await cluster.run(a.open(await cluster.walk(a, '/kept'), RW, ROOT));
    await cluster.run(a.unlink(ROOT_INO, bytes('kept'), ROOT));
    await cluster.writeFile(a, '/other', 'other');
    await cluster.run(a.fsync(open, false));
    cluster.crash(a);
    expect(await cluster.check()).toEqual([]);
    const b = await cluster.open({}, LEASE);
    expect(await cluster.list(b, '/')).toEqual(['other']);
    expect(text(await cluster.readFile(b, '/other'))).toBe('other');
    await cluster.locks.sim.runFor(5000);
    expect(b.status.orphans).toBe(0);
    await cluster.run(b.close());
    expect(await cluster.check()).toEqual([]);
  });

  test('a server that lost its lease answers EIO and changes nothing any more', async () => {
    const cluster = new FilesCluster(3);
    await cluster.start();
    const a = await cluster.open({}, LEASE);
    const b = await cluster.open({}, LEASE);
    await cluster.writeFile(a, '/f', 'one');
    await cluster.run(a.sync());
    const handle = await cluster.run(a.open(await cluster.walk(a, '/f'), RW, ROOT));
    cluster.processes.get(a)?.pause();
    expect(text(await cluster.readFile(b, '/f'))).toBe('one');
    await cluster.writeFile(b, '/f', 'two');
    cluster.processes.get(a)?.resume();
    await cluster.locks.sim.runFor(1000);
    expect(await cluster.errno(() => a.read(handle, 0, 10))).toBe('EIO');
    expect(await cluster.errno(() => a.write(handle, 0, bytes('x'), ROOT))).toBe('EIO');
    expect(text(await cluster.readFile(b, '/f'))).toBe('two');
    await cluster.run(b.close());
    expect(await cluster.check()).toEqual([]);
  });
});
