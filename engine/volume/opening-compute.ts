/**
 * Rule 10: what of the log counts, from the seals of a read quorum of every protection group. Pure.
 *
 * ```
 *   start = max(journaled VDLs, end of the last decided range)   everything up to here is settled
 *
 *   PG 0 (longest chain)      . x x     x x
 *   PG 1 (longest chain)      .     C x     C   x
 *                             ^start      VCL ^ ^ hole before it: lost, or never whole
 *                                       VDL ^     C: CPL
 * ```
 *
 * - The chain with the highest SCL of a PG contains the chains of the others: links are linear, and no
 *   LSN is given out twice.
 * - The last range's end counts as a CPL: an opening has settled everything below it.
 * - A hole ends the run, whichever PG the missing LSN belonged to: SCLs alone cannot tell.
 */
import type { SealAnswer, TruncationRange } from '#storage-nodes/protocol/messages.js';
import type { Faults } from './faults.js';

export interface Recovered {
  readonly vcl: number;
  readonly vdl: number;
  /** By PG: its last LSN at or below VDL, 0 for none. */
  readonly tails: readonly number[];
  /** Highest LSN that any chain holds. */
  readonly highest: number;
}

interface Run {
  readonly from: number;
  readonly to: number;
}

/** `answers[pg]`: of whole segments only, each a quorum that `sealQuorum` accepts. */
export function computeRecovery(
  answers: readonly (readonly SealAnswer[])[],
  ranges: readonly TruncationRange[],
  faults: Faults,
): Recovered {
  let start = 0;
  for (const pg of answers) {
    for (const answer of pg) start = Math.max(start, answer.journaledVdl);
  }
  if (!faults.has('runFromJournal')) {
    for (const range of ranges) start = Math.max(start, range.through);
  }
  const chains = answers.map((pg) => chosenChain(pg, faults));
  const vcl = endOfRun(start, chains, ranges);
  let vdl = start;
  let highest = start;
  for (const chain of chains) {
    highest = Math.max(highest, chain.scl);
    for (const run of chain.records) {
      for (const cpl of run.cpls) if (cpl > vdl && cpl <= vcl) vdl = cpl;
    }
  }
  return { vcl, vdl, tails: chains.map((chain) => tailAt(chain, vdl)), highest };
}

function chosenChain(answers: readonly SealAnswer[], faults: Faults): SealAnswer {
  const shortest = faults.has('min');
  let chosen = answers[0];
  for (const answer of answers) {
    if (shortest ? answer.scl < chosen.scl : answer.scl > chosen.scl) chosen = answer;
  }
  return chosen;
}

/** The longest run of LSNs without a hole from `start`; truncated ranges count as present. */
function endOfRun(
  start: number,
  chains: readonly SealAnswer[],
  ranges: readonly TruncationRange[],
): number {
  const runs: Run[] = ranges.map((range) => ({ from: range.after + 1, to: range.through }));
  for (const chain of chains) runs.push(...chain.records);
  runs.sort((a, b) => a.from - b.from);
  let end = start;
  for (const run of runs) {
    if (run.from > end + 1) break;
    if (run.to > end) end = run.to;
  }
  return end;
}

function tailAt(chain: SealAnswer, vdl: number): number {
  let tail = chain.pgTail <= vdl ? chain.pgTail : 0;
  for (const run of chain.records) {
    if (run.from > vdl) break;
    tail = Math.min(run.to, vdl);
  }
  return tail;
}
