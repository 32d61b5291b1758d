/** The helper program (helper.c): compiled once a process, started as often as processes are needed, asked over its pipes. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { PosixError } from './posix-fs.js';

const ERRNO_NAMES = new Map<number, string>();
for (const [name, number] of Object.entries(constants.errno)) {
  if (name !== 'EWOULDBLOCK' && name !== 'ENOTSUP') ERRNO_NAMES.set(number, name);
}

let compiled: { program: string } | { reason: string } | undefined;

function sourcePath(): string {
  const beside = fileURLToPath(new URL('helper.c', import.meta.url));
  return existsSync(beside) ? beside : beside.replace('/dist/', '/');
}

function compile(): { program: string } | { reason: string } {
  if (process.platform !== 'linux') return { reason: 'the helper needs Linux' };
  const directory = mkdtempSync(join(tmpdir(), 'sextant-posix-helper-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const program = join(directory, 'helper');
  const run = spawnSync('cc', ['-O1', '-o', program, sourcePath()], { encoding: 'utf8' });
  if (run.error !== undefined) return { reason: 'cc is not installed' };
  if (run.status !== 0) return { reason: `cc: ${run.stderr.trim()}` };
  return { program };
}

/** Why the helper cannot be had here, or undefined. */
export function helperMissing(): string | undefined {
  compiled ??= compile();
  return 'reason' in compiled ? compiled.reason : undefined;
}

export type Value = string;

interface Waiting {
  readonly call: string;
  resolve(values: Value[]): void;
  reject(error: Error): void;
}

/** One process of the helper, standing in `directory`. */
export class Helper {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #nextId = 1;
  #rest = '';
  #gone = false;

  constructor(directory: string) {
    const missing = helperMissing();
    if (missing !== undefined || compiled === undefined || !('program' in compiled)) {
      throw new Error(`no helper: ${missing}`);
    }
    this.#child = spawn(compiled.program, [directory], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout?.setEncoding('latin1');
    this.#child.stdout?.on('data', (text: string) => this.#take(text));
    this.#child.stdin?.on('error', () => undefined);
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        this.#gone = true;
        for (const waiting of this.#waiting.values()) {
          waiting.reject(new Error(`the helper ended during ${waiting.call}`));
        }
        this.#waiting.clear();
        resolve();
      });
    });
  }

  call(credentials: string, call: string, args: readonly string[]): Promise<Value[]> {
    if (this.#gone) return Promise.reject(new Error(`the helper has ended: ${call}`));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { call, resolve, reject });
      this.#child.stdin?.write(`${id} ${credentials} ${call} ${args.join(' ')}\n`);
    });
  }

  interrupt(): void {
    this.#child.kill('SIGUSR1');
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  async close(): Promise<void> {
    this.#child.stdin?.end();
    await this.#ended;
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const words = line.split(' ');
      const id = Number(words[0]);
      const waiting = this.#waiting.get(id);
      if (waiting === undefined) throw new Error(`an answer nobody waits for: ${line}`);
      this.#waiting.delete(id);
      if (words[1] === '=') waiting.resolve(words.slice(2));
      else {
        const errno = Number(words[2]);
        waiting.reject(new PosixError(ERRNO_NAMES.get(errno) ?? `E${errno}`, waiting.call));
      }
    }
  }
}

export function hex(bytes: Uint8Array): string {
  return `x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')}`;
}

export function unhex(value: Value | undefined): Buffer {
  if (value === undefined || value[0] !== 'x') throw new Error(`not bytes: ${value}`);
  return Buffer.from(value.slice(1), 'hex');
}
