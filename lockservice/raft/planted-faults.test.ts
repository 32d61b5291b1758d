/** Every planted fault is caught: the checkers bite. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { RaftFaults } from './faults.js';
import { RaftViolation } from './raft-checker.test-helper.js';
import { Schedule, type ScheduleOptions } from './schedule.test-helper.js';
import { RaftScript } from './script.test-helper.js';

const SEEDS_MAX = 400;

function violation(run: () => unknown): RaftViolation | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof RaftViolation) return error;
    throw error;
  }
  return undefined;
}

describe('planted faults in random schedules', () => {
  const plans: [keyof RaftFaults, string, ScheduleOptions][] = [
    ['ackBeforeSync', 'RAFT-4', { servers: 3 }],
    ['voteTwice', 'RAFT-1', { servers: 3 }],
    ['forgetVote', 'RAFT-1', { servers: 3, changes: false }],
    ['voteForShorter', 'RAFT-4', { servers: 3 }],
    ['noReadIndex', 'RAFT-6', { servers: 3 }],
    ['oldRoundConfirms', 'RAFT-6', { servers: 3, crashes: 0.003, changes: false }],
    ['snapshotLosesTail', 'RAFT-[24]', { servers: 3 }],
    ['truncateAlways', 'RAFT-4', { servers: 3 }],
    ['twoChanges', 'RAFT-[14]', { servers: 3 }],
  ];
  for (const [fault, property, options] of plans) {
    it(fault, () => {
      const found: string[] = [];
      for (let seed = 1; seed <= SEEDS_MAX; seed++) {
        const caught = violation(() => {
          const schedule = new Schedule(seed, { ...options, faults: { [fault]: true } });
          try {
            schedule.run(2000);
          } catch (error) {
            // An assertion or a refusal by the core itself counts for nothing here.
            if (error instanceof RaftViolation) throw error;
          }
        });
        if (caught === undefined) continue;
        found.push(caught.property);
        if (new RegExp(property).test(caught.property)) return;
      }
      expect(found, `${property} within ${SEEDS_MAX} seeds`).toBe(property);
    });
  }
});

describe('planted faults in golden scripts', () => {
  const plans: [keyof RaftFaults, string, string][] = [
    ['commitOldTerm', 'commit_own_term_only', 'RAFT-4'],
    ['changeBeforeNoop', 'change_waits_for_own_term', 'RAFT-4'],
    ['forgetVote', 'vote_survives_restart', 'RAFT-1'],
    ['voteTwice', 'vote_survives_restart', 'RAFT-1'],
    ['snapshotLosesTail', 'snapshot_keeps_tail', 'RAFT-[24]'],
  ];
  for (const [fault, name, property] of plans) {
    it(`${fault} by ${name}`, () => {
      const text = readFileSync(new URL(`golden/${name}.txt`, import.meta.url), 'utf8');
      expect(violation(() => RaftScript.replay(text))).toBeUndefined();
      const caught = violation(() => RaftScript.replay(text, { [fault]: true }));
      expect(caught?.property).toMatch(new RegExp(property));
    });
  }
});
