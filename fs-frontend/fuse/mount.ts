/**
 * Mounts a file system: checks, /dev/fuse, mount(8) with the descriptor, INIT; unmounts it again. Nothing here may touch the
 * mount point while it is served by this thread: it would wait for itself (stat goes through the thread pool, mount and umount are processes).
 *
 * ```
 * checks -> open /dev/fuse -> mount -i -o fd=3 -> read: INIT -> mounted -> close(): umount; busy: sync, umount -l; close the device
 * ```
 *
 * For the same reason a process must not keep files of its own mount open: a program that it starts closes them before Node goes on.
 *
 * After a crash the kernel has closed the descriptor: the mount point answers ENOTCONN, and the next mount takes it away
 * first. This file is a driver: it may start processes and read /proc.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Vfs } from '../vfs/vfs.js';
import { Device } from './device.js';
import { Dispatcher } from './dispatcher.js';
import { KernelView } from './kernel-view.js';
import { type MountEntry, parseMountTable } from './mount-table.js';
import { Notifier } from './notifier.js';
import { DATA_BYTES_MAX, Opcode } from './protocol.js';
import type { Session } from './session.js';

const TYPE = 'fuse.sextant';
const SOURCE = 'sextant';
const CONNECTIONS = '/sys/fs/fuse/connections';
const ALIVE_MS = 3000;
const DEAD_LAYERS_MAX = 8;

/** Refused before or while mounting; `message` is one line that says what to do. */
export class MountError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'MountError';
  }
}

export interface MountOptions {
  /** Lines about what should not happen. Default: standard error. */
  readonly log?: (line: string) => void;
  /** How the device is read; 'pool' is slower and needs no libuv handle. */
  readonly reader?: 'poll' | 'pool';
}

export interface MountStatistics {
  /** Requests by name of the operation, those that came. */
  readonly requests: Readonly<Record<string, number>>;
  readonly waiting: number;
  readonly inodes: number;
  /** The kernel can be told to look names up again (rule 23). */
  readonly namesKept: boolean;
}

export interface Mount extends AsyncDisposable {
  readonly mountPoint: string;
  /** Resolves when it is over, whoever ended it, with why: 'closed', 'unmounted', 'aborted', or an errno. */
  readonly ended: Promise<string>;
  statistics(): MountStatistics;
  /** Unmounts. The file system below stays open: close it afterwards. */
  close(): Promise<void>;
}

/** Mounts `vfs` at a folder. Needs root; throws `MountError`. */
export async function mount(
  vfs: Vfs,
  mountPoint: string,
  options: MountOptions = {},
): Promise<Mount> {
  const path = await checkedMountPoint(mountPoint);
  const device = openDevice(path);
  const mounted = new FuseMount(vfs, path, device, options);
  try {
    await mounted.start();
  } catch (error) {
    await mounted.close();
    throw error;
  }
  vfs.attachKernel(mounted.kernel);
  return mounted;
}

class FuseMount implements Mount {
  readonly mountPoint: string;
  readonly ended: Promise<string>;
  readonly kernel: KernelView;
  readonly #device: Device;
  readonly #dispatcher: Dispatcher;
  readonly #notifier: Notifier;
  readonly #log: (line: string) => void;
  readonly #how: 'poll' | 'pool';
  #end: (why: string) => void = () => undefined;
  #over = false;
  #mounted = false;
  #abortFd = -1;
  #closing: Promise<void> | undefined = undefined;
  #ready: (session: Session) => void = () => undefined;

