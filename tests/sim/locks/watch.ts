/** Puts the checkers of Raft's safety properties and of fair queues beside a lock server. */
import { crc32c } from '#core/bytes/crc32c.js';
import { RaftViolation, type RaftChecker } from '#lockservice/raft/raft-checker.test-helper.js';
import type { LockServer } from '#lockservice/server/lock-server.js';
import { ServiceState } from '#lockservice/state/service-state.js';
import { RaftCore } from '#lockservice/raft/raft-core.js';
import { RaftNode } from '#lockservice/raft/raft-node.js';
import { LockServerCore } from '#lockservice/locks/lock-server-core.js';
import { ClerkLinks } from '#lockservice/server/clerk-links.js';
import { LockDesk } from '#lockservice/server/lock-desk.js';
import { Violation } from '../violation.js';
import { Fairness } from './checkers/fairness.js';

/**
 * Call it for each life of a server, as soon as it is open: RAFT-1 to RAFT-6, LOCK-5. `onGroups` is called when it may have begun or
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
  watchQueues(server, guard);
  desk.sync = (changes) => {
    LockDesk.prototype.sync.call(desk, changes);
    if (changes.groups.size > 0) onGroups();
  };
}

/** Stands at both doors of the core: what comes in, and what goes out to clerks. */
function watchQueues(server: LockServer, guard: (check: () => void) => void): void {
  const fairness = new Fairness();
  const { core, links } = server.desk;
  const core0 = LockServerCore.prototype;
  core.request = (token, item, nowMs) => {
    const [waiting, counted] = [core.stats().waiting, fairness.count];
    const isNew = fairness.requested(item, token, item.request, item.level);
    const { request } = item;
    core0.request.call(core, token, item, nowMs);
    // A straggler: the core has nothing of it in its queue.
    const ignored = fairness.count - counted > core.stats().waiting - waiting;
    if (isNew && ignored) fairness.gone(item, token, request);
  };
  core.cancel = (token, item, nowMs) => {
    // Before: the grant that its going away lets pass is no overtaking.
    fairness.gone(item, token, item.request);
    core0.cancel.call(core, token, item, nowMs);
  };
  core.clerkExpired = (token, nowMs) => {
    fairness.clerkGone(token);
    core0.clerkExpired.call(core, token, nowMs);
  };
  core.clerkRecovered = (token, nowMs) => {
    fairness.clerkGone(token);
    core0.clerkRecovered.call(core, token, nowMs);
  };
  links.grant = (token, item) => {
    guard(() => fairness.granted(item, token, item.request, item.grant));
    ClerkLinks.prototype.grant.call(links, token, item);
  };
  links.refuse = (token, item) => {
    fairness.gone(item, token, item.request);
    ClerkLinks.prototype.refuse.call(links, token, item);
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
