/** Folds in a worker thread of its own (piscina), so that the node's thread keeps to its commits. */
import { SextantError } from '#core/errors.js';
import { Piscina } from 'piscina';
import type { FoldAnswer, Folder, FoldJob } from './fold.js';
import type { FoldReply, FoldTask } from './fold-worker.js';

export interface FoldPaths {
  readonly pages: string;
  journal(seq: number): string;
}

export class PiscinaFolder implements Folder {
  readonly pagesMax = Number.POSITIVE_INFINITY;
  readonly #pool: Piscina<FoldTask, FoldReply>;
  readonly #paths: FoldPaths;
  /** Rejects the job under way: a thread that dies outside of a task would leave it waiting. */
  #giveUp: (error: Error) => void = () => {};

  /** `worker`: file URL of the built fold-worker.js. The thread starts with the first job and ends when idle. */
  constructor(paths: FoldPaths, worker: string) {
    this.#paths = paths;
    this.#pool = new Piscina<FoldTask, FoldReply>({
      filename: worker,
      minThreads: 0,
      maxThreads: 1,
      idleTimeout: 60_000,
      // The worker is plain JavaScript: none of this process's loaders and conditions.
      execArgv: [],
      // Images of one job, 1 MiB, and its arrays: a small heap will do.
      resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 },
    });
    this.#pool.on('error', (error: unknown) => {
      this.#giveUp(new SextantError('INTERNAL', 'the folding thread ended', { cause: error }));
    });
  }

  async fold(job: FoldJob): Promise<FoldAnswer> {
    const journalPaths = new Map<number, string>();
    for (let i = 0; i < job.files.length; i++) {
      const seq = job.files[i];
      if (!journalPaths.has(seq)) journalPaths.set(seq, this.#paths.journal(seq));
    }
    const task = { job, pagesPath: this.#paths.pages, journalPaths };
    const reply = await new Promise<FoldReply>((resolve, reject) => {
      this.#giveUp = reject;
      this.#pool.run(task).then(resolve, reject);
    });
    if ('answer' in reply) return reply.answer;
    const code = reply.code === 'DISK_FULL' ? 'DISK_FULL' : 'DISK_FAILED';
    throw new SextantError(code, `the folding thread failed: ${reply.message}`);
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}

/**
 * Where the built worker lies when this code runs built; from TypeScript sources there is none, and the
 * caller folds in process instead.
 */
export function builtFoldWorker(): string | undefined {
  const here = import.meta.url;
  return here.endsWith('.js') ? new URL('./fold-worker.js', here).href : undefined;
}
