/** A real mount among others: locks between processes, caches that must forget, servers that die. */
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { MountError, mount } from '#fs-frontend/fuse/mount.js';
import type { KernelCache } from '#fs-frontend/vfs/vfs.js';
import { hasTool } from '../process/tools.js';
import { MemoryVfs } from './memory-vfs.js';
import { Stage, canMount, mountsUnder, python, run } from './mounting.js';

const SERVER = new URL('../../dist/tests/vfs/mount-server.js', import.meta.url).pathname;
const CALLER = { uid: 0, gid: 0, groups: [], pid: 1 };
const stage = new Stage();
const able = canMount();
const withPython = able && hasTool('python3');
const withServer = able && existsSync(SERVER);
if (!withServer) process.stderr.write('skipped: servers that die: not built (npm run build)\n');

function kernelOf(vfs: MemoryVfs): KernelCache {
  const kernel = vfs.kernels[0];
  if (kernel === undefined) throw new Error('no kernel attached');
  return kernel;
}

/** Another server's write, which this mount's kernel does not see. */
function writeBehind(vfs: MemoryVfs, ino: number, offset: number, text: string): void {
  const handle = vfs.open(ino, 2, CALLER);
  vfs.write(handle, offset, Buffer.from(text), CALLER);
  vfs.release(handle);
}

const HOLD = `
import fcntl,sys
f=open(sys.argv[1],'r+')
fcntl.lockf(f,fcntl.LOCK_EX,10,5)
print('held',flush=True)
sys.stdin.readline()
fcntl.lockf(f,fcntl.LOCK_UN,10,5)
print('free',flush=True)
sys.stdin.readline()`;

describe.skipIf(!withPython)('locks between processes', () => {
  afterEach(() => stage.clear());

  it('holds, tells who, waits, and passes on', async () => {
    const { mountPoint } = await stage.mount(new MemoryVfs());
    const path = join(mountPoint, 'f');
    await writeFile(path, 'x'.repeat(100));
    const holder = stage.talker('python3', ['-c', HOLD, path]);
    expect(await holder.line()).toBe('held');
    const test = `
import fcntl,sys,struct,errno
f=open(sys.argv[1],'r+')
def attempt(start,n):
  try: fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB,n,start); return 'ok'
  except OSError as e: return errno.errorcode[e.errno]
print(attempt(0,5),attempt(15,85),attempt(14,1))
t,w,s,l,p,_=struct.unpack('hhqqii',fcntl.fcntl(f,fcntl.F_GETLK,struct.pack('hhqqii',fcntl.F_WRLCK,0,0,0,0,0)))
print(t==fcntl.F_WRLCK,s,l,p)`;
    expect(await python(test, path)).toBe(`ok ok EAGAIN\nTrue 5 10 ${holder.process.pid}`);
    const next = stage.talker('python3', ['-c', HOLD, path]);
    await sleep(200);
    holder.say('');
    expect(await holder.line()).toBe('free');
    expect(await next.line()).toBe('held');
    // A lock goes with its process.
    const third = stage.talker('python3', ['-c', HOLD, path]);
    next.process.kill('SIGKILL');
    expect(await third.line()).toBe('held');
  });

  it('interrupts who waits: by a signal with EINTR, by SIGKILL', async () => {
    const vfs = new MemoryVfs();
    const mounted = await stage.mount(vfs);
    const path = join(mounted.mountPoint, 'f');
    await writeFile(path, 'x');
    const holder = stage.talker('python3', ['-c', HOLD, path]);
    await holder.line();
    const wait = `
import fcntl,signal,sys
class Out(Exception): pass
def out(*a): raise Out()
signal.signal(signal.SIGALRM,out); signal.setitimer(signal.ITIMER_REAL,0.2)
f=open(sys.argv[1],'r+')
try: fcntl.lockf(f,fcntl.LOCK_EX); print('got')
except Out: print('interrupted')`;
    expect(await python(wait, path)).toBe('interrupted');
    const killed = stage.talker('python3', ['-c', HOLD, path]);
    await expect.poll(() => mounted.statistics().waiting).toBe(1);
    killed.process.kill('SIGKILL');
    await killed.ended();
    await expect.poll(() => mounted.statistics().waiting).toBe(0);
    holder.process.kill('SIGKILL');
    await holder.ended();
    await expect.poll(() => vfs.openCount).toBe(0);
  });

  it('keeps flock and OFD locks with the open file', async () => {
    const vfs = new MemoryVfs();
    const { mountPoint } = await stage.mount(vfs);
    const path = join(mountPoint, 'f');
    await writeFile(path, 'x');
    const code = `
import fcntl,sys,struct,errno,os
def err(g):
  try: g(); return 'ok'
  except OSError as e: return errno.errorcode[e.errno]
a=open(sys.argv[1],'r+'); b=open(sys.argv[1],'r+')
fcntl.flock(a,fcntl.LOCK_EX)
print(err(lambda:fcntl.flock(b,fcntl.LOCK_SH|fcntl.LOCK_NB)))
a.close()
print(err(lambda:fcntl.flock(b,fcntl.LOCK_SH|fcntl.LOCK_NB)))
OFD_SETLK=37
lock=struct.pack('hhqqii',fcntl.F_WRLCK,0,0,0,0,0)
c=open(sys.argv[1],'r+')
print(err(lambda:fcntl.fcntl(b,OFD_SETLK,lock)),err(lambda:fcntl.fcntl(c,OFD_SETLK,lock)))
d=os.dup(b.fileno()); open(sys.argv[1]).close()
print(err(lambda:fcntl.fcntl(c,OFD_SETLK,lock)))
os.close(d); b.close()
import time
for i in range(50):
  r=err(lambda:fcntl.fcntl(c,OFD_SETLK,lock))
  if r=='ok': break
  time.sleep(0.02)
print(r)`;
    expect(await python(code, path)).toBe('EAGAIN\nok\nok EAGAIN\nEAGAIN\nok');
  });
});

