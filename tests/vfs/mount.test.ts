/** The memory file system through a real mount: what programs do with files. */
import { randomBytes } from 'node:crypto';
import {
  appendFile,
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Mount } from '#fs-frontend/fuse/mount.js';
import { hasTool } from '../process/tools.js';
import { MemoryVfs } from './memory-vfs.js';
import { Stage, canMount, python, run } from './mounting.js';

const stage = new Stage();
const able = canMount();
const withPython = able && hasTool('python3');

describe.skipIf(!able)('a real mount', () => {
  let vfs: MemoryVfs;
  let mounted: Mount;
  let root: string;

  beforeEach(async () => {
    vfs = new MemoryVfs();
    mounted = await stage.mount(vfs);
    root = mounted.mountPoint;
  });
  afterEach(() => stage.clear());

  it('makes, reads, moves and takes away files and folders', async () => {
    await mkdir(join(root, 'd'));
    await writeFile(join(root, 'd/a'), 'first');
    await appendFile(join(root, 'd/a'), ' and second');
    await rename(join(root, 'd/a'), join(root, 'b'));
    expect(await readFile(join(root, 'b'), 'utf8')).toBe('first and second');
    await link(join(root, 'b'), join(root, 'd/c'));
    expect((await stat(join(root, 'd/c'))).nlink).toBe(2);
    await symlink('../b', join(root, 'd/s'));
    expect(await readlink(join(root, 'd/s'))).toBe('../b');
    expect(await readFile(join(root, 'd/s'), 'utf8')).toBe('first and second');
    expect((await lstat(join(root, 'd/s'))).isSymbolicLink()).toBe(true);
    await truncate(join(root, 'b'), 5);
    expect(await readFile(join(root, 'd/c'), 'utf8')).toBe('first');
    await expect(rm(join(root, 'd'))).rejects.toThrow(/EISDIR|directory/);
    await expect(readFile(join(root, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
    await rm(join(root, 'd'), { recursive: true });
    expect(await readdir(root)).toEqual(['b']);
    await unlink(join(root, 'b'));
    expect(await readdir(root)).toEqual([]);
    expect(stage.log).toEqual([]);
  });

  it('keeps attributes: modes, owners, times to the nanosecond, space', async () => {
    const path = join(root, 'a');
    await writeFile(path, Buffer.alloc(5000));
    await chmod(path, 0o4751);
    expect((await stat(path)).mode & 0o7777).toBe(0o4751);
    await chown(path, 7, 8);
    const found = await stat(path);
    expect([found.uid, found.gid, found.mode & 0o7777]).toEqual([7, 8, 0o751]);
    expect([found.size, found.blocks]).toEqual([5000, 16]);
    await utimes(path, 1.5, new Date(-2000));
    const { atimeNs, mtimeNs, birthtimeNs } = await stat(path, { bigint: true });
    expect([atimeNs, mtimeNs]).toEqual([1_500_000_000n, -2_000_000_000n]);
    expect(birthtimeNs).toBeGreaterThan(10n ** 18n);
    const fs = await statfs(root);
    expect([fs.bsize, fs.bfree]).toEqual([4096, fs.blocks - 2]);
  });

  it('gives names back as the bytes that they came as', async () => {
    const names = [
      Buffer.from([0xff, 0xfe, 0x01, 0x0a]),
      Buffer.from('schön \u{1f600}'),
      Buffer.alloc(255, 0xe9),
    ];
    for (const name of names) {
      await writeFile(Buffer.concat([Buffer.from(`${root}/`), name]), name);
    }
    const found = await readdir(Buffer.from(root), { encoding: 'buffer' });
    expect(found.map((name) => name.toString('hex')).toSorted()).toEqual(
      names.map((name) => name.toString('hex')).toSorted(),
    );
    const long = writeFile(join(root, 'x'.repeat(256)), '');
    await expect(long).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
  });

  it('carries big writes and reads, 1 MiB a request', async () => {
    const data = randomBytes(24 * 1024 * 1024 + 777);
    await writeFile(join(root, 'big'), data);
    const before = mounted.statistics().requests['write'] ?? 0;
    expect(before).toBeLessThan(60);
    await vfs.kernels[0]?.invalidateInode((await stat(join(root, 'big'))).ino);
    expect((await readFile(join(root, 'big'))).equals(data)).toBe(true);
    const file = await stage.open(join(root, 'big'), 'r+');
    await file.write(Buffer.from('here'), 0, 4, 5_000_001);
    const { buffer } = await file.read(Buffer.alloc(6), 0, 6, 5_000_000);
    expect(buffer.subarray(1, 5).toString()).toBe('here');
    await file.close();
  });

  it('lists 10,000 names, each once, while names go', async () => {
    await mkdir(join(root, 'many'));
    const { ino } = await stat(join(root, 'many'));
    const root0 = { uid: 0, gid: 0, groups: [], pid: 1 };
    for (let i = 0; i < 10_000; i++) vfs.makeNode(ino, Buffer.from(`n${i}`), 0o644, 0, root0);
    const names = await readdir(join(root, 'many'));
    expect(names.length).toBe(10_000);
    expect(new Set(names).size).toBe(10_000);
    const code = 'find "$0" -type f -size 0 | wc -l; rm -r "$0"';
    expect((await run('sh', ['-c', code, join(root, 'many')])).out.trim()).toBe('10000');
    expect(await readdir(root)).toEqual([]);
  });

  it('keeps an open file without a name until it is closed', async () => {
    const file = await stage.open(join(root, 'a'), 'w+');
    await file.write('still here');
    await unlink(join(root, 'a'));
    expect((await file.stat()).nlink).toBe(0);
    const { buffer } = await file.read(Buffer.alloc(10), 0, 10, 0);
    expect(buffer.toString()).toBe('still here');
    expect(vfs.inodeCount).toBe(2);
    await file.close();
    await expect.poll(() => vfs.inodeCount).toBe(1);
    expect(vfs.openCount).toBe(0);
  });

  it('appends at the end, wherever the kernel believes that it is', async () => {
    const path = join(root, 'log');
    await writeFile(path, 'one\n');
    const file = await stage.open(path, 'a');
    await file.write('two\n');
    const { ino } = await stat(path);
    // Another server appends; this kernel is not told.
    const caller = { uid: 0, gid: 0, groups: [], pid: 1 };
    const handle = vfs.open(ino, 2 | 4, caller);
    vfs.write(handle, 0, Buffer.from('elsewhere\n'), caller);
    await file.write('three\n');
    await file.close();
    await expect.poll(() => readFile(path, 'utf8')).toBe('one\ntwo\nelsewhere\nthree\n');
  });

  it('forgets inodes that the kernel forgot', async () => {
    for (let i = 0; i < 50; i++) await writeFile(join(root, `f${i}`), 'x');
    expect(mounted.statistics().inodes).toBe(50);
    for (let i = 0; i < 50; i++) await unlink(join(root, `f${i}`));
    await expect.poll(() => mounted.statistics().inodes).toBe(0);
  });

  it.skipIf(!withPython)('maps files, shared and writable, also one opened to append', async () => {
    const path = join(root, 'mapped');
    await writeFile(path, Buffer.alloc(8192, 0x61));
    const code = `
import mmap,os,sys
f=os.open(sys.argv[1],os.O_RDWR)
m=mmap.mmap(f,8192)
assert m[5000:5002]==b'aa'
m[4095:4098]=b'xyz'
m.flush()
os.pwrite(f,b'Q',0)
print(m[0:1],os.pread(f,3,4095))
m[100:101]=b'!'
m.close(); os.close(f)
g=os.open(sys.argv[1],os.O_RDWR|os.O_APPEND)
n=mmap.mmap(g,8192); print(n[100:101]); n.close()`;
    expect(await python(code, path)).toBe("b'Q' b'xyz'\nb'!'");
    // The page that was only stored to reaches the server when it is asked to forget it (rule 24).
    const { ino } = await stat(path);
    await vfs.kernels[0]?.invalidateInode(ino);
    const handle = vfs.open(ino, 1, { uid: 0, gid: 0, groups: [], pid: 1 });
    expect(Buffer.from(vfs.read(handle, 100, 1) as Uint8Array).toString()).toBe('!');
    vfs.release(handle);
  });

  it.skipIf(!withPython)('has xattrs, holes, fallocate, ranges to copy', async () => {
    const code = `
import os,sys,errno
p=sys.argv[1]+'/x'
f=os.open(p,os.O_RDWR|os.O_CREAT)
os.setxattr(p,'user.a',b'1'*300); os.setxattr(p,'user.b',b'',os.XATTR_CREATE)
print(len(os.getxattr(p,'user.a')),sorted(os.listxattr(p)))
def err(g):
  try: g(); return 'ok'
  except OSError as e: return errno.errorcode[e.errno]
print(err(lambda:os.setxattr(p,'user.a',b'',os.XATTR_CREATE)),err(lambda:os.getxattr(p,'user.none')),err(lambda:os.setxattr(p,'user.z',b'',os.XATTR_REPLACE)))
os.removexattr(p,'user.a'); print(os.listxattr(p))
os.ftruncate(f,1<<40); os.pwrite(f,b'end',(1<<40)-4096)
print(os.lseek(f,0,os.SEEK_DATA)==(1<<40)-4096, os.lseek(f,0,os.SEEK_HOLE), os.stat(p).st_blocks)
os.posix_fallocate(f,0,8192); print(os.lseek(f,0,os.SEEK_HOLE))
os.pwrite(f,b'copied',0)
g=os.open(sys.argv[1]+'/y',os.O_RDWR|os.O_CREAT)
print(os.copy_file_range(f,g,6,0,2), os.pread(g,20,0), os.stat(g).st_size)
print(err(lambda:os.lseek(g,99,os.SEEK_DATA)))
print(err(lambda:__import__('fcntl').ioctl(g,0x1234)))`;
    expect((await python(code, root)).split('\n')).toEqual([
      "300 ['user.a', 'user.b']",
      'EEXIST ENODATA ENODATA',
      "['user.b']",
      'True 0 8',
      '8192',
      "6 b'\\x00\\x00copied' 8",
      'ENXIO',
      'ENOTTY',
    ]);
  });

  it.skipIf(!withPython)('exchanges names, and refuses to replace', async () => {
    await writeFile(join(root, 'a'), 'A');
    await writeFile(join(root, 'b'), 'B');
    const code = `
import ctypes,sys,os
c=ctypes.CDLL(None,use_errno=True)
a,b=[(sys.argv[1]+'/'+n).encode() for n in 'ab']
print(c.renameat2(-100,a,-100,b,1),ctypes.get_errno(),c.renameat2(-100,a,-100,b,2))`;
    expect(await python(code, root)).toBe('-1 17 0');
    expect(await readFile(join(root, 'a'), 'utf8')).toBe('B');
  });

  it.skipIf(!withPython)(
    'checks permissions, supplementary groups too; setuid goes when others write',
    async () => {
      await chmod(root, 0o755);
      await mkdir(join(root, 'team'));
      await chown(join(root, 'team'), 0, 5000);
      await chmod(join(root, 'team'), 0o770);
      await writeFile(join(root, 'program'), '#!/bin/true\n');
      await chmod(join(root, 'program'), 0o6777);
      await writeFile(join(root, 'closed'), '');
      await chmod(join(root, 'closed'), 0o600);
      await run('cp', ['/bin/true', join(root, 'run')]);
      await chmod(join(root, 'run'), 0o711);
      const code = `
import os,sys,errno,subprocess
os.chdir(sys.argv[1])
os.setgroups([5000]); os.setgid(1000); os.setuid(1000)
def err(g):
  try: g(); return 'ok'
  except OSError as e: return errno.errorcode[e.errno]
os.umask(0o027)
print(err(lambda:os.close(os.open('team/mine',os.O_CREAT|os.O_RDWR,0o666))), oct(os.stat('team/mine').st_mode&0o7777))
print(err(lambda:open('closed')), err(lambda:os.mkdir('no')), err(lambda:os.chmod('program',0)))
f=os.open('program',os.O_WRONLY); os.write(f,b'x'); os.close(f)
print(oct(os.stat('program').st_mode&0o7777))
print(subprocess.call(['./run']), err(lambda:open('run')))`;
      expect((await python(code, root)).split('\n')).toEqual([
        'ok 0o640',
        'EACCES EACCES EPERM',
        '0o777',
        '0 EACCES',
      ]);
    },
  );

  it('makes fifos that programs talk through, and device nodes', async () => {
    // Not as the child's working directory: this thread waits for the child to enter it.
    const code =
      'cd "$0" && mkfifo p && (echo through > p &) && cat p && mknod z c 1 5 && head -c 3 z | od -An -tx1';
    const made = await run('sh', ['-c', code, root]);
    expect(made.out).toBe('through\n 00 00 00\n');
  });
});