  constructor(vfs: Vfs, mountPoint: string, device: Device, options: MountOptions) {
    this.mountPoint = mountPoint;
    this.#device = device;
    this.#how = options.reader ?? 'poll';
    this.#log = options.log ?? ((line) => process.stderr.write(`sextant mount: ${line}\n`));
    const log = this.#log;
    this.ended = new Promise((done) => {
      this.#end = (why) => {
        this.#over = true;
        done(why);
      };
    });
    this.#notifier = new Notifier(device.fd);
    this.kernel = new KernelView({
      notifier: this.#notifier,
      abort: (reason) => this.#abort(reason),
      resume: (call) => this.#dispatcher.resume(call),
      log,
    });
    this.#dispatcher = new Dispatcher({
      vfs,
      kernel: this.kernel,
      send: (answer) => device.send(answer),
      ready: (session) => this.#ready(session),
      log,
    });
  }

  async start(): Promise<void> {
    const options = [
      'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,suid,dev',
      `max_read=${DATA_BYTES_MAX}`,
    ];
    const initialized = new Promise<Session>((done) => {
      this.#ready = done;
    });
    const args = ['-i', '-t', TYPE, '-o', options.join(','), SOURCE, this.mountPoint];
    const { status, text } = await run('mount', args, this.#device.fd);
    if (status !== 0) throw new MountError(explained(this.mountPoint, text));
    this.#mounted = true;
    this.#device.start(
      this.#dispatcher.buffer,
      {
        frame: (length) => this.#dispatcher.frame(length),
        ended: (code) => this.#deviceEnded(code),
      },
      this.#how,
    );
    const why = await Promise.race([initialized, this.ended]);
    if (typeof why === 'string') throw new MountError(`${this.mountPoint}: ended early (${why})`);
    // Names may be kept only when the kernel knows how to drop them all at once.
    this.kernel.namesKept = this.#notifier.incrementEpoch();
    await this.#openAbort();
  }

  statistics(): MountStatistics {
    const requests: Record<string, number> = {};
    for (const [name, opcode] of Object.entries(Opcode)) {
      const count = this.#dispatcher.counts[opcode] ?? 0;
      if (count > 0) requests[name] = count;
    }
    return {
      requests,
      waiting: this.#dispatcher.waitingCount,
      inodes: this.kernel.inodeCount,
      namesKept: this.kernel.namesKept,
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    if (this.#mounted && !this.#over) await this.#unmount();
    this.#dispatcher.interruptAll();
    // Programs that still have files open get ENOTCONN from now on, and no notification waits in the kernel.
    if (this.#mounted) this.#writeAbort();
    await this.#notifier.close();
    await this.#device.close();
    if (this.#abortFd >= 0) closeSync(this.#abortFd);
    this.#abortFd = -1;
    this.#end('closed');
  }

  async #unmount(): Promise<void> {
    const first = await run('umount', ['-i', this.mountPoint]);
    if (first.status === 0) return;
    if (ownEntry(this.mountPoint) === undefined) return;
    // In use. Mapped pages are written back first, then the name goes; who has files open loses them.
    this.#log(`${this.mountPoint} is in use; it goes when its files are closed, or now`);
    await run('sync', ['-f', this.mountPoint]);
    const { status, text } = await run('umount', ['-i', '-l', this.mountPoint]);
    if (status !== 0) this.#log(`umount of ${this.mountPoint} failed: ${text}`);
  }

  #deviceEnded(code: string): void {
    this.#dispatcher.interruptAll();
    if (code === 'ENODEV') this.#end('unmounted');
    else this.#end(code === 'ECONNABORTED' ? 'aborted' : code);
  }

  #abort(reason: string): void {
    this.#log(`connection of ${this.mountPoint} aborted: ${reason}`);
    if (this.#writeAbort()) return;
    // Without the control file: a forced unmount aborts too, but takes a process.
    void run('umount', ['-i', '-f', this.mountPoint]);
  }

  #writeAbort(): boolean {
    if (this.#abortFd < 0) return false;
    try {
      writeSync(this.#abortFd, '1');
      return true;
    } catch {
      return false;
    }
  }

  /** Opened now, because a deadline leaves no time for it. */
  async #openAbort(): Promise<void> {
    const minor = ownEntry(this.mountPoint)?.deviceMinor;
    if (minor === undefined) return;
    const path = `${CONNECTIONS}/${minor}/abort`;
    try {
      this.#abortFd = openSync(path, 'w');
    } catch {
      await run('mount', ['-i', '-t', 'fusectl', 'fusectl', CONNECTIONS]);
      try {
        this.#abortFd = openSync(path, 'w');
      } catch {
        this.#log(`${path} is not there; a connection is aborted by umount -f`);
      }
    }
  }
}

function openDevice(mountPoint: string): Device {
  try {
    return new Device();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT'
        ? 'there is no /dev/fuse: load it (modprobe fuse), or give the container --device /dev/fuse'
        : code === 'ENODEV' || code === 'ENXIO'
          ? 'the kernel has no FUSE: load it (modprobe fuse)'
          : `no right to use /dev/fuse (${code}): run as root`;
    throw new MountError(`cannot mount ${mountPoint}: ${why}`);
  }
}

function explained(mountPoint: string, text: string): string {
  if (/permission denied|must be superuser|not permitted/i.test(text)) {
    return `cannot mount ${mountPoint}: no right to mount: run as root (in a container: --cap-add SYS_ADMIN)`;
  }
  if (/unknown filesystem type/i.test(text)) {
    return `cannot mount ${mountPoint}: the kernel has no FUSE: load it (modprobe fuse)`;
  }
  return `cannot mount ${mountPoint}: ${text.split('\n')[0]?.trim() || 'mount(8) failed'}`;
}

/** Absolute, a folder, nothing mounted there; what a dead server left is taken away. */
async function checkedMountPoint(given: string): Promise<string> {
  const absolute = resolve(given);
  let path: string;
  try {
    // Of the folder above: the mount point itself may be dead, or hang.
    path = join(await realpath(dirname(absolute)), basename(absolute));
  } catch {
    throw new MountError(`cannot mount ${given}: there is no such folder: make it (mkdir -p)`);
  }
  await removeDead(path);
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error) {
    const why =
      found.code === 'ENOENT'
        ? 'there is no such folder: make it (mkdir -p)'
        : `it cannot be used (${found.code})`;
    throw new MountError(`cannot mount ${given}: ${why}`);
  }
  if (!found.isDirectory()) throw new MountError(`cannot mount ${given}: it is not a folder`);
  const real = await realpath(path);
  if (real !== path) return checkedMountPoint(real);
  return path;
}

