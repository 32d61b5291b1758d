/**
 * The thread that folds (piscina). It opens the page log and the journal files by itself; what is posted is
 * offsets (rule 21). A journal file keeps its number for life and is freed only while no job is under way,
 * so an open one stays good until a job no longer names it.
 *
 * This file is a driver: it is the entry of a worker thread.
 */
import { realWorld } from '#core/world/real/real-world.js';
import type { DiskFile } from '#core/world/world.js';
import { FoldRunner, type FoldAnswer, type FoldFiles, type FoldJob } from './fold.js';

/** What a job is posted as. */
export interface FoldTask {
  readonly job: FoldJob;
  readonly pagesPath: string;
  /** Path of each journal file that the job names, by sequence number. */
  readonly journalPaths: ReadonlyMap<number, string>;
}

const { disk } = realWorld({ log: 'silent' });
const runner = new FoldRunner();
const journalFiles = new Map<number, { path: string; file: DiskFile }>();
let pages: DiskFile | undefined;

function filesOf(task: FoldTask): FoldFiles {
  if (pages?.path !== task.pagesPath) {
    pages?.close();
    pages = disk.open(task.pagesPath);
  }
  for (const [seq, open] of journalFiles) {
    if (task.journalPaths.get(seq) === open.path) continue;
    open.file.close();
    journalFiles.delete(seq);
  }
  return {
    pages,
    journal: (seq) => {
      let open = journalFiles.get(seq);
      if (open === undefined) {
        const path = task.journalPaths.get(seq) ?? '';
        open = { path, file: disk.open(path) };
        journalFiles.set(seq, open);
      }
      return open.file;
    },
  };
}

/** Errors keep their code across threads as data: `instanceof` does not survive the post. */
export type FoldReply = { answer: FoldAnswer } | { code: string; message: string };

export default function fold(task: FoldTask): FoldReply {
  try {
    return { answer: runner.run(task.job, filesOf(task)) };
  } catch (error) {
    const code =
      typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
    return { code, message: String(error) };
  }
}
