/**
 * Planted faults: each takes one rule of the volume protocol away, so that the simulator can show that
 * its checkers notice. Empty in production; the names are those of the TLA+ models where these have one.
 *
 * | name           | rule | what it does                                                           |
 * |----------------|------|------------------------------------------------------------------------|
 * | writeQuorum3   |  6   | PGCL is the third highest SCL                                          |
 * | keepAcks       | 19   | what the old folder of a node acknowledged goes on counting            |
 * | refusalsCount  |  4   | a refusal counts as an acknowledgement                                 |
 * | ignoreHoles    |  6   | a segment's highest LSN counts instead of its SCL                      |
 * | vdlAtVcl       |  6   | VDL stops in the middle of MTRs                                        |
 * | sealNoList     |  9   | a seal brings no list with it                                          |
 * | min            | 10   | compute with the shortest chain of a quorum                            |
 * | runFromJournal | 10   | the run starts at the highest journaled VDL                            |
 * | noRepair       | 11   | decide without waiting for write quorums                               |
 * | repairAnyW     | 11   | repair until any four of all sets together have the tail               |
 * | readNewAtOnce  | 17   | while a member is replaced, a read quorum of the new set will do       |
 * | writeNewOnly   | 17   | while a member is replaced, a write quorum of the new set will do      |
 * | smallerLal     | 12   | the decided range ends one LSN short of the predecessor's LAL          |
 * | reuse          | 14   | start just above the highest LSN that the quorum saw                   |
 * | noInstall      | 13   | allocate before a write quorum has the list                            |
 * | readAnywhere   |  7   | read from any segment, complete or not                                 |
 * | noLeaseWait    | 26   | open without waiting for the predecessor's lease to end                |
 */
import type { Membership } from '#core/quorum/quorum-set.js';

export type Fault =
  | 'writeQuorum3'
  | 'keepAcks'
  | 'refusalsCount'
  | 'ignoreHoles'
  | 'vdlAtVcl'
  | 'sealNoList'
  | 'min'
  | 'runFromJournal'
  | 'noRepair'
  | 'repairAnyW'
  | 'readNewAtOnce'
  | 'writeNewOnly'
  | 'smallerLal'
  | 'reuse'
  | 'noInstall'
  | 'readAnywhere'
  | 'noLeaseWait';

export type Faults = ReadonlySet<Fault>;

export const NO_FAULTS: Faults = new Set();

/** What `writeNewOnly` asks a write quorum of. */
export function newSetOnly(membership: Membership): Membership {
  return { ...membership, sets: membership.sets.slice(-1) };
}