async function removeDead(path: string): Promise<void> {
  for (let layer = 0; layer < DEAD_LAYERS_MAX; layer++) {
    const entry = entryOf(path);
    if (entry === undefined) return;
    const answer = entry.type.startsWith('fuse') ? await alive(path) : 'alive';
    if (answer === 'alive') {
      throw new MountError(
        `cannot mount ${path}: it is in use (${entry.source} is mounted there): umount it or name another folder`,
      );
    }
    if (answer === 'silent') {
      throw new MountError(
        `cannot mount ${path}: ${entry.source} is mounted there and does not answer: end it with umount -f ${path}`,
      );
    }
    const { status } = await run('umount', ['-i', path]);
    if (status !== 0) await run('umount', ['-i', '-l', path]);
  }
}

/** Dead: its server is gone, the kernel says ENOTCONN (or ECONNABORTED after an abort). */
function alive(path: string): Promise<'alive' | 'dead' | 'silent'> {
  return new Promise((done) => {
    const timer = setTimeout(() => done('silent'), ALIVE_MS);
    stat(path)
      .then(
        () => done('alive'),
        (error: NodeJS.ErrnoException) =>
          done(error.code === 'ENOTCONN' || error.code === 'ECONNABORTED' ? 'dead' : 'alive'),
      )
      .finally(() => clearTimeout(timer));
  });
}

/** What is mounted exactly there, the topmost. */
function entryOf(path: string): MountEntry | undefined {
  const table = parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8'));
  return table.findLast(({ mountPoint }) => mountPoint === path);
}

function ownEntry(path: string): MountEntry | undefined {
  const entry = entryOf(path);
  return entry?.type === TYPE ? entry : undefined;
}

/** Runs a program; `fd` becomes its descriptor 3. */
function run(
  program: string,
  args: readonly string[],
  fd?: number,
): Promise<{ status: number; text: string }> {
  return new Promise((done) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe', ...(fd === undefined ? [] : [fd])],
      env: { ...process.env, LC_ALL: 'C' },
      cwd: '/',
    });
    let text = '';
    child.stdout?.on('data', (part: Buffer) => (text += part.toString()));
    child.stderr?.on('data', (part: Buffer) => (text += part.toString()));
    child.on('error', (error) => done({ status: -1, text: error.message }));
    child.on('close', (code) => done({ status: code ?? -1, text }));
  });
}
