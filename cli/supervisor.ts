/**
 * Keeps child processes running: one that ends unasked is started again at once, later with a growing pause
 * (at most one second) while it keeps failing early.
 *
 * Children get a pipe as standard input that they watch: when the supervisor dies, however it dies, the pipe
 * closes and they end (`exitWithStdin`). No process outlives `sextant dev`.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';

const RESTART_PAUSE_MS_MAX = 1000;
/** A child that lived this long was well: the next restart has no pause. */
const HEALTHY_MS = 5000;
const STOP_GRACE_MS = 5000;

export interface ChildSpec {
  readonly name: string;
  /** Arguments of this very program; called anew for each start. `restart` counts from 0. */
  readonly args: (restart: number) => string[];
  /** Options of node itself. */
  readonly nodeOptions?: readonly string[];
  readonly logFile: string;
  /** Each line of its standard output. */
  readonly onLine: (line: string) => void;
  /** Every time it starts. */
  readonly onStart?: (pid: number) => void;
  readonly onExit?: (how: string, unasked: boolean) => void;
}

export class SupervisedChild {
  readonly spec: ChildSpec;
  restarts = 0;
  #process: ChildProcess | undefined;
  #log: WriteStream;
  #stopping = false;
  #pauseMs = 0;
  #startedAt = 0;
  #restartTimer: NodeJS.Timeout | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(spec: ChildSpec) {
    this.spec = spec;
    this.#log = createWriteStream(spec.logFile, { flags: 'a' });
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  start(): void {
    const args = [process.argv[1] ?? '', ...this.spec.args(this.restarts)];
    const child = spawn(
      process.execPath,
      [...process.execArgv, ...(this.spec.nodeOptions ?? []), ...args],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: process.env,
        // Out of the terminal's process group: Ctrl-C is the supervisor's to act on, in its own order.
        detached: true,
      },
    );
    this.#process = child;
    this.#startedAt = performance.now();
    // The pipe's only use is that it closes; a child that dies first breaks it.
    child.stdin.on('error', () => undefined);
    child.stderr.pipe(this.#log, { end: false });
    createInterface({ input: child.stdout }).on('line', (line) => this.spec.onLine(line));
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => {
        this.#log.write(`${error.message}\n`);
        resolve();
        this.#onEnd(error.message);
      });
      child.once('exit', (code, signal) => {
        resolve();
        this.#onEnd(signal === null ? `exit code ${code}` : `signal ${signal}`);
      });
    });
    if (child.pid !== undefined) this.spec.onStart?.(child.pid);
  }

  #onEnd(how: string): void {
    this.#process = undefined;
    this.spec.onExit?.(how, !this.#stopping);
    if (this.#stopping) return;
    const livedMs = performance.now() - this.#startedAt;
    this.#pauseMs =
      livedMs > HEALTHY_MS ? 0 : Math.min(RESTART_PAUSE_MS_MAX, Math.max(50, this.#pauseMs * 2));
    this.restarts += 1;
    this.#restartTimer = setTimeout(() => this.start(), this.#pauseMs);
  }

  /** SIGTERM, then SIGKILL after a grace; resolves when it has ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restartTimer);
    const child = this.#process;
    if (child !== undefined) {
      child.kill('SIGTERM');
      // One that is stopped (SIGSTOP) does not see SIGTERM before it goes on.
      child.kill('SIGCONT');
      const killer = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
      await this.#ended;
      clearTimeout(killer);
    }
    this.#log.end();
  }
}
