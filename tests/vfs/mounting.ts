/** For tests of a real mount: whether this machine can, folders, programs; no mount outlives its test. */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Mount, type MountOptions, mount } from '#fs-frontend/fuse/mount.js';
import { parseMountTable } from '#fs-frontend/fuse/mount-table.js';
import type { Vfs } from '#fs-frontend/vfs/vfs.js';

const PREFIX = join(tmpdir(), 'sextant-mount-');

/** Why a mount cannot be tried here; empty: it can. */
export function whyNoMount(): string {
  if (process.getuid?.() !== 0) return 'not root';
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch {
    return 'no /dev/fuse';
  }
  return spawnSync('mount', ['--version']).error === undefined ? '' : 'no mount(8)';
}

export function canMount(): boolean {
  const why = whyNoMount();
  if (why !== '') process.stderr.write(`skipped: real mounts: ${why}\n`);
  return why === '';
}

export function mountsUnder(prefix: string): string[] {
  return parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8'))
    .map(({ mountPoint }) => mountPoint)
    .filter((path) => path.startsWith(prefix));
}

export interface Output {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a program without blocking this thread, which may be the one that serves it. */
export function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; uid?: number; gid?: number; timeoutMs?: number } = {},
): Promise<Output> {
  const { timeoutMs = 20_000, ...rest } = options;
  return new Promise((done) => {
    execFile(
      program,
      args,
      { ...rest, timeout: timeoutMs, killSignal: 'SIGKILL' },
      (error, out, err) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        done({ code, out, err });
      },
    );
  });
}

/** Python that must succeed; what it prints. */
export async function python(code: string, ...args: string[]): Promise<string> {
  const { code: status, out, err } = await run('python3', ['-c', code, ...args]);
  if (status !== 0) throw new Error(`python3 ended with ${status}: ${err}`);
  return out.trim();
}

/** A program that talks by lines. */
export class Talker {
  readonly process: ChildProcess;
  #text = '';
  #waiting: (() => void) | undefined;
  #ended = false;

  constructor(program: string, args: readonly string[]) {
    this.process = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process.stdout?.on('data', (part: Buffer) => {
      this.#text += part.toString();
      this.#waiting?.();
    });
    this.process.on('close', () => {
      this.#ended = true;
      this.#waiting?.();
    });
  }

  async line(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf('\n');
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      if (this.#ended) throw new Error('the program ended without a line');
      await new Promise<void>((done) => {
        this.#waiting = done;
      });
    }
  }

  say(line: string): void {
    this.process.stdin?.write(`${line}\n`);
  }

  async ended(): Promise<number | null> {
    if (!this.#ended) await new Promise((done) => this.process.once('close', done));
    return this.process.exitCode;
  }
}

/** Everything a test mounted or started; `clear` in afterEach. */
export class Stage {
  readonly #folders: string[] = [];
  readonly #mounts: Mount[] = [];
  readonly #processes: ChildProcess[] = [];
  readonly #files: FileHandle[] = [];
  readonly log: string[] = [];

  /** A file that is closed again also when its test fails: a program started with it open would wait for this thread. */
  async open(path: string, flags: string): Promise<FileHandle> {
    const file = await open(path, flags);
    this.#files.push(file);
    return file;
  }

  folder(): string {
    const folder = mkdtempSync(PREFIX);
    this.#folders.push(folder);
    return folder;
  }

  async mount(vfs: Vfs, options: MountOptions = {}): Promise<Mount> {
    const mounted = await mount(vfs, this.folder(), {
      log: (line) => this.log.push(line),
      ...options,
    });
    this.#mounts.push(mounted);
    return mounted;
  }

  talker(program: string, args: readonly string[]): Talker {
    const talker = new Talker(program, args);
    this.#processes.push(talker.process);
    return talker;
  }

  async clear(): Promise<void> {
    for (const file of this.#files.splice(0)) await file.close().catch(() => undefined);
    for (const process of this.#processes.splice(0)) {
      if (process.exitCode === null && process.signalCode === null) process.kill('SIGKILL');
    }
    for (const mounted of this.#mounts.splice(0)) await mounted.close();
    for (const folder of this.#folders.splice(0)) {
      for (let i = 0; i < 4 && mountsUnder(folder).length > 0; i++) {
        await run('umount', ['-i', '-l', folder]);
      }
      rmdirSync(folder);
    }
    this.log.length = 0;
  }
}
