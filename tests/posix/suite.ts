/** The suite: all cases, over any adapter. */
import { openCases } from './cases/open.js';
import { pathErrorCases } from './cases/path-errors.js';
import { renameCases } from './cases/rename.js';
import type { PosixFs } from './posix-fs.js';
import { type Case, type Report, runCases } from './trial.js';

export const CASES: readonly Case[] = [...pathErrorCases, ...openCases, ...renameCases];

/** Runs the suite in the root of `fs`, which is left as it was. `only` selects cases by name. */
export function runSuite(fs: PosixFs, only?: RegExp): Promise<Report> {
  return runCases(fs, CASES, only);
}
