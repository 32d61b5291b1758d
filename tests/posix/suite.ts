/** The suite: all cases, over any adapter. */
import { dataCases } from './cases/data.js';
import { directoryCases } from './cases/directories.js';
import { extentCases } from './cases/extents.js';
import { linkCases } from './cases/links.js';
import { lockCases } from './cases/locks.js';
import { nodeCases } from './cases/nodes.js';
import { openCases } from './cases/open.js';
import { pathErrorCases } from './cases/path-errors.js';
import { permissionCases } from './cases/permissions.js';
import { renameCases } from './cases/rename.js';
import { timesCases } from './cases/times.js';
import { xattrCases } from './cases/xattrs.js';
import type { PosixFs } from './posix-fs.js';
import { type Case, type Report, runCases } from './trial.js';

export const CASES: readonly Case[] = [
  ...pathErrorCases,
  ...openCases,
  ...renameCases,
  ...permissionCases,
  ...timesCases,
  ...linkCases,
  ...directoryCases,
  ...dataCases,
  ...extentCases,
  ...xattrCases,
  ...lockCases,
  ...nodeCases,
];

/** Runs the suite in the root of `fs`, which is left as it was. `only` selects cases by name. */
export function runSuite(fs: PosixFs, only?: RegExp): Promise<Report> {
  return runCases(fs, CASES, only);
}