describe.skipIf(!able)("the kernel's cache", () => {
  afterEach(() => stage.clear());

  it('shows what changed behind it as soon as it was told, and not before', async () => {
    const vfs = new MemoryVfs();
    const mounted = await stage.mount(vfs);
    const path = join(mounted.mountPoint, 'f');
    await writeFile(path, 'old content');
    const { ino } = await stat(path);
    const file = await stage.open(path, 'r');
    expect((await file.readFile()).toString()).toBe('old content');
    writeBehind(vfs, ino, 0, 'NEW content, longer');
    const before = mounted.statistics().requests['read'];
    expect((await file.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString()).toBe('old');
    expect(mounted.statistics().requests['read']).toBe(before);
    await kernelOf(vfs).invalidateInode(ino);
    expect((await stat(path)).size).toBe(19);
    expect(await readFile(path, 'utf8')).toBe('NEW content, longer');
    expect((await file.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString()).toBe('NEW');
    await file.close();
  });

  it('looks names up again after invalidateNames, at once even during a mkdir', async () => {
    const vfs = new MemoryVfs();
    const mounted = await stage.mount(vfs);
    expect(mounted.statistics().namesKept).toBe(true);
    const path = join(mounted.mountPoint, 'f');
    await writeFile(path, 'x');
    const first = (await stat(path)).ino;
    vfs.unlink(1, Buffer.from('f'), CALLER);
    const second = vfs.makeNode(1, Buffer.from('f'), 0o644, 0, CALLER).attributes.ino;
    expect((await stat(path)).ino).toBe(first);
    kernelOf(vfs).invalidateNames();
    expect((await stat(path)).ino).toBe(second);
  });

  it('answers READs that a notification waits for, and holds later ones (rule 22)', async () => {
    const vfs = new MemoryVfs();
    const mounted = await stage.mount(vfs);
    const path = join(mounted.mountPoint, 'f');
    await writeFile(path, 'a'.repeat(1 << 20));
    const { ino } = await stat(path);
    await kernelOf(vfs).invalidateInode(ino);
    let letGo: () => void = () => undefined;
    const held = new Promise<void>((done) => {
      letGo = done;
    });
    vfs.beforeRead = (_, offset) => (offset < 65_536 ? held : undefined);
    const file = await stage.open(path, 'r');
    const slow = file.read(Buffer.alloc(10), 0, 10, 0);
    await expect.poll(() => mounted.statistics().waiting).toBeGreaterThan(0);
    let told = false;
    const invalidated = kernelOf(vfs)
      .invalidateInode(ino)
      .then(() => (told = true));
    // The notification waits for the READ, and another READ of the file is answered meanwhile.
    const other = await file.read(Buffer.alloc(3), 0, 3, 900_000);
    expect(other.buffer.toString()).toBe('aaa');
    expect(told).toBe(false);
    // A mkdir does not wait for it either: the notification has a thread of its own.
    await mkdir(join(mounted.mountPoint, 'd'));
    letGo();
    await slow;
    await invalidated;
    vfs.beforeRead = undefined;
    writeBehind(vfs, ino, 900_000, 'bbb');
    writeBehind(vfs, ino, 0, 'bbb');
    expect((await file.read(Buffer.alloc(3), 0, 3, 900_000)).buffer.toString()).toBe('bbb');
    expect((await file.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString()).toBe('bbb');
    await file.close();
  });

  it('ends an invalidation under readers that never pause', async () => {
    const vfs = new MemoryVfs();
    const mounted = await stage.mount(vfs);
    const path = join(mounted.mountPoint, 'f');
    await writeFile(path, Buffer.alloc(4 << 20));
    const { ino } = await stat(path);
    let reading = true;
    const reader = async (): Promise<void> => {
      const file = await stage.open(path, 'r');
      for (let i = 0; reading; i++) await file.read(Buffer.alloc(4096), 0, 4096, (i % 1024) * 4096);
      await file.close();
    };
    const readers = [reader(), reader()];
    for (let i = 1; i <= 20; i++) {
      await kernelOf(vfs).invalidateInode(ino);
      writeBehind(vfs, ino, 4096 * 7, String.fromCharCode(96 + i));
      await kernelOf(vfs).invalidateInode(ino);
      const file = await stage.open(path, 'r');
      const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 4096 * 7);
      expect(buffer.toString()).toBe(String.fromCharCode(96 + i));
      await file.close();
    }
    reading = false;
    await Promise.all(readers);
  });

  it('answers nothing more after an abort, and does not hang', async () => {
    const vfs = new MemoryVfs();
    const mounted = await stage.mount(vfs);
    const path = join(mounted.mountPoint, 'f');
    await writeFile(path, 'x');
    vfs.beforeRead = () => new Promise(() => undefined);
    const { ino } = await stat(path);
    await kernelOf(vfs).invalidateInode(ino);
    const reading = readFile(path);
    await expect.poll(() => mounted.statistics().waiting).toBeGreaterThan(0);
    const invalidated = kernelOf(vfs).invalidateInode(ino);
    kernelOf(vfs).abort('a revoke missed its deadline');
    await expect(reading).rejects.toThrow(/ECONNABORTED|ENOTCONN/);
    await invalidated;
    await expect(stat(path)).rejects.toThrow(/ECONNABORTED|ENOTCONN/);
    expect(await mounted.ended).toBe('aborted');
  });
});

describe.skipIf(!able)('mounting', () => {
  afterEach(() => stage.clear());

  it('refuses, in one line that says what to do', async () => {
    const folder = stage.folder();
    const refused = (path: string) =>
      mount(new MemoryVfs(), path).then(
        () => 'mounted',
        (error: unknown) => (error instanceof MountError ? error.message : String(error)),
      );
    expect(await refused(join(folder, 'none'))).toMatch(/no such folder: make it/);
    expect(await refused(join(folder, 'none/deeper'))).toMatch(/no such folder: make it/);
    expect(await refused('/etc/passwd')).toMatch(/not a folder/);
    const { mountPoint } = await stage.mount(new MemoryVfs());
    expect(await refused(mountPoint)).toMatch(/in use \(sextant is mounted there\): umount it/);
    expect(await readdir(mountPoint)).toEqual([]);
  });

  it('ends when somebody else unmounts it; close is harmless then', async () => {
    const mounted = await stage.mount(new MemoryVfs());
    expect((await run('umount', [mounted.mountPoint])).code).toBe(0);
    expect(await mounted.ended).toBe('unmounted');
    await mounted.close();
    await mounted.close();
  });

  it('lets go of a mount point that is in use, and its files fail from then on', async () => {
    const vfs = new MemoryVfs();
    const mounted = await stage.mount(vfs);
    const path = join(mounted.mountPoint, 'f');
    await writeFile(path, 'x');
    // A program of its own: what this thread starts closes its files, and would wait for this thread.
    const code = 'exec 3<>"$0"; echo open; read x; echo y >&3 2>&- || echo failed';
    const user = stage.talker('sh', ['-c', code, path]);
    expect(await user.line()).toBe('open');
    await mounted.close();
    expect(mountsUnder(mounted.mountPoint)).toEqual([]);
    user.say('');
    expect(await user.line()).toBe('failed');
  });

  it('works where the device is read by the thread pool', async () => {
    const mounted = await stage.mount(new MemoryVfs(), { reader: 'pool' });
    const path = join(mounted.mountPoint, 'f');
    await writeFile(path, 'pooled');
    expect(await readFile(path, 'utf8')).toBe('pooled');
  });
});

describe.skipIf(!withServer)('a server that is told to end, or dies', () => {
  afterEach(() => stage.clear());

  it('unmounts on SIGTERM', async () => {
    const folder = stage.folder();
    const server = stage.talker('node', [SERVER, folder]);
    expect(await server.line()).toBe('ready');
    await writeFile(join(folder, 'f'), 'x');
    server.process.kill('SIGTERM');
    expect(await server.ended()).toBe(0);
    expect(mountsUnder(folder)).toEqual([]);
    expect(await readdir(folder)).toEqual([]);
  });

  it('answers errors after SIGKILL, never hangs, and a new server takes over', async () => {
    const folder = stage.folder();
    const server = stage.talker('node', [SERVER, folder]);
    expect(await server.line()).toBe('ready');
    await writeFile(join(folder, 'f'), 'x');
    const file = await stage.open(join(folder, 'f'), 'r+');
    server.process.kill('SIGKILL');
    await server.ended();
    await expect(readdir(folder)).rejects.toMatchObject({ code: 'ENOTCONN' });
    await expect(file.write('y')).rejects.toThrow(/ENOTCONN|ECONNABORTED/);
    const next = stage.talker('node', [SERVER, folder]);
    expect(await next.line()).toBe('ready');
    expect(await readdir(folder)).toEqual([]);
    await file.close().catch(() => undefined);
    expect(mountsUnder(folder).length).toBe(1);
  });
});
