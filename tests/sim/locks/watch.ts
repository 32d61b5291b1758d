/** Puts the checker of Raft's safety properties beside a lock server. */
import { crc32c } from '#core/bytes/crc32c.js';
import { RaftViolation, type RaftChecker } from '#lockservice/raft/raft-checker.test-helper.js';
import type { LockServer } from '#lockservice/server/lock-server.js';
import { ServiceState } from '#lockservice/state/service-state.js';
import { RaftCore } from '#lockservice/raft/raft-core.js';
import { RaftNode } from '#lockservice/raft/raft-node.js';
import { LockDesk } from '#lockservice/server/lock-desk.js';
import { Violation } from '../violation.js';

/**
 * Call it for each life of a server, as soon as it is open: RAFT-1 to RAFT-6. `onGroups` is called when it may have begun or
 * ended to serve groups.
 */
export function watchServer(
  checker: RaftChecker,
  server: LockServer,
  guard: (check: () => void) => void,
  onGroups: () => void,
): void {
  const raft = server.raft();
  const { core } = raft;
  const { id } = server.options;
  const checked = (check: () => void): void => guard(() => named(check));
  checker.restarted(id);
  checked(() => checker.observe(core));
  core.take = () => {
    checked(() => checker.observe(core));
    return RaftCore.prototype.take.call(core);
  };
  const { state } = server;
  state.apply = (index, command) => {
    checked(() => checker.applied(id, index, crc32c(command)));
    return ServiceState.prototype.apply.call(state, index, command);
  };
  raft.readIndex = async () => {
    const from = checker.readBegins();
    const index = await RaftNode.prototype.readIndex.call(raft);
    checked(() => checker.readEnds(from, index));
    return index;
  };
  raft.propose = async (command) => {
    const done = await RaftNode.prototype.propose.call(raft, command);
    checked(() => checker.acknowledged(done.index, command));
    return done;
  };
  const { desk } = server;
  desk.sync = (changes) => {
    LockDesk.prototype.sync.call(desk, changes);
    if (changes.groups.size > 0) onGroups();
  };
}

function named(check: () => void): void {
  try {
    check();
  } catch (error) {
    if (error instanceof RaftViolation) throw new Violation(error.property, error.message);
    throw error;
  }
}
